//! Text messages and alerts: one POST to a gateway, signed as Standard Webhooks says.

use reqwest::Url;
use serde_json::json;

use super::options::Gateway;
use super::queue::{Due, Failure};
use crate::io::standard_webhooks::signature;
use crate::platform::Platform;
use crate::platform::outbound::{Target, client, innermost};

/// Sends a message to the first gateway of its channel that takes it, and answers that gateway's host.
pub(super) async fn send(platform: &Platform, due: &Due) -> Result<String, Failure> {
    let gateways = platform.notifications().gateways(&due.channel);
    let mut failure =
        Failure { provider: "none".to_owned(), reason: format!("there is no gateway for {} any more", due.channel), is_permanent: false };
    let mut is_permanent = !gateways.is_empty();
    for gateway in gateways {
        let provider = name_of(gateway);
        match post(platform, gateway, due).await {
            Ok(()) => return Ok(provider),
            Err((reason, refused)) => {
                is_permanent &= refused;
                failure = Failure { provider, reason, is_permanent };
            }
        }
    }
    Err(failure)
}

/// Posts a message; the failure says whether the gateway refuses this very message.
async fn post(platform: &Platform, gateway: &Gateway, due: &Due) -> Result<(), (String, bool)> {
    let retry = |reason: String| (reason, false);
    let target = Target::examine(platform, &gateway.url).await.map_err(|detail| retry(format!("the gateway's address {detail}")))?;
    let message = json!({
        "id": due.message_id(),
        "notificationId": due.notification,
        "tenantId": due.tenant,
        "channel": due.channel,
        "to": due.address(),
        "title": due.subject,
        "body": due.body,
    });
    let (id, timestamp, body) = (due.message_id(), platform.now().millis() / 1000, message.to_string());
    let mut request = client(platform)
        .map_err(retry)?
        .post(target.as_str())
        .timeout(platform.notifications().timeout)
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", timestamp);
    if let Some(key) = gateway.key().map_err(|fault| retry(format!("the gateway {fault}")))? {
        request = request.header("webhook-signature", signature(&key, &id, timestamp, &body));
    }
    match request.body(body).send().await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => {
            let status = response.status().as_u16();
            Err((format!("the gateway answered {status}"), matches!(status, 400 | 410 | 413 | 422)))
        }
        Err(error) if error.is_timeout() => Err(retry("the gateway did not answer in time".to_owned())),
        Err(error) => Err(retry(format!("the gateway cannot be reached: {}", innermost(&error)))),
    }
}

/// Host and port alone: an address may hold a key.
fn name_of(gateway: &Gateway) -> String {
    let host = Url::parse(&gateway.url).ok().and_then(|url| {
        let host = url.host_str()?.to_owned();
        Some(url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
    });
    host.unwrap_or_else(|| "gateway".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_named_without_what_its_address_may_hold() {
        let gateway = Gateway { url: "https://sms.example.com:8443/send?key=secret".to_owned(), secret: None };
        assert_eq!(name_of(&gateway), "sms.example.com:8443");
    }
}
