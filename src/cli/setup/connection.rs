//! From settings to a server: the way to the platform, who calls, and how the server behaves.

use std::sync::Arc;
use std::time::Duration;

use crate::api::Permission;
use crate::api::near::nearest;
use crate::api::permission::Names;
use crate::auth::{Access, Caller, Filter, Principal};
use crate::client::{Client, Discovery, Fixed, Origin};
use crate::config::{Config, Fallback, PermissionFilter};
use crate::error::{Error, Kind, Result};
use crate::server::{self, App, Folder, Selection};

use super::credentials::Credentials;
use super::{bounds, discovery, events, kafka, telemetry, upstream};
#[cfg(feature = "platform")]
use crate::cli::Embedded;

/// How long signing in or renewing may take.
const RENEWAL: Duration = Duration::from_secs(30);

/// A client with whom it speaks for. Nothing is opened before the first call.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Where the platform is.
    pub(crate) origin: Arc<dyn Origin>,
    /// None where the callers bring their own tokens.
    credentials: Option<Credentials>,
    settings: server::Settings,
    /// Whether the callers' tokens are verified on this side.
    verified: bool,
    #[cfg(feature = "platform")]
    embedded: Option<Arc<Embedded>>,
}

impl Connection {
    /// A connection that speaks for the signed-in user.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        Self::make(config, true, false)
    }

    /// A connection to sign in or out by; its caller is the user's own choice.
    pub(crate) fn to_sign_in(config: &Config) -> Result<Self> {
        Self::make(config, false, false)
    }

    /// A connection whose callers come with their own tokens, which are verified on this side.
    pub(crate) fn without_login(config: &Config) -> Result<Self> {
        Self::make(config, false, true)
    }

    fn make(config: &Config, with_login: bool, verified: bool) -> Result<Self> {
        if let Some(url) = &config.url {
            upstream::check_encryption(config, url, "FLOWMASTER_URL")?;
        }
        let access = access(config)?;
        #[cfg(feature = "platform")]
        let embedded = config.url.is_none().then(|| Embedded::new(crate::cli::embedded::platform_options(config)));
        #[cfg(feature = "platform")]
        let origin: Arc<dyn Origin> = match (&config.url, &embedded) {
            (Some(url), _) => Arc::new(Fixed::new(url)?),
            (None, Some(embedded)) => Arc::clone(embedded) as Arc<dyn Origin>,
            (None, None) => return Err(no_platform()),
        };
        #[cfg(not(feature = "platform"))]
        let origin: Arc<dyn Origin> = Arc::new(Fixed::new(config.url.as_deref().ok_or_else(no_platform)?)?);
        let bounds = bounds::bounds(config, access);
        let settings = settings(config, verified)?;
        let metrics = telemetry::metrics(config)?;
        let mut builder = Client::builder(Arc::clone(&origin))
            .bus(kafka::bus(config, &metrics)?)
            .settings(bounds)
            .upstream(upstream::upstream(config, &origin, verified)?)
            .extensions(upstream::extensions(config, &origin)?)
            .discovery(discovery::discovery(config)?)
            .metrics(metrics);
        let mut credentials = None;
        if with_login {
            // A login signs in and renews by a client of its own, which no login stands before.
            let bounds = bounds::bounds_of_login(config, RENEWAL);
            let to_sign_in = Client::builder(Arc::clone(&origin)).settings(bounds).discovery(discovery::of_login(config)?).build();
            let chosen = Credentials::choose(config, to_sign_in)?;
            builder = builder.renewing(chosen.principal());
            credentials = Some(chosen);
        }
        Ok(Self {
            client: builder.build(),
            origin,
            credentials,
            settings,
            verified,
            #[cfg(feature = "platform")]
            embedded,
        })
    }

    /// A server over this connection.
    pub(crate) fn app(&self) -> Result<Arc<App>> {
        App::new(server::Options { client: self.client.clone(), settings: self.settings.clone() })
    }

    /// Puts into force what of a configuration may change while a server of this connection runs, and checks the rest.
    ///
    /// # Errors
    /// What is wrong with it. Nothing has changed then.
    pub(crate) fn replace_rules(&self, config: &Config, app: &App) -> Result<()> {
        upstream::upstream(config, &self.origin, self.verified)?;
        let discovery = discovery::discovery(config)?;
        app.replace_rules(&settings(config, self.verified)?, access(config)?)?;
        if let Discovery::Registry(rules) = discovery {
            self.client.replace_allowed_hosts(rules.allowed_hosts);
        }
        Ok(())
    }

    /// Whom this process speaks for.
    pub(crate) fn credentials(&self) -> Result<&Credentials> {
        self.credentials.as_ref().ok_or_else(|| Error::internal("there is no login where callers bring their own tokens"))
    }

    /// Whom a host on stdio speaks for.
    pub(crate) fn principal(&self) -> Result<Arc<dyn Principal>> {
        Ok(self.credentials()?.principal())
    }

    /// Whom this process speaks for, with a token that is good for a while.
    pub(crate) async fn caller(&self) -> Result<Arc<Caller>> {
        self.principal()?.caller().await
    }

    /// Lets a renewal end that is under way, ends a login of this process alone, and an embedded platform that this process runs.
    pub(crate) async fn close(&self) {
        if let Some(Credentials::Login(login)) = &self.credentials {
            login.close().await;
        }
        #[cfg(feature = "platform")]
        if let Some(embedded) = &self.embedded {
            embedded.close().await;
        }
    }
}

/// How the server behaves.
fn settings(config: &Config, verified: bool) -> Result<server::Settings> {
    Ok(server::Settings {
        confirm: match config.fallback {
            Fallback::Refuse => server::Fallback::Refuse,
            Fallback::Host => server::Fallback::Host,
            Fallback::Terminal => server::Fallback::Terminal,
        },
        call_timeout: config.call_timeout,
        ask_timeout: config.confirm_timeout,
        answer_limit: config.answer_limit,
        data_dir: Some(config.data_dir.clone()),
        files: folder(config, verified)?,
        platform_name: super::name_of(config),
        embedded: config.url.is_none(),
        audit: upstream::record(config)?,
        policy: Arc::new(server::Policy::new(&config.policy)?),
        secrets: Arc::new(server::Secrets::new(&config.secrets)?),
        tools: Arc::new(selection(config)?),
        limits: Arc::new(server::Limits::new(&config.limits)?),
        allowed_hosts: config.http.allowed_hosts.clone(),
        allowed_origins: config.http.allowed_origins.clone(),
        changes: true,
        events: events::options(config),
    })
}

/// The folder that calls may name files of: that of a person at a desk, whose own server it is.
fn folder(config: &Config, over_http: bool) -> Result<Option<Arc<Folder>>> {
    let Some(path) = &config.allow_dir else { return Ok(None) };
    if over_http {
        return Err(Error::configuration(Kind::Unsupported, "FM-CONFIG-ALLOW-DIR", "files are read for callers on stdio alone")
            .hint("Leave allow_dir out where the server listens over HTTP; callers there send the content."));
    }
    Folder::open(path).map(Some)
}

/// How permissions are judged, under the platform's names.
pub(crate) fn access(config: &Config) -> Result<Access> {
    let filter = match config.filter {
        PermissionFilter::Strict => Filter::Strict,
        PermissionFilter::Off => Filter::Off,
    };
    let known: Vec<&str> = Permission::ALL.iter().map(|permission| permission.name()).collect();
    let names = Names::new(config.permission_names.iter().map(|(ours, theirs)| (ours.as_str(), theirs.as_str()))).map_err(|unknown| {
        Error::configuration(
            Kind::Invalid,
            "FM-CONFIG-PERMISSION",
            format!("permissions.names renames what no tool needs: {}", unknown.join(", ")),
        )
        .hint(match unknown.iter().find_map(|name| nearest(name, &known)) {
            Some(meant) => format!("Did you mean {meant}? `flowmaster-mcp tools NAME` shows the permission that a tool needs."),
            None => "`flowmaster-mcp tools NAME` shows the permission that a tool needs.".to_owned(),
        })
    })?;
    Ok(Access::new(filter, names))
}

/// Which tools are offered.
pub(crate) fn selection(config: &Config) -> Result<Selection> {
    let selection = Selection::of_operator(&config.toolsets, &config.tools, &config.exclude_tools, config.read_only)?;
    Ok(selection.with_any_route(config.upstream.gateway_request.unwrap_or_default()))
}

fn no_platform() -> Error {
    Error::configuration(Kind::Unsupported, "FM-CONFIG-NO-PLATFORM", "this build has no embedded platform")
        .hint("Set FLOWMASTER_URL to a FlowMaster, or install with the feature `platform`.")
}
