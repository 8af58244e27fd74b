//! One request of a host: who asks, in which revision of the protocol, and what is asked of the server.

use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::ProtocolVersion;
use rmcp::service::RequestContext;

use super::App;
use crate::auth::{Admit, Caller, Principal};

/// One request: who asks, and what is asked of the server.
pub(super) struct Request {
    pub(super) app: Arc<App>,
    pub(super) caller: Arc<Caller>,
    /// Whom the connection speaks for, where the caller did not come with the request.
    pub(super) principal: Option<Arc<dyn Principal>>,
    /// What judges the caller's token once more, where it came with the request.
    pub(super) admit: Option<Arc<dyn Admit>>,
}

impl Request {
    /// Whether the caller came with the request rather than with the connection.
    pub(super) const fn over_http(&self) -> bool {
        self.principal.is_none()
    }
}

/// Whether a request belongs to 2026-07-28, which has other ways to ask and to hint.
pub(super) fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}
