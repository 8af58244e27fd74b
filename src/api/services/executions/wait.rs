//! Waiting for an execution: made on this side of reads and events, since the contract has no such route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Execution;
use crate::api::ids::{ExecutionId, TaskId};
use crate::api::{Operation, Permission, Spec};

/// Stays with a running case until it ends (execution, exec-…), reaches a step or needs a person, and then tells the
/// outcome.
///
/// Let me know once the order is finished or through, watch the recall or closing process till it is complete, stay
/// some minutes until it is over, and report the result when it is done.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// The execution.
    pub id: ExecutionId,
    /// What to wait for; `person` if absent. Its end ends every wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<WaitUntil>,
    /// A node: the wait ends when it is done, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub node_id: Option<String>,
    /// Longest wait in seconds; default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: Option<u32>,
}

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitUntil {
    /// Its end alone.
    End,
    /// Its end, or a task that waits for a person.
    Person,
}

/// How a wait for an execution ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waited {
    /// Whether what was waited for has come; if not, wait again.
    pub reached: bool,
    /// Why the wait ended: ended, person, node or timeout.
    pub reason: String,
    /// The task that waits for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Where the execution stands now.
    pub execution: Execution,
}

impl Operation for Wait {
    type Output = Waited;
    const SPEC: Spec = Spec::composite("executions_wait")
        .titled("Wait until a case is over, or comes to a step")
        .requires(Permission::EXECUTION_VIEW)
        .waits_long();
}
