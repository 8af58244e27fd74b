//! One request of a host: who asks, in which revision of the protocol, and what is asked of the server.

use std::sync::Arc;

use http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::ProtocolVersion;
use rmcp::service::RequestContext;
use serde_json::{Map, Value};

use super::toolsets::Offer;
use super::{App, operation};
use crate::api::Entry;
use crate::auth::{Admit, Caller, Principal};
use crate::client::Reply;
use crate::error::Result;
use crate::telemetry::TraceContext;

/// One request: who asks, and what is asked of the server.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) app: Arc<App>,
    pub(super) caller: Arc<Caller>,
    /// Which tools it is offered.
    pub(super) offer: Offer,
    /// Whom the connection speaks for, where the caller did not come with the request.
    pub(super) principal: Option<Arc<dyn Principal>>,
    /// What judges the caller's token once more, where it came with the request.
    pub(super) admit: Option<Arc<dyn Admit>>,
}

impl Request {
    /// Whether a next step may name an operation: the platform has it, or its answer is made here, and the request is offered it.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        (entry.spec.is_derivable || self.app.has(entry)) && self.offer.holds(entry)
    }

    /// Reads what is not a tool's answer, such as a resource or a prompt's data, by an operation that is offered.
    pub(super) async fn read(&self, name: &str, arguments: Map<String, Value>, limit: usize) -> Result<Reply> {
        self.offer.check(operation(name)?)?;
        self.app.read(&self.caller, name, arguments, limit).await
    }

    /// Whether the caller came with the request rather than with the connection.
    pub(super) const fn over_http(&self) -> bool {
        self.principal.is_none()
    }
}

/// The span that a host says it calls from, in the request's `_meta` or else as headers. `tracestate` belongs to the
/// `traceparent` beside it.
pub(super) fn host_trace(context: &RequestContext<RoleServer>) -> Option<TraceContext> {
    if let Some(parent) = context.meta.get_traceparent() {
        return TraceContext::remote(parent, context.meta.get_tracestate());
    }
    let headers = &context.extensions.get::<Parts>()?.headers;
    let states: Vec<&str> = headers.get_all("tracestate").iter().map_while(|state| state.to_str().ok()).collect();
    TraceContext::remote(headers.get("traceparent")?.to_str().ok()?, Some(&states.join(",")))
}

/// Whether a request belongs to 2026-07-28, which has other ways to ask and to hint.
pub(super) fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}
