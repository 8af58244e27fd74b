//! One call on its way through the stack, and its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::Value;

use super::origin::Located;
use crate::api::wire::WireRequest;
use crate::api::{Entry, Method};
use crate::auth::Caller;
use crate::error::{Error, Result};

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
    /// Where it goes; set by `sign`, since address and credential belong together.
    pub located: Option<Located>,
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
    /// The W3C trace that it belongs to.
    pub traceparent: Option<String>,
}

/// The request in the form that every attempt sends.
pub(super) struct EncodedRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Option<Bytes>,
}

impl Call {
    pub(super) fn new(entry: &'static Entry, caller: Arc<Caller>, request: WireRequest, options: CallOptions) -> Result<Self> {
        let WireRequest { method, path, query, body } = request;
        let body = body.map(|body| serde_json::to_vec(&body)).transpose().map_err(Error::internal)?.map(Bytes::from);
        let request = Arc::new(EncodedRequest { method, path, query, body });
        Ok(Self { entry, caller, options, headers: HeaderMap::new(), located: None, request, fresh: None })
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
