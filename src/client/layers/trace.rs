//! Gives every call a span, a W3C trace and a line in the log.
//!
//! It stands outermost, so that refusals of the other layers are seen, and what a call took includes all of them.

use std::time::Instant;

use futures_util::future::BoxFuture;
use http::HeaderName;
use tracing::Instrument as _;

use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::error::{Error, Result};
use crate::io::hex::hex;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// See the module.
pub(in crate::client) struct Trace;

impl Layer for Trace {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            let traceparent = traceparent(call.options.traceparent.as_deref())?;
            call.header(TRACEPARENT, &traceparent)?;
            let span = tracing::debug_span!(
                "call",
                operation = call.entry.spec.name,
                tenant = %call.caller.tenant,
                subject = %call.caller.subject,
                trace = %traceparent.get(3..35).unwrap_or_default(),
            );
            let started = Instant::now();
            let result = next.run(call).instrument(span.clone()).await;
            span.in_scope(|| match &result {
                Ok(reply) => tracing::debug!(status = reply.status, took = ?started.elapsed(), "answered"),
                Err(error) => tracing::debug!(code = error.code(), took = ?started.elapsed(), "failed"),
            });
            result
        })
    }
}

/// A child of the given W3C trace, or the root of a new one where there is none or it is broken.
///
/// # Errors
/// No random numbers from the system.
pub fn traceparent(parent: Option<&str>) -> Result<String> {
    let mut random = [0_u8; 24];
    getrandom::fill(&mut random).map_err(Error::internal)?;
    let inherited = parent.and_then(|parent| {
        let mut parts = parent.split('-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let valid = version.len() == 2 && trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
        (valid && trace.bytes().any(|byte| byte != b'0')).then(|| trace.to_ascii_lowercase())
    });
    let trace = inherited.unwrap_or_else(|| hex(&random[..16]));
    Ok(format!("00-{trace}-{}-01", hex(&random[16..])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::call::CallOptions;
    use crate::client::layers::scripted::{Scripted, call, user};

    #[tokio::test]
    async fn a_call_carries_a_child_of_its_trace_and_its_answer_passes() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let options = CallOptions { traceparent: Some(parent.to_owned()), ..CallOptions::default() };
        let end = Scripted::failing([Error::internal("no")]);
        assert!(end.run(Trace, call(&user("anna", &[]), "tasks_list", &json!({}), options.clone())).await.is_err());
        assert_eq!(end.run(Trace, call(&user("anna", &[]), "tasks_list", &json!({}), options)).await.unwrap().status, 200);
        let sent: Vec<String> = end.arrived().iter().map(|call| call.headers[TRACEPARENT].to_str().unwrap().to_owned()).collect();
        assert!(sent.iter().all(|sent| sent[..36] == parent[..36] && sent != parent) && sent[0] != sent[1], "{sent:?}");
    }

    #[test]
    fn a_trace_goes_on_and_a_broken_one_begins_anew() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let child = traceparent(Some(parent)).unwrap();
        assert_eq!(child[..36], parent[..36]);
        assert_ne!(child[36..52], parent[36..52]);
        for broken in ["", "00-zz-1-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            assert_eq!(traceparent(Some(broken)).unwrap().len(), 55);
        }
    }
}
