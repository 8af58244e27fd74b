//! The rows of one tenant that wait apart, so that they are in nobody else's way: sent in their order, with growing pauses.
//!
//! A row that the platform fails on again and again may be itself to blame. Then the next ones are tried past it: if one
//! of them is taken, and the row is not even then, it is set aside; if none is, the trouble is not the row's, and all wait.
//! Where more fail than are passed at once, one row further behind is tried at each attempt, another each time.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::entry::Row;
use super::segment::Batch;
use super::sender::{Carrier, Fate, PATIENCE, account_in};
use super::spool::Spool;
use crate::api::ids::TenantId;
use crate::auth::Caller;
use crate::error::Result;

/// The longest pause between attempts, however much longer the platform asks to be left alone: it may change its mind.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// After how many failures others are tried past a row.
const FAILURES: u32 = 6;
/// How many rows are passed at most in search of one that is taken.
const PASSED: usize = 8;

/// How a lane does, for whoever waits for it.
pub(super) struct Signal {
    /// Nothing can be sent now.
    pub(super) is_resting: AtomicBool,
    /// The platform took rows of others since the attempt before the last, and none of this tenant's in the last.
    pub(super) is_alone: AtomicBool,
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
    /// How often a row was tried further behind than are passed.
    leaps: usize,
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
        let mut taken = self.taken();
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
            let taken_before = self.taken();
            let attempt = self.attempt(&batch).await;
            self.settle(batch, attempt.settled).await;
            self.signal.is_alone.store(!attempt.any_taken && attempt.settled < rows && taken_before > taken, Ordering::Release);
            taken = taken_before;
            if attempt.any_taken {
                pause = self.pause;
                // What was taken of its own rows says nothing about others'.
                taken = self.taken();
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
        for (index, row) in batch.rows.iter().enumerate() {
            if self.trials.done.contains(&row.id) {
                continue;
            }
            match self.carrier.send(&account, row, PATIENCE).await {
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
                    if *failures < FAILURES {
                        break;
                    }
                    suspects.push(row);
                    if suspects.len() > PASSED {
                        if !self.leap(&account, &batch.rows[index + 1..]).await {
                            break;
                        }
                        any_taken = true;
                        if !self.judge(&account, std::mem::take(&mut suspects)).await {
                            break;
                        }
                    }
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

    /// Tries one of the rows behind those that were passed, another each time; whether it was taken.
    async fn leap(&mut self, account: &Arc<Caller>, behind: &[Row]) -> bool {
        let open: Vec<&Row> = behind.iter().filter(|row| !self.trials.done.contains(&row.id)).collect();
        let Some(row) = self.trials.leaps.checked_rem(open.len()).map(|index| open[index]) else { return false };
        self.trials.leaps += 1;
        let is_taken = match self.carrier.send(account, row, PATIENCE).await {
            Fate::Delivered => true,
            Fate::Undeliverable(why) => {
                self.carrier.put_aside(row.clone(), why).await;
                false
            }
            Fate::Failed(..) | Fate::Later(_) | Fate::Unheard(_) => return false,
        };
        self.trials.done.insert(row.id.clone());
        is_taken
    }

    /// How many rows the platform took of all tenants.
    fn taken(&self) -> u64 {
        self.carrier.taken.load(Ordering::Relaxed)
    }

    /// Tries rows again past which another was taken just now, and sets aside those that the platform still fails on: the
    /// trouble may have ended in between. Whether all of them are done with.
    async fn judge(&mut self, account: &Arc<Caller>, suspects: Vec<&Row>) -> bool {
        for row in suspects {
            match self.carrier.send(account, row, PATIENCE).await {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::Json;
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::client::{Client, Configured, Fixed, Mode, Upstream};
    use crate::server::audit::entry::{Action, Transport};
    use crate::server::audit::waiting;

    /// A lane whose platform fails on rows about `bad`, and what waits in it.
    async fn lane(data: &std::path::Path, names: &[&str]) -> (Lane, Batch) {
        let failing = axum::routing::any(|Json(asked): Json<Value>| async move {
            if asked["resourceId"] == "bad" { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { Json(json!({})).into_response() }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(failing)).await });
        let accounts = Configured::new(Some("account".to_owned().into()), BTreeMap::new()).unwrap().unwrap();
        let client =
            Client::builder(Arc::new(Fixed::new(&url).unwrap())).upstream(Upstream::new(Mode::Propagate, Some(Arc::new(accounts)))).build();
        std::fs::create_dir_all(data.join("audit")).unwrap();
        let mut spool = Spool::apart(data);
        for name in names {
            let row = Row::new(Action::Called, None, Transport::Stdio, "tool", name);
            spool.append(format!("{}\n", serde_json::to_string(&row).unwrap()).as_bytes()).unwrap();
        }
        let batch = spool.next().unwrap().unwrap();
        let carrier = Carrier { client, data_dir: data.to_owned(), taken: Arc::default(), lost: Arc::default() };
        let signal = Signal {
            is_resting: AtomicBool::default(),
            is_alone: AtomicBool::default(),
            has_ended: AtomicBool::default(),
            told: Arc::default(),
        };
        let (spool, signal, pause) = (Arc::new(Mutex::new(spool)), Arc::new(signal), Duration::ZERO);
        (Lane { carrier, tenant: TenantId::from("tenant-1"), spool, signal, pause, trials: Trials::default() }, batch)
    }

    #[tokio::test]
    async fn more_bad_rows_than_are_passed_do_not_hold_up_the_good_ones_behind() {
        let data = tempfile::tempdir().unwrap();
        let (mut lane, batch) = lane(data.path(), &[["bad"; 12].as_slice(), &["good"; 3]].concat()).await;
        let mut settled = 0;
        for _ in 0..150 {
            settled = lane.attempt(&batch).await.settled;
        }
        assert_eq!(settled, 15);
        assert_eq!(waiting(data.path()).undelivered, 12);
    }

    #[tokio::test]
    async fn where_all_rows_are_failed_on_none_is_to_blame() {
        let data = tempfile::tempdir().unwrap();
        let (mut lane, batch) = lane(data.path(), &["bad"; 12]).await;
        for _ in 0..150 {
            assert_eq!(lane.attempt(&batch).await.settled, 0);
        }
        assert_eq!(waiting(data.path()).undelivered, 0);
    }
}
