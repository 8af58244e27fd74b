//! Scheduling Service: schedules that start executions at their times (contract, section 21). `worker` waits for the times.

mod fire;
mod lists;
mod misfire;
mod recurrence;
pub(crate) mod rights;
mod store;
pub(crate) mod times;
mod worker;

use serde_json::{Map, Value, json};

use self::store::Stored;
use self::times::Times;
use crate::api::audit::Changes;
use crate::api::schedules::{Create, Delete, Execute, Get, MisfirePolicy, Run, SERVICE, Schedule, Update};
use crate::api::{Done, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Tx;
use crate::platform::engine::Engine;
use crate::platform::engine::runtime::alarms;
use crate::platform::engine::runtime::start::Begin;
use crate::platform::http::context::{Answer, Cx, matches};
use crate::platform::http::routes::Routes;

/// Most schedules of a tenant.
const MAX_PER_TENANT: i64 = 1_000;

/// The operations of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(create).on(get).on(update).on(delete).on(execute).on(lists::schedules).extend(&SERVICE, lists::runs)
}

/// Starts the worker that waits for the schedules' times.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(worker::watch(platform.clone()));
}

async fn create(cx: Cx, request: Create) -> Result<Answer<Schedule>> {
    rights::check_caller(&cx.caller)?;
    let policy = request.misfire_policy.unwrap_or(MisfirePolicy::Once);
    let timezone = request.timezone.unwrap_or_else(|| "UTC".to_owned());
    let now = cx.now();
    let planned = first_time(&cx, request.cron_expression.clone(), timezone.clone(), now, now).await?;
    let stored = cx
        .write(move |tx| {
            if store::count(tx, tx.tenant())? >= MAX_PER_TENANT {
                let message = format!("there are {MAX_PER_TENANT} schedules already");
                return Err(Error::new(Kind::Conflict, "FM-SS-TOO-MANY", message).hint("Delete one that is not needed any more."));
            }
            let schedule = Stored {
                id: tx.mint("sched"),
                tenant: tx.tenant().to_owned(),
                process: request.process_id.0,
                expression: request.cron_expression,
                timezone,
                variables: request.variables.unwrap_or_default(),
                policy,
                anchor: now,
                version: 1,
                runs_as: tx.scope().actor.clone(),
                planned: Some(planned),
                attempts: 0,
                last_run: None,
                last_execution: None,
                created: tx.now(),
                updated: tx.now(),
            };
            check_start(tx, &schedule)?;
            store::put(tx, &schedule)?;
            record(tx, "schedule.created", &schedule, Changes { before: None, after: Some(fields(&schedule)) })?;
            Ok(schedule)
        })
        .await?;
    cx.platform.schedules_notify().notify_one();
    let (location, version) = (format!("/schedules/{}", stored.id), stored.version);
    Ok(Answer::from(stored.view(None)).etag(version).location(location))
}

async fn get(cx: Cx, request: Get) -> Result<Answer<Schedule>> {
    let tenant = cx.tenant();
    cx.read(move |connection| {
        let schedule = store::find(connection, tenant.as_str(), request.id.as_str())?;
        let version = schedule.version;
        let failure = store::last_failure(connection, tenant.as_str(), request.id.as_str())?;
        Ok(Answer::from(schedule.view(failure)).etag(version))
    })
    .await
}

async fn update(cx: Cx, request: Update) -> Result<Answer<Schedule>> {
    rights::check_caller(&cx.caller)?;
    let (tenant, id) = (cx.tenant(), request.id.0.clone());
    let before = cx.read(move |connection| store::find(connection, tenant.as_str(), &id)).await?;
    let mut after = changed(&before, request)?;
    let now = cx.now();
    if (&after.expression, &after.timezone) != (&before.expression, &before.timezone) {
        after.anchor = now;
        after.attempts = 0;
        after.planned = Some(first_time(&cx, after.expression.clone(), after.timezone.clone(), now, now).await?);
    }
    let if_match = cx.if_match.clone();
    let answer = cx
        .write(move |tx| {
            let current = store::find(tx, tx.tenant(), &after.id)?;
            matches(if_match.as_deref(), &current.version.to_string())?;
            // The worker may have moved on meanwhile, another caller must not have.
            matches(Some(&before.version.to_string()), &current.version.to_string())?;
            if (&after.expression, &after.timezone) == (&before.expression, &before.timezone) {
                (after.planned, after.attempts) = (current.planned, 0);
            }
            after.version += 1;
            after.runs_as.clone_from(&tx.scope().actor);
            after.updated = tx.now();
            (after.last_run, after.last_execution) = (current.last_run, current.last_execution);
            check_start(tx, &after)?;
            store::put(tx, &after)?;
            record(tx, "schedule.updated", &after, Changes { before: Some(fields(&before)), after: Some(fields(&after)) })?;
            let (version, failure) = (after.version, store::last_failure(tx, tx.tenant(), &after.id)?);
            Ok(Answer::from(after.view(failure)).etag(version))
        })
        .await?;
    cx.platform.schedules_notify().notify_one();
    Ok(answer)
}

async fn delete(cx: Cx, request: Delete) -> Result<Done> {
    let if_match = cx.if_match.clone();
    cx.write(move |tx| {
        let schedule = store::find(tx, tx.tenant(), request.id.as_str())?;
        matches(if_match.as_deref(), &schedule.version.to_string())?;
        tx.execute("DELETE FROM schedules WHERE tenant_id = ?1 AND id = ?2", (tx.tenant(), request.id.as_str()))?;
        record(tx, "schedule.deleted", &schedule, Changes { before: Some(fields(&schedule)), after: None })?;
        Ok(Done::default())
    })
    .await
}

async fn execute(cx: Cx, request: Execute) -> Result<Run> {
    let run = cx
        .write(move |tx| {
            let schedule = store::find(tx, tx.tenant(), request.id.as_str())?;
            let execution = fire::by_hand(tx, &schedule)?;
            Ok(Run {
                execution_id: execution.execution_id,
                schedule_id: Some(schedule.id.into()),
                process_id: Some(schedule.process.into()),
                status: Some(execution.status),
                started_at: Some(tx.now()),
            })
        })
        .await?;
    alarms::changed(&cx.platform);
    Ok(run)
}

/// The schedule as a request changes it.
fn changed(before: &Stored, request: Update) -> Result<Stored> {
    let given = request.process_id.is_some()
        || request.cron_expression.is_some()
        || request.timezone.is_some()
        || request.variables.is_some()
        || request.misfire_policy.is_some();
    if !given {
        return Err(Error::new(Kind::Invalid, "FM-SS-NOTHING-TO-CHANGE", "no field of the schedule is given")
            .hint("Send the fields to change, such as `cronExpression`; the others stay as they are."));
    }
    let before = before.clone();
    Ok(Stored {
        process: request.process_id.map_or(before.process, |process| process.0),
        expression: request.cron_expression.unwrap_or(before.expression),
        timezone: request.timezone.unwrap_or(before.timezone),
        variables: request.variables.unwrap_or(before.variables),
        policy: request.misfire_policy.unwrap_or(before.policy),
        ..before
    })
}

/// The first time of an expression after a moment, searched off the async threads.
async fn first_time(cx: &Cx, expression: String, timezone: String, anchor: Timestamp, after: Timestamp) -> Result<Timestamp> {
    let search = move || Times::parse(&expression, times::zone(&timezone)?, anchor)?.first_after(after);
    cx.compute(search).await?
}

/// Refuses a schedule whose execution could not start as things are now.
fn check_start(tx: &mut Tx<'_>, schedule: &Stored) -> Result<()> {
    let begin = Begin {
        process: schedule.process.clone(),
        version: None,
        variables: schedule.variables.clone(),
        initiator: schedule.runs_as.clone(),
        parent: None,
    };
    Engine::new(tx).check(&begin)
}

/// Event and audit row of a change.
fn record(tx: &mut Tx<'_>, topic: &str, schedule: &Stored, changes: Changes) -> Result<()> {
    let data = json!({
        "scheduleId": schedule.id, "processId": schedule.process, "nextRunAt": schedule.planned, "version": schedule.version,
    });
    tx.emit(topic, &schedule.id, data)?;
    tx.audit(topic, "schedule", &schedule.id, Some(changes))?;
    Ok(())
}

/// A schedule as the audit trail has it: variables by name, since their values may be personal.
fn fields(schedule: &Stored) -> Map<String, Value> {
    let names: Vec<&String> = schedule.variables.keys().collect();
    Map::from_iter([
        ("processId".to_owned(), json!(schedule.process)),
        ("cronExpression".to_owned(), json!(schedule.expression)),
        ("timezone".to_owned(), json!(schedule.timezone)),
        ("misfirePolicy".to_owned(), json!(schedule.policy)),
        ("variables".to_owned(), json!(names)),
        ("runsAs".to_owned(), json!(schedule.runs_as)),
    ])
}
