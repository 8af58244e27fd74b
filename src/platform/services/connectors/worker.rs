//! The runs of imports: what queues those whose schedule is due, and the worker that carries them out, one of a tenant at a
//! time.

use std::time::Duration;

use chrono_tz::Tz;

use super::jobs::{self, Stored};
use super::{lifecycle, run, runs};
use crate::api::Timestamp;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::Scope;
use crate::platform::queue::{Job, Queue, Rows};
use crate::platform::services::schedules::times::Times;

/// How many due schedules are looked up at once.
const BATCH: usize = 100;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs that are queued or were interrupted.
#[derive(Clone)]
pub(super) struct Runs;

impl Queue for Runs {
    const AT_ONCE: usize = 2;
    const OF_ONE_TENANT: usize = 1;

    fn rows(&self) -> Rows {
        Rows {
            what: "imports",
            table: "ingest_runs",
            id: "job_id || '/' || id",
            due: "due_at",
            waiting: "status IN ('pending', 'running')".into(),
        }
    }

    async fn woken(&mut self, platform: &Platform) {
        platform.import_runs_notify().notified().await;
    }

    async fn work(&self, platform: &Platform, job: Job) -> Result<()> {
        let (tenant, id) = (job.tenant.clone(), job.id);
        match platform.database().read_for(&job.tenant, move |connection| runs::queued(connection, &tenant, &id)).await? {
            Some(run) => run::work(platform, run).await,
            None => Ok(()),
        }
    }
}

/// Queues the runs of schedules whose time has come, until the platform stops.
pub(super) async fn watch(platform: Platform) {
    while !platform.stopping().is_cancelled() {
        let next = match queue_due(&platform).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the imports that are due cannot be looked up");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        let due = async {
            match next {
                Some(moment) => platform.clock().sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = platform.stopping().cancelled() => {}
            () = platform.import_schedules_notify().notified() => {}
            () = due => {}
        }
    }
}

/// Queues what is due, and answers when something is due next.
async fn queue_due(platform: &Platform) -> Result<Option<Timestamp>> {
    let now = platform.now();
    for job in platform.database().read(move |connection| jobs::due(connection, now, BATCH)).await? {
        queue(platform, job, now).await?;
        platform.import_runs_notify().notify_one();
    }
    let sql = "SELECT min(next_run_at) FROM ingest_jobs WHERE next_run_at IS NOT NULL";
    let next: Option<i64> = platform.database().read(move |connection| Ok(connection.query_row(sql, [], |row| row.get(0))?)).await?;
    Ok(next.map(Timestamp::from_millis))
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
