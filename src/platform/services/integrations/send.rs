//! One attempt of a call: the request on its way, and what its answer means.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::credentials::Secrets;
use super::failure::{Failure, failure_of};
use super::request::Prepared;
use super::sign_in::{self, SignIn};
use super::store::{Ended, Record};
use crate::error::Kind;
use crate::io::numbers::quote_inexact;
use crate::io::outbound::{Unread, read_bounded};
use crate::io::standard_webhooks::signature;
use crate::platform::Platform;
use crate::platform::outbound::{Target, client};

/// Most bytes of an answer.
const MAX_ANSWER: usize = 1024 * 1024;
/// How much of an answer an error shows, in characters.
const MAX_SHOWN: usize = 300;
/// Longest wait that a system may ask for.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
const REDACTED: &str = "[redacted]";

/// What a system answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status_code: u16,
    pub(super) data: Value,
}

/// Sends a call once. A token that was remembered and is refused is fetched again, since then nothing was carried out.
pub(super) async fn once(
    platform: &Platform,
    tenant: &str,
    record: &Record,
    secrets: &Secrets,
    call: &Prepared,
    key: &str,
) -> Result<Answered, Failure> {
    let sign_in = sign_in::of(platform, tenant, record, secrets).await?;
    let first = attempt(platform, secrets, call, key, &sign_in).await;
    match (&sign_in, first) {
        (SignIn::Token { remembered, .. }, Err(failure)) if failure.status_code == Some(401) => {
            platform.hub().tokens.forget(tenant, &record.id);
            if !remembered {
                return Err(failure);
            }
            let sign_in = sign_in::of(platform, tenant, record, secrets).await?;
            attempt(platform, secrets, call, key, &sign_in).await
        }
        (_, first) => first,
    }
}

async fn attempt(platform: &Platform, secrets: &Secrets, call: &Prepared, key: &str, sign_in: &SignIn) -> Result<Answered, Failure> {
    let target = Target::read(platform, call.url.as_str())
        .map_err(|detail| Failure { kind: Kind::Forbidden, ..Failure::refused("FM-IHS-HOST-NOT-ALLOWED", format!("baseUrl {detail}")) })?;
    let client = client(platform).map_err(|reason| Failure::refused("FM-IHS-UNREACHABLE", reason))?;
    let mut request = client
        .request(call.method.clone(), target.into_url())
        .timeout(platform.integrations().timeout)
        .header(ACCEPT, "application/json, */*;q=0.5")
        .header("idempotency-key", key);
    match sign_in {
        SignIn::Nothing => {}
        SignIn::Header(name, value) => request = request.header(name, value.clone()),
        SignIn::Token { header, .. } => request = request.header("authorization", header.clone()),
        SignIn::Signature(secret) => {
            let timestamp = platform.now().millis() / 1000;
            request = request
                .header("webhook-id", key)
                .header("webhook-timestamp", timestamp)
                .header("webhook-signature", signature(secret, key, timestamp, call.body.as_deref().unwrap_or_default()));
        }
    }
    if let Some(body) = &call.body {
        request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
    }
    let response = request.send().await.map_err(|error| failure_of("the system", &error))?;
    let hidden = sign_in::hidden_texts(secrets, sign_in);
    if response.status().is_success() { read(response, &hidden).await } else { Err(refusal(response, &hidden).await) }
}

async fn read(response: Response, hidden: &[String]) -> Result<Answered, Failure> {
    let status_code = response.status().as_u16();
    let carried_out = |failure: Failure| Failure { status_code: Some(status_code), sent: true, ended: Ended::Well, ..failure };
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let body = match read_bounded(response, MAX_ANSWER).await {
        Ok(body) => body,
        Err(Unread::Broken(error)) => return Err(failure_of("the system", &error)),
        Err(Unread::TooLarge) => {
            let message = format!("the system did what it was asked for, and answered more than {MAX_ANSWER} bytes");
            return Err(carried_out(Failure { kind: Kind::BadAnswer, ..Failure::refused("FM-IHS-ANSWER-TOO-LARGE", message) }));
        }
    };
    if body.is_empty() {
        return Ok(Answered { status_code, data: Value::Null });
    }
    let mut data = match serde_json::from_slice(&quote_inexact(&body)) {
        Ok(data) => data,
        Err(error) if kind.contains("json") => {
            let message = format!("the system answered {status_code} with JSON that cannot be read: {error}");
            return Err(carried_out(Failure { kind: Kind::BadAnswer, ..Failure::refused("FM-IHS-ANSWER", message) }));
        }
        Err(_) => match std::str::from_utf8(&body) {
            Ok(text) => json!({ "text": text }),
            Err(_) => json!({ "contentType": kind, "bytes": body.len() }),
        },
    };
    redact(&mut data, hidden);
    Ok(Answered { status_code, data })
}

/// What a status other than success means.
async fn refusal(response: Response, hidden: &[String]) -> Failure {
    let (status, pause) = (response.status(), pause_of(&response));
    let shown = excerpt(response, hidden).await;
    let said = if shown.is_empty() { String::new() } else { format!(": {shown}") };
    let number = status.as_u16();
    let message = format!("the system answered {number}{said}");
    let failure = match number {
        300..=399 => Failure { kind: Kind::BadAnswer, ended: Ended::Refused, ..Failure::refused("FM-IHS-REDIRECT", message) },
        401 | 403 | 407 => Failure { kind: Kind::BadAnswer, ended: Ended::Refused, ..Failure::refused("FM-IHS-SIGN-IN", message) },
        429 => Failure { sent: false, ended: Ended::Refused, ..Failure::away("FM-IHS-RATE-LIMITED", Kind::Unavailable, message) },
        408 => Failure::away("FM-IHS-TIMEOUT", Kind::Timeout, message),
        501 | 505 => Failure { kind: Kind::BadAnswer, ended: Ended::Refused, ..Failure::refused("FM-IHS-REJECTED", message) },
        // Nothing was carried out by a system that says that it is not at work.
        503 => Failure { sent: false, ..Failure::away("FM-IHS-UNAVAILABLE", Kind::Unavailable, message) },
        500..=599 => Failure::away("FM-IHS-UNAVAILABLE", Kind::Unavailable, message),
        _ => Failure { kind: Kind::BadAnswer, ended: Ended::Refused, ..Failure::refused("FM-IHS-REJECTED", message) },
    };
    Failure { status_code: Some(number), pause: pause.filter(|_| failure.is_transient), ..failure }
}

fn pause_of(response: &Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// The beginning of an answer as people may see it.
async fn excerpt(response: Response, hidden: &[String]) -> String {
    let is_redirect = response.status().is_redirection();
    let is_text = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_none_or(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind.contains("json") || kind.contains("xml") || kind.starts_with("text/plain")
    });
    if is_redirect || !is_text || response.status() == StatusCode::NOT_MODIFIED {
        return String::new();
    }
    let body = read_bounded(response, 64 * 1024).await.unwrap_or_default();
    let mut text = String::from_utf8_lossy(&body).into_owned();
    // Secrets as JSON writes them are not those that are known; the text is read first.
    if let Ok(mut value) = serde_json::from_str::<Value>(&text) {
        redact(&mut value, hidden);
        text = value.to_string();
    }
    let text = redacted(text, hidden);
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.trim().to_owned()
}

/// Takes secrets out of the texts of an answer: some systems repeat what they were sent.
fn redact(value: &mut Value, hidden: &[String]) {
    match value {
        Value::String(text) => *text = redacted(std::mem::take(text), hidden),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, hidden)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| redact(value, hidden));
            if fields.keys().any(|name| hidden.iter().any(|secret| name.contains(secret.as_str()))) {
                *fields = std::mem::take(fields).into_iter().map(|(name, value)| (redacted(name, hidden), value)).collect();
            }
        }
        _ => {}
    }
}

fn redacted(text: String, hidden: &[String]) -> String {
    hidden.iter().fold(text, |text, secret| if text.contains(secret.as_str()) { text.replace(secret.as_str(), REDACTED) } else { text })
}
