//! Scheduling Service: runs of processes at set times (contract, section 21).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::executions::ExecutionStatus;
use crate::api::ids::{ExecutionId, ProcessId, ScheduleId};
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Id, Layer, Lister, Resource};
use crate::api::{Done, Effect, Operation, Permission, Service, Spec, Timestamp};

/// Scheduling Service.
pub const SERVICE: Service = Service::new("scheduling", "schedules", "SS", "Schedules that start processes at set times.")
    .layer(Layer::Support)
    .operations(operations![Create, Get, Update, Delete, Execute, List])
    .finder("`schedules_list` shows the schedules there are and their ids; `audit_query` with resourceType schedule names them as well.")
    .ids(&[Id::of("scheduleId", "schedule").listed(Lister::new("schedules_list", &[], "scheduleId"))])
    .resources(&[Resource::new(
        "schedules/{id}",
        "schedules_get",
        "schedule",
        "Schedule",
        "Which process a schedule starts, at which times, with which variables, and when it is next due.",
    )
    .takes(&[("id", "schedule")])])
    .shown(&["processId", "cronExpression", "timezone", "variables", "misfirePolicy", "nextRunAt", "lastRunAt", "createdAt"])
    .topics(&["schedule.*"]);

open_enum! {
    /// The ways to deal with runs that were missed.
    MisfirePolicy {
        /// None of them is made up for.
        Skip = "skip",
        /// One run makes up for all of them.
        Once = "once",
        /// Each of them is made up for.
        All = "all",
    }
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The process it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_id: Option<ProcessId>,
    /// Cron expression or RRULE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron_expression: Option<String>,
    /// IANA time zone of the expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The variables of each run.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// What happens to missed runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misfire_policy: Option<MisfirePolicy>,
    /// When it is next due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run_at: Option<Timestamp>,
    /// When it last started a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_at: Option<Timestamp>,
    /// The execution it last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_execution_id: Option<ExecutionId>,
    /// Why its last run did not start; absent where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<FailedRun>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// A run that did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedRun {
    /// The time that was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_at: Option<Timestamp>,
    /// The code of the error.
    pub code: String,
    /// What was wrong, and what to do.
    pub message: String,
}

/// A run that was triggered by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The execution it started.
    pub execution_id: ExecutionId,
    /// The schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<ScheduleId>,
    /// The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_id: Option<ProcessId>,
    /// Where the execution stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ExecutionStatus>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
}

/// Has a process start by itself at set times (schedule), such as a report to the boss every weekday at nine.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// The process to start.
    pub process_id: ProcessId,
    /// Cron expression, such as `0 9 * * MON-FRI`, or RRULE, such as `FREQ=MONTHLY;BYMONTHDAY=1`.
    #[schemars(length(min = 1, max = 500))]
    pub cron_expression: String,
    /// IANA time zone, such as `America/New_York`; UTC if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub timezone: Option<String>,
    /// Variables of each run, such as `{"reportType": "daily"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// Runs missed in an outage: none, one (if absent) or all made up for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misfire_policy: Option<MisfirePolicy>,
}

impl Operation for Create {
    type Output = Schedule;
    const SPEC: Spec = Spec::post("schedules_create", "/schedules", Effect::Write)
        .titled("Create a schedule")
        .requires(Permission::SCHEDULE_CREATE)
        .answers(201)
        .evicts(&["schedules"]);
}

/// Shows when a recurring run (schedule) is next due, in which time zone, and whether last night's took place.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The schedule.
    pub id: ScheduleId,
}

impl Operation for Get {
    type Output = Schedule;
    const SPEC: Spec = Spec::get("schedules_get", "/schedules/{id}", Effect::Read)
        .titled("Show a schedule")
        .requires(Permission::SCHEDULE_VIEW)
        .cached(30);
}

/// Moves a recurring run (schedule) to another hour, weekday or time zone, or gives it another input.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// The schedule.
    pub id: ScheduleId,
    /// Another process to start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_id: Option<ProcessId>,
    /// The new cron expression or RRULE.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub cron_expression: Option<String>,
    /// The new IANA time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub timezone: Option<String>,
    /// All variables, old ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// Runs missed in an outage: none, one or all made up for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misfire_policy: Option<MisfirePolicy>,
}

impl Operation for Update {
    type Output = Schedule;
    const SPEC: Spec = Spec::put("schedules_update", "/schedules/{id}", Effect::Write)
        .titled("Change a schedule")
        .requires(Permission::SCHEDULE_UPDATE)
        .evicts(&["schedules"]);
}

/// Ends a recurring run (schedule) for good, such as a weekly reminder that nobody reads any more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// The schedule.
    pub id: ScheduleId,
}

impl Operation for Delete {
    type Output = Done;
    const SPEC: Spec = Spec::delete("schedules_delete", "/schedules/{id}", Effect::Destroy)
        .titled("Delete a schedule")
        .requires(Permission::SCHEDULE_DELETE)
        .evicts(&["schedules"]);
}

/// Starts a recurring run (schedule) now, out of turn, such as tonight's payroll at noon before a holiday.
///
/// The times that were set stay as they are.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Execute {
    /// The schedule.
    pub id: ScheduleId,
}

impl Operation for Execute {
    type Output = Run;
    const SPEC: Spec = Spec::post("schedules_execute", "/schedules/{id}/execute", Effect::Write)
        .titled("Run a schedule now")
        .requires(Permission::SCHEDULE_EXECUTE)
        .answers(202)
        .evicts(&["schedules", "executions", "tasks"]);
}

/// Shows everything that starts by itself at set times (schedules), with each next and last run, newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Schedule>;
    const SPEC: Spec = Spec::get("schedules_list", "/schedules", Effect::Read)
        .titled("List schedules")
        .requires(Permission::SCHEDULE_VIEW)
        .extension()
        .essential();
}
