//! What one caller may have at once: bodies that come, requests that run, streams that are open.
//!
//! A request keeps its place as long as anything works on it, which in the old era is longer than its connection: there
//! the call goes on when the host hangs up. Answers to questions and cancellations need no place, since they end calls.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;

use super::counted::{Counted, Full, Place};
use super::sessions::Owner;
use crate::error::{Error, Kind, Result};

/// Requests of one caller: an agent that works on many things at once has some tens, a runaway loop has thousands.
const CALLS: usize = 64;
/// Requests of all callers.
const ALL_CALLS: usize = 4096;
/// Bodies of all callers, which may be large and slow.
const ALL_BODIES: usize = 256;
/// Streams that a caller may have open for each session that its tenant may have: the new one comes before the old one
/// is known to be gone.
const STREAMS: usize = 2;
/// When to try again: calls end soon.
const LATER: Duration = Duration::from_secs(1);

/// The places of all callers.
pub(super) struct Load {
    bodies: Arc<Counted<Owner>>,
    calls: Arc<Counted<Owner>>,
    streams: Arc<Counted<Owner>>,
}

/// A place of a caller, until it is dropped.
pub(super) type Held = Place<Owner>;

impl Load {
    pub(super) fn new(sessions: usize, sessions_per_tenant: u32) -> Self {
        Self {
            bodies: Counted::new(ALL_BODIES, CALLS),
            calls: Counted::new(ALL_CALLS, CALLS),
            streams: Counted::new(sessions.saturating_mul(STREAMS), (sessions_per_tenant as usize).saturating_mul(STREAMS)),
        }
    }

    /// A place for a body that comes.
    pub(super) fn body(&self, caller: &Owner) -> Result<Held> {
        self.bodies.take(caller.clone()).map_err(too_many_calls)
    }

    /// A place for a request that runs.
    pub(super) fn call(&self, caller: &Owner) -> Result<Held> {
        self.calls.take(caller.clone()).map_err(too_many_calls)
    }

    /// A place for the stream of a session.
    pub(super) fn stream(&self, caller: &Owner) -> Result<Held> {
        self.streams.take(caller.clone()).map_err(|full| match full {
            Full::Each => Error::new(Kind::RateLimited, "FM-MCP-TOO-MANY-STREAMS", "this caller has as many streams open as it may")
                .hint("Keep one stream open for each session.")
                .retry_after(LATER),
            Full::All => busy(),
        })
    }
}

fn too_many_calls(full: Full) -> Error {
    match full {
        Full::Each => Error::new(Kind::RateLimited, "FM-MCP-TOO-MANY-CALLS", format!("this caller has {CALLS} requests running already"))
            .hint("Wait for some of them, or cancel them, before you send more.")
            .retry_after(LATER),
        Full::All => busy(),
    }
}

fn busy() -> Error {
    Error::new(Kind::Unavailable, "FM-MCP-BUSY", "the server has as much to do as it can").retry_after(LATER)
}

/// Keeps something as long as a stream of events goes on. An answer that is complete needs nothing any more.
pub(super) fn during(response: Response, held: impl Send + 'static) -> Response {
    if !is_stream(&response) {
        return response;
    }
    response.map(|body| {
        Body::from_stream(body.into_data_stream().inspect(move |_| {
            let _held = &held;
        }))
    })
}

/// Whether an answer is a stream of events.
pub(super) fn is_stream(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}
