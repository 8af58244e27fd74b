//! A task as it is kept: what is read for it, until when, and how it ended.

use rmcp::model::{JsonObject, Task, TaskStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::calls::UnderWay;
use super::decision::{Asked, Fault};
use super::{DEFAULT_WAIT, KEPT_FOR, POLL_INTERVAL_MS};
use crate::api::ids::TaskId;
use crate::api::{Entry, Timestamp};
use crate::server::{typed, waits};

/// A task as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    /// What is read to know whether the work is over; the call itself, where its answer is the end.
    pub(super) tool: String,
    pub(super) arguments: Map<String, Value>,
    /// The call that began the work, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) begun: Option<Beginning>,
    /// The call that is carried on beside the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) under_way: Option<UnderWay>,
    /// When the wait is over.
    pub(super) until: Timestamp,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    /// Where the work stands, in a line for its person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// What the person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<Asked>,
    /// How many questions it had.
    #[serde(default)]
    pub(super) questions: u32,
    /// Why the last answer was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<Fault>,
    /// Human tasks that the person does not want to be asked about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) declined: Vec<TaskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<End>,
}

/// The call that began what a task follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Beginning {
    pub(super) tool: String,
    /// Its answer, where the end is told beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Value>,
}

/// How a task ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum End {
    /// With the tool's result.
    Completed(JsonObject),
    /// The host cancelled it.
    Cancelled,
}

/// A task that reads whether something is over, for as long as the arguments say.
pub(super) fn waiting(entry: &Entry, arguments: Map<String, Value>) -> Kept {
    let seconds = arguments.get("timeoutSeconds").and_then(Value::as_f64).unwrap_or(DEFAULT_WAIT);
    Kept::new(entry, arguments, seconds)
}

impl Kept {
    pub(super) fn new(entry: &Entry, arguments: Map<String, Value>, seconds: f64) -> Self {
        let now = Timestamp::now();
        Self {
            tool: entry.spec.name.to_owned(),
            arguments,
            begun: None,
            under_way: None,
            until: now.plus_seconds(seconds),
            created: now,
            updated: now,
            message: None,
            asked: None,
            questions: 0,
            fault: None,
            declined: Vec::new(),
            end: None,
        }
    }

    pub(super) fn expires(&self) -> Timestamp {
        self.until.plus_seconds(KEPT_FOR)
    }

    /// The answer of the call that the task stands for.
    pub(super) fn answer(&self, body: Value) -> Value {
        match self.begun.as_ref().and_then(|begun| begun.answer.clone()) {
            Some(begun) => waits::merged(begun, typed(body)),
            None => body,
        }
    }

    /// What is told of the task whatever came of it.
    pub(super) fn task(&self, id: &str) -> Task {
        let status = match self.end {
            None if self.asked.is_some() => TaskStatus::InputRequired,
            None => TaskStatus::Working,
            Some(End::Completed(_)) => TaskStatus::Completed,
            Some(End::Cancelled) => TaskStatus::Cancelled,
        };
        let ttl = self.expires().millis().saturating_sub(self.created.millis());
        let mut task = Task::new(id, status, self.created.to_string(), self.updated.to_string())
            .with_ttl_ms(u64::try_from(ttl).unwrap_or_default())
            .with_poll_interval_ms(POLL_INTERVAL_MS);
        task.status_message.clone_from(&self.message);
        task
    }
}
