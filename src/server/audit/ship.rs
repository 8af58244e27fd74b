//! Sends rows that wait to the platform's audit service, by the server's own account, in their order within a tenant.
//!
//! A row is sent until the platform has it: its id is its Idempotency-Key. What the platform will never take goes to a
//! file of its own. A tenant whose rows cannot be sent now, for whatever reason of its own, waits apart in a lane. The
//! line in which all rows wait stands still where the platform does not hear of a row, for three rounds, and where there
//! is no lane or no room in it, unless others are served: so an outage fills first the lanes and then the line, and what
//! is beyond is counted. Where the line stands, a row of somebody behind is tried, to see whether others are served.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc, oneshot};

use super::entry::Row;
use super::lane::LONGEST_PAUSE;
use super::lanes::Lanes;
use super::segment::Batch;
use super::sender::{Carrier, Fate, PATIENCE, account_in};
use super::spool::Spool;
use super::writer::Shared;
use crate::api::ids::TenantId;

/// How often files of dead processes are looked for.
const ADOPTION: Duration = Duration::from_mins(1);
/// How many tenants are sent to at once from the line; each lane adds one.
const TENANTS: usize = 8;
/// How often rows are tried that the platform does not hear of, before they wait apart.
const UNHEARD: u32 = 3;
/// How often rows are tried for which there is no lane while others are served, before they are set aside: half a minute.
const UNPLACED: u32 = 6;

/// Sends what waits until it is dropped.
pub(super) struct Shipper {
    pub(super) carrier: Carrier,
    pub(super) spool: Shared,
    pub(super) lanes: Lanes,
    /// The pause after the first failure; it doubles.
    pub(super) pause: Duration,
    /// Told when there is something new.
    pub(super) woken: Arc<Notify>,
    /// Those who want to know when nothing waits any longer, or nothing can be sent now.
    pub(super) waiting: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    /// Those of them who asked before the spool was last looked into.
    pub(super) asked: Vec<oneshot::Sender<()>>,
}

/// The oldest rows of the line, as far as they were neither sent nor moved out of the way.
struct Held {
    batch: Batch,
    left: Vec<(TenantId, Vec<Row>)>,
    rounds: u32,
    pause: Duration,
    due: Instant,
    /// How many rows the platform had taken of all tenants when the last round ended.
    taken: u64,
}

/// What is left of a tenant's rows after they were tried.
struct Left {
    tenant: TenantId,
    rows: Vec<Row>,
    /// How long the platform asked to be left alone.
    after: Option<Duration>,
    /// Whether it heard of them at all.
    heard: bool,
}

impl Shipper {
    pub(super) async fn run(mut self) {
        let mut adopted = Instant::now();
        let mut held: Option<Held> = None;
        loop {
            while let Ok(waiting) = self.waiting.try_recv() {
                self.asked.push(waiting);
            }
            self.lanes.tidy();
            if held.is_none() {
                // Files that are taken over come first, so nothing of the first one may be under way.
                if adopted.elapsed() >= ADOPTION {
                    adopted = Instant::now();
                    self.blocking(Spool::adopt).await;
                }
                held = self.take().await;
            }
            if let Some(due) = held.take_if(|held| held.due <= Instant::now()) {
                held = self.attempt(due).await;
                continue;
            }
            if self.lanes.rest() && self.release() && held.is_none() {
                self.blocking(Spool::tidy).await;
            }
            self.wait(held.as_ref().map(|held| held.due)).await;
        }
    }

    /// The oldest rows of the line.
    async fn take(&self) -> Option<Held> {
        let batch = match self.blocking(Spool::next).await.transpose() {
            Ok(batch) => batch.flatten()?,
            Err(error) => {
                tracing::warn!(%error, "rows of the record cannot be read");
                return None;
            }
        };
        let mut by_tenant: HashMap<Option<TenantId>, Vec<Row>> = HashMap::new();
        let home = self.carrier.client.upstream().home();
        for row in &batch.rows {
            let tenant = row.tenant.as_deref().map(TenantId::from).or_else(|| home.clone());
            by_tenant.entry(tenant).or_default().push(row.clone());
        }
        // Nobody's rows have no place at the platform where the server's account has no tenant.
        for row in by_tenant.remove(&None).unwrap_or_default() {
            let why = "FM-MCP-NO-ACCOUNT: it is of no tenant, and neither is the server's account";
            self.carrier.put_aside(row, why.to_owned()).await;
        }
        let left = by_tenant.into_iter().filter_map(|(tenant, rows)| Some((tenant?, rows))).collect();
        let taken = self.carrier.taken.load(Ordering::Relaxed);
        Some(Held { batch, left, rounds: 0, pause: self.pause, due: Instant::now(), taken })
    }

    /// Sends rows once or moves them out of the way; gives them back where neither can be done.
    async fn attempt(&mut self, held: Held) -> Option<Held> {
        let Held { batch, left, rounds, pause, taken: taken_before, .. } = held;
        let rounds = rounds + 1;
        let taken = self.carrier.taken.load(Ordering::Relaxed);
        let (behind, free): (Vec<_>, Vec<_>) = left.into_iter().partition(|(tenant, _)| self.lanes.have(tenant));
        let mut tried: Vec<Left> = behind.into_iter().map(|(tenant, rows)| Left { tenant, rows, after: None, heard: true }).collect();
        let carrier = &self.carrier;
        let deliver = |(tenant, rows)| deliver(carrier, tenant, rows);
        tried.extend(futures_util::stream::iter(free.into_iter().map(deliver)).buffer_unordered(TENANTS).collect::<Vec<_>>().await);
        let mut left = Vec::new();
        let mut wanted = None;
        for Left { tenant, rows: rows_left, after, heard } in tried.into_iter().filter(|left| !left.rows.is_empty()) {
            let is_parked = (heard || rounds >= UNHEARD) && self.park(&tenant, &rows_left, after).await;
            // Others were served, and these rows are not even then.
            if !is_parked && rounds >= UNPLACED && taken > taken_before && !self.lanes.have(&tenant) && !self.lanes.have_place() {
                for row in rows_left {
                    let why = "FM-MCP-AUDIT-PARKED: too many tenants are not served";
                    self.carrier.put_aside(row, why.to_owned()).await;
                }
            } else if !is_parked {
                wanted = wanted.max(after);
                left.push((tenant, rows_left));
            }
        }
        if left.is_empty() {
            self.blocking(move |spool| {
                if let Err(error) = spool.sent(&batch, batch.rows.len()) {
                    tracing::warn!(%error, "what was sent of the record may be sent again");
                }
            })
            .await;
            return None;
        }
        let taken_after = self.carrier.taken.load(Ordering::Relaxed);
        if taken_after == taken {
            self.try_behind(&batch, &left).await;
        }
        let due = Instant::now() + wanted.unwrap_or_default().max(pause).min(LONGEST_PAUSE);
        Some(Held { batch, left, rounds, pause: (pause * 2).min(LONGEST_PAUSE), due, taken: taken_after })
    }

    /// Tries the oldest row of somebody who is neither held up nor apart; if it is taken, the lanes learn that others are
    /// served. It is sent again in its turn, and counts once.
    async fn try_behind(&self, batch: &Batch, left: &[(TenantId, Vec<Row>)]) {
        let busy = self.lanes.tenants().chain(left.iter().map(|(tenant, _)| tenant));
        let busy: HashSet<String> = busy.map(ToString::to_string).collect();
        let is_free = move |row: &Row| row.tenant.as_ref().is_some_and(|tenant| !busy.contains(tenant));
        let behind = batch.clone();
        let found = self.blocking(move |spool| spool.find(&behind, is_free)).await;
        if let Some(Ok(Some(row))) = found
            && let Some(tenant) = row.tenant.as_deref()
        {
            let account = Arc::new(account_in(TenantId::from(tenant)));
            let _fate = self.carrier.send(&account, &row, PATIENCE).await;
        }
    }

    /// Whether a tenant's rows are out of the line now.
    async fn park(&mut self, tenant: &TenantId, rows: &[Row], after: Option<Duration>) -> bool {
        if !self.lanes.have(tenant) && !self.lanes.have_place() {
            return false;
        }
        let added = self.lanes.add(tenant, rows, after).await;
        added.inspect_err(|error| tracing::warn!(%error, "rows of the record cannot be moved out of the way")).unwrap_or(false)
    }

    /// Tells those who asked that there is nothing to wait for; whether anybody did.
    fn release(&mut self) -> bool {
        let any = !self.asked.is_empty();
        for waiting in self.asked.drain(..) {
            // Whoever asked may have gone.
            let _told = waiting.send(());
        }
        any
    }

    /// Waits until there may be something to do. What is new waits behind what is held.
    async fn wait(&mut self, due: Option<Instant>) {
        let most = due.map_or(ADOPTION, |due| due.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = self.woken.notified(), if due.is_none() => {}
            Some(waiting) = self.waiting.recv() => self.asked.push(waiting),
            () = self.lanes.changed() => {}
            () = tokio::time::sleep(most) => {}
        }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&mut Spool) -> T + Send + 'static) -> Option<T> {
        let spool = Arc::clone(&self.spool);
        tokio::task::spawn_blocking(move || spool.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(work)).await.ok().flatten()
    }
}

/// Sends a tenant's rows in their order, up to the first that has to wait and all of them for no longer than one row may take.
async fn deliver(carrier: &Carrier, tenant: TenantId, rows: Vec<Row>) -> Left {
    let account = Arc::new(account_in(tenant.clone()));
    let began = Instant::now();
    let mut rows = rows.into_iter();
    let (mut after, mut heard) = (None, true);
    let mut first = None;
    while let patience = PATIENCE.saturating_sub(began.elapsed())
        && !patience.is_zero()
        && let Some(row) = rows.next()
    {
        match carrier.send(&account, &row, patience).await {
            Fate::Delivered => continue,
            Fate::Undeliverable(reason) => {
                carrier.put_aside(row, reason).await;
                continue;
            }
            Fate::Failed(_, wanted) | Fate::Later(wanted) => after = wanted,
            Fate::Unheard(wanted) => (after, heard) = (wanted, false),
        }
        first = Some(row);
        break;
    }
    Left { tenant, rows: first.into_iter().chain(rows).collect(), after, heard }
}
