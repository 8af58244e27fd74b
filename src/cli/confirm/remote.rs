//! The calls that wait on a server elsewhere: listed and approved over HTTP with the caller's own token.

use std::time::Duration;

use reqwest::{Method, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::api::Timestamp;
use crate::auth::{Caller, Credential};
use crate::config::Config;
use crate::error::{Error, Kind, Origin, Result};
use crate::io::outbound::{self, Unread};

/// Longest that the server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes: fifty questions are far less.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A call that waits, as a server tells of it.
#[derive(Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Waiting {
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) question: String,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) approved_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Waiting>,
}

/// A server and the token that it is told.
pub(super) struct Server {
    base: Url,
    http: reqwest::Client,
    token: SecretString,
}

impl Server {
    /// The server at the URL that hosts call it by, such as `https://mcp.example.com/mcp`.
    pub(super) fn new(url: &str, caller: &Caller, config: &Config) -> Result<Self> {
        let refuse = |why: &str| {
            Error::configuration(Kind::Invalid, "FM-CLI-CONFIRM-URL", format!("the server's URL {why}"))
                .hint("Name it as hosts do, such as https://mcp.example.com/mcp or http://127.0.0.1:8321/mcp.")
        };
        let mut base = Url::parse(url).map_err(|_| refuse("cannot be read"))?;
        if !base.username().is_empty() || base.password().is_some() || base.query().is_some() || base.fragment().is_some() {
            return Err(refuse("holds more than scheme, host and path"));
        }
        let loopback = outbound::is_loopback(&base);
        match base.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err(refuse("would have your token sent unencrypted")),
            _ => return Err(refuse("is neither http nor https")),
        }
        let token = token(caller, config)?;
        if matches!(caller.credential, Credential::Owner) && !loopback {
            return Err(refuse("is not on this machine, and the owner's token of the embedded platform stays here"));
        }
        let path = base.path().trim_end_matches('/');
        let path = format!("{}/confirmations/", path.strip_suffix("/mcp").unwrap_or(path));
        base.set_path(&path);
        let http = outbound::client(loopback).timeout(REQUEST_TIMEOUT).build().map_err(Error::internal)?;
        Ok(Self { base, http, token })
    }

    /// The caller's calls that wait there.
    pub(super) async fn list(&self) -> Result<Vec<Waiting>> {
        let mut url = self.base.clone();
        url.set_path(self.base.path().trim_end_matches('/'));
        Ok(understood::<Page>(self.send(Method::GET, url).await?)?.items)
    }

    /// Approves one of them.
    pub(super) async fn approve(&self, id: &str) -> Result<Waiting> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(id);
        }
        understood(self.send(Method::POST, url).await?)
    }

    async fn send(&self, method: Method, url: Url) -> Result<Value> {
        let unreachable = |error: reqwest::Error| {
            Error::configuration(Kind::Unavailable, "FM-CLI-CONFIRM-SERVER", "the server cannot be reached")
                .hint("Check the URL, and that the server runs.")
                .caused_by(error.without_url())
        };
        let response = self.http.request(method, url).bearer_auth(self.token.expose_secret()).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = outbound::read_bounded(response, MAX_ANSWER_BYTES).await.map_err(|unread| match unread {
            Unread::TooLarge => Error::configuration(Kind::BadAnswer, "FM-CLI-CONFIRM-ANSWER", "the server's answer is too large"),
            Unread::Broken(error) => unreachable(error),
        })?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let error = &answer["error"];
        let message = error["message"].as_str().map_or_else(|| format!("the server answered {}", status.as_u16()), str::to_owned);
        let kind = Kind::of_status(status.as_u16());
        Err(match error["data"]["code"].as_str() {
            Some(code) => Error::new(kind, code.to_owned(), message).of_origin(Origin::Platform),
            None => Error::configuration(kind, "FM-CLI-CONFIRM-SERVER", message),
        })
    }
}

fn understood<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T> {
    serde_json::from_value(answer).map_err(|error| {
        Error::configuration(Kind::BadAnswer, "FM-CLI-CONFIRM-ANSWER", "the server answered something else than calls that wait")
            .hint("Is it the URL of a flowmaster-mcp that asks for tokens?")
            .caused_by(error)
    })
}

/// The token that proves the caller to a server.
#[cfg_attr(not(feature = "platform"), expect(unused_variables, reason = "only an embedded platform has its owner's token in a folder"))]
fn token(caller: &Caller, config: &Config) -> Result<SecretString> {
    match &caller.credential {
        Credential::Bearer(token) => Ok(token.clone()),
        #[cfg(feature = "platform")]
        Credential::Owner => crate::platform::folder::owner_token(&config.data_dir),
        _ => Err(Error::configuration(Kind::Unauthenticated, "FM-CLI-CONFIRM-TOKEN", "there is no token to show to the server")
            .hint("Sign in with `flowmaster-mcp login`, or set FLOWMASTER_TOKEN.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_only_where_nobody_listens_in() {
        let config =
            Config::load(&crate::config::Settings::default(), None, &|name| (name == "HOME").then(|| "/home/x".to_owned())).unwrap();
        let caller = Caller::of_unverified_token("token".into(), Some("tenant-1")).unwrap();
        let path = |url: &str| Server::new(url, &caller, &config).map(|server| server.base.to_string());
        assert_eq!(path("https://mcp.example.com/mcp").unwrap(), "https://mcp.example.com/confirmations/");
        assert_eq!(path("https://example.com/flow/mcp/").unwrap(), "https://example.com/flow/confirmations/");
        assert_eq!(path("http://127.0.0.1:8321").unwrap(), "http://127.0.0.1:8321/confirmations/");
        for wrong in ["http://mcp.example.com/mcp", "ftp://x", "nothing", "https://a:b@x/mcp", "https://x/mcp?token=1"] {
            assert_eq!(path(wrong).unwrap_err().code(), "FM-CLI-CONFIRM-URL", "{wrong}");
        }
        let owner = Caller::owner(Credential::Owner);
        assert!(Server::new("https://mcp.example.com/mcp", &owner, &config).is_err(), "the owner's token leaves the machine");
    }
}
