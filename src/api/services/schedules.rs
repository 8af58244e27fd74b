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

/// Lets a workflow run by itself: begin automatically each morning, every weekday at six, Friday noon or evening,
/// daily, weekly, every quarter, on the first of a month.
///
/// Also: want a regular, recurring start, such as inventory, backup, cleaning or a checklist.
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
        .titled("Have a workflow run regularly")
        .requires(Permission::SCHEDULE_CREATE)
        .answers(201)
        .evicts(&["schedules"]);
}

/// Shows how one timer is set: when does the weekly or daily start come next, how often, is the schedule active, on
/// which day, rhythm, time zone, when did it last fire, the next inventory or handover.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The schedule.
    pub id: ScheduleId,
}

impl Operation for Get {
    type Output = Schedule;
    const SPEC: Spec = Spec::get("schedules_get", "/schedules/{id}", Effect::Read)
        .titled("When does an automatic run start again, when is it due next: a timer's details (sched-…)")
        .requires(Permission::SCHEDULE_VIEW)
        .cached(30);
}

/// Changes a timer (sched-…): shift, move, postpone, adjust or reschedule the automatic daily start to Friday, Sunday,
/// midnight, the afternoon or 5 pm, an hour later on the clock.
///
/// Also: monthly rather than weekly, every two weeks instead, at another rhythm or in another time zone.
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

/// Ends a recurring start (sched-…): drop the timer, no longer run daily, nightly, weekly or monthly by itself, not
/// needed any more, remove it from the calendar or timetable, abolish.
///
/// Also: cancel or turn the regular automatic run off permanently.
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

/// Fires a timer (sched-…) immediately: trigger or launch the nightly or weekly run today, early, right now, by hand,
/// once, an extra one as an exception, no wait until night or Monday, a skipped plan.
///
/// Also: execute it ahead of its schedule.
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

/// Shows the timetable: what is planned on the calendar for the night or weekend, which timers exist, what jobs start
/// by themselves regularly, every night, is there a stock run, anything automatic.
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
        .titled("What happens by itself, automatically: all timers, planned and recurring jobs, the calendar")
        .requires(Permission::SCHEDULE_VIEW)
        .extension()
        .essential();
}
