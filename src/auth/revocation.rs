//! Whether the platform still takes a token: asked at most once per token and interval, however many calls wait for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Caller;
use super::jwks::passed;
use super::token::refusal;
use crate::error::{Error, Kind, Result};

/// Longest that an answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds after which the platform is asked again when it could not be reached.
const RETRY_PAUSE: i64 = 5;

/// Asks the platform about a token.
pub trait Confirm: Send + Sync {
    /// Whether the platform takes the caller's token; an error where it could not be asked.
    fn confirm<'a>(&'a self, caller: &'a Arc<Caller>) -> BoxFuture<'a, Result<bool>>;
}

/// What the platform said about one token.
#[derive(Default)]
pub(super) struct Confirmation {
    told: Mutex<Told>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Default)]
struct Told {
    good: Option<bool>,
    /// When it was last asked, and for how many seconds that holds.
    asked: Option<(i64, i64)>,
}

impl Confirmation {
    /// Holds a token to what the platform said of it within the interval, and asks where that is too long ago. What was
    /// good stays good while the platform cannot be asked; a token that was never confirmed is rejected then.
    pub(super) async fn hold(&self, confirm: &dyn Confirm, caller: &Arc<Caller>, interval: Interval, now: i64) -> Result<()> {
        if let Some(known) = self.known(now) {
            return known;
        }
        let _alone = self.asking.lock().await;
        if let Some(known) = self.known(now) {
            return known;
        }
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, confirm.confirm(caller))
            .await
            .unwrap_or_else(|_| Err(Error::new(Kind::Timeout, "FM-MCP-VALIDATE-SLOW", "the platform took too long")));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(good) => *told = Told { good: Some(good), asked: Some((now, interval.0)) },
            Err(error) => {
                tracing::warn!(code = error.code(), "the platform cannot be asked whether a token is still good");
                told.asked = Some((now, interval.0.min(RETRY_PAUSE)));
            }
        }
        told.judge()
    }

    /// What the platform said, where that still holds.
    pub(super) fn known(&self, now: i64) -> Option<Result<()>> {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, holds) = told.asked?;
        (!passed(at, now, holds)).then(|| told.judge())
    }
}

impl Told {
    fn judge(self) -> Result<()> {
        match self.good {
            Some(true) => Ok(()),
            Some(false) => Err(refusal("FM-MCP-TOKEN-REVOKED", "the platform no longer takes the token").hint("Sign in again.")),
            None => {
                Err(Error::new(Kind::Unavailable, "FM-MCP-TOKEN-UNCONFIRMED", "the platform cannot be asked now whether the token is good")
                    .hint("Try again in a moment.")
                    .retry_after(Duration::from_secs(RETRY_PAUSE.unsigned_abs())))
            }
        }
    }
}

/// For how many seconds an answer of the platform holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval(i64);

impl Interval {
    /// So long, or for good where it is zero.
    pub(super) fn new(interval: Duration) -> Self {
        Self(if interval.is_zero() { i64::MAX } else { i64::try_from(interval.as_secs()).unwrap_or(i64::MAX).max(1) })
    }

    /// Whether tokens are asked about again and again.
    pub(super) const fn recurs(self) -> bool {
        self.0 != i64::MAX
    }
}
