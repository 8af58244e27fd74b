//! Where the platform is: asked before every attempt, since an embedded platform may move.

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use crate::error::{Error, Kind, Result};
use crate::io::outbound;

/// Knows where the platform is.
pub trait Origin: Send + Sync {
    /// The platform's address now, and what belongs to it.
    fn locate(&self) -> BoxFuture<'_, Result<Located>>;

    /// Whether the platform is still where it was located, by its [`base`](Located::base). It is asked between connecting
    /// and sending, so that no token goes to another process at the address of a platform that has just ended.
    fn is_at<'a>(&'a self, _base: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// The platform's address.
#[derive(Debug, Clone)]
pub struct Located {
    /// The URL before the operation's path, without a slash at its end.
    pub base: std::sync::Arc<str>,
    /// The owner's token, where the platform is embedded.
    pub owner_token: Option<SecretString>,
    /// Whether the platform is on this machine: no proxy stands between.
    pub loopback: bool,
}

/// A platform that stays where it is.
#[derive(Debug, Clone)]
pub struct Fixed(Located);

impl Fixed {
    /// The platform at a URL, such as `https://flowmaster.example/api`.
    ///
    /// # Errors
    /// A URL that is none, is not http or https, or carries a password, a query or a fragment.
    pub fn new(url: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::new(Kind::Invalid, "FM-MCP-URL", format!("the platform's URL {why}"))
                .hint("FLOWMASTER_URL is http:// or https:// with a host, and a path where the platform has one.")
        };
        let parsed = reqwest::Url::parse(url).map_err(|_| refuse("cannot be read"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(refuse("is neither http nor https"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(refuse("carries a user name or a password, which belong into FLOWMASTER_TOKEN"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(refuse("has a query or a fragment"));
        }
        let loopback = outbound::is_loopback(&parsed);
        Ok(Self(Located { base: parsed.as_str().trim_end_matches('/').into(), owner_token: None, loopback }))
    }
}

impl Fixed {
    /// The URL as it is called.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.0.base
    }

    /// Where it is.
    pub(super) const fn located(&self) -> &Located {
        &self.0
    }
}

impl Origin for Fixed {
    fn locate(&self) -> BoxFuture<'_, Result<Located>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}
