//! One call on its way through the stack, and its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::origin::Located;
use crate::api::wire::WireRequest;
use crate::api::{Entry, Method};
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::telemetry::TraceContext;
use crate::telemetry::metrics::{Metrics, OperationMetrics};

/// One call on its way. A clone is cheap: a layer may run what follows it more than once.
#[derive(Clone)]
pub struct Call {
    /// The operation.
    pub entry: &'static Entry,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// What the caller of the client wants of this call.
    pub options: CallOptions,
    /// The headers so far.
    pub headers: HeaderMap,
    /// Where it goes: to the instance that was picked, else set by `sign`, since address and credential belong together.
    pub located: Option<Located>,
    /// Which of the service's instances it goes to, where one was picked.
    pub instance: Option<Arc<str>>,
    /// When the call must have ended, its retries included; set by `deadline`.
    pub(super) deadline: Option<Instant>,
    /// Whether it may go out again although it may have been carried out; set by `retry`.
    pub(super) is_repeatable: bool,
    /// How often it was sent again; set by `retry`.
    pub(super) resends: u32,
    /// The span that it is made for; from the layer `trace` on its own, of which each attempt is a child.
    pub(super) trace: Option<TraceContext>,
    /// The figures of its operation.
    pub(super) metrics: Arc<OperationMetrics>,
    /// How long its answer may be waited for; set by `timeout`.
    pub(super) waits: Waits,
    pub(super) request: Arc<EncodedRequest>,
    /// What the caller's token was exchanged for just now; the call goes on by it, whatever is remembered.
    pub(super) fresh: Option<SecretString>,
}

/// What a call may ask for beyond its arguments.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// Do it only if the object still has this `ETag`.
    pub if_match: Option<String>,
    /// The same key makes a repeated call the same call, where the platform honours it.
    pub idempotency_key: Option<String>,
    /// How long it may take in all, where that is less than the client's own limit.
    pub deadline: Option<Duration>,
    /// The span that it is made for.
    pub traceparent: Option<TraceContext>,
    /// It is repeated by its caller, who waits longer each time: it has one attempt, which tells nothing of the service.
    pub is_paced: bool,
    /// It reads the present state, whatever was read a moment ago.
    pub is_fresh: bool,
    /// Where the pieces of its answer go while it is written; the answer itself has them all.
    pub tokens: Option<mpsc::Sender<String>>,
    /// Secrets by the places in its body that they take when it leaves.
    pub secrets: Vec<(String, SecretString)>,
}

/// How long one attempt waits; without a bound as long as the call may take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waits {
    /// From the request to the head of its answer.
    pub(super) first_byte: Option<Duration>,
    /// From one part of the answer to the next.
    pub(super) idle: Option<Duration>,
}

/// The request in the form that every attempt sends.
#[derive(Clone)]
pub(super) struct EncodedRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Option<Bytes>,
}

impl Call {
    pub(super) fn new(entry: &'static Entry, caller: Arc<Caller>, request: WireRequest, mut options: CallOptions) -> Result<Self> {
        let WireRequest { method, path, query, body } = request;
        let body = body.map(|body| serde_json::to_vec(&body)).transpose().map_err(Error::internal)?.map(Bytes::from);
        let request = Arc::new(EncodedRequest { method, path, query, body });
        let trace = options.traceparent.take();
        Ok(Self {
            entry,
            caller,
            options,
            headers: HeaderMap::new(),
            located: None,
            instance: None,
            deadline: None,
            is_repeatable: false,
            resends: 0,
            trace,
            metrics: Metrics::default().of(entry),
            waits: Waits::default(),
            request,
            fresh: None,
        })
    }

    /// The call, ending after a time at the latest.
    pub(super) fn ending(mut self, after: Duration) -> Self {
        self.deadline = Some(Instant::now() + after);
        self
    }

    /// How long the call may still take.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Sets a header; what cannot be one is an internal error, since no header is made of arguments.
    pub fn header(&mut self, name: HeaderName, value: &str) -> Result<()> {
        let value = HeaderValue::from_str(value).map_err(Error::internal)?;
        self.headers.insert(name, value);
        Ok(())
    }
}

/// A successful answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status, 200 to 299.
    pub status: u16,
    /// The version of the object that was answered.
    pub etag: Option<String>,
    /// The answer in the contract's names; an empty object where there is none.
    pub body: Value,
}
