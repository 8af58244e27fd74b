//! What one caller may have at once: bodies, requests that run, streams that are open. All that its tenant has is bounded
//! too, so that no tenant shuts out others.
//!
//! A request keeps its place as long as anything works on it, which under 2025-11-25 is longer than its connection: there
//! the call goes on when the host hangs up. A request that listens takes the place of a stream, so that it uses up no calls.
//! Answers to questions and cancellations need no place, since they end calls.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;

use super::owner::Owner;
use super::quota::{Full, Permit, Quota};
use super::session_limits::of_caller;
use crate::error::{Error, Kind, Result};

/// The largest body, in bytes; no tool sends documents yet.
pub(super) const LARGEST_BODY: usize = 4 * 1024 * 1024;
/// Most JSON values of a body: parsed they take far more than the few bytes that they come in.
pub(super) const MOST_VALUES: usize = 200_000;
/// What a value takes when it is parsed, in bytes.
pub(super) const VALUE_BYTES: usize = 72;
/// Requests of one caller: an agent that works on many things at once has some tens, a runaway loop has thousands.
const MAX_CALLS_PER_CALLER: usize = 64;
/// Requests of all callers.
const MAX_CALLS: usize = 4096;
/// Bytes of the bodies of one caller that come, and of those that are worked on, parsed: eight of the largest texts each.
const MAX_BODY_BYTES_PER_CALLER: usize = 8 * LARGEST_BODY;
/// Bytes of the bodies of all callers.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;
/// What a body costs at least while it comes, however small it is: 128 of a caller come at once, however slow they are.
const MIN_INCOMING_BYTES: usize = 256 * 1024;
/// Streams that a caller may have open for each session that it may have: the new one comes before the old one is known to
/// be gone. Requests that listen count among them.
const STREAMS_PER_SESSION: usize = 2;
/// When to try again: calls end soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The places of all callers.
pub(super) struct Limits {
    coming: Quota,
    bytes: Quota,
    calls: Quota,
    streams: Quota,
}

impl Limits {
    /// For so many connections, and so many sessions of a tenant.
    pub(super) fn new(connections: usize, sessions_per_tenant: u32) -> Self {
        let of_tenant = sessions_per_tenant as usize;
        Self {
            // Apart, so that a call can be cancelled however large those are that run.
            coming: Quota::parted(MAX_BODY_BYTES, MAX_BODY_BYTES_PER_CALLER),
            bytes: Quota::parted(MAX_BODY_BYTES, MAX_BODY_BYTES_PER_CALLER),
            calls: Quota::parted(MAX_CALLS, MAX_CALLS_PER_CALLER),
            // Each has a connection for itself, and as many are left for what does not last.
            streams: Quota::new(
                connections / 2,
                of_tenant.saturating_mul(STREAMS_PER_SESSION),
                of_caller(of_tenant).saturating_mul(STREAMS_PER_SESSION),
            ),
        }
    }

    /// Room for a body that comes, of which no more is known than how large it is at most.
    pub(super) fn body(&self, caller: &Owner, most: Option<u64>) -> Result<Permit> {
        let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(LARGEST_BODY);
        self.coming.take(caller, most.clamp(MIN_INCOMING_BYTES, LARGEST_BODY)).map_err(too_large)
    }

    /// Room for the body of a request that runs, by what it weighs when it is parsed.
    pub(super) fn bytes(&self, caller: &Owner, length: usize) -> Result<Permit> {
        self.bytes.take(caller, length).map_err(too_large)
    }

    /// A place for a request that runs.
    pub(super) fn call(&self, caller: &Owner) -> Result<Permit> {
        self.calls.take(caller, 1).map_err(|full| match full {
            Full::Caller => too_many(format!("this caller has {} requests running already", self.calls.per_caller)),
            Full::Tenant => too_many(format!("this tenant has {} requests running already", self.calls.per_tenant)),
            Full::All => busy(),
        })
    }

    /// A place for the stream of a session, or for a request that listens.
    pub(super) fn stream(&self, caller: &Owner) -> Result<Permit> {
        let too_many = |whose| {
            Error::new(Kind::RateLimited, "FM-MCP-TOO-MANY-STREAMS", format!("this {whose} has as many streams open as it may"))
                .hint("Keep one stream open for each session, and listen to several resources in one request.")
                .retry_after(RETRY_AFTER)
        };
        self.streams.take(caller, 1).map_err(|full| match full {
            Full::Caller => too_many("caller"),
            Full::Tenant => too_many("tenant"),
            Full::All => busy(),
        })
    }
}

fn too_large(full: Full) -> Error {
    match full {
        Full::Caller => too_many("the requests of this caller are too large to be taken at once"),
        Full::Tenant => too_many("the requests of this tenant are too large to be taken at once"),
        Full::All => busy(),
    }
}

fn too_many(what: impl Into<String>) -> Error {
    Error::new(Kind::RateLimited, "FM-MCP-TOO-MANY-CALLS", what)
        .hint("Wait for some of them, or cancel them, before you send more.")
        .retry_after(RETRY_AFTER)
}

fn busy() -> Error {
    Error::new(Kind::Unavailable, "FM-MCP-BUSY", "the server has as much to do as it can").retry_after(RETRY_AFTER)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn callers(tenant: &str) -> impl Iterator<Item = Owner> {
        (0..MAX_CALLS).map(move |number| Owner::test(tenant, &number.to_string()))
    }

    /// How much the callers of a tenant get, each asking as often as it gets something; and what the last was told.
    fn all_that<T>(tenant: &str, take: impl Fn(&Owner) -> Result<T>) -> (Vec<T>, Error) {
        let mut taken = Vec::new();
        for caller in callers(tenant) {
            let before = taken.len();
            let refused = loop {
                match take(&caller) {
                    Ok(one) => taken.push(one),
                    Err(refused) => break refused,
                }
            };
            if taken.len() == before {
                return (taken, refused);
            }
        }
        panic!("nothing bounds the callers of a tenant");
    }

    #[test]
    fn no_tenant_takes_what_others_need() {
        let limits = Limits::new(4096, 64);
        let (calls, refused) = all_that("tenant-1", |caller| limits.call(caller));
        assert_eq!((calls.len(), refused.code(), refused.kind()), (MAX_CALLS / 4, "FM-MCP-TOO-MANY-CALLS", Kind::RateLimited));
        assert!(refused.message().contains("1024 requests"), "{refused}");
        let (bodies, refused) = all_that("tenant-1", |caller| limits.body(caller, Some(10)));
        assert_eq!((bodies.len(), refused.code()), (MAX_BODY_BYTES / 4 / MIN_INCOMING_BYTES, "FM-MCP-TOO-MANY-CALLS"));
        let (streams, refused) = all_that("tenant-1", |caller| limits.stream(caller));
        assert_eq!((streams.len(), refused.code()), (128, "FM-MCP-TOO-MANY-STREAMS"));
        let other = Owner::test("tenant-2", "anna");
        let _places = (limits.call(&other).unwrap(), limits.body(&other, None).unwrap(), limits.stream(&other).unwrap());
    }

    #[test]
    fn a_body_that_comes_costs_what_it_says_it_is() {
        let limits = Limits::new(4096, 64);
        let anna = Owner::test("tenant-1", "anna");
        for (most, bodies) in [(None, 8), (Some(u64::MAX), 8), (Some(LARGEST_BODY as u64), 8), (Some(1024 * 1024), 32), (Some(0), 128)] {
            let _taken: Vec<_> = (0..bodies).map(|_| limits.body(&anna, most).unwrap()).collect();
            assert_eq!(limits.body(&anna, most).err().unwrap().code(), "FM-MCP-TOO-MANY-CALLS");
        }
    }

    #[test]
    fn streams_leave_connections_to_others() {
        let limits = Limits::new(10, 64);
        let _streams: Vec<_> = callers("tenant-1").take(5).map(|caller| limits.stream(&caller).unwrap()).collect();
        assert_eq!(limits.stream(&Owner::test("tenant-2", "anna")).err().unwrap().code(), "FM-MCP-BUSY");
    }
}
