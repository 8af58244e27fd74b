//! Gives every call a span of its caller's trace, counts it by how it ended, and writes a line in the log.
//!
//! It stands outermost, so that refusals of the other layers are seen, and what a call took includes all of them.

use std::time::Instant;

use futures_util::future::BoxFuture;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::error::{Error, Result};
use crate::telemetry;

/// See the module.
pub(in crate::client) struct Trace;

impl Layer for Trace {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            let metrics = call.metrics.clone();
            let span = tracing::debug_span!(
                "call",
                operation = call.entry.spec.name,
                tenant = %call.caller.tenant,
                subject = %call.caller.subject,
                trace = Empty,
                "error.type" = Empty,
            );
            call.trace = Some(telemetry::place(&span, call.trace.as_ref()));
            let started = Instant::now();
            let result = next.run(call).instrument(span.clone()).await;
            metrics.count_call(result.as_ref().err().map(Error::kind));
            if let Err(error) = &result {
                span.record("error.type", error.code());
            }
            span.in_scope(|| match &result {
                Ok(reply) => tracing::debug!(status = reply.status, took = ?started.elapsed(), "answered"),
                Err(error) => tracing::debug!(code = error.code(), took = ?started.elapsed(), "failed"),
            });
            result
        })
    }
}
