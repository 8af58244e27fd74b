//! The worker: sleeps until a schedule is due, and starts what is due, each execution in one transaction with its row.
//!
//! The next time of each schedule is in the database, and moves on in the transaction that deals with it. So a kill loses
//! no time and repeats none.

use std::sync::Arc;
use std::time::Duration;

use super::misfire::{self, Plan, Step};
use super::store::{self, Stored};
use super::{fire, rights, times};
use crate::api::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Scope;

/// How many due schedules are looked up at once.
const BATCH: usize = 100;
/// How long to wait before the database is asked again.
const AGAIN_SECONDS: f64 = 5.0;
/// How often an execution is tried that the platform could not start.
const MAX_ATTEMPTS: u32 = 6;
/// How long to wait after the first failed attempt; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_secs(5);

/// Starts what is due until the platform stops.
pub(super) async fn watch(platform: Platform) {
    while !platform.stopping().is_cancelled() {
        let next = fire_due(&platform).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the schedules that are due cannot be looked up");
            Some(platform.now().plus_seconds(AGAIN_SECONDS))
        });
        let clock = Arc::clone(platform.clock());
        let due = async {
            match next {
                Some(moment) => clock.sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = platform.stopping().cancelled() => return,
            () = platform.schedules_notify().notified() => {}
            () = due => {}
        }
    }
}

/// Deals with every schedule that is due and answers when the next one is.
async fn fire_due(platform: &Platform) -> Result<Option<Timestamp>> {
    let mut passed_over = 0;
    loop {
        let now = platform.now();
        let due = platform.database().read(move |connection| store::due(connection, now, BATCH, passed_over)).await?;
        if due.is_empty() {
            break;
        }
        for schedule in due {
            if platform.stopping().is_cancelled() {
                return Ok(None);
            }
            let id = schedule.id.clone();
            if let Err(error) = deal_with(platform, schedule, now).await {
                tracing::error!(%error, schedule = id, "a schedule that is due could not be dealt with");
                passed_over += 1;
            }
        }
    }
    if passed_over > 0 {
        return Ok(Some(platform.now().plus_seconds(AGAIN_SECONDS)));
    }
    platform.database().read(store::next).await
}

/// Carries out what a schedule's plan says, step by step.
async fn deal_with(platform: &Platform, schedule: Stored, now: Timestamp) -> Result<()> {
    let Some(mut planned) = schedule.planned else { return Ok(()) };
    let schedule = Arc::new(schedule);
    let planning = Arc::clone(&schedule);
    // The search for times is the crates' work: a panic of theirs is the schedule's failure, not the worker's.
    let made = platform.compute().run(&schedule.tenant, move || make_plan(&planning, planned, now)).await.flatten();
    let plan = match made {
        Ok(plan) => plan,
        Err(error) => {
            let step = Step { planned, missed: 0, runs: true };
            return note_failure(platform, &schedule, planned, step, None, &error).await;
        }
    };
    for (place, step) in plan.steps.iter().enumerate() {
        let next = plan.steps.get(place + 1).map(|step| step.planned).or(plan.next);
        if let Err(error) = carry_out(platform, &schedule, planned, *step, next).await {
            let attempts = if place == 0 { schedule.attempts + 1 } else { 1 };
            if may_pass(&error) && attempts < MAX_ATTEMPTS {
                return put_off(platform, &schedule, planned, attempts, &error).await;
            }
            note_failure(platform, &schedule, planned, *step, next, &error).await?;
        }
        let Some(next) = next else { break };
        planned = next;
    }
    Ok(())
}

fn make_plan(schedule: &Stored, planned: Timestamp, now: Timestamp) -> Result<Plan> {
    let times = times::Times::parse(&schedule.expression, times::zone(&schedule.timezone)?, schedule.anchor)?;
    Ok(misfire::plan(&times, planned, schedule.attempts > 0, now, &schedule.policy))
}

/// Whether the same start may succeed later: the fault is the platform's, not the schedule's.
fn may_pass(error: &Error) -> bool {
    error.is_transient() || error.kind() == Kind::Internal
}

/// One step: the execution, its row and the next time become true together.
async fn carry_out(platform: &Platform, schedule: &Arc<Stored>, planned: Timestamp, step: Step, next: Option<Timestamp>) -> Result<()> {
    if step.runs {
        let (now, held) = (platform.now(), Arc::clone(schedule));
        platform.database().read(move |connection| rights::check(connection, &held.tenant, &held.runs_as, now)).await?;
    }
    let held = Arc::clone(schedule);
    platform.database().write(scope(schedule), move |tx| fire::on_time(tx, &held, planned, step, next)).await?;
    crate::platform::engine::runtime::alarms::changed(platform);
    Ok(())
}

async fn put_off(platform: &Platform, schedule: &Arc<Stored>, planned: Timestamp, attempts: u32, error: &Error) -> Result<()> {
    tracing::warn!(%error, schedule = schedule.id, attempts, "a schedule could not start its execution yet");
    let delay = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    let held = Arc::clone(schedule);
    platform
        .database()
        .write(scope(schedule), move |tx| store::put_off(tx, &held, planned, attempts, tx.now().plus_seconds(delay.as_secs_f64())))
        .await
}

async fn note_failure(
    platform: &Platform,
    schedule: &Arc<Stored>,
    planned: Timestamp,
    step: Step,
    next: Option<Timestamp>,
    error: &Error,
) -> Result<()> {
    tracing::warn!(%error, schedule = schedule.id, "a schedule did not start its execution");
    let (held, code, message) = (Arc::clone(schedule), error.code().to_owned(), fire::reason(error));
    platform.database().write(scope(schedule), move |tx| fire::failed(tx, &held, planned, step, next, code, message)).await
}

/// What the platform does by itself goes back to the schedule.
fn scope(schedule: &Stored) -> Scope {
    Scope { correlation_id: Some(schedule.id.clone()), ..Scope::system(schedule.tenant.as_str().into()) }
}
