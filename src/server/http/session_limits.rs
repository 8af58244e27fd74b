//! How many sessions there may be: in all, of one tenant, of one caller, and begun by one tenant in a minute.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, RateLimiter};
use moka::sync::Cache;

use super::owner::Owner;
use super::quota::{Full, Permit, Quota};
use crate::error::{Error, Kind, Result};

/// How many tenants have their beginnings counted at once; the one longest unused is forgotten first.
const MAX_TENANTS: u64 = 100_000;
/// The part of its tenant's sessions that one caller may have.
const CALLER_PART: usize = 4;
/// So many a caller may have in any case, if its tenant may.
const MIN_PER_CALLER: usize = 8;
/// A tenant that began nothing for so long has all its beginnings again, so its count can be forgotten.
const RATE_IDLE: Duration = Duration::from_mins(2);
/// When to try again where only the end of another session makes room.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The code of a tenant that begins too many sessions, whatever is open.
pub(super) const SESSIONS_RATE: &str = "FM-MCP-SESSIONS-RATE";

/// The bounds of sessions.
pub(super) struct SessionLimits {
    rate: governor::Quota,
    begun: Cache<Arc<str>, Arc<DefaultDirectRateLimiter>>,
    open: Quota,
}

/// A place that a session has until it is dropped.
pub(super) type SessionPermit = Permit;

/// How many sessions of its tenant's one caller may have.
pub(super) fn of_caller(per_tenant: usize) -> usize {
    (per_tenant / CALLER_PART).max(MIN_PER_CALLER).min(per_tenant)
}

impl SessionLimits {
    pub(super) fn new(most: usize, per_tenant: u32, per_minute: u32) -> Self {
        Self {
            rate: governor::Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN)),
            begun: Cache::builder().max_capacity(MAX_TENANTS).time_to_idle(RATE_IDLE).build(),
            open: Quota::new(most, per_tenant as usize, of_caller(per_tenant as usize)),
        }
    }

    /// A place for one more session of a caller.
    ///
    /// # Errors
    /// `RateLimited` where the caller or its tenant is at its bound, `Unavailable` where the server is.
    pub(super) fn take(&self, caller: &Owner) -> Result<SessionPermit> {
        let begun = self.begun.get_with_by_ref(caller.tenant(), || Arc::new(RateLimiter::direct(self.rate)));
        if let Err(until) = begun.check() {
            let wait = until.wait_time_from(DefaultClock::default().now());
            return Err(Error::new(Kind::RateLimited, SESSIONS_RATE, "this tenant began too many sessions within a minute")
                .hint("Keep a session open instead of beginning one for each call.")
                .retry_after(wait));
        }
        self.again(caller)
    }

    /// As [`Self::take`], for a session whose beginning was counted.
    pub(super) fn again(&self, caller: &Owner) -> Result<SessionPermit> {
        self.open.take(caller, 1).map_err(|full| {
            match full {
                Full::Caller => {
                    Error::new(Kind::RateLimited, "FM-MCP-SESSIONS-CALLER", "this caller has as many sessions at work as it may")
                        .hint("Wait until a request in one of them ends.")
                }
                Full::Tenant => Error::new(Kind::RateLimited, "FM-MCP-SESSIONS-TENANT", "this tenant has as many sessions open as it may")
                    .hint("End sessions that are not used (DELETE), or wait: one ends by itself after ten idle minutes."),
                Full::All => Error::new(Kind::Unavailable, "FM-MCP-SESSIONS", "the server has as many sessions open as it can keep")
                    .hint("Try again later, or use a host that speaks the protocol of 2026-07-28, which needs no session."),
            }
            .retry_after(RETRY_AFTER)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_at_its_bound_is_told_otherwise_than_at_the_servers() {
        let limits = SessionLimits::new(2, 1, 100);
        let _one = limits.take(&Owner::test("tenant-1", "anna")).unwrap();
        assert_eq!(limits.take(&Owner::test("tenant-1", "bert")).err().unwrap().code(), "FM-MCP-SESSIONS-TENANT");
        let _other = limits.take(&Owner::test("tenant-2", "anna")).unwrap();
        assert_eq!(limits.take(&Owner::test("tenant-3", "anna")).err().unwrap().kind(), Kind::Unavailable);
    }

    #[test]
    fn one_caller_leaves_sessions_to_its_tenants_others() {
        assert_eq!([1, 5, 8, 20, 64].map(of_caller), [1, 5, 8, 8, 16]);
        let limits = SessionLimits::new(100, 64, 100);
        let _annas: Vec<_> = (0..16).map(|_| limits.take(&Owner::test("tenant-1", "anna")).unwrap()).collect();
        assert_eq!(limits.take(&Owner::test("tenant-1", "anna")).err().unwrap().code(), "FM-MCP-SESSIONS-CALLER");
        limits.take(&Owner::test("tenant-1", "bert")).unwrap();
        limits.take(&Owner::test("tenant-2", "anna")).unwrap();
    }

    #[test]
    fn beginnings_are_counted_by_tenant() {
        let limits = SessionLimits::new(100, 100, 3);
        for _ in 0..3 {
            drop(limits.take(&Owner::test("tenant-1", "anna")).unwrap());
        }
        let refused = limits.take(&Owner::test("tenant-1", "anna")).err().unwrap();
        assert_eq!((refused.kind(), refused.code()), (Kind::RateLimited, "FM-MCP-SESSIONS-RATE"));
        assert!(refused.when_to_retry().is_some_and(|wait| wait <= Duration::from_secs(20)));
        limits.take(&Owner::test("tenant-2", "anna")).unwrap();
    }
}
