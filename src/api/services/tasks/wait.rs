//! Waiting for a person's answer: made on this side of reads and events, since the contract has no such route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Task;
use crate::api::ids::TaskId;
use crate::api::{Operation, Permission, Spec};

/// Stays until the answer is there: await the signature, approval, decision, reply or yes of the boss or legal, hold on
/// or stand by till the form is filled in, let me know as soon as.
///
/// Also: when or once she responds, has decided or signed, or the task is cancelled.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// The task.
    pub id: TaskId,
    /// Longest wait in seconds; 50 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: Option<u32>,
}

/// How a wait for a task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waited {
    /// Whether the task is settled; if not, wait again.
    pub reached: bool,
    /// Why the wait ended: completed, cancelled or timeout.
    pub reason: String,
    /// The task now, with its answer.
    pub task: Task,
}

impl Operation for Wait {
    type Output = Waited;
    const SPEC: Spec = Spec::composite("tasks_wait")
        .titled("Wait until a task is answered, say when it is signed or approved: await the yes or no")
        .requires(Permission::TASK_VIEW)
        .waits_long();
}
