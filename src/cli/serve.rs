//! `serve`: MCP on stdio, or over HTTP.

mod reload;

use std::io::IsTerminal as _;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Outcome;
use super::setup::connection::Connection;
use super::setup::http_auth::HttpAuth;
use super::setup::{name_of, telemetry};
use super::terminal::{Paint, tell};
use crate::config::{Config, listen_address};
use crate::error::{Error, Kind, Result};
use crate::server::{self, App, Authentication, MetricsOptions};

pub(super) use reload::Source;

/// How it is served.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Arguments {
    /// Serves over HTTP at /mcp instead of stdio; 127.0.0.1:8321 without an address.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "")]
    http: Option<String>,
    /// Lets everybody on this machine in, for test suites.
    #[arg(long)]
    no_token: bool,
}

impl Arguments {
    pub(super) const fn is_empty(&self) -> bool {
        self.http.is_none() && !self.no_token
    }

    pub(super) const fn over_http(&self) -> bool {
        self.http.is_some()
    }

    /// These arguments, else those before the command.
    pub(super) fn or(self, before: Self) -> Self {
        Self { http: self.http.or(before.http), no_token: self.no_token || before.no_token }
    }
}

pub(super) async fn run(arguments: &Arguments, config: &Config, source: Source) -> Result<Outcome> {
    let Some(address) = &arguments.http else {
        if arguments.no_token {
            return Err(Error::configuration(Kind::Invalid, "FM-CLI-NO-TOKEN", "--no-token is about --http")
                .hint("Add --http, or leave --no-token out."));
        }
        return Box::pin(on_stdio(config, source)).await;
    };
    let listen = if address.is_empty() { config.listen } else { listen_address(address)? };
    let choice = HttpAuth::read(config, arguments.no_token)?;
    choice.check_address(config, listen)?;
    over_http(config, choice, listen, source).await
}

/// The embedded platform is for this machine: its tokens would travel unencrypted.
#[cfg(feature = "platform")]
pub(super) fn require_loopback(listen: std::net::SocketAddr) -> Result<()> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    Err(Error::configuration(Kind::Unsupported, "FM-CLI-HTTP-ADDRESS", format!("{listen} can be reached from other machines"))
        .hint(format!("Listen on 127.0.0.1:{}; other machines come through a tunnel of your own, such as ssh -L.", listen.port())))
}

async fn on_stdio(config: &Config, source: Source) -> Result<Outcome> {
    let shutdown = shutdown_by_signal();
    let connection = Arc::new(Connection::new(config)?);
    let app = connection.app()?;
    if let Some(options) = telemetry::page(config)? {
        // Hosts start a server twice, and only one of them has the address.
        if let Err(error) = show_figures(&app, options, &shutdown).await {
            tracing::warn!(code = error.code(), "figures are not shown: {}", error.message());
        }
    }
    if std::io::stdin().is_terminal() {
        greet(config);
    }
    let follow = reload::follow(source, config.clone(), Arc::clone(&connection), Arc::clone(&app), shutdown.clone());
    let _following = AbortOnDropHandle::new(tokio::spawn(follow));
    let served = server::serve_stdio(app, connection.principal()?, tokio::io::stdin(), tokio::io::stdout(), shutdown).await;
    connection.close().await;
    served.map(|()| Outcome::Done)
}

async fn over_http(config: &Config, choice: HttpAuth, listen: std::net::SocketAddr, source: Source) -> Result<Outcome> {
    let connection = Arc::new(Connection::without_login(config)?);
    let mut options = choice.options(config, &connection, listen)?;
    let (bound, address) = oneshot::channel();
    options.bound = Some(bound);
    let introduction = Introduction {
        open: matches!(options.authentication, Authentication::Open(_)),
        embedded: config.url.is_none(),
        public_url: config.http.public_url.clone(),
        logs_in: !config.auth.authorization_servers.is_empty(),
    };
    tokio::spawn(async move {
        if let Ok(address) = address.await {
            introduction.tell(&format!("http://{address}/mcp"));
        }
    });
    let (app, shutdown) = (connection.app()?, shutdown_by_signal());
    if let Some(options) = telemetry::page(config)? {
        show_figures(&app, options, &shutdown).await?;
    }
    let follow = reload::follow(source, config.clone(), Arc::clone(&connection), Arc::clone(&app), shutdown.clone());
    let _following = AbortOnDropHandle::new(tokio::spawn(follow));
    let served = server::serve_http(app, options, shutdown).await;
    connection.close().await;
    served.map(|()| Outcome::Done)
}

/// Shows figures to Prometheus until the server ends.
async fn show_figures(app: &Arc<App>, options: MetricsOptions, shutdown: &CancellationToken) -> Result<()> {
    let (address, serving) = server::metrics_page(app, options, shutdown.clone()).await?;
    tracing::info!("figures are shown at http://{address}/metrics");
    tokio::spawn(serving);
    Ok(())
}

/// Cancelled by SIGTERM or ctrl-c, which are listened to from now on.
pub(super) fn shutdown_by_signal() -> CancellationToken {
    let shutdown = CancellationToken::new();
    let (cancel, signalled) = (shutdown.clone(), signalled());
    tokio::spawn(async move {
        signalled.await;
        cancel.cancel();
    });
    shutdown
}

#[cfg(unix)]
fn signalled() -> impl Future<Output = ()> + Send {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    async move {
        let [Ok(mut terminated), Ok(mut interrupted)] = signals else { return std::future::pending().await };
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    }
}

#[cfg(not(unix))]
async fn signalled() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// For somebody who started it by hand.
fn greet(config: &Config) {
    let paint = Paint;
    tell(paint.strong(format_args!("flowmaster-mcp {}", env!("CARGO_PKG_VERSION"))));
    tell(format_args!("An MCP server for {}. It waits for a host on stdin; hosts start it themselves.", name_of(config)));
    tell("");
    tell("  Claude Code     claude mcp add flowmaster -- flowmaster-mcp");
    tell("  Claude Desktop  \"mcpServers\": { \"flowmaster\": { \"command\": \"flowmaster-mcp\" } }");
    tell("  over HTTP       flowmaster-mcp serve --http");
    tell("  look around     flowmaster-mcp tour, tools, call, doctor, help");
    tell("");
    tell(paint.note("ctrl-d or ctrl-c ends it."));
}

/// What the operator is told who started it over HTTP.
struct Introduction {
    open: bool,
    embedded: bool,
    public_url: Option<String>,
    /// Whether hosts find out by themselves where to get a token.
    logs_in: bool,
}

impl Introduction {
    fn tell(&self, local: &str) {
        let paint = Paint;
        tell(format_args!("flowmaster-mcp serves {}", paint.strong(local)));
        let url = self.public_url.as_deref().unwrap_or(local);
        let add = format!("  claude mcp add --transport http flowmaster {url}");
        if self.open {
            tell(format_args!(
                "{} every program on this machine may call it, with the owner's rights: no token is asked for",
                paint.care("warning:")
            ));
        }
        match (self.open || self.logs_in, self.embedded) {
            (true, _) => tell(add),
            (false, true) => tell(format_args!("{add} --header \"Authorization: Bearer $(flowmaster-mcp token)\"")),
            (false, false) => tell(format_args!("{add} --header \"Authorization: Bearer $FLOWMASTER_TOKEN\"")),
        }
    }
}
