//! One message to its provider: a POST to the channel's address, signed as Standard Webhooks says.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::RETRY_AFTER;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::credentials::{self, Secrets, WEBHOOK_SECRET};
use crate::error::Kind;
use crate::io::standard_webhooks::{key_of, signature};
use crate::platform::Platform;
use crate::platform::outbound::{Target, client, innermost};

/// Longest wait that a provider may ask for.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// A message as it is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: String,
    pub(super) conversation: String,
    pub(super) channel: String,
    pub(super) kind: String,
    pub(super) account: Option<String>,
    pub(super) base_url: String,
    pub(super) recipient: String,
    pub(super) body: String,
    pub(super) attempts: u32,
    pub(super) secrets: Secrets,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) code: &'static str,
    /// The cause, for people; nothing of what the provider said, which may repeat what it was sent.
    pub(super) reason: String,
    /// Whether the same message would be refused again.
    pub(super) is_permanent: bool,
    pub(super) pause: Option<Duration>,
}

impl Failure {
    fn permanent(kind: Kind, code: &'static str, reason: impl Into<String>) -> Self {
        Self { kind, code, reason: reason.into(), is_permanent: true, pause: None }
    }

    fn transient(code: &'static str, reason: impl Into<String>) -> Self {
        Self { kind: Kind::Unavailable, code, reason: reason.into(), is_permanent: false, pause: None }
    }
}

/// Posts a message once. Its id is the idempotency key: a provider drops repeats by it.
pub(super) async fn post(platform: &Platform, message: &Outgoing) -> Result<(), Failure> {
    // The address is judged each time: the operator may have changed what is allowed.
    let target = Target::read(platform, &message.base_url)
        .map_err(|detail| Failure::permanent(Kind::Forbidden, "FM-COMMS-HOST-NOT-ALLOWED", format!("the channel's baseUrl {detail}")))?;
    let unusable = |_| Failure::permanent(Kind::Conflict, "FM-COMMS-CREDENTIALS", "the channel's credentials cannot be used");
    let timestamp = platform.now().millis() / 1000;
    let body = json!({
        "messageId": message.id,
        "conversationId": message.conversation,
        "channel": message.kind,
        "account": message.account,
        "recipientId": message.recipient,
        "message": message.body,
    })
    .to_string();
    let mut request = client(platform)
        .map_err(|reason| Failure::transient("FM-COMMS-UNREACHABLE", reason))?
        .post(target.into_url())
        .timeout(platform.integrations().timeout)
        .header("content-type", "application/json")
        .header("idempotency-key", &message.id)
        .header("webhook-id", &message.id)
        .header("webhook-timestamp", timestamp);
    if let Some((name, value)) = credentials::sign_in(&message.secrets).map_err(unusable)? {
        request = request.header(name, value);
    }
    if let Some(secret) = message.secrets.get(WEBHOOK_SECRET) {
        let key = key_of(secret.expose_secret())
            .map_err(|_| Failure::permanent(Kind::Conflict, "FM-COMMS-CREDENTIALS", "the channel's webhookSecret cannot be used"))?;
        request = request.header("webhook-signature", signature(&key, &message.id, timestamp, &body));
    }
    match request.body(body).send().await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(refusal(&response)),
        Err(error) if error.is_timeout() => Err(Failure::transient("FM-COMMS-TIMEOUT", "the provider did not answer in time")),
        Err(error) => Err(Failure::transient("FM-COMMS-UNREACHABLE", format!("the provider cannot be reached: {}", innermost(&error)))),
    }
}

/// What a status other than success means.
fn refusal(response: &Response) -> Failure {
    let status = response.status().as_u16();
    let reason = format!("the provider answered {status}");
    let pause = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
    match status {
        401 | 403 | 407 => Failure::permanent(Kind::BadAnswer, "FM-COMMS-SIGN-IN", reason),
        300..=399 => Failure::permanent(Kind::BadAnswer, "FM-COMMS-REDIRECT", format!("{reason}; redirects are not followed")),
        408 | 425 | 429 | 500 | 502..=504 | 506..=599 => {
            Failure { pause: pause.map(|pause| pause.min(LONGEST_PAUSE)), ..Failure::transient("FM-COMMS-UNAVAILABLE", reason) }
        }
        _ => Failure::permanent(Kind::BadAnswer, "FM-COMMS-REJECTED", reason),
    }
}
