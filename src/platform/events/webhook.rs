//! One event to one webhook: how it is signed, and what counts as taken.

use aws_lc_rs::hmac;

use super::Subscription;
use crate::api::Event;
use crate::io::hex::hex;
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
        let body = serde_json::to_string(event).map_err(|error| error.to_string())?;
        let timestamp = self.platform.now().millis() / 1000;
        let answered = client(&self.platform)?
            .post(target.into_url())
            .header("content-type", "application/cloudevents+json")
            .header("x-flowmaster-event", event.id.as_str())
            .header("x-flowmaster-subscription", subscription.id.as_str())
            .header("x-flowmaster-timestamp", timestamp)
            .header("x-flowmaster-signature", signature(&secret, timestamp, &body))
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

/// `v1=` and the HMAC-SHA256 over `<timestamp>.<body>` in hex; receivers refuse timestamps older than five minutes.
fn signature(secret: &[u8], timestamp: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(timestamp.to_string().as_bytes());
    context.update(b".");
    context.update(body.as_bytes());
    format!("v1={}", hex(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_time_and_body() {
        let good = signature(b"key", 1, "{}");
        assert_eq!(good, "v1=".to_owned() + &hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"1.{}").as_ref()));
        assert_ne!(good, signature(b"key", 2, "{}"));
        assert_ne!(good, signature(b"key", 1, "{ }"));
    }
}
