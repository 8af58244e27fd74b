//! Waiting for an execution: made on this side of reads and events, since the contract has no such route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Execution;
use crate::api::ids::{ExecutionId, TaskId};
use crate::api::{Operation, Permission, Spec};

/// Stays to the end of a process: wait, watch, hang on or hold until the claim, closing, repair or admission is
/// through, finished or complete, reaches a step or needs input, succeeds or fails.
///
/// Also: keep an eye on it, follow it, tell me when, once or as soon as it is over, the outcome.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// The execution.
    pub id: ExecutionId,
    /// What to wait for; `person` if absent. Its end ends every wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<WaitUntil>,
    /// A node of the process: the wait ends when it is done, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub node_id: Option<String>,
    /// Longest wait in seconds; 50 if absent.
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
        .titled("Wait until a run is finished, stay to the end and know how it went: the result (exec-…)")
        .requires(Permission::EXECUTION_VIEW)
        .waits_long();
}
