//! What a token began ends with it: answers that are still being made, and streams that are still open.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep, sleep_until};

use super::limits::is_stream;
use crate::api::Timestamp;
use crate::auth::{Admit, Caller};
use crate::error::{Error, Kind};

/// How long after its end a token still counts, because clocks differ.
const LEEWAY: f64 = 30.0;
/// Further away than this, an end is not waited for.
const MAX_WAIT: Duration = Duration::from_hours(24 * 365);

/// When what a caller began has to end; `None` where the credential does not end.
pub(in crate::server) fn deadline(caller: &Caller) -> Option<Instant> {
    let left = caller.expires?.plus_seconds(LEEWAY).seconds_since(Timestamp::now());
    let left = Duration::try_from_secs_f64(left.max(0.0)).ok().filter(|left| *left < MAX_WAIT)?;
    Some(Instant::now() + left)
}

/// Whether a caller's credential has ended.
pub(in crate::server) fn has_ended(caller: &Caller) -> bool {
    caller.expires.is_some_and(|end| end.plus_seconds(LEEWAY) < Timestamp::now())
}

/// Waits for the end of a caller's credential, which may never come.
pub(in crate::server) async fn expired(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Why a call or a stream ended.
pub(in crate::server) fn ended() -> Error {
    Error::new(Kind::Unauthenticated, "FM-MCP-TOKEN-EXPIRED", "the token ended while the call ran")
        .hint("Look whether it was done, and go on with a new token.")
}

/// A token that may be revoked before it ends.
pub(super) struct Revocable {
    pub(super) admit: Arc<dyn Admit>,
    pub(super) token: SecretString,
    /// How often it is asked about.
    pub(super) interval: Duration,
}

impl Revocable {
    /// Waits until the validator rejects the token. If the validator is unavailable, the token stays valid.
    async fn refused(self) {
        // The platform is asked once an interval for all streams; a shorter pause here hears its answer within that interval.
        let pause = (self.interval / 4).max(Duration::from_secs(1)).min(self.interval);
        loop {
            sleep(pause).await;
            if let Err(error) = self.admit.admit(self.token.expose_secret()).await
                && matches!(error.kind(), Kind::Unauthenticated | Kind::Forbidden)
            {
                return;
            }
        }
    }
}

/// Ends a stream of events with the caller's credential, by time or because it was revoked. An answer that is
/// complete passes as it is.
pub(super) fn bound(response: Response, end: Option<Instant>, revocable: impl FnOnce() -> Option<Revocable>) -> Response {
    if !is_stream(&response) {
        return response;
    }
    let revocable = revocable();
    if end.is_none() && revocable.is_none() {
        return response;
    }
    let over = async move {
        let taken_back = async {
            match revocable {
                Some(revocable) => revocable.refused().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = expired(end) => {}
            () = taken_back => {}
        }
    };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(over))))
}
