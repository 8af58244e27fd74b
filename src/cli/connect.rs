//! From settings to a server: the way to the platform, who calls, and how the server behaves.

use std::sync::Arc;

use crate::api::permission::Names;
use crate::auth::{Access, Caller, Credential, Filter, OWNER_TENANT, Principal};
use crate::client::{Client, Fixed, Origin};
use crate::config::{Config, Fallback, PermissionFilter};
use crate::error::{Error, Kind, Result};
use crate::server::{self, App};

#[cfg(feature = "platform")]
use super::Embedded;

/// A client with its caller. Nothing is opened before the first call.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) caller: Arc<Caller>,
    settings: server::Settings,
    #[cfg(feature = "platform")]
    embedded: Option<Arc<Embedded>>,
}

impl Connection {
    pub(super) fn new(config: &Config) -> Result<Self> {
        let caller = Arc::new(caller(config)?);
        let access = access(config)?;
        #[cfg(feature = "platform")]
        let embedded = config.url.is_none().then(|| Embedded::new(crate::platform::Options::new(&config.data_dir)));
        #[cfg(feature = "platform")]
        let origin: Arc<dyn Origin> = match (&config.url, &embedded) {
            (Some(url), _) => Arc::new(Fixed::new(url)?),
            (None, Some(embedded)) => Arc::clone(embedded) as Arc<dyn Origin>,
            (None, None) => return Err(no_platform()),
        };
        #[cfg(not(feature = "platform"))]
        let origin: Arc<dyn Origin> = Arc::new(Fixed::new(config.url.as_deref().ok_or_else(no_platform)?)?);
        // A call has one attempt, which may take all of its time.
        let bounds = crate::client::Settings { deadline: config.call_timeout, timeout: config.call_timeout, access, ..Default::default() };
        let settings = server::Settings {
            confirm: match config.fallback {
                Fallback::Refuse => server::Fallback::Refuse,
                Fallback::Host => server::Fallback::Host,
            },
            call_timeout: config.call_timeout,
            ask_timeout: config.confirm_timeout,
            answer_limit: config.answer_limit,
            data_dir: Some(config.data_dir.clone()),
            platform_name: name_of(config),
            audit: None,
            policy: Arc::new(server::Policy::new(&config.policy)?),
        };
        Ok(Self {
            client: Client::builder(origin).settings(bounds).build(),
            caller,
            settings,
            #[cfg(feature = "platform")]
            embedded,
        })
    }

    /// A server over this connection.
    pub(super) fn app(&self) -> Result<Arc<App>> {
        App::new(server::Options { client: self.client.clone(), settings: self.settings.clone() })
    }

    /// Whom a host on stdio speaks for.
    pub(super) fn principal(&self) -> Arc<dyn Principal> {
        Arc::new(Arc::clone(&self.caller))
    }

    /// Ends an embedded platform that this process runs.
    #[cfg_attr(not(feature = "platform"), expect(clippy::unused_async, reason = "a platform elsewhere needs no end"))]
    pub(super) async fn close(self) {
        #[cfg(feature = "platform")]
        if let Some(embedded) = self.embedded {
            embedded.close().await;
        }
    }
}

/// What the platform is called in questions and reports.
pub(super) fn name_of(config: &Config) -> String {
    config.url.clone().unwrap_or_else(|| "the embedded FlowMaster".to_owned())
}

fn access(config: &Config) -> Result<Access> {
    let filter = match config.filter {
        PermissionFilter::Strict => Filter::Strict,
        PermissionFilter::Off => Filter::Off,
    };
    let names = Names::new(config.permission_names.iter().map(|(ours, theirs)| (ours.as_str(), theirs.as_str()))).map_err(|unknown| {
        Error::new(Kind::Invalid, "FM-CONFIG-PERMISSION", format!("permissions.names renames what no tool needs: {}", unknown.join(", ")))
            .hint("`flowmaster-mcp tools NAME` shows the permission that a tool needs.")
    })?;
    Ok(Access::new(filter, names))
}

fn caller(config: &Config) -> Result<Caller> {
    match (&config.token, &config.url) {
        (Some(token), _) => Caller::of_unverified_token(token.clone(), config.tenant.as_deref()),
        (None, Some(url)) => Err(Error::new(Kind::Unauthenticated, "FM-CONFIG-NO-TOKEN", format!("there is no token for {url}"))
            .hint("Set FLOWMASTER_TOKEN to an access token of that platform, or leave FLOWMASTER_URL out to use the embedded one.")),
        (None, None) => match config.tenant.as_deref() {
            Some(tenant) if tenant != OWNER_TENANT => Err(Error::new(
                Kind::Forbidden,
                "FM-CONFIG-TENANT",
                format!("the embedded platform's owner belongs to {OWNER_TENANT}, but FLOWMASTER_TENANT says {tenant}"),
            )
            .hint("Leave FLOWMASTER_TENANT out, or set FLOWMASTER_TOKEN to a token of that tenant.")),
            _ => Ok(Caller::owner(Credential::Owner)),
        },
    }
}

fn no_platform() -> Error {
    Error::new(Kind::Unsupported, "FM-CONFIG-NO-PLATFORM", "this build has no embedded platform")
        .hint("Set FLOWMASTER_URL to a FlowMaster, or install with the feature `platform`.")
}
