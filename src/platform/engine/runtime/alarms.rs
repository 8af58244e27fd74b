//! Timers and deadlines: a worker sleeps until the next one is due, and is woken when there may be an earlier one.
//!
//! What is due is read from the database each time, so nothing is lost by a restart, and nothing is kept in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::tasks;
use crate::api::Timestamp;
use crate::api::ids::TenantId;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::Scope;
use crate::platform::engine::Engine;

/// How many due things are looked up at once.
const BATCH: usize = 100;
/// How long to wait before something that could not be done is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The two kinds of alarms.
#[derive(Debug, Clone, Copy)]
pub enum Alarm {
    /// Executions that wait for a time.
    Timers,
    /// Tasks that have a deadline.
    Deadlines,
}

impl Alarm {
    /// Watches until the platform stops.
    pub async fn watch(self, platform: Platform) {
        loop {
            let next = match self.ring_all(&platform).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, alarm = ?self, "what is due could not be looked up");
                    Some(platform.now().plus_seconds(AGAIN.as_secs_f64()))
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
                () = platform.stopping().cancelled() => return,
                () = self.notify(&platform).notified() => {}
                () = due => {}
            }
        }
    }

    /// Does everything that is due and answers when the next is.
    async fn ring_all(self, platform: &Platform) -> Result<Option<Timestamp>> {
        let mut failed = 0;
        loop {
            let now = platform.now();
            let due = self.due(platform, now, failed).await?;
            if due.is_empty() {
                break;
            }
            for (tenant, id) in due {
                let ringing = id.clone();
                // What the platform does by itself goes back to the execution or the task.
                let scope = Scope { correlation_id: Some(id.clone()), ..Scope::system(TenantId(tenant)) };
                let rung = platform.database().write(scope, move |tx| match self {
                    Self::Timers => Engine::new(tx).wake(&ringing).map(drop),
                    Self::Deadlines => tasks::late(tx, &ringing),
                });
                if let Err(error) = rung.await {
                    tracing::error!(%error, id, alarm = ?self, "what was due could not be done");
                    failed += 1;
                }
                // A timer may lead to a task with a deadline.
                self.other(platform).notify_one();
            }
        }
        if failed > 0 {
            return Ok(Some(platform.now().plus_seconds(AGAIN.as_secs_f64())));
        }
        self.next(platform).await
    }

    async fn due(self, platform: &Platform, now: Timestamp, skip: usize) -> Result<Vec<(String, String)>> {
        let sql = match self {
            Self::Timers => "SELECT tenant_id, id FROM executions WHERE due_at <= ?1 ORDER BY due_at, id LIMIT ?2 OFFSET ?3",
            Self::Deadlines => "SELECT tenant_id, id FROM tasks WHERE alarm_at <= ?1 ORDER BY alarm_at, id LIMIT ?2 OFFSET ?3",
        };
        let (most, skip) = (i64::try_from(BATCH).unwrap_or_default(), i64::try_from(skip).unwrap_or_default());
        platform
            .database()
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql)?;
                let rows = statement.query_map((now.millis(), most, skip), |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn next(self, platform: &Platform) -> Result<Option<Timestamp>> {
        let sql = match self {
            Self::Timers => "SELECT min(due_at) FROM executions WHERE due_at IS NOT NULL",
            Self::Deadlines => "SELECT min(alarm_at) FROM tasks WHERE alarm_at IS NOT NULL",
        };
        let next: Option<i64> = platform.database().read(move |connection| Ok(connection.query_row(sql, [], |row| row.get(0))?)).await?;
        Ok(next.map(Timestamp::from_millis))
    }

    fn notify(self, platform: &Platform) -> &Notify {
        match self {
            Self::Timers => platform.engine_notify(),
            Self::Deadlines => platform.deadlines_notify(),
        }
    }

    fn other(self, platform: &Platform) -> &Notify {
        match self {
            Self::Timers => platform.deadlines_notify(),
            Self::Deadlines => platform.engine_notify(),
        }
    }
}

/// Tells both workers that there may be something earlier.
pub fn changed(platform: &Platform) {
    platform.engine_notify().notify_one();
    platform.deadlines_notify().notify_one();
}
