//! Logins that failed, by the address that they came from: one that fails often waits before it is heard again.
//!
//! An account locks by itself; this bounds what guesses at many names cost.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use crate::error::{Error, Kind, Result};

/// How many logins of an address may fail within the time.
const MAX_FAILED: u32 = 30;
/// The time, from the first that failed.
const WINDOW: Duration = Duration::from_mins(1);
/// Most addresses that are remembered.
const MAX_ADDRESSES: u64 = 10_000;

/// The failed logins of the last minute.
#[derive(Debug)]
pub(crate) struct Attempts {
    failed: Cache<IpAddr, Arc<AtomicU32>>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { failed: Cache::builder().max_capacity(MAX_ADDRESSES).time_to_live(WINDOW).build() }
    }
}

impl Attempts {
    /// Rejects a login from an address that failed too often.
    pub(crate) fn check(&self, address: IpAddr) -> Result<()> {
        let failed = self.failed.get(&network_of(address)).map_or(0, |failed| failed.load(Ordering::Relaxed));
        if failed < MAX_FAILED {
            return Ok(());
        }
        let seconds = WINDOW.as_secs();
        let message = format!("{MAX_FAILED} logins from this address failed within {seconds} seconds");
        Err(Error::new(Kind::RateLimited, "FM-AAS-THROTTLED", message).hint("Wait a minute, then try again.").retry_after(WINDOW))
    }

    /// Notes a login that failed.
    pub(crate) fn failed(&self, address: IpAddr) {
        self.failed.get_with(network_of(address), Arc::default).fetch_add(1, Ordering::Relaxed);
    }
}

/// A host has one address of IPv4, and in IPv6 as many as it likes of one network.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_often_waits_and_no_other_does() {
        let attempts = Attempts::default();
        let [bad, neighbour] = ["2001:db8::1", "2001:db8:0:1::1"].map(|address| address.parse::<IpAddr>().unwrap());
        for _ in 0..MAX_FAILED {
            attempts.check(bad).unwrap();
            attempts.failed(bad);
        }
        let refused = attempts.check(bad).unwrap_err();
        assert_eq!((refused.code(), refused.kind()), ("FM-AAS-THROTTLED", Kind::RateLimited));
        assert!(attempts.check("2001:db8::2".parse().unwrap()).is_err(), "another address of the same network");
        attempts.check(neighbour).unwrap();
        attempts.failed("::ffff:192.0.2.1".parse().unwrap());
        let same: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(attempts.failed.get(&same).unwrap().load(Ordering::Relaxed), 1);
    }
}
