//! Content negotiation before rmcp, which compares media types word by word, and refusals of rmcp as JSON behind it.

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::refusal::Refusal;
use crate::error::{Error, Kind};
use crate::server::host_events;

/// Both media types, as rmcp wants to read them.
pub(super) const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
/// The first revision whose requests stand alone and are answered by JSON.
const STATELESS_SINCE: &str = "2026-07-28";
/// The longest refusal of rmcp that is read, in bytes.
const LONGEST_REFUSAL: usize = 64 * 1024;
/// The longest answer to `server/discover`, in bytes.
const LONGEST_DISCOVERY: usize = 1024 * 1024;

/// Names both media types in `Accept` where the host accepts what rmcp will answer.
///
/// A session of 2025-11-25 is answered by an event stream, so its host must accept one. A request of 2026-07-28 is
/// answered by JSON.
pub(super) fn widen_accept(method: &Method, headers: &mut HeaderMap) {
    let (json, events) = accepted(headers);
    let stateless = headers.get("mcp-protocol-version").is_some_and(|version| version.as_bytes() >= STATELESS_SINCE.as_bytes());
    if if *method == Method::POST { json && (events || stateless) } else { events } {
        headers.insert(ACCEPT, BOTH);
    }
}

/// Whether JSON and event streams are accepted; without the header, everything is.
fn accepted(headers: &HeaderMap) -> (bool, bool) {
    let mut ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).peekable();
    if ranges.peek().is_none() {
        return (true, true);
    }
    ranges.fold((false, false), |(json, events), range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let rejected = parts.any(|part| part.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok()) == Some(0.0));
        let names = |ranges: [&str; 3]| !rejected && ranges.contains(&essence.as_str());
        (json || names(["application/json", "application/*", "*/*"]), events || names(["text/event-stream", "text/*", "*/*"]))
    })
}

/// Adds to rmcp's answer to `server/discover` what its types have no field for.
pub(super) async fn complete_discovery(response: Response) -> Response {
    if response.status() != StatusCode::OK || !holds_json(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, LONGEST_DISCOVERY).await else {
        return Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).body(Body::empty()).unwrap_or_default();
    };
    let Ok(mut answer) = serde_json::from_slice::<Value>(&bytes) else { return Response::from_parts(parts, Body::from(bytes)) };
    if let Some(result) = answer.get_mut("result") {
        host_events::announce_in(result);
    }
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(answer.to_string()))
}

/// Whether a body is declared as JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json"))
}

fn holds_json(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"application/json"))
}

/// The refusal that a plain-text answer of rmcp stands for; other answers come back unchanged.
pub(super) async fn refusal_of(response: Response) -> Result<Response, Box<(Refusal, Option<HeaderValue>)>> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || holds_json(&response) {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, LONGEST_REFUSAL).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&text);
    let said = said.split_once(": ").map_or(&*said, |(_, reason)| reason);
    let (kind, code, message, hint) = match status {
        StatusCode::NOT_ACCEPTABLE => (
            Kind::Malformed,
            "FM-MCP-ACCEPT",
            "the Accept header leaves out what is answered",
            "Accept application/json and text/event-stream.",
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            (Kind::MediaType, "FM-MCP-CONTENT-TYPE", "the body is not declared as JSON", "Send Content-Type: application/json.")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            (Kind::Malformed, "FM-MCP-METHOD", "the endpoint does not serve this HTTP method", "Send messages by POST.")
        }
        StatusCode::NOT_FOUND => (Kind::NotFound, "FM-MCP-SESSION", "there is no such session", "Open a new one with initialize."),
        _ if status.is_server_error() => (Kind::Internal, "FM-MCP-INTERNAL", "the request met an internal error", ""),
        _ => (Kind::Malformed, "FM-MCP-REQUEST", said, ""),
    };
    let error = Error::new(kind, code, message.to_owned());
    let error = if hint.is_empty() { error } else { error.hint(hint) };
    Err(Box::new((Refusal::from(error).status(status).of(Value::Null), parts.headers.get(ALLOW).cloned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_accepts_what_its_ranges_cover() {
        for (accept, covers) in [
            (None, (true, true)),
            (Some("*/*"), (true, true)),
            (Some("application/*, text/*;q=0.5"), (true, true)),
            (Some("Application/JSON; charset=utf-8"), (true, false)),
            (Some("text/event-stream"), (false, true)),
            (Some("text/html, */*;q=0"), (false, false)),
        ] {
            let headers = accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept)));
            assert_eq!(accepted(&headers.into_iter().collect()), covers, "{accept:?}");
        }
    }
}
