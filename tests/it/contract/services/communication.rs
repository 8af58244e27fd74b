//! Communication Service (contract, section 12).

use serde_json::{Value, json};

use super::target::{Target, human, id_in, items, refused, says};
use crate::support::standin::StandIn;

/// A provider that takes every message; none where the platform does not reach this machine.
async fn provider(target: &Target) -> Option<StandIn> {
    target.outside(async |_| says(201, json!({ "id": "message-1" }))).await
}

/// Registers a channel, and answers its path.
async fn channel(target: &Target, kind: &str, provider: &StandIn) -> String {
    let request = json!({ "channel": kind, "name": target.named("Front desk"), "baseUrl": provider.url });
    format!("/channels/{}", id_in(&target.post("/channels/register", request).await.ok(), "channelId"))
}

/// What somebody wrote, as their provider delivers it.
async fn receive(target: &Target, channel: &str, sender: &str, more: Value) -> Value {
    let mut message = json!({ "senderId": sender, "message": "Where is my order?" });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    target.post(&format!("{channel}/webhook"), message).await.ok()
}

/// **Message linking**: a conversation belongs to an execution, which its later messages tell of.
#[tokio::test]
async fn a_conversation_is_linked_to_an_execution() {
    let target = Target::open().await;
    let Some(provider) = provider(&target).await else { return };
    let channel = channel(&target, "whatsapp", &provider).await;
    let first = receive(&target, &channel, &target.named("anna"), json!({})).await;
    let conversation = format!("/conversations/{}", id_in(&first, "conversationId"));
    let execution = target.start(&target.publish(json!([human("ask", "manager")])).await, json!({})).await;
    let execution = execution.trim_start_matches("/executions/");
    let linked = target.put(&format!("{conversation}/context"), json!({ "executionId": execution })).await.ok();
    assert_eq!(linked["context"]["executionId"], execution);
    receive(&target, &channel, &target.named("anna"), json!({})).await;
    assert_eq!(target.events("message.received", "executionId", execution, 1).await.len(), 1);
    assert_eq!(items(&target.get(&conversation).await.ok()).len(), 2);
    refused(&target.put(&format!("{conversation}/context"), json!({ "executionId": "exec-none" })).await, &[404, 422]);
}

/// The same, and an execution that waits for a message goes on with it.
#[tokio::test]
async fn a_message_has_the_execution_go_on_that_waits_for_it() {
    let target = Target::open().await;
    if target.embedded("the contract says no type of node that waits for a message").is_none() {
        return;
    }
    let Some(provider) = provider(&target).await else { return };
    let channel = channel(&target, "sms", &provider).await;
    let first = receive(&target, &channel, &target.named("anna"), json!({})).await;
    let execution = target.start(&target.publish(json!([{ "id": "hear", "type": "message" }])).await, json!({})).await;
    let link = json!({ "executionId": execution.trim_start_matches("/executions/") });
    target.put(&format!("/conversations/{}/context", id_in(&first, "conversationId")), link).await.ok();
    assert_eq!(target.get(&execution).await.ok()["status"], "waiting");
    receive(&target, &channel, &target.named("anna"), json!({})).await;
    assert_eq!(target.get(&execution).await.ok()["status"], "completed");
}

/// **Multi-channel routing**: a message goes by the channel that its recipient prefers.
#[tokio::test]
async fn a_message_goes_by_the_channel_that_is_preferred() {
    let target = Target::open().await;
    let Some(provider) = provider(&target).await else { return };
    let whatsapp = channel(&target, "whatsapp", &provider).await;
    channel(&target, "sms", &provider).await;
    let anna = target.named("anna");
    let message = json!({ "recipientId": anna, "message": "Your order #{{orderId}} is ready", "variables": { "orderId": "12345" } });
    let sent = target.post(&format!("{whatsapp}/send"), message.clone()).await.ok();
    assert_eq!((&sent["status"], &sent["channel"], sent["sentAt"].is_string()), (&json!("sent"), &json!("whatsapp"), true));
    assert!(provider.asked()[0].body.contains("Your order #12345 is ready"), "{:?}", provider.asked());
    receive(&target, &whatsapp, &anna, json!({ "data": { "preferredChannel": "sms" } })).await;
    assert_eq!(target.post(&format!("{whatsapp}/send"), message).await.ok()["channel"], "sms");
}

/// **Compliance**: each message is audited, and the audit log holds neither its text nor its recipient.
#[tokio::test]
async fn messages_are_audited_without_their_texts() {
    let target = Target::open().await;
    let Some(provider) = provider(&target).await else { return };
    let channel = channel(&target, "sms", &provider).await;
    let anna = target.named("anna");
    let sent = target.post(&format!("{channel}/send"), json!({ "recipientId": anna, "message": "Ready for pickup" })).await.ok();
    let audited = target.get(&format!("/audit-logs?resourceId={}", id_in(&sent, "conversationId"))).await.ok();
    assert!(!items(&audited).is_empty(), "{audited:#}");
    assert!(!audited.to_string().contains("pickup") && !audited.to_string().contains(&anna), "{audited:#}");
}

/// **Webhook ingestion**: a delivery is taken once, and only from the channel's provider.
#[tokio::test]
async fn a_delivery_is_taken_once_and_only_signed() {
    let target = Target::open().await;
    let Some(provider) = provider(&target).await else { return };
    let channel = channel(&target, "telegram", &provider).await;
    let anna = target.named("anna");
    let first = receive(&target, &channel, &anna, json!({ "externalId": target.named("wamid") })).await;
    assert_eq!(first["direction"], "inbound", "{first:#}");
    let again = receive(&target, &channel, &anna, json!({ "externalId": target.named("wamid") })).await;
    assert_eq!(again["messageId"], first["messageId"]);
    let nobody = crate::support::platform::http().post(format!("{}{channel}/webhook", target.url));
    let nobody = nobody.json(&json!({ "senderId": anna, "message": "x" })).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
}
