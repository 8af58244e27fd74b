//! Streamable HTTP at `/mcp`: both revisions on one endpoint, callers by their tokens, bounds, health, and a graceful end.

mod admission;
mod approvals;
mod authenticate;
pub(super) mod connections;
mod cors;
mod endpoint;
pub(super) mod expiry;
mod limits;
mod metadata;
mod narrowing;
mod negotiation;
pub(super) mod origins;
mod owner;
mod quota;
mod refusal;
mod request_scope;
mod session_limits;
mod sessions;
mod stateless;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use http::StatusCode;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::handler::Handler;
use super::{App, host_events, services};
use crate::auth::{Admit, Caller, Principal};
use crate::error::{Error, Kind, Result};

/// How long calls that run may take to finish when the server ends.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long connections may take after that to be told the last of it.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// How long a host may take nothing of an answer.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// How callers are authenticated.
#[derive(Clone)]
pub enum Authentication {
    /// Every request is this caller's; on loopback alone.
    Open(Arc<Caller>),
    /// A bearer token proves the caller.
    Bearer(Arc<dyn Admit>),
}

/// How the HTTP server behaves.
pub struct HttpOptions {
    /// The address to listen on; port 0 takes any.
    pub listen: SocketAddr,
    /// How callers are authenticated.
    pub authentication: Authentication,
    /// Further names that the server may be called by in `Host`, beyond loopback, the address itself and the public URL's.
    pub allowed_hosts: Vec<String>,
    /// Further origins of web pages that may call, beyond loopback's.
    pub allowed_origins: Vec<String>,
    /// The URL of the endpoint as hosts see it; it names the server in metadata.
    pub public_url: Option<String>,
    /// Where hosts get tokens; with these and a public URL there is RFC 9728 metadata.
    pub authorization_servers: Vec<String>,
    /// Sessions of 2025-11-25 that may be open at once.
    pub sessions: usize,
    /// Those of them that one tenant may have.
    pub sessions_per_tenant: u32,
    /// Sessions that a tenant may begin a minute.
    pub initializations_per_minute: u32,
    /// How often it is asked whether the token of an open stream is still good; zero for never.
    pub validate_interval: Duration,
    /// Connections that may be open at once, at most half as many as the process may open files; further ones take the place
    /// of those without a request, or wait.
    pub connections: usize,
    /// How long a connection may be silent before a request, and the request's headers may take.
    pub idle_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// Told the address once it listens.
    pub bound: Option<oneshot::Sender<SocketAddr>>,
}

impl HttpOptions {
    /// Sessions that one tenant may have, unless the operator says otherwise.
    pub const SESSIONS_PER_TENANT: u32 = 64;
    /// Sessions that a tenant may begin a minute, unless the operator says otherwise.
    pub const INITIALIZATIONS_PER_MINUTE: u32 = 120;

    /// A server at an address, with the usual bounds and known by no name but its own.
    #[must_use]
    pub const fn new(listen: SocketAddr, authentication: Authentication) -> Self {
        Self {
            listen,
            authentication,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            public_url: None,
            authorization_servers: Vec::new(),
            sessions: 2048,
            sessions_per_tenant: Self::SESSIONS_PER_TENANT,
            initializations_per_minute: Self::INITIALIZATIONS_PER_MINUTE,
            validate_interval: Duration::from_mins(1),
            // A stream and a call for each session.
            connections: 4096,
            // Longer than proxies keep theirs, so that none sends into a connection that is just being closed.
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            bound: None,
        }
    }
}

/// Serves hosts over HTTP until the token is cancelled.
///
/// # Errors
/// The address cannot be bound, a URL or a name among the options makes no sense, or any machine could call
/// without a token.
pub async fn serve_http(app: Arc<App>, mut options: HttpOptions, shutdown: CancellationToken) -> Result<()> {
    if matches!(options.authentication, Authentication::Open(_)) && !options.listen.ip().is_loopback() {
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

    options.connections = connections::files::most(options.connections);
    let admit = match &options.authentication {
        Authentication::Bearer(admit) => Some(Arc::clone(admit)),
        Authentication::Open(_) => None,
    };
    let ended = CancellationToken::new();
    let routes = routes(&app, &options, address, &shutdown, &ended)?;
    if let Some(bound) = options.bound {
        // The receiver may have been dropped.
        let _told = bound.send(address);
    }
    tracing::info!(%address, "listening");
    app.audit.tell_of_earlier_losses();
    let _delivering = host_events::deliver(&app, admit);
    let bounds = connections::Bounds { most: options.connections, headers: options.idle_timeout, stall: STALL_TIMEOUT };
    let over = CancellationToken::new();
    let mut serving = tokio::spawn(connections::serve(listener, routes, bounds, shutdown.clone(), over.clone()));
    shutdown.cancelled().await;
    app.calls.close();
    // Calls finish first; then the streams of sessions, which would never end by themselves.
    let _finished = tokio::time::timeout(SHUTDOWN_GRACE, app.calls.wait()).await;
    ended.cancel();
    let served = if let Ok(served) = tokio::time::timeout(CLOSE_GRACE, &mut serving).await {
        served
    } else {
        over.cancel();
        serving.await
    };
    app.hub.close().await;
    app.audit.flush().await;
    served.map_err(Error::internal)
}

fn routes(
    app: &Arc<App>,
    options: &HttpOptions,
    address: SocketAddr,
    shutdown: &CancellationToken,
    ended: &CancellationToken,
) -> Result<Router> {
    let gate = admission::Admission::new(app, options, address)?;
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_legacy_session_mode(true)
        // The gate judges Host and Origin, for this route and the others alike.
        .disable_allowed_hosts()
        .disable_allowed_origins()
        .with_max_request_body_bytes(limits::LARGEST_BODY)
        .with_cancellation_token(ended.clone());
    let per_request: Arc<dyn Principal> = Arc::new(PerRequest);
    let served = Arc::clone(app);
    let closing = shutdown.clone();
    let stateless = stateless::Stateless::new(Handler::new(&served, &per_request, closing.clone()), ended.clone());
    let rmcp = StreamableHttpService::new(move || Ok(Handler::new(&served, &per_request, closing.clone())), gate.sessions(), config);
    let (shutdown, ready) = (shutdown.clone(), Arc::clone(app));
    let approvals = approvals::routes(&gate).map(|routes| routes.route_layer(from_fn_with_state(gate.clone(), authenticate::layer)));
    let beside = approvals.into_iter().chain(gate.metadata().map(metadata::routes));
    Ok(beside
        .map(|routes| routes.route_layer(from_fn_with_state(gate.clone(), cors::layer)))
        .fold(endpoint::routes(&gate, admission::Backend { rmcp, stateless }), Router::merge)
        .route("/livez", get(alive))
        // The name that some balancers and the platform's own services ask for.
        .route("/health", get(alive))
        .route("/readyz", get(move || std::future::ready(readiness(&ready, shutdown.is_cancelled())))))
}

/// Whether the process runs.
async fn alive() -> &'static str {
    "ok\n"
}

/// Whether new requests are served, and which services the breaker keeps calls from. Such a service does not make the server
/// unready: it serves the others, and says of this one when to come again.
fn readiness(app: &App, ending: bool) -> Response {
    let (status, said) = if ending { (StatusCode::SERVICE_UNAVAILABLE, "ending") } else { (StatusCode::OK, "ready") };
    (status, Json(json!({ "status": said, "refused": services::refused(&app.client.health()) }))).into_response()
}

/// Over HTTP each request has its own caller, with rights of its own; the connection has none.
struct PerRequest;

impl Principal for PerRequest {
    fn caller(&self) -> BoxFuture<'_, Result<Arc<Caller>>> {
        Box::pin(std::future::ready(Err(Error::internal("a request reached the handler without a caller"))))
    }

    fn renews(&self) -> bool {
        true
    }
}
