//! Signing in to an outside system: what is put on a request, and tokens of OAuth 2.0 client credentials, which are
//! remembered until they expire.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::credentials::{Secrets, is_secret, names};
use super::failure::{Failure, failure_of};
use super::store::Record;
use crate::api::Timestamp;
use crate::api::integrations::{AuthType, ConnectorType};
use crate::error::{Error, Kind, Result};
use crate::io::outbound::read_bounded;
use crate::io::standard_webhooks;
use crate::platform::Platform;
use crate::platform::outbound::{Target, client};

/// Most bytes of an answer with a token.
const MAX_TOKEN_ANSWER: usize = 64 * 1024;
/// How long a token lives that does not say, in seconds.
const USUAL_LIFE: f64 = 60.0;
/// How long before its end a token is not used any more, in seconds.
const MARGIN: f64 = 30.0;
/// Most tokens that are remembered.
const MAX_TOKENS: usize = 1_000;

/// What a request gets.
pub(super) enum SignIn {
    Nothing,
    Header(HeaderName, HeaderValue),
    /// A token of client credentials; `remembered` tells whether it was used before.
    Token {
        header: HeaderValue,
        remembered: bool,
    },
    /// The signature of a webhook.
    Signature(Box<hmac::Key>),
}

/// Tokens by tenant and integration, with the version of the settings that they were fetched with.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<(String, String), Token>>);

struct Token {
    version: i64,
    value: SecretString,
    until: Timestamp,
}

impl Tokens {
    fn find(&self, tenant: &str, record: &Record, now: Timestamp) -> Option<SecretString> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(&(tenant.to_owned(), record.id.clone()))?;
        (token.version == record.version && token.until > now).then(|| token.value.clone())
    }

    fn keep(&self, tenant: &str, record: &Record, now: Timestamp, token: Token) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_TOKENS {
            tokens.retain(|_, token| token.until > now);
        }
        if tokens.len() < MAX_TOKENS {
            tokens.insert((tenant.to_owned(), record.id.clone()), token);
        }
    }

    /// Forgets the token of an integration, which its system does not take any more.
    pub(super) fn forget(&self, tenant: &str, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(tenant.to_owned(), id.to_owned()));
    }
}

/// Rejects a call of an integration that lacks what its sign-in needs.
pub(super) fn require(record: &Record, set: &[String]) -> Result<()> {
    let (known, needed) = names(&record.settings.connector, &record.settings.auth);
    let missing: Vec<&str> = known.iter().take(needed).copied().filter(|name| !set.iter().any(|set| set == name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("integration {} signs in by {} and lacks {}", record.id, record.settings.auth, missing.join(", "));
    Err(Error::new(Kind::Conflict, "FM-IHS-CREDENTIALS", message).hint("Set them under credentials with integrations_update."))
}

/// Finds out what to put on a request; client credentials may take a request of their own.
pub(super) async fn of(platform: &Platform, tenant: &str, record: &Record, secrets: &Secrets) -> Result<SignIn, Failure> {
    let get = |name: &str| secrets.get(name).map_or("", ExposeSecret::expose_secret);
    Ok(match (&record.settings.connector, &record.settings.auth) {
        (_, AuthType::ApiKey) => {
            let header = match get("header") {
                "" => "x-api-key",
                given => given,
            };
            let name = HeaderName::from_bytes(header.as_bytes()).map_err(|_| unusable("the name of the header"))?;
            let value = [get("prefix"), get("apiKey")].join(" ");
            SignIn::Header(name, hidden(value.trim())?)
        }
        (_, AuthType::Basic) => {
            let pair = STANDARD.encode(format!("{}:{}", get("username"), get("password")));
            SignIn::Header(AUTHORIZATION, hidden(&format!("Basic {pair}"))?)
        }
        (_, AuthType::Bearer) => SignIn::Header(AUTHORIZATION, hidden(&format!("Bearer {}", get("token")))?),
        (_, AuthType::Oauth2) => {
            let known = platform.hub().tokens.find(tenant, record, platform.now());
            let remembered = known.is_some();
            let token = match known {
                Some(token) => token,
                None => fetch(platform, tenant, record, secrets).await?,
            };
            SignIn::Token { header: hidden(&format!("Bearer {}", token.expose_secret()))?, remembered }
        }
        (ConnectorType::Webhook, _) if secrets.contains_key("secret") => {
            let key = standard_webhooks::key_of(get("secret")).map_err(|_| unusable("the key of the webhook"))?;
            SignIn::Signature(Box::new(key))
        }
        _ => SignIn::Nothing,
    })
}

fn hidden(value: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(value).map_err(|_| unusable("a credential"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unusable(what: &str) -> Failure {
    Failure::refused("FM-IHS-CREDENTIALS", format!("{what} cannot be put on a request"))
}

/// The answer of a token endpoint (RFC 6749, sections 5.1 and 5.2).
#[derive(Default, Deserialize)]
struct Granted {
    access_token: Option<SecretString>,
    expires_in: Option<f64>,
    error: Option<String>,
}

async fn fetch(platform: &Platform, tenant: &str, record: &Record, secrets: &Secrets) -> Result<SecretString, Failure> {
    let get = |name: &str| secrets.get(name).map(ExposeSecret::expose_secret);
    let url = Target::read(platform, get("tokenUrl").unwrap_or_default())
        .map_err(|detail| Failure::refused("FM-IHS-HOST-NOT-ALLOWED", format!("tokenUrl {detail}")))?;
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(["scope", "audience"].into_iter().filter_map(|name| Some((name, get(name)?))));
    let (id, secret) = (get("clientId").unwrap_or_default(), get("clientSecret").unwrap_or_default());
    let in_body = get("clientAuthentication") == Some("body");
    if in_body {
        form.extend([("client_id", id), ("client_secret", secret)]);
    }
    let client = client(platform).map_err(|reason| Failure::refused("FM-IHS-UNREACHABLE", reason))?;
    let mut request = client.post(url.into_url()).timeout(platform.integrations().timeout).header("accept", "application/json").form(&form);
    if !in_body {
        request = request.basic_auth(form_encoded(id), Some(form_encoded(secret)));
    }
    let away = |error: &reqwest::Error| Failure { sent: false, ..failure_of("the token endpoint", error) };
    let response = request.send().await.map_err(|error| away(&error))?;
    let status = response.status();
    let answer = read_bounded(response, MAX_TOKEN_ANSWER).await.unwrap_or_default();
    let granted: Granted = serde_json::from_slice(&answer).unwrap_or_default();
    if status.is_server_error() || status.as_u16() == 429 {
        let message = format!("the token endpoint answered {}", status.as_u16());
        return Err(Failure { sent: false, ..Failure::away("FM-IHS-UNAVAILABLE", Kind::Unavailable, message) });
    }
    let token = granted.access_token.filter(|token| status.is_success() && !token.expose_secret().is_empty()).ok_or_else(|| {
        let said: String = granted.error.unwrap_or_default().chars().filter(char::is_ascii_graphic).take(60).collect();
        let said = if said.is_empty() { "no token".to_owned() } else { said };
        Failure::refused("FM-IHS-SIGN-IN", format!("the token endpoint answered {} with {said}", status.as_u16()))
    })?;
    let life = granted.expires_in.filter(|life| life.is_finite() && *life > 0.0).unwrap_or(USUAL_LIFE);
    let until = platform.now().plus_seconds(life - MARGIN.min(life / 10.0));
    platform.hub().tokens.keep(tenant, record, platform.now(), Token { version: record.version, value: token.clone(), until });
    Ok(token)
}

/// A name or a secret as HTTP Basic takes it here (RFC 6749, section 2.3.1).
fn form_encoded(text: &str) -> String {
    let mut url = reqwest::Url::parse("http://x/").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().append_key_only(text);
    }
    url.and_then(|url| url.query().map(str::to_owned)).unwrap_or_else(|| text.to_owned())
}

/// What must not be seen in what a system answers: the secrets, and what was made of them.
pub(super) fn hidden_texts(secrets: &Secrets, sign_in: &SignIn) -> Vec<String> {
    let mut texts: Vec<String> =
        secrets.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.expose_secret().to_owned()).collect();
    if let SignIn::Header(_, header) | SignIn::Token { header, .. } = sign_in
        && let Ok(value) = header.to_str()
    {
        texts.push(value.split_once(' ').map_or(value, |(_, credential)| credential).to_owned());
    }
    // A text that short would be found everywhere.
    texts.retain(|text| text.len() >= 4);
    texts
}
