//! Whom this process speaks for: a token, a user's password, a stored login, or the embedded platform's owner.

use std::sync::Arc;

use secrecy::SecretString;

use crate::auth::{Caller, Credential, OWNER_TENANT, Principal};
use crate::client::Client;
use crate::client::credentials::login::{Grant, Login, Source, Store};
use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// The credential that was chosen.
pub(crate) enum Credentials {
    /// The embedded platform's owner, by the data folder's token.
    Owner(Arc<Caller>),
    /// A login, or a token that is one as long as it lasts.
    Login(Login),
}

impl Credentials {
    /// The first of: token, password, stored login, owner. Nothing is read or asked yet.
    pub(crate) fn choose(config: &Config, client: Client) -> Result<Self> {
        let command = format!("`{}`", login_command(config));
        let tenant = config.tenant.clone();
        let login = |source, hint| Ok(Self::Login(Login::new(client, source, tenant, super::name_of(config), hint)));
        match (&config.token, &config.refresh_token) {
            (Some(token), refresh_token) => {
                let first = Grant::of_settings(token, refresh_token.as_ref(), config.tenant.as_deref())?;
                let store = refresh_token.as_ref().map(|token| Store::of_refresh_token(&config.data_dir, token));
                let variables =
                    if store.is_some() { "FLOWMASTER_TOKEN and FLOWMASTER_REFRESH_TOKEN again" } else { "FLOWMASTER_TOKEN again" };
                return login(
                    Source::Given(Box::new(first), store),
                    format!("Set {variables}, or leave it out and run {command} in a terminal."),
                );
            }
            (None, Some(_)) => return Err(incomplete("FLOWMASTER_REFRESH_TOKEN", "FLOWMASTER_TOKEN")),
            (None, None) => {}
        }
        match (&config.username, &config.password) {
            (Some(username), Some(password)) => {
                let source =
                    Source::Password { username: username.clone(), password: SecretString::clone(password), tenant: tenant_of(config)? };
                return login(source, "Check that the user of FLOWMASTER_USERNAME may still sign in.".to_owned());
            }
            (None, Some(_)) => return Err(incomplete("FLOWMASTER_PASSWORD", "FLOWMASTER_USERNAME")),
            (_, None) => {}
        }
        let store = store(config)?;
        if store.exists() {
            return login(Source::Stored(store), format!("Run {command} in a terminal, then call again."));
        }
        match (&config.url, config.tenant.as_deref()) {
            (Some(url), _) => {
                Err(Error::configuration(Kind::Unauthenticated, "FM-CONFIG-NO-TOKEN", format!("there is no login for {url}, and no token"))
                    .hint(format!(
                        "Run {command} in a terminal, or set FLOWMASTER_TOKEN; without FLOWMASTER_URL the embedded platform is used."
                    )))
            }
            (None, Some(tenant)) if tenant != OWNER_TENANT => Err(Error::configuration(
                Kind::Forbidden,
                "FM-CONFIG-TENANT",
                format!("the embedded platform's owner belongs to {OWNER_TENANT}, but FLOWMASTER_TENANT says {tenant}"),
            )
            .hint(format!("Leave FLOWMASTER_TENANT out, or run {command} as a user of that tenant."))),
            _ => Ok(Self::Owner(Arc::new(Caller::owner(Credential::Owner)))),
        }
    }

    /// Whom connections speak for.
    pub(crate) fn principal(&self) -> Arc<dyn Principal> {
        match self {
            Self::Owner(owner) => Arc::new(Arc::clone(owner)),
            Self::Login(login) => Arc::new(login.clone()),
        }
    }

    /// By which credential, in a few words.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Owner(_) => "the owner's token of the data folder",
            Self::Login(login) => match login.source() {
                Source::Stored(_) => "a stored login",
                Source::Given(_, None) => "FLOWMASTER_TOKEN, which is not renewed",
                Source::Given(_, Some(_)) => "FLOWMASTER_TOKEN, renewed by FLOWMASTER_REFRESH_TOKEN",
                Source::Password { .. } => "FLOWMASTER_USERNAME and FLOWMASTER_PASSWORD",
            },
        }
    }
}

/// Where the login at the platform is stored.
pub(crate) fn store(config: &Config) -> Result<Store> {
    // The same platform written in another way has the same login.
    let fixed = config.url.as_deref().map(crate::client::Fixed::new).transpose()?;
    Ok(Store::of_platform(&config.data_dir, fixed.as_ref().map(crate::client::Fixed::base)))
}

/// The tenant to sign in to.
fn tenant_of(config: &Config) -> Result<String> {
    match (&config.tenant, &config.url) {
        (Some(tenant), _) => Ok(tenant.clone()),
        (None, None) => Ok(OWNER_TENANT.to_owned()),
        (None, Some(_)) => Err(incomplete("FLOWMASTER_USERNAME", "FLOWMASTER_TENANT")),
    }
}

/// What to run to sign in to the platform at hand.
pub(crate) fn login_command(config: &Config) -> String {
    match &config.url {
        Some(url) => format!("flowmaster-mcp login --url {url}"),
        None => "flowmaster-mcp login".to_owned(),
    }
}

fn incomplete(given: &str, missing: &str) -> Error {
    Error::configuration(Kind::Invalid, "FM-CONFIG-LOGIN", format!("{given} is set without {missing}"))
        .hint(format!("Set {missing} too, or leave {given} out."))
}
