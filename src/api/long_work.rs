//! Work that takes long, and how it is known to be over.

use serde_json::Value;

/// How long work is followed to its end, where a host knows tasks of MCP.
#[derive(Debug, Clone, Copy)]
pub enum LongWork {
    /// A composite that waits: without time it reads once, and `reached` in its answer says whether it is over.
    Wait,
    /// A job: the platform answers at once, and a read tells where it stands.
    Job(Job),
    /// The platform answers when the work is done.
    Call,
}

/// A job of the platform.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// The operation that reads the job by `id`; its answer has the type of the answer that began the job.
    pub read: &'static str,
    /// The field of the answer that holds the id.
    pub id: &'static str,
    /// The operation that cancels the job by `id`, if the platform has one.
    pub cancel: Option<&'static str>,
    /// The argument that postpones the start; a postponed job is not waited for.
    pub postponed_by: Option<&'static str>,
}

impl Job {
    /// Whether an answer tells that the job is over. A state that is not known counts as work.
    #[must_use]
    pub fn is_over(answer: &Value) -> bool {
        matches!(answer.get("status").and_then(Value::as_str), Some("completed" | "failed" | "cancelled"))
    }
}
