//! Which reads of a caller are kept, so that an error can say what is still answered while a service is away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::ids::TenantId;
use crate::auth::Caller;
use crate::error::Error;

/// The most callers of services that are remembered.
const CALLERS: u64 = 10_000;

/// A tenant, a subject of it, and the place of a service.
type Key = (TenantId, String, usize);
/// Until when an operation's answer is served, and of which generation of its service's answers it is.
type Reads = HashMap<&'static str, (Instant, u64)>;

/// See the module.
pub(super) struct Served {
    reads: moka::sync::Cache<Key, Arc<Mutex<Reads>>>,
    /// How old an answer may be that is served.
    stale: Duration,
}

impl Served {
    pub(super) fn new(longest: Duration, stale: Duration) -> Self {
        Self { reads: moka::sync::Cache::builder().max_capacity(CALLERS).time_to_idle(longest).build(), stale }
    }

    /// Remembers a read whose answer is kept.
    pub(super) fn keep(&self, caller: &Caller, service: usize, operation: &'static str, generation: u64, fresh_for: Duration) {
        let reads = self.reads.get_with((caller.tenant.clone(), caller.subject.clone(), service), Arc::default);
        let until = Instant::now() + fresh_for + self.stale;
        reads.lock().unwrap_or_else(PoisonError::into_inner).insert(operation, (until, generation));
    }

    /// Says in an error what the caller can still read; `generation` is that of the service's answers now.
    pub(super) fn told(&self, error: Error, caller: &Caller, service: usize, generation: u64) -> Error {
        let Some(reads) = self.reads.get(&(caller.tenant.clone(), caller.subject.clone(), service)) else { return error };
        let now = Instant::now();
        let reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut served: Vec<&str> =
            reads.iter().filter(|(_, (until, of))| *until > now && *of == generation).map(|(operation, _)| *operation).collect();
        if served.is_empty() {
            return error;
        }
        served.sort_unstable();
        let served = format!("What you read a moment ago is still served from the cache: {}.", served.join(", "));
        let hint = error.next_step().map_or_else(|| served.clone(), |hint| format!("{hint} {served}"));
        error.hint(hint)
    }
}
