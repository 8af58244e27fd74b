//! The tenants whose rows wait apart: who has a lane, and how much may wait there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::deliver::Carrier;
use super::lane::{Lane, Signal, Trials};
use super::row::Row;
use super::spool::Spool;
use crate::api::ids::TenantId;
use crate::error::{Error, Result};

/// How many tenants wait apart at most: each holds a file open.
const MOST: usize = 100;
/// The most that waits for one of them, in bytes.
const OF_ONE: u64 = 8 * 1024 * 1024;
/// The most that waits for all of them, in bytes.
const OF_ALL: u64 = 64 * 1024 * 1024;

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

    /// Whether another tenant may have its rows wait apart.
    pub(super) fn have_place(&self) -> bool {
        self.running.len() < MOST
    }

    /// Lets rows wait apart, at the end of what does; they are tried after a pause. One too many is set aside.
    pub(super) async fn add(&mut self, tenant: &TenantId, rows: &[Row], after: Option<Duration>) -> Result<()> {
        let mut lines = Vec::with_capacity(rows.len() * 512);
        for row in rows {
            serde_json::to_writer(&mut lines, row).map_err(Error::internal)?;
            lines.push(b'\n');
        }
        let spools: Vec<_> = self.running.values().map(|lane| Arc::clone(&lane.spool)).collect();
        let known = self.running.get(tenant).map(|lane| Arc::clone(&lane.spool));
        let data_dir = self.carrier.data_dir.clone();
        let append = move || {
            let size = |spool: &Mutex<Spool>| spool.lock().unwrap_or_else(PoisonError::into_inner).size();
            let of_all: u64 = spools.iter().map(|spool| size(spool)).sum();
            let spool = known.unwrap_or_else(|| Arc::new(Mutex::new(Spool::apart(&data_dir))));
            let more = lines.len() as u64;
            let has_room = size(&spool) + more <= OF_ONE && of_all + more <= OF_ALL;
            if has_room {
                spool.lock().unwrap_or_else(PoisonError::into_inner).append(&lines)?;
            }
            Ok::<_, Error>((spool, has_room))
        };
        let (spool, has_room) = tokio::task::spawn_blocking(append).await.map_err(Error::internal)??;
        if !has_room {
            for row in rows {
                self.carrier
                    .put_aside(row.clone(), "FM-MCP-AUDIT-PARKED: too many rows wait for tenants that are not served".to_owned())
                    .await;
            }
        } else if !self.have(tenant) {
            self.begin(tenant.clone(), spool, Some(after.unwrap_or_default()));
        }
        Ok(())
    }

    fn begin(&mut self, tenant: TenantId, spool: Arc<Mutex<Spool>>, first: Option<Duration>) {
        let (is_resting, has_ended) = (AtomicBool::new(first.is_some()), AtomicBool::new(false));
        let signal = Arc::new(Signal { is_resting, has_ended, told: Arc::clone(&self.told) });
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
