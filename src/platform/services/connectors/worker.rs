//! The worker: queues the runs of schedules whose time has come, and works on what is due, one run of a tenant at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use tokio::task::{Id, JoinSet};

use super::jobs::{self, Stored};
use super::{lifecycle, run, runs};
use crate::api::Timestamp;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::Scope;
use crate::platform::services::schedules::times::Times;

/// How many runs are worked on at once.
const AT_ONCE: usize = 2;
/// How many due runs and jobs are looked up at once.
const BATCH: usize = 100;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Works until the platform stops.
pub(super) async fn watch(platform: Platform) {
    let mut working = JoinSet::new();
    // The tenant of each run that is worked on.
    let mut busy: HashMap<Id, String> = HashMap::new();
    while !platform.stopping().is_cancelled() {
        let next = match look(&platform, &mut working, &mut busy).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the imports that are due cannot be looked up");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        let clock = Arc::clone(platform.clock());
        let due = async {
            match next {
                Some(moment) => clock.sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = platform.stopping().cancelled() => {}
            () = platform.imports_notify().notified() => {}
            () = due => {}
            Some(done) = working.join_next_with_id() => {
                busy.remove(&done.map_or_else(|error| error.id(), |(task, ())| task));
            }
        }
    }
    // Those under way break off between two batches.
    while working.join_next().await.is_some() {}
}

/// Queues and begins what is due as far as there is room, and answers when something is due next.
async fn look(platform: &Platform, working: &mut JoinSet<()>, busy: &mut HashMap<Id, String>) -> Result<Option<Timestamp>> {
    let now = platform.now();
    for job in platform.database().read(move |connection| jobs::due(connection, now, BATCH)).await? {
        queue(platform, job, now).await?;
    }
    let (due, next_run) = platform.database().read(move |connection| runs::due(connection, now, BATCH)).await?;
    for run in due {
        if busy.len() >= AT_ONCE {
            break;
        }
        if busy.values().any(|tenant| *tenant == run.tenant) {
            continue;
        }
        let (tenant, platform) = (run.tenant.clone(), platform.clone());
        let task = working.spawn(async move {
            let id = run.id.clone();
            if let Err(error) = run::work(&platform, run).await {
                tracing::error!(%error, run = id, "the end of an import cannot be kept");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        });
        busy.insert(task.id(), tenant);
    }
    let next_job: Option<Timestamp> = platform
        .database()
        .read(|connection| {
            let sql = "SELECT min(next_run_at) FROM ingest_jobs WHERE next_run_at IS NOT NULL";
            Ok(connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp::from_millis))
        })
        .await?;
    Ok(next_run.into_iter().chain(next_job).min())
}

/// Queues the run of a schedule and sets its next time. A time at which a run is still under way is passed over.
async fn queue(platform: &Platform, job: Stored, now: Timestamp) -> Result<()> {
    let schedule = job.schedule.clone();
    let next = platform.compute().run(&job.tenant, move || next_time(schedule.as_deref(), now)).await??;
    let scope = Scope { correlation_id: Some(job.id.clone()), ..Scope::system(job.tenant.as_str().into()) };
    platform
        .database()
        .write(scope, move |tx| {
            let current = jobs::find(tx, tx.tenant(), &job.id)?;
            // It was cancelled or dealt with meanwhile.
            if current.next_run != job.next_run {
                return Ok(());
            }
            if !runs::is_active(tx, tx.tenant(), &job.id)? {
                lifecycle::queue(tx, &current, &current.runs_as)?;
            }
            jobs::set_next(tx, &job.id, next)
        })
        .await
}

/// When a schedule is due after a moment. It takes long where there is no such time: not for an async thread.
pub(super) fn next_time(schedule: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>> {
    let Some(schedule) = schedule else { return Ok(None) };
    Ok(Times::parse(schedule, Tz::UTC, now)?.after(now))
}
