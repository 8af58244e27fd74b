//! Streamable HTTP at `/mcp`: both eras on one endpoint, a bearer token, bounds, health, and a graceful end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::App;
use super::handler::Handler;
use crate::auth::{Admit, Caller, Principal};
use crate::error::{Error, Kind, Result};

/// Largest body, in bytes; no tool takes documents yet.
const LARGEST_BODY: usize = 4 * 1024 * 1024;
/// How long a body may take to come.
const SLOWEST_BODY: Duration = Duration::from_secs(30);
/// How many sessions of the old era there may be at once.
const SESSIONS: usize = 256;
/// How long a session may be idle; longer than a person may think about a question.
const IDLE: Duration = Duration::from_mins(10);
/// How long calls that run may take to finish when the server ends.
const GRACE: Duration = Duration::from_secs(5);

/// Who is let in.
#[derive(Clone)]
pub enum Admission {
    /// Everybody, as this caller; on loopback alone.
    Open(Arc<Caller>),
    /// Whoever brings a bearer token that proves a caller.
    Bearer(Arc<dyn Admit>),
}

/// How the HTTP server behaves.
pub struct HttpOptions {
    /// The address to listen on; port 0 takes any.
    pub listen: SocketAddr,
    /// Who is let in.
    pub admission: Admission,
    /// Further names that the server may be called by in `Host`, beyond loopback and the address itself.
    pub allowed_hosts: Vec<String>,
    /// Told the address once it listens.
    pub bound: Option<oneshot::Sender<SocketAddr>>,
}

/// Serves hosts over HTTP until the token is cancelled.
///
/// # Errors
/// The address cannot be bound, or anybody could call from elsewhere without a token.
pub async fn serve_http(app: Arc<App>, options: HttpOptions, shutdown: CancellationToken) -> Result<()> {
    if matches!(options.admission, Admission::Open(_)) && !options.listen.ip().is_loopback() {
        return Err(Error::new(
            Kind::Invalid,
            "FM-MCP-OPEN",
            format!("{} can be reached from elsewhere, and no token is asked for", options.listen),
        )
        .hint("Listen on 127.0.0.1, or leave --no-token out."));
    }
    let cannot = |error: std::io::Error| {
        Error::new(Kind::Unavailable, "FM-MCP-BIND", format!("{} cannot be listened on: {error}", options.listen))
            .hint("Another server may be there; choose another address with --http ADDR.")
    };
    let listener = TcpListener::bind(options.listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let listener = listener.tap_io(|stream| {
        // Without it an answer in two packets waits 40 ms for the first one's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the socket keeps its delay");
        }
    });

    let ended = CancellationToken::new();
    let routes = routes(&app, &options, address, &shutdown, &ended);
    if let Some(bound) = options.bound {
        // Whoever wanted to know may have gone.
        let _told = bound.send(address);
    }
    tracing::info!(%address, "listening");
    let serving = axum::serve(listener, routes).with_graceful_shutdown(shutdown.clone().cancelled_owned()).into_future();
    let serving = tokio::spawn(serving);
    shutdown.cancelled().await;
    app.calls.close();
    // Calls finish first; then the streams of sessions, which would never end by themselves.
    let _finished = tokio::time::timeout(GRACE, app.calls.wait()).await;
    ended.cancel();
    match tokio::time::timeout(Duration::from_secs(2), serving).await {
        Ok(ended) => ended.map_err(Error::internal)?.map_err(Error::internal),
        Err(_) => Ok(()),
    }
}

/// What every request passes.
#[derive(Clone)]
struct Gate {
    admission: Admission,
    sessions: Arc<LocalSessionManager>,
}

fn routes(app: &Arc<App>, options: &HttpOptions, address: SocketAddr, shutdown: &CancellationToken, ended: &CancellationToken) -> Router {
    let mut sessions = LocalSessionManager::default();
    sessions.session_config.keep_alive = Some(IDLE);
    let sessions = Arc::new(sessions);
    let own = address.ip().to_string();
    let hosts = ["localhost", "127.0.0.1", "::1", &own].into_iter().map(str::to_owned).chain(options.allowed_hosts.iter().cloned());
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_legacy_session_mode(true)
        .with_allowed_hosts(hosts)
        .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"])
        .with_max_request_body_bytes(LARGEST_BODY)
        .with_cancellation_token(ended.clone());
    let nobody: Arc<dyn Principal> = Arc::new(Nobody);
    let handler = Handler::new(app, &nobody);
    let service = StreamableHttpService::new(move || Ok(handler.clone()), Arc::clone(&sessions), config);
    let admission = options.admission.clone();
    let shutdown = shutdown.clone();
    Router::new()
        .route_service("/mcp", service)
        .layer(from_fn_with_state(Gate { admission, sessions }, gate))
        .route("/livez", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || {
                let ending = shutdown.is_cancelled();
                async move { if ending { (StatusCode::SERVICE_UNAVAILABLE, "ending\n") } else { (StatusCode::OK, "ready\n") } }
            }),
        )
}

/// The token, the size and the form of a request, before rmcp sees it.
async fn gate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match authenticate(&gate.admission, request.headers()).await {
        Ok(caller) => drop(request.extensions_mut().insert(caller)),
        Err(response) => return *response,
    }
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let is_json = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json"));
    let new_session = !request.headers().contains_key("mcp-session-id");
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(SLOWEST_BODY, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return rpc_error(
                StatusCode::PAYLOAD_TOO_LARGE,
                -32600,
                &format!("the body is larger than {LARGEST_BODY} bytes"),
                &Value::Null,
            );
        }
        Err(_) => return rpc_error(StatusCode::REQUEST_TIMEOUT, -32600, "the body did not come in time", &Value::Null),
    };
    if new_session && gate.sessions.sessions.read().await.len() >= SESSIONS && opens_session(&body) {
        let mut response = rpc_error(StatusCode::SERVICE_UNAVAILABLE, -32603, "too many sessions are open", &Value::Null);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("30"));
        return response;
    }
    let response = next.run(Request::from_parts(parts, Body::from(body.clone()))).await;
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE && is_json { unreadable(&body) } else { response }
}

/// One answer for every cause but the header's absence.
async fn authenticate(admission: &Admission, headers: &HeaderMap) -> std::result::Result<Arc<Caller>, Box<Response>> {
    let admit = match admission {
        Admission::Open(caller) => return Ok(Arc::clone(caller)),
        Admission::Bearer(admit) => admit,
    };
    let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = given.and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
    });
    if let Some(token) = token.and_then(|token| std::str::from_utf8(token).ok())
        && let Ok(caller) = admit.admit(token).await
    {
        return Ok(caller);
    }
    let challenge =
        if given.is_none() { "Bearer realm=\"flowmaster-mcp\"" } else { "Bearer realm=\"flowmaster-mcp\", error=\"invalid_token\"" };
    let mut response =
        rpc_error(StatusCode::UNAUTHORIZED, -32600, "a bearer token is needed; `flowmaster-mcp token` prints it", &Value::Null);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    Err(Box::new(response))
}

/// Over HTTP a caller comes with each request; a connection speaks for nobody.
struct Nobody;

impl Principal for Nobody {
    fn caller(&self) -> BoxFuture<'_, Result<Arc<Caller>>> {
        Box::pin(std::future::ready(Err(Error::internal("a request reached the handler without a caller"))))
    }
}

fn opens_session(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Method<'a> {
        #[serde(borrow)]
        method: Option<std::borrow::Cow<'a, str>>,
    }
    serde_json::from_slice::<Method<'_>>(body).is_ok_and(|message| message.method.as_deref() == Some("initialize"))
}

/// rmcp answers 415 in plain text for what it cannot read; JSON-RPC has two codes for it.
fn unreadable(body: &Bytes) -> Response {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(body) {
        return rpc_error(StatusCode::BAD_REQUEST, -32700, &format!("the body is not JSON: {error}"), &Value::Null);
    }
    let id = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|message| message.get("id").cloned())
        .filter(|id| id.is_string() || id.is_number())
        .unwrap_or_default();
    rpc_error(StatusCode::BAD_REQUEST, -32600, "the body is no JSON-RPC message; batches are not taken", &id)
}

fn rpc_error(status: StatusCode, code: i32, message: &str, id: &Value) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    (status, axum::Json(body)).into_response()
}
