//! The rows of one tenant that wait apart, so that they are in nobody else's way: sent in their order, with growing pauses.
//!
//! A row that the platform fails on again and again may be itself to blame. Then the next ones are tried past it: if one
//! of them is taken, and the row is not even then, it is set aside; if none is, the trouble is not the row's, and all wait.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::deliver::{Carrier, Fate, account_in};
use super::row::Row;
use super::segment::Batch;
use super::spool::Spool;
use crate::api::ids::TenantId;
use crate::auth::Caller;
use crate::error::Result;

/// The longest pause between attempts.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// After how many failures others are tried past a row.
const FAILURES: u32 = 6;
/// How many rows are passed at most in search of one that is taken.
const PASSED: usize = 8;

/// How a lane does, for whoever waits for it.
pub(super) struct Signal {
    /// Nothing can be sent now.
    pub(super) is_resting: AtomicBool,
    /// Nothing is left, or it broke.
    pub(super) has_ended: AtomicBool,
    /// Told of either.
    pub(super) told: Arc<Notify>,
}

/// Sends the rows of one tenant until none is left.
pub(super) struct Lane {
    pub(super) carrier: Carrier,
    pub(super) tenant: TenantId,
    pub(super) spool: Arc<Mutex<Spool>>,
    pub(super) signal: Arc<Signal>,
    /// The pause after the first failure; it doubles.
    pub(super) pause: Duration,
    pub(super) trials: Trials,
}

/// What is known of the rows that stand first.
#[derive(Default)]
pub(super) struct Trials {
    failures: HashMap<String, u32>,
    /// Rows that need not wait any longer, though one before them does.
    done: HashSet<String>,
}

/// What one attempt came to.
struct Attempt {
    /// Whether the platform took any row.
    any_taken: bool,
    /// How many of the first rows need not wait any longer.
    settled: usize,
    /// How long the platform asked to be left alone.
    after: Option<Duration>,
}

/// Tells that a lane has ended, also when it broke.
struct Ending(Arc<Signal>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Release);
        self.0.told.notify_one();
    }
}

impl Lane {
    /// Sends what waits, after a pause where the platform has just refused some of it.
    pub(super) async fn drain(mut self, first: Option<Duration>) {
        let _ending = Ending(Arc::clone(&self.signal));
        let mut pause = self.pause;
        if let Some(first) = first {
            self.rest(first.max(pause)).await;
            pause *= 2;
        }
        loop {
            let batch = match self.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "rows of the record cannot be read");
                    self.rest(LONGEST_PAUSE).await;
                    continue;
                }
            };
            let rows = batch.rows.len();
            let attempt = self.attempt(&batch).await;
            self.settle(batch, attempt.settled).await;
            if attempt.any_taken {
                pause = self.pause;
            }
            if attempt.settled < rows {
                self.rest(attempt.after.unwrap_or_default().max(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Tries the rows in their order, up to the first that has to wait.
    async fn attempt(&mut self, batch: &Batch) -> Attempt {
        let account = Arc::new(account_in(self.tenant.clone()));
        let mut suspects = Vec::new();
        let (mut any_taken, mut after) = (false, None);
        for row in &batch.rows {
            if self.trials.done.contains(&row.id) {
                continue;
            }
            match self.carrier.send(&account, row).await {
                Fate::Delivered => {
                    any_taken = true;
                    self.trials.done.insert(row.id.clone());
                    if !self.judge(&account, std::mem::take(&mut suspects)).await {
                        break;
                    }
                }
                Fate::Undeliverable(why) => {
                    self.carrier.put_aside(row.clone(), why).await;
                    self.trials.done.insert(row.id.clone());
                }
                Fate::Failed(_, wanted) => {
                    after = wanted;
                    let failures = self.trials.failures.entry(row.id.clone()).or_default();
                    *failures += 1;
                    if *failures < FAILURES || suspects.len() == PASSED {
                        break;
                    }
                    suspects.push(row);
                }
                Fate::Later(wanted) | Fate::Unheard(wanted) => {
                    after = wanted;
                    break;
                }
            }
        }
        let settled = batch.rows.iter().take_while(|row| self.trials.done.contains(&row.id)).count();
        Attempt { any_taken, settled, after }
    }

    /// Tries rows again past which another was taken just now, and sets aside those that the platform still fails on: the
    /// trouble may have ended in between. Whether all of them are done with.
    async fn judge(&mut self, account: &Arc<Caller>, suspects: Vec<&Row>) -> bool {
        for row in suspects {
            match self.carrier.send(account, row).await {
                Fate::Delivered => {}
                Fate::Undeliverable(why) | Fate::Failed(why, _) => self.carrier.put_aside(row.clone(), why).await,
                Fate::Later(_) | Fate::Unheard(_) => return false,
            }
            self.trials.done.insert(row.id.clone());
        }
        true
    }

    /// The first rows need not wait any longer, and nothing more has to be known of them.
    async fn settle(&mut self, batch: Batch, settled: usize) {
        for row in &batch.rows[..settled] {
            self.trials.done.remove(&row.id);
            self.trials.failures.remove(&row.id);
        }
        let sent = self.blocking(move |spool| spool.sent(&batch, settled)).await;
        if let Some(Err(error)) = sent {
            tracing::warn!(%error, "what was sent of the record may be sent again");
        }
    }

    async fn next(&self) -> Result<Option<Batch>> {
        let next = |spool: &mut Spool| {
            let next = spool.next();
            if matches!(next, Ok(None)) {
                spool.tidy();
            }
            next
        };
        self.blocking(next).await.unwrap_or(Ok(None))
    }

    async fn rest(&self, time: Duration) {
        self.signal.is_resting.store(true, Ordering::Release);
        self.signal.told.notify_one();
        tokio::time::sleep(time.min(LONGEST_PAUSE)).await;
        self.signal.is_resting.store(false, Ordering::Release);
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&mut Spool) -> T + Send + 'static) -> Option<T> {
        let spool = Arc::clone(&self.spool);
        tokio::task::spawn_blocking(move || work(&mut spool.lock().unwrap_or_else(PoisonError::into_inner))).await.ok()
    }
}
