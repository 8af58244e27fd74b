//! Lets the pages of allowed origins read what they are answered; without it a browser keeps the answers from them.
//!
//! Only where callers bring tokens. With open authentication, a page that happens to be served on this machine would
//! otherwise act as the owner.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderValue, Method, StatusCode};

use super::Authentication;
use super::admission::Admission;
use crate::error::Error;

/// What a page may send; a wildcard leaves Authorization out, so it is named.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, *");
/// What a page may read beside the body.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("mcp-session-id, mcp-protocol-version, retry-after, www-authenticate");

/// Whether a request was made to a name of this server, and by no foreign page.
#[derive(Clone)]
pub(super) struct OriginVerdict(pub(super) Result<(), Arc<Error>>);

/// Answers a browser's question beforehand, and marks answers as readable.
///
/// `Host` and `Origin` are judged here, once; the request carries the verdict to `authenticate`.
pub(super) async fn share<F: Future<Output = Response>>(
    gate: &Admission,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let verdict = OriginVerdict(gate.check_names(request.uri(), request.headers()).map_err(Arc::new));
    let allowed = matches!(gate.authentication(), Authentication::Bearer(_)) && verdict.0.is_ok();
    request.extensions_mut().insert(verdict);
    let Some(origin) = request.headers().get(ORIGIN).filter(|_| allowed).cloned() else { return next(request).await };
    let asks = request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks { StatusCode::NO_CONTENT.into_response() } else { next(request).await };
    let headers = response.headers_mut();
    if asks {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    headers.append(VARY, HeaderValue::from_static("origin"));
    response
}

/// The same before routes that are not the endpoint.
pub(super) async fn layer(State(gate): State<Admission>, request: Request, next: Next) -> Response {
    share(&gate, request, |request| next.run(request)).await
}
