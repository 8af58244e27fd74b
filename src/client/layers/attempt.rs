//! Gives every attempt that leaves a span of its own, and counts it.
//!
//! It stands inside what may refuse an attempt (breaker, bulkhead, rate limit): what it sees goes to the platform.

use futures_util::future::BoxFuture;
use http::HeaderName;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::error::Result;
use crate::telemetry;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// See the module.
pub(in crate::client) struct Attempt;

impl Layer for Attempt {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            call.metrics.attempts.increment(1);
            let span = tracing::debug_span!(
                "attempt",
                http.request.method = call.entry.spec.method.name(),
                url.template = call.entry.spec.path,
                http.request.resend_count = i64::from(call.resends),
                http.response.status_code = Empty,
                "error.type" = Empty,
            );
            let here = telemetry::place(&span, call.trace.as_ref());
            call.header(TRACEPARENT, &here.to_string())?;
            if let Some(state) = here.state() {
                call.header(TRACESTATE, state)?;
            }
            let result = next.run(call).instrument(span.clone()).await;
            match &result {
                Ok(reply) => span.record("http.response.status_code", i64::from(reply.status)),
                Err(error) => span.record("error.type", error.code()),
            };
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::client::call::CallOptions;
    use crate::client::layers::retry::Retry;
    use crate::client::layers::scripted::{Scripted, call, user};
    use crate::client::layers::trace::Trace;
    use crate::error::{Error, Kind};
    use crate::telemetry::TraceContext;
    use crate::telemetry::metrics::Metrics;

    #[tokio::test(start_paused = true)]
    async fn each_attempt_is_a_span_of_its_callers_trace_and_is_counted() {
        let (metrics, host) = (Metrics::kept(false).unwrap(), TraceContext::within(None));
        let options = CallOptions { traceparent: Some(host.clone()), ..CallOptions::default() };
        let mut call = call(&user("anna", &[]), "tasks_list", &json!({}), options);
        call.metrics = metrics.of(call.entry);
        let end = Scripted::failing((0..2).map(|_| Error::new(Kind::Unavailable, "HTTP-503", "busy")));
        let layers: [Arc<dyn Layer>; 3] = [Arc::new(Trace), Arc::new(Retry::new(4, false)), Arc::new(Attempt)];
        assert_eq!(end.run_through(&layers, call).await.unwrap().status, 200);
        let sent: Vec<String> = end.arrived().iter().map(|call| call.headers[TRACEPARENT].to_str().unwrap().to_owned()).collect();
        assert_eq!(end.arrived().iter().map(|call| call.resends).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(sent.iter().all(|sent| sent[3..35] == host.trace_id() && *sent != host.to_string()), "{sent:?}");
        assert!(sent[0] != sent[1] && sent[1] != sent[2] && sent[0] != sent[2], "{sent:?}");
        let page = metrics.page();
        for (name, count) in [("calls", 1), ("attempts", 3), ("retries", 2)] {
            let line = format!("flowmaster_mcp_{name}_total{{service=\"human-task\",operation=\"tasks_list\"}} {count}\n");
            assert!(page.contains(&line), "{line}{page}");
        }
    }
}
