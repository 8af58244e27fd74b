//! The page of figures that Prometheus reads, on a listener of its own: no host and no proxy of theirs reaches it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::http::connections::{self, Bounds};
use super::http::origins::Origins;
use super::{App, audit};
use crate::auth::{Admit as _, OwnerToken};
use crate::client::CircuitState;
use crate::error::{Error, Kind, Result};

/// Connections at once: a scraper or two, and somebody who looks.
const MAX_CONNECTIONS: usize = 16;
/// How long a connection may be silent, and may take nothing of its answer.
const IDLE: Duration = Duration::from_secs(75);
/// How often measured times are added up, so that those between two readings take little memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Where the page is shown, and to whom.
#[derive(Debug, Clone)]
pub struct MetricsOptions {
    /// The address to listen on; port 0 takes any.
    pub listen: SocketAddr,
    /// The bearer token that is asked for.
    pub token: Option<SecretString>,
}

impl MetricsOptions {
    /// Refuses a page that other machines would read without a token.
    ///
    /// # Errors
    /// `FM-CONFIG-METRICS`.
    pub fn check(&self) -> Result<()> {
        let Self { listen, token } = self;
        if token.is_some() || listen.ip().is_loopback() {
            return Ok(());
        }
        Err(Error::configuration(
            Kind::Invalid,
            "FM-CONFIG-METRICS",
            format!("telemetry.metrics_listen is {listen}, which other machines reach, and no token is asked for"),
        )
        .hint("Set FLOWMASTER_METRICS_TOKEN_FILE, or listen on 127.0.0.1."))
    }
}

struct Page {
    app: Arc<App>,
    origins: Origins,
    /// Compares the token without telling by its time how much of it is right.
    token: Option<OwnerToken>,
}

/// Binds the page's address, and answers where it is and what serves it until the token is cancelled.
///
/// # Errors
/// The address cannot be bound, or other machines would read the page without a token.
pub async fn metrics_page(
    app: &Arc<App>,
    options: MetricsOptions,
    shutdown: CancellationToken,
) -> Result<(SocketAddr, impl Future<Output = ()> + Send + use<>)> {
    options.check()?;
    let MetricsOptions { listen, token } = options;
    let cannot = |error: std::io::Error| {
        Error::new(Kind::Unavailable, "FM-MCP-METRICS-BIND", format!("figures cannot be shown at {listen}: {error}"))
            .hint("Another server may be there; choose another address with FLOWMASTER_METRICS_LISTEN.")
    };
    let listener = TcpListener::bind(listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    // With a token, the page is read by whatever name its machine has there.
    let origins = Origins::new(address.ip(), &[], None, &[])?;
    let page = Page { app: Arc::clone(app), origins, token: token.map(|token| OwnerToken::new(&token, None)) };
    let routes = Router::new().route("/metrics", get(show)).with_state(Arc::new(page));
    let (app, bounds) = (Arc::clone(app), Bounds { most: MAX_CONNECTIONS, headers: IDLE, stall: IDLE });
    let serving = async move {
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP).await;
                app.client.metrics().tidy();
            }
        };
        tokio::select! {
            () = upkeep => {}
            () = connections::serve(listener, routes, bounds, shutdown.clone(), shutdown) => {}
        }
    };
    Ok((address, serving))
}

async fn show(State(page): State<Arc<Page>>, request: Request) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let refused = match &page.token {
        // A browser sends no such token, so a page that rebinds a name has none.
        Some(token) => token.admit(given.unwrap_or_default()).await.err().map(|_| StatusCode::UNAUTHORIZED),
        None => page.origins.check(&Origins::default(), request.uri(), request.headers()).err().map(|_| StatusCode::FORBIDDEN),
    };
    if let Some(status) = refused {
        return (status, [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"metrics\""))]).into_response();
    }
    page.app.look_up_figures().await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.app.client.metrics().page()).into_response()
}

impl App {
    /// Sets the figures that nothing counts: what the breaker knows, and what waits in the outbox.
    async fn look_up_figures(&self) {
        let metrics = self.client.metrics();
        let mut worst: Vec<(&'static str, f64)> = Vec::new();
        for health in self.client.health() {
            let state = match health.circuit {
                CircuitState::Closed => 0.0,
                CircuitState::HalfOpen => 1.0,
                CircuitState::Open(_) => 2.0,
            };
            match worst.iter_mut().find(|(service, _)| *service == health.service) {
                Some((_, known)) => *known = known.max(state),
                None => worst.push((health.service, state)),
            }
        }
        for (service, state) in worst {
            metrics.set("flowmaster_mcp_breaker_state", Some(("service", service)), state);
        }
        #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers, and no outbox has 2^53 entries")]
        let set = |name, label, count: u64| metrics.set(name, label, count as f64);
        match self.events.dead_letters(&self.state).await {
            Ok(dead) => {
                for (reason, count) in dead {
                    set("flowmaster_mcp_webhook_dead_letters", Some(("reason", reason)), count);
                }
            }
            Err(error) => tracing::warn!(%error, "the dead letters of webhooks cannot be counted"),
        }
        let Some(folder) = self.settings.audit.as_ref().map(|options| options.data_dir.clone()) else { return };
        let backlog = match tokio::task::spawn_blocking(move || audit::backlog(&folder)).await {
            Ok(Ok(backlog)) => backlog,
            Ok(Err(error)) => return tracing::warn!(%error, "the outbox of the audit log cannot be counted"),
            Err(error) => return tracing::warn!(%error, "the outbox of the audit log cannot be counted"),
        };
        for (state, count) in [("waiting", backlog.waiting), ("backing_off", backlog.backing_off), ("dead", backlog.dead)] {
            set("flowmaster_mcp_audit_outbox_entries", Some(("state", state)), count);
        }
        set("flowmaster_mcp_audit_lost_entries", None, backlog.lost);
    }
}
