//! How many sessions there may be: in all, of one tenant, and begun by one tenant in a minute.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;

use crate::api::ids::TenantId;
use crate::error::{Error, Kind, Result};

/// How many tenants have their beginnings counted at once; the one longest unused is forgotten first.
const TENANTS: u64 = 100_000;
/// A tenant that began nothing for so long has all its beginnings again, so its count can be forgotten.
const FORGOTTEN: Duration = Duration::from_mins(2);
/// When to try again where only the end of another session makes room.
const LATER: Duration = Duration::from_secs(30);

/// The places for sessions.
pub(super) struct Places {
    most: usize,
    per_tenant: u32,
    quota: Quota,
    begun: Cache<TenantId, Arc<DefaultDirectRateLimiter>>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_tenant: HashMap<TenantId, u32>,
}

/// A place that a session has until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    tenant: TenantId,
}

impl Places {
    pub(super) fn new(most: usize, per_tenant: u32, per_minute: u32) -> Self {
        Self {
            most,
            per_tenant,
            quota: Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN)),
            begun: Cache::builder().max_capacity(TENANTS).time_to_idle(FORGOTTEN).build(),
            taken: Mutex::default(),
        }
    }

    /// A place for one more session of a tenant.
    ///
    /// # Errors
    /// `RateLimited` where the tenant is at its bound, `Unavailable` where the server is.
    pub(super) fn take(self: &Arc<Self>, tenant: &TenantId) -> Result<Place> {
        let begun = self.begun.get_with_by_ref(tenant, || Arc::new(RateLimiter::direct(self.quota)));
        if let Err(until) = begun.check() {
            let wait = until.wait_time_from(DefaultClock::default().now());
            return Err(Error::new(Kind::RateLimited, "FM-MCP-SESSIONS-RATE", "this tenant began too many sessions within a minute")
                .hint("Keep a session open instead of beginning one for each call.")
                .retry_after(wait));
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.by_tenant.get(tenant).is_some_and(|of_tenant| *of_tenant >= self.per_tenant) {
            return Err(Error::new(Kind::RateLimited, "FM-MCP-SESSIONS-TENANT", "this tenant has as many sessions open as it may")
                .hint("End sessions that are not used (DELETE), or wait: one ends by itself after ten idle minutes.")
                .retry_after(LATER));
        }
        if taken.all >= self.most {
            return Err(Error::new(Kind::Unavailable, "FM-MCP-SESSIONS", "the server has as many sessions open as it can keep")
                .hint("Try again later, or use a host that speaks the protocol of 2026-07-28, which needs no session.")
                .retry_after(LATER));
        }
        taken.all += 1;
        *taken.by_tenant.entry(tenant.clone()).or_default() += 1;
        Ok(Place { places: Arc::clone(self), tenant: tenant.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(of_tenant) = taken.by_tenant.get_mut(&self.tenant) {
            *of_tenant = of_tenant.saturating_sub(1);
            if *of_tenant == 0 {
                taken.by_tenant.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_session_ends() {
        let places = Arc::new(Places::new(3, 2, 100));
        let (one, other) = (TenantId::from("tenant-1"), TenantId::from("tenant-2"));
        let first = places.take(&one).unwrap();
        let second = places.take(&one).unwrap();
        assert_eq!(places.take(&one).err().unwrap().code(), "FM-MCP-SESSIONS-TENANT");
        let third = places.take(&other).unwrap();
        assert_eq!(places.take(&other).err().unwrap().kind(), Kind::Unavailable);
        drop(first);
        let again = places.take(&other).unwrap();
        drop((second, third, again));
        let taken = places.taken.lock().unwrap();
        assert!(taken.all == 0 && taken.by_tenant.is_empty());
    }

    #[test]
    fn beginnings_are_counted_by_tenant() {
        let places = Arc::new(Places::new(100, 100, 3));
        for _ in 0..3 {
            drop(places.take(&"tenant-1".into()).unwrap());
        }
        let refused = places.take(&"tenant-1".into()).err().unwrap();
        assert_eq!((refused.kind(), refused.code()), (Kind::RateLimited, "FM-MCP-SESSIONS-RATE"));
        assert!(refused.when_to_retry().is_some_and(|wait| wait <= Duration::from_secs(20)));
        places.take(&"tenant-2".into()).unwrap();
    }
}
