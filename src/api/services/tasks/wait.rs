//! Waiting for a person's answer: made on this side of reads and events, since the contract has no such route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Task;
use crate::api::ids::TaskId;
use crate::api::{Operation, Permission, Spec};

/// Stays until a person has answered a to-do (task item), then reports the reply; some minutes at most.
///
/// Tell me when the boss has signed the form off, pause till the approval comes, keep watching the item before we go
/// on, block or hold for the decision of the director, let me know as soon as it is filled in, or continue when it is
/// done.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// The task.
    pub id: TaskId,
    /// Longest wait in seconds; default 50.
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
    const SPEC: Spec =
        Spec::composite("tasks_wait").titled("Wait until a task is decided or approved").requires(Permission::TASK_VIEW).waits_long();
}
