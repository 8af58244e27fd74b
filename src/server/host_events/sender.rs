//! Messages to a receiver: signed as Standard Webhooks are, to addresses that may be called, and what came of each.

use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::constant_time;
use reqwest::{Response, StatusCode, Url};
use serde_json::{Value, json};

use crate::api::{Timestamp, ids};
use crate::error::{Error, Result};
use crate::io::destinations::{Destinations, Reach, innermost, parse};
use crate::io::hex::hex;
use crate::io::outbound::read_bounded;
use crate::io::standard_webhooks::{key_of, signature};

/// How long a receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer to a challenge, in bytes.
const MAX_ECHO: usize = 4 * 1024;

/// Sends to receivers.
pub(super) struct Sender {
    destinations: Destinations,
    client: OnceLock<reqwest::Client>,
}

/// Where to, and by which keys.
pub(super) struct Receiver<'a> {
    pub(super) subscription: &'a str,
    pub(super) url: &'a str,
    /// The key, and for a while the one before it.
    pub(super) secrets: Vec<&'a str>,
}

/// Why a receiver did not take a message, as hosts may be told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Unreachable,
    Timeout,
    Tls,
    /// It refused the message for good.
    Gone,
    Client,
    Server,
    Challenge,
}

impl Failure {
    /// The categories there are.
    pub(super) const NAMES: [&str; 6] = ["connection_refused", "timeout", "tls_error", "http_4xx", "http_5xx", "challenge_failed"];

    /// The category: nothing of what the receiver said.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "connection_refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls_error",
            Self::Gone | Self::Client => "http_4xx",
            Self::Server => "http_5xx",
            Self::Challenge => "challenge_failed",
        }
    }
}

impl Sender {
    pub(super) fn new(hosts: Vec<String>) -> Self {
        Self { destinations: Destinations { hosts, reach: Reach::Public }, client: OnceLock::new() }
    }

    /// Whether the operator allows any receiver.
    pub(super) fn is_on(&self) -> bool {
        !self.destinations.hosts.is_empty()
    }

    /// Reads a receiver's address and judges it by what is written. The failure completes a sentence about the address.
    pub(super) fn admit(&self, url: &str) -> std::result::Result<Url, String> {
        let url = parse(url)?;
        self.destinations.admit(&url)?;
        Ok(url)
    }

    /// As [`Sender::admit`], and looks where the host is found.
    pub(super) async fn examine(&self, url: &Url) -> std::result::Result<(), String> {
        self.destinations.examine(url).await
    }

    /// Asks a receiver whether it wants what will be sent to it: it has to send a number back.
    pub(super) async fn verify(&self, receiver: &Receiver<'_>) -> std::result::Result<(), Failure> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|_| Failure::Unreachable)?;
        let challenge = hex(&random);
        let body = json!({ "type": "verification", "challenge": challenge }).to_string();
        let answer = match self.post(receiver, &envelope_id("verification"), &body).await {
            Ok(answer) => answer,
            Err(Failure::Gone | Failure::Client) => return Err(Failure::Challenge),
            Err(failure) => return Err(failure),
        };
        let echo = tokio::time::timeout(TIMEOUT, read_bounded(answer, MAX_ECHO)).await;
        let echo = echo.map_err(|_| Failure::Timeout)?.map_err(|_| Failure::Challenge)?;
        let echoed = serde_json::from_slice::<Value>(&echo).ok();
        let echoed = echoed.as_ref().and_then(|echo| echo.get("challenge")).and_then(Value::as_str).unwrap_or_default();
        constant_time::verify_slices_are_equal(echoed.as_bytes(), challenge.as_bytes()).map_err(|_| Failure::Challenge)
    }

    /// Sends a message; its time and signatures are those of this attempt.
    pub(super) async fn send(&self, receiver: &Receiver<'_>, id: &str, body: &str) -> std::result::Result<(), Failure> {
        self.post(receiver, id, body).await.map(drop)
    }

    async fn post(&self, receiver: &Receiver<'_>, id: &str, body: &str) -> std::result::Result<Response, Failure> {
        // Judged each time: what the operator allows, and where a name leads, may be another by now.
        let url = self.admit(receiver.url).map_err(|refusal| {
            tracing::warn!(subscription = receiver.subscription, "the address of a webhook {refusal}");
            Failure::Unreachable
        })?;
        let client = self.client().map_err(|error| {
            tracing::error!(%error, "webhooks cannot be sent");
            Failure::Unreachable
        })?;
        let timestamp = Timestamp::now().millis() / 1000;
        let keys = receiver.secrets.iter().filter_map(|secret| key_of(secret).ok());
        let signatures: Vec<String> = keys.map(|key| signature(&key, id, timestamp, body)).collect();
        let sent = client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "))
            .header("x-mcp-subscription-id", receiver.subscription)
            .body(body.to_owned())
            .send()
            .await;
        match sent {
            Ok(answer) if answer.status().is_success() => Ok(answer),
            Ok(answer) if [StatusCode::GONE, StatusCode::PAYLOAD_TOO_LARGE].contains(&answer.status()) => Err(Failure::Gone),
            Ok(answer) if answer.status().is_server_error() => Err(Failure::Server),
            // No redirect is followed.
            Ok(_) => Err(Failure::Client),
            Err(error) if error.is_timeout() => Err(Failure::Timeout),
            Err(error) => {
                let cause = innermost(&error);
                tracing::debug!(subscription = receiver.subscription, %cause, "a webhook's receiver cannot be reached");
                let is_tls = ["certificate", "TLS", "tls", "handshake"].iter().any(|word| cause.contains(word));
                Err(if is_tls { Failure::Tls } else { Failure::Unreachable })
            }
        }
    }

    /// The client, made when it is needed first: reading the certificates of the system takes a while.
    fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = self.destinations.client().timeout(TIMEOUT).build().map_err(Error::internal)?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// The id of a message that is not an event.
pub(super) fn envelope_id(kind: &str) -> String {
    format!("msg_{kind}_{}", ids::unique())
}
