//! Token exchange (RFC 8693): the caller's token for one that the platform takes, remembered until shortly before it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::api::Timestamp;
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::io::hash::sha256;
use crate::io::outbound::{self, Unread};

/// How many callers' tokens are remembered.
const REMEMBERED: u64 = 16_384;
/// The code of a caller's token that the endpoint does not take.
pub(crate) const REFUSED_TOKEN: &str = "FM-MCP-EXCHANGE-TOKEN";
/// The code of a token that came back for another tenant.
pub(crate) const OTHER_TENANT: &str = "FM-MCP-EXCHANGE-TENANT";
/// The code of what the endpoint says no to for another reason, in OAuth's words.
const REFUSED: &str = "FM-MCP-EXCHANGE-REFUSED";
/// How long before its end a token is exchanged again.
const MARGIN: Duration = Duration::from_mins(1);
/// The longest that a token is remembered, whatever its answer says.
const MAX_LIFETIME: Duration = Duration::from_hours(1);
/// How long a token is good whose answer does not say.
const UNSAID: Duration = Duration::from_mins(5);
/// How long a failed exchange answers for those that waited for it.
const FAILED: Duration = Duration::from_secs(2);
/// How long an exchange may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What may stand in a client's id and secret as it is (RFC 6749, section 2.3.1).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where tokens are exchanged, and as whom.
#[derive(Debug, Clone)]
pub struct TokenEndpoint {
    /// The endpoint's URL; https, or http on this machine.
    pub url: String,
    /// The server's client id.
    pub client_id: String,
    /// Its secret; a public client has none.
    pub client_secret: Option<SecretString>,
    /// The platform's audience.
    pub audience: String,
}

/// See the module.
pub struct Exchange {
    endpoint: TokenEndpoint,
    http: reqwest::Client,
    remembered: Cache<[u8; 32], Arc<Mutex<Option<Held>>>>,
}

/// What an exchange came to, and until when that holds.
struct Held {
    outcome: Result<SecretString>,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<SecretString>,
    issued_token_type: Option<String>,
    token_type: Option<String>,
    expires_in: Option<u64>,
}

/// The codes of RFC 6749, 5.2, and RFC 8693, 2.2.2, with those that servers give besides. Nothing else is repeated: what an
/// endpoint says may hold what it was sent.
const CODES: [&str; 10] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
];

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Exchange {
    /// Exchanges at an endpoint. Nothing is sent yet.
    ///
    /// # Errors
    /// A URL that is none, or that would carry tokens in the clear over a network.
    pub fn new(endpoint: TokenEndpoint) -> Result<Self> {
        let refuse = |why: &str| {
            Error::configuration(Kind::Invalid, "FM-CONFIG-TOKEN-URL", format!("upstream.token_url {why}"))
                .hint("Set it to the authorization server's token endpoint, such as https://login.example.com/oauth/token.")
        };
        let url = reqwest::Url::parse(&endpoint.url).map_err(|_| refuse("is not a URL"))?;
        let loopback = outbound::is_loopback(&url);
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(refuse("must be https: tokens and the client's secret go there"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(refuse("carries a user name, a password or a fragment"));
        }
        let http = outbound::client(loopback).connect_timeout(Duration::from_secs(5)).timeout(REQUEST_TIMEOUT);
        let http = http.build().map_err(Error::internal)?;
        let remembered = Cache::builder().max_capacity(REMEMBERED).time_to_idle(MAX_LIFETIME).build();
        Ok(Self { endpoint, http, remembered })
    }

    /// The platform's token for a caller; however many calls wait, it is asked for once.
    pub(crate) async fn of(&self, caller: &Caller, token: &SecretString) -> Result<SecretString> {
        let slot = self.slot(token);
        let mut held = slot.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.holds()) {
            return held.answer();
        }
        *held = None;
        let (answer, made) = self.make(caller, token).await;
        *held = Some(made);
        answer
    }

    /// Exchanges again, whatever is remembered. Where the endpoint says no, that counts from now on; where it cannot be
    /// asked, what is remembered stays.
    pub(crate) async fn renew(&self, caller: &Caller, token: &SecretString) -> Result<SecretString> {
        let slot = self.slot(token);
        let mut held = slot.lock().await;
        let (answer, made) = self.make(caller, token).await;
        let stays = |old: &Held| old.holds() && old.outcome.is_ok();
        if answer.is_ok() || made.is_refusal() || !held.as_ref().is_some_and(stays) {
            *held = Some(made);
        }
        answer
    }

    /// Whether a token was exchanged before, and what came of it still holds.
    pub(crate) async fn remembers(&self, token: &SecretString) -> bool {
        self.slot(token).lock().await.as_ref().is_some_and(|held| held.holds() && held.outcome.is_ok())
    }

    /// Forgets what a token was exchanged for, unless it is another one by now.
    pub(crate) async fn forget(&self, token: &SecretString, refused: &SecretString) {
        let slot = self.slot(token);
        let mut held = slot.lock().await;
        let is_same = |held: &Held| matches!(&held.outcome, Ok(given) if given.expose_secret() == refused.expose_secret());
        if held.as_ref().is_some_and(is_same) {
            *held = None;
        }
    }

    fn slot(&self, token: &SecretString) -> Arc<Mutex<Option<Held>>> {
        self.remembered.get_with(sha256(token.expose_secret().as_bytes()), Arc::default)
    }

    /// Exchanges a token: what came of it, and how those are told who wait.
    async fn make(&self, caller: &Caller, token: &SecretString) -> (Result<SecretString>, Held) {
        match self.ask(caller, token).await {
            Ok((given, good_for)) => {
                // The caller's own end is the end of what it was exchanged for.
                let left = caller
                    .expires
                    .map_or(MAX_LIFETIME, |end| Duration::try_from_secs_f64(end.seconds_since(Timestamp::now())).unwrap_or_default());
                let until = Instant::now() + good_for.saturating_sub(MARGIN).min(left).min(MAX_LIFETIME);
                (Ok(given.clone()), Held { outcome: Ok(given), until })
            }
            Err(error) => {
                let outcome = Err(error.again());
                (Err(error), Held { outcome, until: Instant::now() + FAILED })
            }
        }
    }

    async fn ask(&self, caller: &Caller, token: &SecretString) -> Result<(SecretString, Duration)> {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token.expose_secret()),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
            ("audience", &self.endpoint.audience),
        ];
        let mut request = self.http.post(&self.endpoint.url).header(http::header::ACCEPT, "application/json");
        match &self.endpoint.client_secret {
            Some(secret) => {
                let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
                request = request.basic_auth(encode(&self.endpoint.client_id), Some(encode(secret.expose_secret())));
            }
            None => form.push(("client_id", &self.endpoint.client_id)),
        }
        let response = request.form(&form).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = outbound::read_bounded(response, LARGEST_ANSWER).await.map_err(|unread| match unread {
            Unread::TooLarge => Error::new(Kind::BadAnswer, "FM-MCP-EXCHANGE-ANSWER", "the token endpoint's answer is larger than 64 KiB")
                .hint("The operator checks upstream.token_url."),
            Unread::Broken(error) => unreachable(error),
        })?;
        if !status.is_success() {
            return Err(refused(status.as_u16(), &body));
        }
        Self::judge(caller, &body)
    }

    /// Reads what the endpoint gave, and holds it to be a bearer token of the caller's own tenant.
    fn judge(caller: &Caller, body: &[u8]) -> Result<(SecretString, Duration)> {
        let wrong = |why: &str| {
            Error::new(Kind::BadAnswer, "FM-MCP-EXCHANGE-ANSWER", format!("the token endpoint's answer {why}"))
                .hint("The operator checks upstream.token_url, and what that client may exchange.")
        };
        // The parser's own words could repeat what it read.
        let answer: Answer = serde_json::from_slice(body).map_err(|_| wrong("is not as RFC 8693 has it"))?;
        if answer.issued_token_type.as_deref().is_some_and(|kind| kind != ACCESS_TOKEN && kind != JWT) {
            return Err(wrong("holds no access token"));
        }
        if !answer.token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(wrong("holds no bearer token"));
        }
        let token = answer.access_token.ok_or_else(|| wrong("holds no access token"))?;
        let about = Caller::of_unverified_token(token.clone(), None).map_err(|_| wrong("holds a token that cannot go into a header"))?;
        drop(about);
        if Caller::tenant_claimed_by(&token).is_some_and(|tenant| tenant != caller.tenant) {
            return Err(Error::new(Kind::Forbidden, OTHER_TENANT, "the token endpoint gave a token of another tenant")
                .hint("Nothing was called. The operator checks how the token endpoint maps tenants."));
        }
        Ok((token, answer.expires_in.map_or(UNSAID, Duration::from_secs)))
    }
}

impl Held {
    fn holds(&self) -> bool {
        self.until > Instant::now()
    }

    /// Whether the endpoint rejected this caller. Another answer in its place, or trouble with this server's own secret, says
    /// nothing about the caller.
    fn is_refusal(&self) -> bool {
        self.outcome.as_ref().is_err_and(|error| [REFUSED_TOKEN, OTHER_TENANT, REFUSED].contains(&error.code()))
    }

    fn answer(&self) -> Result<SecretString> {
        self.outcome.as_ref().map(SecretString::clone).map_err(Error::again)
    }
}

fn refused(status: u16, body: &[u8]) -> Error {
    let code = serde_json::from_slice::<Refusal>(body).ok();
    let code = code.and_then(|refusal| CODES.into_iter().find(|code| *code == refusal.error));
    let said = code.unwrap_or("no OAuth error");
    if status == 429 || status >= 500 {
        return Error::new(Kind::Unavailable, "FM-MCP-EXCHANGE-UNAVAILABLE", format!("the token endpoint answered {status} ({said})"))
            .hint("Try again later.");
    }
    if matches!(said, "invalid_client" | "unauthorized_client") || (status == 401 && code.is_none()) {
        return Error::new(Kind::Forbidden, "FM-MCP-EXCHANGE-CLIENT", format!("the token endpoint does not know this server ({said})"))
            .hint("The operator checks upstream.client_id and upstream.client_secret.");
    }
    if matches!(said, "invalid_grant" | "invalid_request") {
        // RFC 8693, 2.2.2: the token that was to be exchanged is invalid.
        return Error::new(Kind::Forbidden, REFUSED_TOKEN, format!("the token endpoint does not take the caller's token ({said})"))
            .hint("Sign in again.");
    }
    if code.is_none() {
        let what = format!("the token endpoint's answer is {status}, without an OAuth error");
        return Error::new(Kind::BadAnswer, "FM-MCP-EXCHANGE-ANSWER", what)
            .hint("Try again later; the operator checks upstream.token_url, and what stands before it.");
    }
    Error::new(Kind::Forbidden, REFUSED, format!("the token endpoint does not exchange the caller's token ({said})"))
        .hint("Sign in again; if that does not help, the operator checks what the token endpoint allows this server.")
}

fn unreachable(error: reqwest::Error) -> Error {
    let timed_out = error.is_timeout();
    Error::new(
        Kind::Unavailable,
        "FM-MCP-EXCHANGE-UNREACHABLE",
        if timed_out { "the token endpoint did not answer within 10 s" } else { "the token endpoint cannot be reached" },
    )
    .hint("Try again later; the operator checks upstream.token_url.")
    .caused_by(error.without_url())
}
