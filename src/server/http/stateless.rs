//! A tool's call of 2026-07-28 on a way of its own, beside rmcp's service loop.
//!
//! Such a request stands alone: it needs no session, no channel back to its host and no task that serves them. rmcp
//! nevertheless builds all of these for each, which costs twice what the call itself does. [`read`] decides, in this one
//! place, which requests are plain enough to go to the handler at once. Every other request goes to rmcp as it came. What is
//! plain gets the same answer on both ways; `tests/it/http/stateless.rs` sends a table of requests down both.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use futures_util::{sink, stream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ErrorCode, Implementation, InitializeRequestParams, JsonObject, ProtocolVersion, RequestId,
    RequestMetaObject, ServerJsonRpcMessage,
};
use rmcp::service::{RequestContext, RunningService, serve_directly};
use rmcp::{RoleServer, ServerHandler as _};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::negotiation::{BOTH, is_json};
use crate::error::{Error, Kind, Result};
use crate::server::handler::Handler;

const METHOD: &str = "tools/call";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What serves the calls that [`read`] finds.
pub(super) struct Stateless {
    /// The handler of all calls, and a peer whose connection is closed already: a call without a progress token sends its
    /// host nothing but the answer.
    service: Arc<RunningService<RoleServer, Handler>>,
    /// Cancelled when answers come no more because the server ends.
    ended: CancellationToken,
}

/// A call that can be served at once.
pub(super) struct Call {
    pub(super) id: RequestId,
    params: CallToolRequestParams,
    meta: RequestMetaObject,
}

impl Call {
    pub(super) fn tool(&self) -> &str {
        &self.params.name
    }
}

/// The message of a plain call, which has no field but these. Texts with escapes are not plain.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    jsonrpc: &'a str,
    id: RequestId,
    method: &'a str,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    name: &'a str,
    arguments: Option<JsonObject>,
    #[serde(rename = "_meta")]
    meta: JsonObject,
}

/// Reads a message as a plain call: one of 2026-07-28 whose headers agree with it and are there once, that answers no
/// question, and whose host asks for no progress. `None` leaves it to rmcp, which refuses it or serves it.
///
/// What rmcp checks before a handler is checked here, so a call that comes through would pass there too.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Option<Call> {
    let version = ProtocolVersion::V_2026_07_28;
    let agrees = |name: &str, value: &str| only(headers, name).is_some_and(|given| given == value);
    if !(agrees("mcp-protocol-version", version.as_str()) && agrees("mcp-method", METHOD)) {
        return None;
    }
    if only(headers, ACCEPT.as_str())? != BOTH || !is_json(headers) {
        return None;
    }
    let message: Message<'_> = serde_json::from_slice(body).ok()?;
    let Params { name, arguments, meta } = message.params;
    if message.jsonrpc != "2.0" || message.method != METHOD || !agrees("mcp-name", name) {
        return None;
    }
    // In headers other names are written in another way, and so are those that look like it.
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) || name.starts_with("=?") {
        return None;
    }
    let meta = RequestMetaObject::from(meta);
    if meta.protocol_version()? != version || !meta.missing_required_keys(&version).is_empty() || meta.contains_key("progressToken") {
        return None;
    }
    let params = CallToolRequestParams::new(name.to_owned());
    let params = if let Some(arguments) = arguments { params.with_arguments(arguments) } else { params };
    Some(Call { id: message.id, params, meta })
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

impl Stateless {
    pub(super) fn new(handler: Handler, ended: CancellationToken) -> Self {
        let peer = InitializeRequestParams::new(ClientCapabilities::default(), Implementation::default())
            .with_protocol_version(ProtocolVersion::V_2026_07_28);
        Self { service: Arc::new(serve_directly(handler, (sink::drain(), stream::empty()), Some(peer))), ended }
    }

    /// Answers a call. If its host hangs up, the call is cancelled, and ends by itself.
    pub(super) async fn answer(&self, call: Call, parts: Parts) -> Result<Response> {
        let Call { id, params, meta } = call;
        let service = Arc::clone(&self.service);
        let mut context = RequestContext::new(id.clone(), service.peer().clone());
        context.meta = meta;
        context.extensions.insert(parts);
        let cancel = context.ct.clone();
        let running = Running { call: Some(Box::pin(async move { service.service().call_tool(params, context).await })), cancel };
        let answered = tokio::select! {
            biased;
            answered = running => answered,
            () = self.ended.cancelled() => return Err(Error::new(Kind::Internal, "FM-MCP-INTERNAL", "the request met an internal error")),
        };
        let message = match answered {
            Ok(result) => ServerJsonRpcMessage::response(result.into(), id),
            Err(error) => ServerJsonRpcMessage::error(error, Some(id)),
        };
        respond(&message)
    }
}

/// The answer over HTTP, with the status that rmcp gives it.
fn respond(message: &ServerJsonRpcMessage) -> Result<Response> {
    let status = match message {
        ServerJsonRpcMessage::Error(error) if error.error.code == ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    };
    let body = serde_json::to_vec(message).map_err(Error::internal)?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(response)
}

/// A call within the request that asks for it. Dropped before its end, it is cancelled and goes on in a task of its own, so
/// that what it began is recorded.
struct Running<F: Future<Output: Send> + Send + 'static> {
    call: Option<Pin<Box<F>>>,
    cancel: CancellationToken,
}

impl<F: Future<Output: Send> + Send + 'static> Future for Running<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(call) = &mut self.call else { return Poll::Pending };
        let polled = call.as_mut().poll(cx);
        if polled.is_ready() {
            self.call = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Running<F> {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        self.cancel.cancel();
        // Without a runtime the process ends.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(call);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::server::list_tools_json;

    fn headers() -> HeaderMap {
        [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", METHOD),
            ("mcp-name", "tasks_get"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json; charset=utf-8"),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
    }

    fn message() -> Value {
        json!({ "jsonrpc": "2.0", "id": "a", "method": METHOD, "params": { "name": "tasks_get", "arguments": { "id": "task-1" }, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "more": 1,
        } } })
    }

    fn is_plain(headers: &HeaderMap, message: &Value) -> bool {
        read(headers, message.to_string().as_bytes()).is_some()
    }

    #[test]
    fn a_call_that_agrees_with_its_headers_is_plain() {
        let call = read(&headers(), message().to_string().as_bytes()).unwrap();
        assert_eq!((call.id, &*call.params.name), (RequestId::String("a".into()), "tasks_get"));
        assert_eq!(call.params.arguments.unwrap()["id"], "task-1");
        assert_eq!(call.meta["more"], 1);
    }

    #[test]
    fn a_header_that_is_wrong_missing_or_there_twice_is_left_to_rmcp() {
        for name in ["mcp-protocol-version", "mcp-method", "mcp-name", "accept", "content-type"] {
            let mut twice = headers();
            twice.append(name, twice[name].clone());
            let mut wrong = headers();
            wrong.insert(name, HeaderValue::from_static("2025-11-25"));
            let mut missing = headers();
            missing.remove(name);
            let plain = [twice, wrong, missing].map(|headers| is_plain(&headers, &message()));
            // Of two media types rmcp reads the first.
            assert_eq!(plain, [name == "content-type", false, false], "{name}");
        }
    }

    #[test]
    fn a_message_with_another_field_or_value_is_left_to_rmcp() {
        let meta = "/params/_meta";
        for (within, name, value) in [
            ("", "jsonrpc", json!("1.0")),
            ("", "id", json!(null)),
            ("", "method", json!("tools/list")),
            ("", "result", json!({})),
            ("/params", "name", json!("tasks_list")),
            ("/params", "arguments", json!([])),
            ("/params", "requestState", json!("x")),
            ("/params", "inputResponses", json!({})),
            (meta, "progressToken", json!(1)),
            (meta, "io.modelcontextprotocol/protocolVersion", json!("2025-11-25")),
            (meta, "io.modelcontextprotocol/clientCapabilities", json!(5)),
        ] {
            let mut message = message();
            message.pointer_mut(within).unwrap()[name] = value;
            assert!(!is_plain(&headers(), &message), "{message}");
        }
        let escaped = message().to_string().replace(METHOD, r"tools\u002fcall");
        assert!(read(&headers(), escaped.as_bytes()).is_none());
        for odd in ["=?base64?eA==?=", "tasks get", "tâches"] {
            let (mut headers, mut message) = (headers(), message());
            headers.insert("mcp-name", HeaderValue::from_bytes(odd.as_bytes()).unwrap());
            message["params"]["name"] = odd.into();
            assert!(!is_plain(&headers, &message), "{odd}");
        }
    }

    /// Such arguments would have headers of their own, which rmcp compares.
    #[test]
    fn no_tool_has_arguments_in_headers() {
        assert!(!list_tools_json().to_string().contains("x-mcp-header"));
    }
}
