//! The dispatcher: sends what waits in the outbox, several tenants at once, each in its order and with its own back-off.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use super::Options;
use super::batches;
use super::earlier;
use super::sender::{self, Outcome};
use crate::api::Timestamp;
use crate::client::Client;
use crate::error::Result;
use crate::state::{Claim, Lease, Settlement, State};

/// How long the entries of one claim may take together; one entry may take all of it.
const CLAIM_TIME: Duration = Duration::from_secs(10);
/// How long a claim is leased, and how often that is renewed: after that another process takes over what a killed one left.
const LEASE: Duration = Duration::from_secs(1);
const RENEW_INTERVAL: Duration = Duration::from_millis(300);
/// How many entries are claimed at once.
const CLAIM_SIZE: usize = 256;
/// How many tenants are served at once.
const MAX_CLAIMS: usize = 16;
/// How many failures one claim goes past.
const MAX_FAILURES_PER_CLAIM: usize = 8;
/// How often the outbox is looked at for what other processes left.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Dispatcher {
    pub(super) client: Client,
    pub(super) state: State,
    pub(super) options: Options,
    /// Told of new entries.
    pub(super) appended: Arc<Notify>,
    /// Callers who wait until nothing is due.
    pub(super) flushes: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
}

impl Dispatcher {
    /// Sends until it is aborted.
    pub(super) async fn run(mut self) {
        let data_dir = self.options.data_dir.clone();
        // A new process has other settings perhaps, so no back-off of before holds.
        report(self.state.write(move |store| earlier::read_in(&data_dir, store).and_then(|()| store.hasten())).await);
        let mut claims = JoinSet::new();
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            while claims.len() < MAX_CLAIMS
                && let Some(claim) = self.claim().await
            {
                claims.spawn(serve(self.client.clone(), self.state.clone(), self.options.pause, claim));
            }
            if claims.is_empty() && !(waiting.is_empty() || self.is_leased().await) {
                for done in waiting.drain(..) {
                    let _told = done.send(());
                }
            }
            let pause = self.until_due().await;
            tokio::select! {
                Some(_) = claims.join_next() => {}
                Some(done) = self.flushes.recv() => waiting.push(done),
                () = self.appended.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn claim(&self) -> Option<Claim> {
        let claimed = self.state.write(|store| store.claim(CLAIM_SIZE, LEASE, Timestamp::now())).await;
        report(claimed).flatten()
    }

    /// Whether another process holds what waits; where that one was killed, its lease ends soon.
    async fn is_leased(&self) -> bool {
        report(self.state.read(|store| store.is_leased(Timestamp::now())).await).unwrap_or_default()
    }

    async fn until_due(&self) -> Duration {
        let due = report(self.state.read(|store| store.next_due()).await).flatten();
        let left = due.map(|due| due.seconds_since(Timestamp::now()).max(0.001));
        left.and_then(|left| Duration::try_from_secs_f64(left).ok()).map_or(POLL_INTERVAL, |left| left.min(POLL_INTERVAL))
    }
}

fn report<T>(done: Result<T>) -> Option<T> {
    done.inspect_err(|error| tracing::warn!(%error, "entries of the audit log wait: the outbox cannot be read")).ok()
}

/// A claim that is settled in any case, also where the work on it is aborted.
struct Leased {
    claim: Claim,
    state: State,
    settlement: Settlement,
    is_settled: bool,
}

impl Drop for Leased {
    fn drop(&mut self) {
        if !self.is_settled {
            // Without it the lease would have to run out.
            let _settled = self.state.store().settle(&self.claim, &self.settlement, Timestamp::now());
        }
    }
}

/// Waits for something, and renews the lease meanwhile.
async fn while_leased<T>(state: &State, lease: &Lease, renewed: &mut tokio::time::Instant, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(*renewed + RENEW_INTERVAL) => {
                let lease = lease.clone();
                report(state.write(move |store| store.renew(&lease, LEASE, Timestamp::now())).await);
                *renewed = tokio::time::Instant::now();
            }
            done = &mut work => return done,
        }
    }
}

/// Sends the entries of a claim, up to the first that has to wait.
async fn serve(client: Client, state: State, pause: Duration, claim: Claim) {
    let began = Instant::now();
    let mut renewed = tokio::time::Instant::now();
    let mut leased = Leased { claim, state: state.clone(), settlement: Settlement::default(), is_settled: false };
    let takes_batches = while_leased(&state, &leased.claim.lease, &mut renewed, sender::takes_batches(&client)).await;
    let (parcels, unreadable) = batches::of(&leased.claim.letters, takes_batches);
    leased.settlement.dead.extend(unreadable);
    let mut parcels = VecDeque::from(parcels);
    while let Some(parcel) = parcels.pop_front() {
        let within = CLAIM_TIME.saturating_sub(began.elapsed());
        if within.is_zero() {
            break;
        }
        let settlement = &mut leased.settlement;
        let sent = parcel.send(&client, &leased.claim.lease.tenant, within);
        let wanted = match (while_leased(&state, &leased.claim.lease, &mut renewed, sent).await, parcel) {
            (Outcome::Delivered, parcel) => {
                settlement.delivered.extend(parcel.ids());
                continue;
            }
            // One of them may be to blame, which only shows where each goes alone.
            (Outcome::Undeliverable(_) | Outcome::Failed(..), parcel) if parcel.is_many() => {
                parcel.apart().rev().for_each(|one| parcels.push_front(one));
                continue;
            }
            (Outcome::Undeliverable(why), parcel) => {
                settlement.dead.extend(parcel.ids().map(|id| (id, why.clone())));
                continue;
            }
            (Outcome::Failed(why, wanted), parcel) => {
                settlement.failed.extend(parcel.ids().map(|id| (id, why.clone())));
                (settlement.back_off, settlement.wanted) = (Some(pause), wanted);
                // One that failed before may be itself to blame: others are tried past it.
                if parcel.has_failed && settlement.failed.len() < MAX_FAILURES_PER_CLAIM {
                    continue;
                }
                break;
            }
            (Outcome::Later(wanted), _) => wanted,
        };
        (settlement.back_off, settlement.wanted) = (Some(pause), wanted);
        break;
    }
    if leased.claim.letters.is_empty() {
        leased.settlement.back_off = Some(pause);
    }
    let settled = state
        .write(move |store| {
            leased.is_settled = true;
            store.settle(&leased.claim, &leased.settlement, Timestamp::now())
        })
        .await;
    if let Err(error) = settled {
        tracing::warn!(%error, "entries of the audit log may be sent again: the outbox cannot be written");
    }
}
