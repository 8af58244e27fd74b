//! The tenants whose rows wait apart: who has a lane, and how much may wait there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::entry::Row;
use super::lane::{Lane, Signal, Trials};
use super::sender::Carrier;
use super::spool::Spool;
use crate::api::ids::TenantId;
use crate::error::{Error, Result};

/// How many tenants wait apart at most: each holds a file open for every four MiB that wait.
const MOST: usize = 100;
/// The most that waits for all of them, in bytes.
const OF_ALL: u64 = 64 * 1024 * 1024;
/// What may wait for each of them, whatever the others take, in bytes.
const SHARE: u64 = 256 * 1024;
/// What may wait for all of them beyond their shares, whosever it is.
const SHARED: u64 = OF_ALL - MOST as u64 * SHARE;

/// See the module.
pub(super) struct Lanes {
    carrier: Carrier,
    pause: Duration,
    running: HashMap<TenantId, Running>,
    told: Arc<Notify>,
}

struct Running {
    spool: Arc<Mutex<Spool>>,
    signal: Arc<Signal>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lanes {
    /// No lanes; the pause is that after a first failure.
    pub(super) fn new(carrier: Carrier, pause: Duration) -> Self {
        Self { carrier, pause, running: HashMap::new(), told: Arc::default() }
    }

    /// Whether rows of a tenant wait apart, so that further ones go behind them.
    pub(super) fn have(&self, tenant: &TenantId) -> bool {
        self.running.contains_key(tenant)
    }

    /// The tenants whose rows wait apart.
    pub(super) fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.running.keys()
    }

    /// Whether another tenant may have its rows wait apart.
    pub(super) fn have_place(&self) -> bool {
        self.running.len() < MOST
    }

    /// Lets rows wait apart, at the end of what does; they are tried after a pause. Where there is no room, they are set
    /// aside if the platform takes others' rows and not this tenant's. Whether either was done.
    pub(super) async fn add(&mut self, tenant: &TenantId, rows: &[Row], after: Option<Duration>) -> Result<bool> {
        let mut lines = Vec::with_capacity(rows.len() * 512);
        for row in rows {
            serde_json::to_writer(&mut lines, row).map_err(Error::internal)?;
            lines.push(b'\n');
        }
        let others: Vec<_> = self.running.iter().filter(|(other, _)| *other != tenant).map(|(_, lane)| Arc::clone(&lane.spool)).collect();
        let known = self.running.get(tenant).map(|lane| Arc::clone(&lane.spool));
        let data_dir = self.carrier.data_dir.clone();
        let append = move || {
            let left = |spool: &Mutex<Spool>| spool.lock().unwrap_or_else(PoisonError::into_inner).left();
            let of_others: u64 = others.iter().map(|spool| left(spool).saturating_sub(SHARE)).sum();
            let spool = known.unwrap_or_else(|| Arc::new(Mutex::new(Spool::apart(&data_dir))));
            let own = left(&spool) + lines.len() as u64;
            let has_room = own <= SHARE || of_others + (own - SHARE) <= SHARED;
            if has_room {
                spool.lock().unwrap_or_else(PoisonError::into_inner).append(&lines)?;
            }
            Ok::<_, Error>((spool, has_room))
        };
        let (spool, has_room) = tokio::task::spawn_blocking(append).await.map_err(Error::internal)??;
        if has_room {
            if !self.have(tenant) {
                self.begin(tenant.clone(), spool, Some(after.unwrap_or_default()));
            }
            return Ok(true);
        }
        // Where nobody is served, it is the platform that is away, and the line is the place to wait for it.
        let is_alone = self.running.get(tenant).is_some_and(|lane| lane.signal.is_alone.load(Ordering::Acquire));
        if is_alone {
            for row in rows {
                let why = "FM-MCP-AUDIT-PARKED: too many rows wait for tenants that are not served";
                self.carrier.put_aside(row.clone(), why.to_owned()).await;
            }
        }
        Ok(is_alone)
    }

    fn begin(&mut self, tenant: TenantId, spool: Arc<Mutex<Spool>>, first: Option<Duration>) {
        let (is_resting, has_ended) = (AtomicBool::new(first.is_some()), AtomicBool::new(false));
        let signal = Arc::new(Signal { is_resting, is_alone: AtomicBool::new(false), has_ended, told: Arc::clone(&self.told) });
        let lane = Lane {
            carrier: self.carrier.clone(),
            tenant: tenant.clone(),
            spool: Arc::clone(&spool),
            signal: Arc::clone(&signal),
            pause: self.pause,
            trials: Trials::default(),
        };
        let task = tokio::spawn(lane.drain(first)).abort_handle();
        self.running.insert(tenant, Running { spool, signal, task });
    }

    /// Takes away the lanes in which nothing waits any longer.
    pub(super) fn tidy(&mut self) {
        let ended: Vec<TenantId> = self
            .running
            .iter()
            .filter(|(_, lane)| lane.signal.has_ended.load(Ordering::Acquire))
            .map(|(tenant, _)| tenant.clone())
            .collect();
        for tenant in ended {
            let Some(lane) = self.running.remove(&tenant) else { continue };
            let is_empty = lane.spool.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            if !is_empty {
                // More came just as it ended.
                self.begin(tenant, Arc::clone(&lane.spool), None);
            }
        }
    }

    /// Whether nothing can be sent now.
    pub(super) fn rest(&self) -> bool {
        self.running.values().all(|lane| lane.signal.is_resting.load(Ordering::Acquire))
    }

    /// Waits until a lane rests or has ended.
    pub(super) async fn changed(&self) {
        self.told.notified().await;
    }
}
