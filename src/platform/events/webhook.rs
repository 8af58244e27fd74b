//! One event to one webhook: signed as Standard Webhooks are, and what counts as taken.

use super::Subscription;
use crate::api::Event;
use crate::io::standard_webhooks::{key_of, signature};
use crate::platform::Platform;
use crate::platform::outbound::{Target, client, innermost};

/// Delivers events.
pub(super) struct Sender {
    platform: Platform,
}

impl Sender {
    pub(super) fn new(platform: &Platform) -> Self {
        Self { platform: platform.clone() }
    }

    /// Sends one event. Anything but a status of success is a failure, with its reason.
    pub(super) async fn send(&self, subscription: &Subscription, event: &Event) -> std::result::Result<(), String> {
        // The address is judged each time: a restart moves our port.
        let target = Target::read(&self.platform, &subscription.url)?;
        let secret = self.platform.keys().open(&subscription.id, &subscription.secret).map_err(|error| error.to_string())?;
        let secret = std::str::from_utf8(&secret).map_err(|error| error.to_string())?;
        let key =
            key_of(secret).map_err(|detail| format!("the subscription {detail}; `flowmaster-mcp signing-secret` gives it a new one"))?;
        let body = serde_json::to_string(event).map_err(|error| error.to_string())?;
        let timestamp = self.platform.now().millis() / 1000;
        let answered = client(&self.platform)?
            .post(target.into_url())
            .header("content-type", "application/cloudevents+json")
            .header("webhook-id", event.id.as_str())
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature(&key, event.id.as_str(), timestamp, &body))
            .header("x-flowmaster-subscription", subscription.id.as_str())
            .body(body)
            .send()
            .await;
        match answered {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("the receiver answered {}", response.status())),
            Err(error) if error.is_timeout() => Err("the receiver did not answer in time".to_owned()),
            Err(error) => Err(format!("the receiver cannot be reached: {}", innermost(&error))),
        }
    }
}
