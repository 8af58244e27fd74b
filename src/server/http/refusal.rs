//! Every refusal of the HTTP layer is made here: a status, a challenge where one is due, and an error of JSON-RPC.

use axum::response::{IntoResponse as _, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::metadata::{Metadata, challenge};
use crate::auth::Caller;
use crate::error::{Error, Kind};
use crate::server::{App, audit};

/// The code of a request without any token, which is not a fault yet: the challenge says how to come in.
pub(super) const NO_TOKEN: &str = "FM-MCP-TOKEN-MISSING";
/// The codes of a token that stands where it must not.
pub(super) const TOKEN_TWICE: &str = "FM-MCP-TOKEN-TWICE";
pub(super) const TOKEN_IN_QUERY: &str = "FM-MCP-TOKEN-IN-QUERY";
/// Seconds after which to try again where nothing better is known.
const DEFAULT_RETRY_SECONDS: u64 = 5;

/// Why a request goes no further.
pub(super) struct Refusal {
    error: Error,
    status: StatusCode,
    rpc: i32,
    id: Value,
    endpoint: &'static str,
    /// The tool that was called.
    tool: Option<&'static str>,
    /// The scopes that the tool needs.
    scope: Option<String>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            Kind::Unavailable | Kind::Timeout | Kind::BadAnswer => StatusCode::SERVICE_UNAVAILABLE,
            kind => StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        };
        let rpc = if status.is_server_error() { -32603 } else { -32600 };
        Self { error, status, rpc, id: Value::Null, endpoint: "/mcp", tool: None, scope: None }
    }
}

impl Refusal {
    /// The endpoint that refuses, as the audit log names it.
    pub(super) const fn at(mut self, endpoint: &'static str) -> Self {
        self.endpoint = endpoint;
        self
    }

    pub(super) const fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) const fn rpc(mut self, code: i32) -> Self {
        self.rpc = code;
        self
    }

    /// The id of the message that is refused.
    pub(super) fn of(mut self, id: Value) -> Self {
        self.id = id;
        self
    }

    pub(super) fn needs(mut self, tool: &'static str, scope: String) -> Self {
        self.tool = Some(tool);
        self.scope = Some(scope);
        self
    }

    /// Records the refusal and answers with it.
    pub(super) fn respond(self, app: &App, metadata: Option<&Metadata>, caller: Option<&Caller>) -> Response {
        let Self { error, status, rpc, id, endpoint, tool, scope } = self;
        tracing::info!(code = error.code(), status = status.as_u16(), subject = caller.map(|caller| &*caller.subject), tool, "refused");
        app.client.metrics().count_http_refusal(error.code());
        app.audit.refused(&audit::Refusal { caller, transport: audit::Transport::Http, tool, endpoint, error: &error });
        let mut data = json!({ "code": error.code() });
        if let Some(hint) = error.next_step() {
            data["hint"] = hint.into();
        }
        let body = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": rpc, "message": error.message(), "data": data } });
        let mut response = (status, axum::Json(body)).into_response();
        let fault = match (status, &scope) {
            (StatusCode::UNAUTHORIZED, _) if error.code() == NO_TOKEN => Some(None),
            (StatusCode::UNAUTHORIZED, _) => Some(Some("invalid_token")),
            (StatusCode::FORBIDDEN, Some(_)) => Some(Some("insufficient_scope")),
            (StatusCode::BAD_REQUEST, _) if [TOKEN_TWICE, TOKEN_IN_QUERY].contains(&error.code()) => Some(Some("invalid_request")),
            _ => None,
        };
        let challenge = fault.map(|fault| challenge(metadata, fault, scope.as_deref()));
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let seconds = error.when_to_retry().map_or(DEFAULT_RETRY_SECONDS, |wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
            response.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
        }
        response
    }
}
