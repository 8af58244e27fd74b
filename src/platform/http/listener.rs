//! The one listener: Host and Origin checked, health, proof of identity, and the operations behind them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use http::{HeaderValue, Method, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::routes::{REQUEST_ID, request_id};
use super::{body, openapi, problem};
use crate::api::operation::MAX_BODY;
use crate::error::{Error, Kind, Result};
use crate::platform::{Platform, services};

/// Serves the platform on a bound listener until it stops.
pub(crate) fn serve(platform: &Platform, listener: TcpListener) {
    let app = app(platform);
    let stopping = platform.stopping().clone();
    let listener = listener.tap_io(|stream| {
        // Small answers must not wait for the next packet.
        let _ = stream.set_nodelay(true);
    });
    platform.spawn(async move {
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let served = axum::serve(listener, app).with_graceful_shutdown(stopping.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the platform's listener ended");
        }
    });
}

fn app(platform: &Platform) -> Router {
    let routes = services::routes();
    let extensions = Arc::new(routes.extensions());
    let (ready, proving, keys) = (platform.clone(), platform.clone(), platform.clone());
    let checked = platform.clone();
    routes
        .router(platform)
        .merge(services::realtime::sockets(platform))
        .route("/livez", get(async || json_response(&json!({ "status": "ok" }))))
        .route("/readyz", get(move || readiness(ready.clone())))
        .route("/-/prove", post(move |request: Request| prove(proving.clone(), request)))
        .route("/.well-known/jwks.json", get(move || std::future::ready(json_response(&keys.keys().jwks()))))
        .route("/openapi.json", get(move || std::future::ready(json_response(&openapi::document(&extensions)))))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn(move |request: Request, next: Next| check(checked.clone(), request, next)))
}

/// What every request passes first: it must mean this host, and come from no foreign web page.
async fn check(platform: Platform, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    if let Ok(value) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(REQUEST_ID, value);
    }
    let path = request.uri().path().to_owned();
    let mut response = match admit(&platform, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => problem::response(&error, &path, &id),
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn admit(platform: &Platform, request: &Request) -> Result<()> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
    if !host.is_some_and(|host| platform.answers_to(host)) {
        return Err(Error::new(Kind::Forbidden, "FM-AGS-HOST", "the Host header names another host than this platform")
            .hint("Call the platform by its own address."));
    }
    if let Some(origin) = request.headers().get(header::ORIGIN) {
        let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        if !host.is_some_and(|host| platform.answers_to(host)) {
            return Err(Error::new(Kind::Forbidden, "FM-AGS-ORIGIN", "web pages of other origins may not call this platform"));
        }
    }
    Ok(())
}

/// Whether a Host header, less its port, is one that a listener answers to.
pub(crate) fn is_ours(host: &str, address: SocketAddr, allowed: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback || name == address.ip().to_string() || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

async fn readiness(platform: Platform) -> Response {
    let read = platform.database().read(|connection| Ok(connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)).await;
    match read {
        Ok(_) => json_response(&json!({ "status": "ready", "instance": platform.instance() })),
        Err(error) => problem::response(&error, "/readyz", ""),
    }
}

/// Proves over a nonce that the folder's key is known here; needs no token, and tells nothing else.
async fn prove(platform: Platform, request: Request) -> Response {
    let (parts, content) = request.into_parts();
    let proof = async {
        let fields = body::object("AGS", &platform, "", &parts.headers, content, MAX_BODY).await?;
        match fields.get("nonce").and_then(Value::as_str) {
            Some(nonce) if (16..=128).contains(&nonce.len()) => Ok(platform.keys().prove(nonce, platform.instance())),
            _ => Err(Error::new(Kind::Invalid, "FM-AGS-NONCE", "the nonce must be a text of 16 to 128 bytes")),
        }
    };
    match proof.await {
        Ok(proof) => json_response(&json!({ "proof": proof })),
        Err(error) => problem::response(&error, "/-/prove", &request_id(&parts.headers)),
    }
}

async fn no_route(request: Request) -> Response {
    let error = Error::new(Kind::NotFound, "FM-AGS-NO-ROUTE", "there is no such route").hint("/openapi.json lists the routes.");
    problem::response(&error, request.uri().path(), &request_id(request.headers()))
}

async fn no_method(request: Request) -> Response {
    let error = Error::new(Kind::Malformed, "FM-AGS-METHOD", format!("the route does not take {}", request.method()))
        .hint("/openapi.json lists the methods of each route.");
    let mut response = problem::response(&error, request.uri().path(), &request_id(request.headers()));
    if *request.method() != Method::HEAD {
        *response.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
    }
    response
}

fn json_response(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_answered_to() {
        let address: SocketAddr = "127.0.0.1:8000".parse().unwrap();
        for host in ["127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]:8000", "my.host:80"] {
            assert!(is_ours(host, address, &["my.host".to_owned()]), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", ""] {
            assert!(!is_ours(host, address, &[]), "{host}");
        }
    }
}
