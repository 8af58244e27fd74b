//! Human Task Service: approvals, forms and decisions of people (contract, section 3).

pub mod forms;
mod wait;

pub use forms::{Form, FormField};
pub use wait::{Wait, Waited};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::{ExecutionId, TaskId};
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
use crate::api::{Effect, Objection, Operation, Permission, Service, Spec, Timestamp};

/// Human Task Service.
pub const SERVICE: Service =
    Service::new("human-task", "tasks", "HTS", "Tasks that wait for a person: approvals, forms, decisions, deadlines and escalation.")
        .layer(Layer::Core)
        .operations(operations![Create, Get, Assign, Respond, List, Escalate, History])
        .composites(operations![Wait])
        .finder("`tasks_list` shows the tasks there are and their ids.")
        .ids(&[Id::of("taskId", "task").listed(Lister::new("tasks_list", &[], "taskId"))])
        .resources(&[
            Resource::new("tasks", "tasks_list", "tasks", "Open tasks", "Tasks that wait for a person, newest first.")
                .fixed(&[("status", OPEN)])
                .changed_by(&[Change::new("task.*", &[])]),
            Resource::new("tasks/inbox", "tasks_list", "inbox", "Own open tasks", "The open tasks of the caller, newest first.")
                .fixed(&[("status", OPEN), ("assignee", ME)])
                .changed_by(&[Change::new("task.*", &[])]),
            Resource::new(
                "tasks/{id}",
                "tasks_get",
                "task",
                "Task",
                "A task: what is asked, its form, who has it, its deadline and answer.",
            )
            .takes(&[("id", "task")])
            .changed_by(&[Change::new("task.*", &["taskId"])]),
            Resource::new(
                "tasks/{id}/history",
                "tasks_history",
                "task-history",
                "History of a task",
                "What happened to a task, and who did it.",
            )
            .takes(&[("id", "task")])
            .changed_by(&[Change::new("task.*", &["taskId"])]),
        ])
        .shown(&["title", "description", "status", "assignedTo", "executionId", "data", "slaDeadline", "response", "createdAt"])
        .topics(&["task.*"]);

/// The statuses of a task that somebody still has to answer, as `GET /tasks` takes them.
pub const OPEN: &str = "created,assigned,escalated";
/// The caller, as an assignee in `GET /tasks`.
const ME: &str = "me";

open_enum! {
    /// The states of a task.
    TaskStatus {
        /// Not assigned yet.
        Created = "created",
        /// Somebody has it.
        Assigned = "assigned",
        /// It went up the chain.
        Escalated = "escalated",
        /// It was answered.
        Completed = "completed",
        /// It is no longer needed.
        Cancelled = "cancelled",
    }
}

/// How long a task may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sla {
    /// Hours until it is escalated; fractions allowed.
    pub hours_to_complete: f64,
}

/// A task for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The task.
    pub task_id: TaskId,
    /// Where it stands.
    pub status: TaskStatus,
    /// What is to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// What one should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who has it: a user id or a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<String>,
    /// Who may answer it while nobody has it: user ids and roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// The execution that waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The node that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it will be escalated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sla_deadline: Option<Timestamp>,
    /// ok, due_soon or breached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sla_status: Option<String>,
    /// What is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Who gets it when it is late, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalation_chain: Vec<String>,
    /// How often it went up.
    #[serde(default)]
    pub escalation_level: u32,
    /// The answer, once there is one.
    pub response: Option<Response>,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The decision.
    pub decision: String,
    /// What was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comments: Option<String>,
    /// The other fields.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
    /// Who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responded_by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responded_at: Option<Timestamp>,
}

/// One thing that happened to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskEvent {
    /// Its place, from 1.
    pub sequence: u64,
    /// created, assigned, escalated, completed or cancelled.
    pub action: String,
    /// Who did it; `system` for a deadline.
    pub actor: String,
    /// When.
    pub timestamp: Timestamp,
    /// The particulars.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

/// Gives a person a job or asks for a decision (task), with a form and a deadline in hours if wanted.
///
/// I need somebody to check the lamp in a room by Friday, remind a driver about the form, let the sales director decide
/// about a discount, marketing has to sign a quote off, have a human on duty approve it, or put a new item on the desk
/// of the warehouse.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// What is to be done.
    #[schemars(length(min = 1, max = 500))]
    pub title: String,
    /// What one should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A user id or a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// The execution it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// What is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sla: Option<Sla>,
    /// Who gets it when it is late, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalation_chain: Option<Vec<String>>,
}

impl Operation for Create {
    type Output = Task;
    const SPEC: Spec = Spec::post("tasks_create", "/tasks", Effect::Write)
        .names_users(&["assignee"])
        .titled("Ask someone to take care of something")
        .requires(Permission::TASK_CREATE)
        .answers(201)
        .evicts(&["tasks"]);
}

/// Opens one to-do (task-…): what exactly it says, its form, deadline and answer.
///
/// When is the job due, who has it, is the approval still open, what is its status, what is this item about, was it
/// done, and can you pull up the description of the inspection or repair?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The task.
    pub id: TaskId,
}

impl Operation for Get {
    type Output = Task;
    const SPEC: Spec = Spec::get("tasks_get", "/tasks/{id}", Effect::Read)
        .titled("Details of one task or approval")
        .requires(Permission::TASK_VIEW)
        .cached(2)
        .essential();
}

/// Hands a to-do or approval to another person, role or team (task item, task-…), or to me.
///
/// He is on leave and can't do the item, so somebody else should take it over; nobody has it, so put it on the desk of
/// the trainee; make the night shift do it, transfer, move or reassign the form to a deputy, pass the count to a nurse,
/// or give the inspection to me.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Assign {
    /// The task.
    pub id: TaskId,
    /// A user id or a role; `me` for the caller.
    #[schemars(length(min = 1, max = 200))]
    pub assignee: String,
}

impl Operation for Assign {
    type Output = Task;
    const SPEC: Spec = Spec::put("tasks_assign", "/tasks/{id}/assign", Effect::Write)
        .names_users(&["assignee"])
        .titled("Let somebody else handle a to-do")
        .requires(Permission::TASK_ASSIGN)
        .evicts(&["tasks"])
        .essential();
}

/// Answers a to-do (task-…) with my own decision, only once; the workflow then goes on.
///
/// I agree, so sign the marketing budget off; it is ok, approve the overtime; it is too expensive, so say no or decline
/// the request; mark the inspection as done with no damage, fill out the form, or put in the result of the count.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Respond {
    /// The task to answer.
    pub id: TaskId,
    /// The chosen option, one of those of the task's form.
    #[schemars(length(min = 1, max = 200))]
    pub decision: String,
    /// A remark for those who read the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comments: Option<String>,
    /// The form's other fields by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Value>>,
}

impl Operation for Respond {
    type Output = Task;
    const SPEC: Spec = Spec::put("tasks_respond", "/tasks/{id}/respond", Effect::Decide)
        .titled("Accept, refuse or answer a to-do or approval")
        .requires(Permission::TASK_APPROVE)
        .not_idempotent()
        .evicts(&["tasks", "executions"])
        .essential();

    fn objection(&self, task: &Value) -> Option<Objection> {
        let task: Task = serde_json::from_value(task.clone()).ok()?;
        if matches!(task.status, TaskStatus::Completed | TaskStatus::Cancelled) {
            let code = if task.status == TaskStatus::Completed { "FM-HTS-ALREADY-RESPONDED" } else { "FM-HTS-CLOSED" };
            return Some(Objection::state(code, format!("task {} is {}: it cannot be answered any more", task.task_id, task.status)));
        }
        let data = self.data.clone().unwrap_or_default();
        let faults = forms::check_answer(task.form.as_ref()?, &self.decision, self.comments.as_deref(), &data);
        let message = format!("the answer does not fit the form of task {}", task.task_id);
        (!faults.is_empty()).then_some(Objection { code: "FM-HTS-FORM", message, fields: faults })
    }
}

/// Lists to-dos and approvals (task items), mine or those of others, by status and deadline.
///
/// What must I do today, give me everything that is due this week or still pending, how many items wait for my
/// signature, which jobs are unassigned, and what has the office or workshop not worked off yet?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// A user id or a role; `me` for the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// In one of these states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Vec<TaskStatus>>,
    /// How it keeps its deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sla: Option<SlaFilter>,
    /// Tasks of this execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// Made after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// Made before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
    /// createdAt or -createdAt (default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

/// How a task keeps its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlaFilter {
    /// The deadline has passed.
    Breached,
    /// Under a quarter of the time is left.
    DueSoon,
    /// In time.
    Ok,
}

impl Operation for List {
    type Output = Page<Task>;
    const SPEC: Spec = Spec::get("tasks_list", "/tasks", Effect::Read)
        .titled("Any tasks open or overdue on my desk or plate")
        .requires(Permission::TASK_VIEW)
        .cached(2)
        .always_loaded();
}

/// Takes a to-do (task-…) up to the next level when someone does not react or cannot decide.
///
/// She ignores the request for days, nobody reacts and the SLA is broken; the urgent approval is stuck, so bring it
/// upstairs to the head or manager, kick or push it up the chain, or hand it higher to the director, a superior or
/// management.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Escalate {
    /// The task.
    pub id: TaskId,
    /// Why, for the audit trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Operation for Escalate {
    type Output = Task;
    const SPEC: Spec = Spec::put("tasks_escalate", "/tasks/{id}/escalate", Effect::Write)
        .titled("Get the boss involved in a to-do")
        .requires(Permission::TASK_ESCALATE)
        .not_idempotent()
        .evicts(&["tasks"])
        .essential();
}

/// Tells what happened to a to-do (task item, task-…): through whose hands it went, and when.
///
/// Who had the approval before him, how often was the item passed on, handed over or reassigned since last time, who
/// touched the discount, why did it lie around, when did someone answer or escalate it, and by whom was the decision
/// made, to prove it?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The task.
    pub id: TaskId,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for History {
    type Output = Page<TaskEvent>;
    const SPEC: Spec = Spec::get("tasks_history", "/tasks/{id}/history", Effect::Read)
        .titled("Who had a task in the past: its trail")
        .requires(Permission::TASK_VIEW)
        .cached(2);
}
