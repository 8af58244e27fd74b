//! Execution Engine Service: runs of processes (contract, section 2).

mod wait;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::tasks::OPEN;
use crate::api::ids::{ExecutionId, ProcessId};
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
use crate::api::{Effect, Objection, Operation, Permission, Service, Spec, Timestamp};

pub use wait::{Wait, WaitUntil, Waited};

/// Execution Engine Service.
pub const SERVICE: Service = Service::new("execution-engine", "executions", "EES", "Starts, steers and explains runs of processes.")
    .layer(Layer::Core)
    .operations(operations![Start, Get, Pause, Resume, Cancel, History, Compensate, List])
    .composites(operations![Wait])
    .finder(
        "`executions_list` shows the executions of a process, in a state or since a day; `tasks_list` names the executions that wait \
         (executionId); `events_replay` with topic execution.started names all of them.",
    )
    .ids(&[Id::of("executionId", "execution").listed(Lister::new("executions_list", &[], "executionId")).or_listed(Lister::new(
        "tasks_list",
        &[("status", OPEN)],
        "executionId",
    ))])
    .resources(&[
        Resource::new(
            "executions/{id}",
            "executions_get",
            "execution",
            "Execution",
            "Where an execution stands: status, current step, variables, error.",
        )
        .takes(&[("id", "execution")])
        .changed_by(EVENTS),
        Resource::new(
            "executions/{id}/history",
            "executions_history",
            "execution-history",
            "History of an execution",
            "What happened in an execution, step by step.",
        )
        .takes(&[("id", "execution")])
        .changed_by(EVENTS),
    ])
    .shown(&["status", "currentNode", "processId", "executionId", "initiator", "data", "error", "version", "startedAt", "completedAt"])
    .judged_by("status")
    .topics(&["execution.*", "node.*"]);

/// Events that tell of a change in an execution: its own, and those of the people, agents and systems that work in it.
const EVENTS: &[Change] = &[
    Change::new("execution.*", &["executionId"]),
    Change::new("node.*", &["executionId"]),
    Change::new("task.*", &["executionId"]),
    Change::new("agent.*", &["executionId"]),
    Change::new("integration.*", &["executionId"]),
];

open_enum! {
    /// The states of an execution.
    ExecutionStatus {
        /// Accepted, not begun.
        Pending = "pending",
        /// Steps are running.
        Running = "running",
        /// Waits for a person, a time or another process.
        Waiting = "waiting",
        /// Held until it is resumed.
        Paused = "paused",
        /// Reached its end.
        Completed = "completed",
        /// Stopped at an error.
        Failed = "failed",
        /// Ended by a person.
        Cancelled = "cancelled",
        /// Undoing its steps.
        Compensating = "compensating",
        /// Its steps were undone.
        Compensated = "compensated",
    }
}

/// A run of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The process it runs.
    pub process_id: ProcessId,
    /// The version it was started with and keeps.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// The node that it is at or waits at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_node: Option<String>,
    /// Variables and node states.
    #[serde(default)]
    pub state: State,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Who it was started for, as claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// The execution whose subprocess it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<ExecutionId>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// What an execution knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The variables now.
    #[serde(default)]
    pub variables: Map<String, Value>,
    /// The state of each node reached, by node id: running, waiting, completed, timed_out, failed, skipped, compensated.
    #[serde(default)]
    pub node_states: Map<String, Value>,
}

/// Why an execution failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A stable code.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// The node where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
}

/// One thing that happened in an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Its place, from 1.
    pub sequence: u64,
    /// What happened, such as `node.completed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The node where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// When.
    pub timestamp: Timestamp,
    /// Who caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The particulars.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

/// Starts a new case (execution, run) of a workflow (proc-…) and can wait for its end.
///
/// Kick off an onboarding, begin the month-end closing, get a recall for a batch going, put an order with an amount of
/// 5000 euros through the procedure, request leave or a replacement, trigger an approval on fire safety, or open a
/// complaint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The process to run.
    pub process_id: ProcessId,
    /// The version; the latest published one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it works on, such as `{"amount": 5000}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// Who it is started for; the caller if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
}

impl Operation for Start {
    type Output = Execution;
    const SPEC: Spec = Spec::post("executions_start", "/executions", Effect::Write)
        .names_users(&["initiator"])
        .titled("Start a new case, put in a request")
        .requires(Permission::EXECUTION_START)
        .answers(201)
        .evicts(&["executions", "tasks"])
        .waits_by(Wait::SPEC.name)
        .always_loaded();
}

/// Tells where one running case stands now (execution, instance, exec-…): its step, state and variables.
///
/// How far along is the onboarding or the month-end closing, which stage or node has the order reached, what is the
/// current status of the claim, and is the purchase stuck or finished?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The execution.
    pub id: ExecutionId,
}

impl Operation for Get {
    type Output = Execution;
    const SPEC: Spec = Spec::get("executions_get", "/executions/{id}", Effect::Read)
        .titled("Where a case stands, is it still running")
        .requires(Permission::EXECUTION_VIEW)
        .cached(2)
        .essential();
}

/// Puts a running case on hold for a while (execution, exec-…).
///
/// Stop or freeze the recall for the moment, suspend an unclear purchase, let the order rest until papers arrive, halt
/// the closing till the figures are there, keep the run parked, or wait and don't go on now.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    /// The execution.
    pub id: ExecutionId,
    /// Why, for the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Operation for Pause {
    type Output = Execution;
    const SPEC: Spec = Spec::put("executions_pause", "/executions/{id}/pause", Effect::Write)
        .titled("Put a request or case on hold")
        .requires(Permission::EXECUTION_PAUSE)
        .not_idempotent()
        .evicts(&["executions"]);

    fn objection(&self, execution: &Value) -> Option<Objection> {
        not_allowed(execution, "pause")
    }
}

/// Lets a paused case go on again (execution, exec-…), or tries its failed step again with corrected values. Nothing is
/// done twice.
///
/// The onboarding may carry on; take the order off hold, move the suspended run on where it stopped, wake, unfreeze or
/// reactivate the recall, get it going again for the lab, or let it proceed, now that the paper is back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Resume {
    /// The execution.
    pub id: ExecutionId,
    /// Why, for the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Variables to correct first: `{"amount": 5000}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// Does the failed step again even if it was done but no way led on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<bool>,
}

impl Operation for Resume {
    type Output = Execution;
    const SPEC: Spec = Spec::put("executions_resume", "/executions/{id}/resume", Effect::Write)
        .titled("Continue or restart a request or case")
        .requires(Permission::EXECUTION_RESUME)
        .not_idempotent()
        .evicts(&["executions", "tasks"]);

    fn objection(&self, execution: &Value) -> Option<Objection> {
        not_allowed(execution, "resume")
    }
}

/// Ends a running case for good (execution, exec-…), and closes its open tasks.
///
/// The customer doesn't need it any more, so stop the order; it was started by mistake or twice, so kill, abort or
/// terminate the run; he took a job elsewhere, so call off and discontinue the onboarding, or scrap the purchase.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Cancel {
    /// The execution.
    pub id: ExecutionId,
    /// Why, for the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Operation for Cancel {
    type Output = Execution;
    const SPEC: Spec = Spec::put("executions_cancel", "/executions/{id}/cancel", Effect::Destroy)
        .titled("Close or abandon a request or case for good")
        .requires(Permission::EXECUTION_CANCEL)
        .not_idempotent()
        .evicts(&["executions", "tasks"]);

    fn objection(&self, execution: &Value) -> Option<Objection> {
        not_allowed(execution, "cancel")
    }
}

/// Tells what happened in a case (execution, exec-…), as a timeline or log of events.
///
/// Through which nodes did it pass, when did each stage of the run start and end, why did the closing take so long
/// since the first check and which error came, to trace everything or reconstruct the story?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The execution.
    pub id: ExecutionId,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for History {
    type Output = Page<HistoryEntry>;
    const SPEC: Spec = Spec::get("executions_history", "/executions/{id}/history", Effect::Read)
        .titled("Course of a case so far, step by step")
        .requires(Permission::EXECUTION_VIEW)
        .cached(2);
}

/// Undoes what a case has already booked (execution, exec-…) when its run went wrong or broke midway: finished steps
/// are reversed (compensation, saga).
///
/// Roll back an order that did fail in the middle, abort it and cancel its reservations and actions, or revert and
/// unwind what was posted to an account.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Compensate {
    /// The execution.
    pub id: ExecutionId,
    /// Why, for the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Operation for Compensate {
    type Output = Execution;
    const SPEC: Spec = Spec::post("executions_compensate", "/executions/{id}/compensate", Effect::Destroy)
        .titled("Undo or reverse what a case has booked")
        .requires(Permission::EXECUTION_COMPENSATE)
        .answers(202)
        .evicts(&["executions", "tasks"]);

    fn objection(&self, execution: &Value) -> Option<Objection> {
        not_allowed(execution, "compensate")
    }
}

impl ExecutionStatus {
    /// What may be done to an execution in this state.
    #[must_use]
    pub const fn allows(&self) -> &'static [&'static str] {
        match self {
            Self::Pending | Self::Running | Self::Waiting => &["pause", "cancel"],
            Self::Paused => &["resume", "cancel"],
            Self::Failed => &["resume", "compensate"],
            Self::Completed | Self::Cancelled => &["compensate"],
            _ => &[],
        }
    }
}

/// An execution in a list, without its variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionSummary {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The process it runs.
    pub process_id: ProcessId,
    /// The name of the process now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_name: Option<String>,
    /// The version it was started with and keeps.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// The node that it is at or waits at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_node: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Who it was started for, as claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// The execution whose subprocess it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<ExecutionId>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl Execution {
    /// The execution as a list shows it.
    #[must_use]
    pub fn summary(self, process_name: Option<String>) -> ExecutionSummary {
        ExecutionSummary {
            process_name,
            execution_id: self.execution_id,
            process_id: self.process_id,
            version: self.version,
            status: self.status,
            current_node: self.current_node,
            started_at: self.started_at,
            completed_at: self.completed_at,
            initiator: self.initiator,
            parent_execution_id: self.parent_execution_id,
            error: self.error,
        }
    }
}

/// Lists cases (executions, instances, runs) by workflow, status and date.
///
/// Which orders are going on, open or stuck at the moment, how many onboardings are in flight, which ones don't move,
/// which did crash or get cancelled this week or in the night, and what is the overview of all flows started since
/// yesterday?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// Runs of this process alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_id: Option<ProcessId>,
    /// In one of these states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Vec<ExecutionStatus>>,
    /// Started after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// Started before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<ExecutionSummary>;
    const SPEC: Spec = Spec::get("executions_list", "/executions", Effect::Read)
        .titled("Cases in progress, paused, failed, finished")
        .requires(Permission::EXECUTION_VIEW)
        .derivable_extension()
        .always_loaded();
}

fn not_allowed(execution: &Value, action: &str) -> Option<Objection> {
    let status: ExecutionStatus = serde_json::from_value(execution.get("status")?.clone()).ok()?;
    // A state that this version does not know may allow anything.
    let known = !matches!(status, ExecutionStatus::Other(_));
    let allowed = status.allows();
    (known && !allowed.contains(&action)).then(|| {
        let next = if allowed.is_empty() { "nothing can be done to it".to_owned() } else { format!("allowed now: {}", allowed.join(", ")) };
        Objection::state("FM-EES-NOT-ALLOWED", format!("the execution is {status}: it cannot be told to {action}; {next}"))
    })
}
