//! Scheduling Service: runs of processes at set times (contract, section 21).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::executions::ExecutionStatus;
use crate::api::ids::{ExecutionId, ProcessId, ScheduleId};
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
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
    .takes(&[("id", "schedule")])
    .changed_by(&[Change::new("schedule.*", &["scheduleId"])])])
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

/// Has a workflow start by itself at regular times (schedule, timer).
///
/// Run the backup every night at 2, plan the report for the first day of the month, let the checklist begin
/// automatically each Monday at six, set a weekly stock check at noon on Friday, a daily flow on weekdays, or one twice
/// a quarter or year, on 1 January and 31 March.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// The process to start.
    pub process_id: ProcessId,
    /// Cron such as `0 9 * * MON-FRI`, or RRULE such as `FREQ=MONTHLY;BYMONTHDAY=1`.
    #[schemars(length(min = 1, max = 500))]
    pub cron_expression: String,
    /// IANA time zone, such as `America/New_York`; UTC if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub timezone: Option<String>,
    /// Variables of each run: `{"reportType": "daily"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// Runs missed in an outage: none, one (default) or all made up for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misfire_policy: Option<MisfirePolicy>,
}

impl Operation for Create {
    type Output = Schedule;
    const SPEC: Spec = Spec::post("schedules_create", "/schedules", Effect::Write)
        .titled("Have a workflow run regularly")
        .requires(Permission::SCHEDULE_CREATE)
        .answers(201)
        .evicts(&["schedules"]);
}

/// Shows one timer: when an automatic start is due next (schedule, sched-…).
///
/// For what time is the backup set by cron, see the plan of the monthly inspection, open the details of the nightly
/// trigger with its variables, is it active, and what use or timezone does the stock check have?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The schedule.
    pub id: ScheduleId,
}

impl Operation for Get {
    type Output = Schedule;
    const SPEC: Spec = Spec::get("schedules_get", "/schedules/{id}", Effect::Read)
        .titled("When a timer fires next, or fired last")
        .requires(Permission::SCHEDULE_VIEW)
        .cached(30);
}

/// Changes when or with what a timer starts a workflow (schedule, sched-…).
///
/// Move the automatic backup to Tuesday or Saturday, start the nightly stock check some hours later, postpone it by a
/// week, add recipients, adjust it to 8 instead, make the monthly report quarterly or weekly now, every second month,
/// or have it switched off or disabled in summer.
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
        .titled("Move a scheduled run to another day")
        .requires(Permission::SCHEDULE_UPDATE)
        .evicts(&["schedules"]);
}

/// Removes a timer for good, so that the workflow no longer starts by itself (schedule, sched-…).
///
/// Nobody needs the weekly report any more, so stop or end the automatic backup, scrap or drop the nightly trigger,
/// take the cron away, erase it, or get rid of a recurring reminder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// The schedule.
    pub id: ScheduleId,
}

impl Operation for Delete {
    type Output = Done;
    const SPEC: Spec = Spec::delete("schedules_delete", "/schedules/{id}", Effect::Destroy)
        .titled("Stop a scheduled run for good")
        .requires(Permission::SCHEDULE_DELETE)
        .evicts(&["schedules"]);
}

/// Fires a timer right now (schedule, sched-…), once and by hand.
///
/// Trigger the nightly backup immediately, we can't wait for the cron, start the weekly report early today or ahead of
/// time, or set off the daily one in five minutes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Execute {
    /// The schedule.
    pub id: ScheduleId,
}

impl Operation for Execute {
    type Output = Run;
    const SPEC: Spec = Spec::post("schedules_execute", "/schedules/{id}/execute", Effect::Write)
        .titled("Start a scheduled run now")
        .requires(Permission::SCHEDULE_EXECUTE)
        .answers(202)
        .evicts(&["schedules", "executions", "tasks"]);
}

/// Lists the timers and cron jobs that start workflows by themselves (schedules).
///
/// What is planned for tonight or the weekend, is anything automatic or recurring on Monday, and which triggers are set
/// or off, in the overview?
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
        .titled("What things start automatically: all timers")
        .requires(Permission::SCHEDULE_VIEW)
        .extension()
        .essential();
}
