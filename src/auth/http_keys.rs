//! Fetches published keys over HTTP: from nowhere but the named place, and no more than a key set may have.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::ACCEPT;
use reqwest::{Client, Url};

use super::jwks::{KeySource, LARGEST_KEY_SET};
use crate::error::{Error, Kind, Result};
use crate::io::outbound::{self, Unread};

/// Longest that a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Keys that are published at a URL.
pub struct HttpKeys {
    url: Url,
    /// Made at the first fetch: reading certificates takes time.
    client: OnceLock<Client>,
}

impl HttpKeys {
    /// The keys at a URL, such as `https://login.example/keys`.
    ///
    /// # Errors
    /// `FM-CONFIG-JWKS-URL` for a URL that is none, is not http or https, or carries a password.
    pub fn new(url: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::configuration(Kind::Invalid, "FM-CONFIG-JWKS-URL", format!("the URL of the keys that sign tokens {why}"))
                .hint("FLOWMASTER_JWKS_URL is https:// with a host and a path; http:// does for this machine alone.")
        };
        let url = Url::parse(url).map_err(|_| refuse("cannot be read"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("carries a user name or a password"));
        }
        let loopback = outbound::is_loopback(&url);
        if url.scheme() == "http" && !loopback {
            return Err(refuse("must be https beyond this machine: the answering host can sign for every caller"));
        }
        Ok(Self { url, client: OnceLock::new() })
    }

    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = outbound::client(outbound::is_loopback(&self.url)).build().map_err(Error::internal)?;
        Ok(self.client.get_or_init(|| client))
    }
}

impl KeySource for HttpKeys {
    fn fetch(&self) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async { fetch_keys(self.client()?, self.url.as_str()).await })
    }
}

/// Fetches a key set.
///
/// # Errors
/// No answer, an answer that is not a success, one that is too large, or one that takes too long.
pub(crate) async fn fetch_keys(client: &Client, url: &str) -> Result<Bytes> {
    let request = client.get(url).header(ACCEPT, "application/jwk-set+json, application/json").timeout(FETCH_TIMEOUT);
    let response = request.send().await.map_err(unreachable)?;
    if !response.status().is_success() {
        let status = response.status().as_u16();
        return Err(Error::new(Kind::Unavailable, "FM-MCP-KEYS-ANSWER", format!("the publisher of the signing keys answered {status}")));
    }
    outbound::read_bounded(response, LARGEST_KEY_SET).await.map_err(|unread| match unread {
        Unread::TooLarge => Error::new(Kind::BadAnswer, "FM-MCP-KEYS-WRONG", "the published keys are larger than 256 KiB"),
        Unread::Broken(error) => unreachable(error),
    })
}

fn unreachable(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let what = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
    Error::new(Kind::Unavailable, "FM-MCP-KEYS-UNREACHABLE", format!("the publisher of the signing keys {what}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_encrypted_or_from_this_machine() {
        for url in [
            "https://login.example/keys",
            "http://localhost:8080/keys",
            "http://127.0.0.1/keys",
            "http://127.9.9.9/keys",
            "http://[::1]:1/keys",
        ] {
            assert!(HttpKeys::new(url).is_ok(), "{url}");
        }
        for (url, why) in [
            ("http://login.example/keys", "must be https"),
            ("http://localhost.evil.example/keys", "must be https"),
            ("http://127.0.0.1.evil.example/keys", "must be https"),
            ("http://10.0.0.1/keys", "must be https"),
            ("http://[fe80::1]/keys", "must be https"),
            ("ftp://localhost/keys", "neither http nor https"),
            ("https://anna:hush@login.example/keys", "user name"),
            ("login.example/keys", "cannot be read"),
        ] {
            let Err(error) = HttpKeys::new(url) else { panic!("{url} was taken") };
            assert_eq!(error.code(), "FM-CONFIG-JWKS-URL", "{url}");
            assert!(error.message().contains(why) && error.next_step().is_some() && !error.to_string().contains("hush"), "{url}: {error}");
        }
    }
}
