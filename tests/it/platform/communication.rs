//! The Communication Service over HTTP, with a provider of the test's own on loopback.

mod waiting;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flowmaster_mcp::platform::{Clock as _, Options};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::executions::{human, publish, start};
use crate::support::platform::{Reply, TestPlatform};

/// Waits for something that happens by itself, at most ten seconds.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    for _ in 0..1_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen in time");
}

/// A provider that answers as it is told, then 200, and remembers what came.
#[derive(Clone, Default)]
struct Provider {
    url: String,
    came: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Provider {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self { url: format!("http://{}/messages", listener.local_addr().unwrap()), ..Self::default() };
        let app = Router::new()
            .fallback(async |State(provider): State<Self>, headers: HeaderMap, body: Bytes| {
                provider.came.lock().unwrap().push((headers, body));
                StatusCode::from_u16(provider.answers.lock().unwrap().pop_front().unwrap_or(200)).unwrap()
            })
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        provider
    }

    fn say(&self, answers: impl IntoIterator<Item = u16>) {
        self.answers.lock().unwrap().extend(answers);
    }

    /// The header of each message that came.
    fn headers(&self, name: &str) -> Vec<String> {
        let came = self.came.lock().unwrap();
        came.iter().map(|(headers, _)| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()).collect()
    }

    fn bodies(&self) -> Vec<Value> {
        self.came.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

fn quick(options: &mut Options) {
    options.integrations.queued_attempts = 3;
    options.integrations.timeout = Duration::from_secs(5);
}

fn signature(secret: &str, id: &str, timestamp: i64, body: &str) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    format!("v1,{}", STANDARD.encode(hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes())))
}

/// Registers a channel, and answers its id and its key of signatures.
async fn register(platform: &TestPlatform, kind: &str, url: &str) -> (String, String) {
    let request = json!({ "channel": kind, "name": "Front desk", "account": "+14155550100", "baseUrl": url });
    let channel = platform.post("/channels/register", &platform.owner(), request).await.ok();
    (channel["channelId"].as_str().unwrap().to_owned(), channel["signingSecret"].as_str().unwrap().to_owned())
}

async fn send(platform: &TestPlatform, channel: &str, message: Value) -> Reply {
    platform.post(&format!("/channels/{channel}/send"), &platform.owner(), message).await
}

async fn history(platform: &TestPlatform, conversation: &Value) -> Vec<Value> {
    let page = platform.get(&format!("/conversations/{}", conversation.as_str().unwrap()), &platform.owner()).await.ok();
    page["items"].as_array().unwrap().clone()
}

/// A delivery as a provider makes it, signed at some seconds from the platform's time.
async fn deliver(platform: &TestPlatform, channel: &str, secret: &str, id: &str, seconds: i64, body: &Value) -> Reply {
    let (body, timestamp) = (body.to_string(), platform.clock.now().millis() / 1000 + seconds);
    let signed = signature(secret, id, timestamp, &body);
    deliver_signed(platform, channel, id, timestamp, &signed, body).await
}

async fn deliver_signed(platform: &TestPlatform, channel: &str, id: &str, timestamp: i64, signed: &str, body: String) -> Reply {
    let request = platform
        .request(Method::POST, &format!("/channels/{channel}/webhook"), "")
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signed)
        .body(body);
    platform.send(request).await
}

#[tokio::test]
async fn the_contracts_message_reaches_the_provider_once_and_signed() {
    let provider = Provider::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let (channel, secret) = register(&platform, "whatsapp", &provider.url).await;
    let example = json!({
        "channel": "whatsapp", "recipientId": "user-123", "message": "Your order #12345 is ready for pickup",
        "variables": { "orderId": "12345" },
    });
    let sent = send(&platform, &channel, example).await;
    assert_eq!((sent.status, &sent.body["status"], &sent.body["channel"]), (201, &json!("sent"), &json!("whatsapp")));
    let filled = json!({ "recipientId": "user-123", "message": "Order #{{ orderId }}", "variables": { "orderId": 12345 } });
    send(&platform, &channel, filled).await.ok();

    let bodies = provider.bodies();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0]["message"], "Your order #12345 is ready for pickup");
    assert_eq!((&bodies[0]["recipientId"], &bodies[0]["account"]), (&json!("user-123"), &json!("+14155550100")));
    assert_eq!(bodies[1]["message"], "Order #12345");
    let id = sent.body["messageId"].as_str().unwrap();
    assert_eq!((provider.headers("idempotency-key")[0].as_str(), provider.headers("webhook-id")[0].as_str()), (id, id));
    let timestamp = provider.headers("webhook-timestamp")[0].parse().unwrap();
    let body = String::from_utf8(provider.came.lock().unwrap()[0].1.to_vec()).unwrap();
    assert_eq!(provider.headers("webhook-signature")[0], signature(&secret, id, timestamp, &body));

    let history = history(&platform, &sent.body["conversationId"]).await;
    let texts: Vec<&Value> = history.iter().map(|message| &message["message"]).collect();
    assert_eq!(texts, ["Order #12345", "Your order #12345 is ready for pickup"]);
    let audited = platform.get("/audit-logs?resourceType=conversation", &platform.owner()).await.ok();
    assert_eq!(audited["items"].as_array().unwrap().len(), 4, "{audited:#}");
    assert!(!audited.to_string().contains("pickup") && !audited.to_string().contains("user-123"), "{audited:#}");
}

#[tokio::test]
async fn credentials_sign_in_and_are_never_shown_again() {
    let provider = Provider::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let request = json!({
        "channel": "sms", "baseUrl": provider.url, "credentials": { "apiKey": "correct-horse-battery", "webhookSecret": "whsec_c2VjcmV0" },
    });
    let channel = platform.post("/channels/register", &platform.owner(), request).await.ok();
    assert_eq!(channel["credentialsSet"], json!(["apiKey", "webhookSecret"]));
    assert_eq!(channel["signingSecret"], Value::Null);
    send(&platform, channel["channelId"].as_str().unwrap(), json!({ "recipientId": "+1415", "message": "Hello" })).await.ok();
    assert_eq!(provider.headers("authorization"), ["Bearer correct-horse-battery"]);
    let audited = platform.get("/audit-logs", &platform.owner()).await.ok();
    for secret in ["correct-horse-battery", "c2VjcmV0"] {
        assert!(!channel.to_string().contains(secret) && !audited.to_string().contains(secret));
    }
    let file = std::fs::read(platform.folder.path().join("data/platform.db")).unwrap();
    assert!(!file.windows(21).any(|part| part == b"correct-horse-battery"));
}

#[tokio::test]
async fn a_message_goes_by_the_channel_that_its_recipient_prefers() {
    let (chat, texts) = (Provider::listen().await, Provider::listen().await);
    let platform = TestPlatform::start_with(quick).await;
    let (whatsapp, secret) = register(&platform, "whatsapp", &chat.url).await;
    let message = json!({ "recipientId": "user-123", "message": "Hello" });
    // What is preferred must be there.
    let wish = json!({ "senderId": "user-123", "message": "By SMS, please", "data": { "preferredChannel": "sms" } });
    deliver(&platform, &whatsapp, &secret, "wish-1", 0, &wish).await.ok();
    assert_eq!(send(&platform, &whatsapp, message.clone()).await.ok()["channel"], "whatsapp");
    register(&platform, "sms", &texts.url).await;
    assert_eq!(send(&platform, &whatsapp, message.clone()).await.ok()["channel"], "sms");
    // The caller's own choice goes before it, and another person has no preference.
    let chosen = json!({ "recipientId": "user-123", "message": "Hello", "channel": "whatsapp" });
    assert_eq!(send(&platform, &whatsapp, chosen).await.ok()["channel"], "whatsapp");
    let other = json!({ "recipientId": "user-124", "message": "Hello" });
    assert_eq!(send(&platform, &whatsapp, other).await.ok()["channel"], "whatsapp");
    let unavailable = json!({ "recipientId": "user-123", "message": "Hello", "channel": "slack" });
    send(&platform, &whatsapp, unavailable).await.refused(422, "FM-COMMS-CHANNEL-UNAVAILABLE");
    assert_eq!((chat.bodies().len(), texts.bodies().len()), (3, 1));
    let wrong = json!({ "senderId": "user-123", "message": "x", "data": { "preferredChannel": "pigeon" } });
    deliver(&platform, &whatsapp, &secret, "wish-2", 0, &wrong).await.refused(422, "FM-COMMS-PREFERENCE");
}

#[tokio::test]
async fn a_message_waits_for_a_provider_that_is_down_and_survives_a_restart() {
    let provider = Provider::listen().await;
    provider.say([503, 503]);
    let platform = TestPlatform::start_with(quick).await;
    let (channel, _) = register(&platform, "telegram", &provider.url).await;
    let queued = send(&platform, &channel, json!({ "recipientId": "chat-7", "message": "Hello" })).await;
    assert_eq!((queued.status, &queued.body["status"]), (201, &json!("queued")));
    until(async || {
        platform.clock.advance(2.0);
        provider.bodies().len() == 2
    })
    .await;
    let platform = platform.restart_with(quick).await;
    until(async || {
        platform.clock.advance(2.0);
        history(&platform, &queued.body["conversationId"]).await[0]["status"] == "sent"
    })
    .await;
    let keys = provider.headers("idempotency-key");
    assert_eq!(keys, vec![queued.body["messageId"].as_str().unwrap(); 3]);
}

#[tokio::test]
async fn attempts_are_bounded_and_a_refusal_is_not_repeated() {
    let provider = Provider::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let (channel, _) = register(&platform, "telegram", &provider.url).await;
    let message = json!({ "recipientId": "chat-7", "message": "Hello" });
    for (status, code) in [(400, "FM-COMMS-REJECTED"), (401, "FM-COMMS-SIGN-IN"), (302, "FM-COMMS-REDIRECT")] {
        provider.say([status]);
        send(&platform, &channel, message.clone()).await.refused(502, code);
    }
    provider.say([500, 500, 500]);
    let queued = send(&platform, &channel, message).await.ok();
    until(async || {
        platform.clock.advance(2.0);
        history(&platform, &queued["conversationId"]).await[0]["status"] == "failed"
    })
    .await;
    assert_eq!(provider.bodies().len(), 6);
    let statuses = history(&platform, &queued["conversationId"]).await;
    assert!(statuses.iter().all(|message| message["status"] == "failed"), "{statuses:?}");
    let events = platform.get("/events/replay?topic=message.failed", &platform.owner()).await.ok();
    assert_eq!(events["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_delivery_must_be_signed_by_its_channel_within_five_minutes() {
    let platform = TestPlatform::start().await;
    let (channel, secret) = register(&platform, "whatsapp", "http://127.0.0.1:9/").await;
    let (other, _) = register(&platform, "sms", "http://127.0.0.1:9/").await;
    let body = json!({ "senderId": "+1415", "message": "Thanks" });
    let received = deliver(&platform, &channel, &secret, "msg-1", 0, &body).await;
    assert_eq!((received.status, &received.body["status"], &received.body["direction"]), (200, &json!("received"), &json!("inbound")));
    deliver(&platform, &channel, &secret, "msg-2", -299, &body).await.ok();
    for seconds in [-302, 302] {
        deliver(&platform, &channel, &secret, "msg-3", seconds, &body).await.refused(401, "FM-COMMS-SIGNATURE-EXPIRED");
    }
    let now = platform.clock.now().millis() / 1000;
    let good = signature(&secret, "msg-4", now, &body.to_string());
    let changed = json!({ "senderId": "+1415", "message": "Cancel it" }).to_string();
    let refused = [
        (channel.as_str(), "msg-4", now, good.as_str(), changed),
        (&channel, "msg-5", now, &good, body.to_string()),
        (&channel, "msg-4", now + 1, &good, body.to_string()),
        (&channel, "msg-4", now, "v1,AAAA", body.to_string()),
        (&channel, "msg-4", now, "", body.to_string()),
        (&other, "msg-4", now, &good, body.to_string()),
        ("chan-none", "msg-4", now, &good, body.to_string()),
    ];
    for (channel, id, timestamp, signed, body) in refused {
        deliver_signed(&platform, channel, id, timestamp, signed, body).await.refused(401, "FM-COMMS-SIGNATURE");
    }
    platform.post(&format!("/channels/{channel}/webhook"), "", body.clone()).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    // A signature gives no other right.
    let request = platform
        .request(Method::POST, &format!("/channels/{channel}/send"), "")
        .header("webhook-id", "msg-4")
        .header("webhook-timestamp", now)
        .header("webhook-signature", &good);
    platform.send(request.json(&json!({ "recipientId": "x", "message": "x" }))).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    assert_eq!(history(&platform, &received.body["conversationId"]).await.len(), 2);
    deliver(&platform, &channel, &secret, "msg-6", 0, &json!({ "message": "x" })).await.refused(422, "FM-COMMS-INVALID");
}

#[tokio::test]
async fn a_repeat_is_dropped_by_its_delivery_and_by_the_providers_id() {
    let platform = TestPlatform::start().await;
    let (channel, secret) = register(&platform, "whatsapp", "http://127.0.0.1:9/").await;
    let body = json!({ "senderId": "+1415", "message": "Thanks", "externalId": "wamid-1" });
    let first = deliver(&platform, &channel, &secret, "msg-1", 0, &body).await.ok();
    let platform = platform.restart().await;
    // The delivery replayed, the message delivered anew, and entered by hand.
    let plain = json!({ "senderId": "+1415", "message": "Thanks" });
    for repeat in [
        deliver(&platform, &channel, &secret, "msg-1", 0, &plain).await.ok(),
        deliver(&platform, &channel, &secret, "msg-2", 0, &body).await.ok(),
        platform.post(&format!("/channels/{channel}/webhook"), &platform.owner(), body).await.ok(),
    ] {
        assert_eq!(repeat["messageId"], first["messageId"]);
    }
    assert_eq!(history(&platform, &first["conversationId"]).await.len(), 1);
    let events = platform.get("/events/replay?topic=message.received", &platform.owner()).await.ok();
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    assert!(!events.to_string().contains("Thanks"));
}

#[tokio::test]
async fn a_second_tenant_sees_nothing() {
    let provider = Provider::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let (channel, _) = register(&platform, "sms", &provider.url).await;
    let sent = send(&platform, &channel, json!({ "recipientId": "+1415", "message": "Hello" })).await.ok();
    let conversation = sent["conversationId"].as_str().unwrap();
    let globex = platform.signed_in("globex", "eve", &["*"]).await;
    let message = json!({ "recipientId": "+1415", "message": "Hello" });
    platform.post(&format!("/channels/{channel}/send"), &globex, message).await.refused(404, "FM-COMMS-NOT-FOUND");
    let inbound = json!({ "senderId": "+1415", "message": "x" });
    platform.post(&format!("/channels/{channel}/webhook"), &globex, inbound).await.refused(404, "FM-COMMS-NOT-FOUND");
    let place = format!("/conversations/{conversation}");
    platform.get(&place, &globex).await.refused(404, "FM-COMMS-CONVERSATION-NOT-FOUND");
    let link = json!({ "executionId": "exec-1" });
    platform.put(&format!("{place}/context"), &globex, link).await.refused(404, "FM-COMMS-CONVERSATION-NOT-FOUND");
    let helper = platform.signed_in("globex", "helper", &["channel:send"]).await;
    platform.get(&place, &helper).await.refused(403, "FM-AAS-FORBIDDEN");
    assert_eq!(provider.bodies().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_code() {
    let platform = TestPlatform::start().await;
    let own = format!("{}/entities", platform.running.url());
    let here = "http://127.0.0.1:9/";
    for (channel, status, code) in [
        (json!({ "channel": "pigeon", "baseUrl": here }), 422, "FM-COMMS-INVALID"),
        (json!({ "channel": "sms" }), 422, "FM-COMMS-BASE-URL"),
        (json!({ "channel": "sms", "baseUrl": "ftp://127.0.0.1/" }), 422, "FM-COMMS-INVALID"),
        (json!({ "channel": "sms", "baseUrl": "http://169.254.169.254/" }), 403, "FM-COMMS-HOST-NOT-ALLOWED"),
        (json!({ "channel": "sms", "baseUrl": "http://sms.example.com/" }), 403, "FM-COMMS-HOST-NOT-ALLOWED"),
        (json!({ "channel": "sms", "baseUrl": own }), 403, "FM-COMMS-HOST-NOT-ALLOWED"),
        (json!({ "channel": "sms", "baseUrl": here, "credentials": { "apikey": "x" } }), 422, "FM-COMMS-INVALID"),
        (json!({ "channel": "sms", "baseUrl": here, "credentials": { "username": "x" } }), 422, "FM-COMMS-INVALID"),
        (json!({ "channel": "sms", "baseUrl": here, "credentials": { "apiKey": "x\r\ny" } }), 422, "FM-COMMS-INVALID"),
        (json!({ "channel": "sms", "baseUrl": here, "credentials": { "webhookSecret": "plain" } }), 422, "FM-COMMS-INVALID"),
        (json!({ "channel": "sms", "baseUrl": here, "name": "a\u{7}" }), 422, "FM-COMMS-INVALID"),
    ] {
        platform.post("/channels/register", &platform.owner(), channel).await.refused(status, code);
    }
    let (channel, _) = register(&platform, "sms", here).await;
    for (message, code) in [
        (json!({ "recipientId": "+1415" }), "FM-COMMS-INVALID"),
        (json!({ "recipientId": "a\u{0}", "message": "x" }), "FM-COMMS-RECIPIENT"),
        (json!({ "recipientId": "+1415", "message": "x", "channel": "pigeon" }), "FM-COMMS-INVALID"),
        (json!({ "recipientId": "+1415", "message": "{{1}}" }), "FM-COMMS-TEXT"),
        (json!({ "recipientId": "+1415", "message": "{{a}}", "variables": { "a": " " } }), "FM-COMMS-TEXT"),
        (json!({ "recipientId": "+1415", "message": "{{a}}", "variables": { "a": "x".repeat(4_097) } }), "FM-COMMS-TEXT"),
        (json!({ "recipientId": "+1415", "message": "{{a}}" }), "FM-COMMS-VARIABLES"),
        (json!({ "recipientId": "+1415", "message": "{{a}}", "variables": { "a": [1] } }), "FM-COMMS-VARIABLES"),
    ] {
        send(&platform, &channel, message).await.refused(422, code);
    }
    for (message, code) in [
        (json!({ "senderId": " ", "message": "x" }), "FM-COMMS-SENDER"),
        (json!({ "senderId": "+1415", "message": "x", "data": { "a": "x".repeat(20_000) } }), "FM-COMMS-DATA"),
    ] {
        platform.post(&format!("/channels/{channel}/webhook"), &platform.owner(), message).await.refused(422, code);
    }
    let inbound = json!({ "senderId": "+1415", "message": "x" });
    let received = platform.post(&format!("/channels/{channel}/webhook"), &platform.owner(), inbound).await.ok();
    let place = format!("/conversations/{}/context", received["conversationId"].as_str().unwrap());
    platform.put(&place, &platform.owner(), json!({ "executionId": "exec-none" })).await.refused(422, "FM-COMMS-LINK");
}

#[tokio::test]
async fn a_linked_conversation_names_its_execution_when_an_answer_comes() {
    let platform = TestPlatform::start().await;
    let (channel, secret) = register(&platform, "whatsapp", "http://127.0.0.1:9/").await;
    let body = json!({ "senderId": "+1415", "message": "Where is it?" });
    let received = deliver(&platform, &channel, &secret, "msg-1", 0, &body).await.ok();
    let nodes = json!([{ "id": "start", "type": "start" }, human("ask"), { "id": "end", "type": "end" }]);
    let process = publish(&platform, nodes, json!([{ "from": "start", "to": "ask" }, { "from": "ask", "to": "end" }])).await;
    let execution = start(&platform, &process, json!({})).await;
    let place = format!("/conversations/{}/context", received["conversationId"].as_str().unwrap());
    let link = json!({ "executionId": execution["executionId"], "data": { "order": 7 } });
    let linked = platform.put(&place, &platform.owner(), link.clone()).await.ok();
    assert_eq!((&linked["context"]["executionId"], &linked["context"]["data"]["order"]), (&execution["executionId"], &json!(7)));
    let stale = platform.request(Method::PUT, &place, &platform.owner()).header("if-match", "\"1\"").json(&link);
    platform.send(stale).await.refused(412, "FM-AGS-CHANGED");
    let mut of_no_task = link;
    of_no_task["taskId"] = json!("task-none");
    platform.put(&place, &platform.owner(), of_no_task).await.refused(422, "FM-COMMS-LINK");
    let platform = platform.restart().await;
    deliver(&platform, &channel, &secret, "msg-2", 0, &body).await.ok();
    let events = platform.get("/events/replay?topic=message.received", &platform.owner()).await.ok();
    let of: Vec<&Value> = events["items"].as_array().unwrap().iter().map(|event| &event["data"]["executionId"]).collect();
    assert_eq!(of, [&Value::Null, &execution["executionId"]]);
}

#[tokio::test]
async fn a_history_is_paged_from_the_newest() {
    let platform = TestPlatform::start().await;
    let (channel, _) = register(&platform, "sms", "http://127.0.0.1:9/").await;
    let mut conversation = Value::Null;
    for number in 0..3 {
        let body = json!({ "senderId": "+1415", "message": format!("{number}") });
        let received = platform.post(&format!("/channels/{channel}/webhook"), &platform.owner(), body).await.ok();
        conversation = received["conversationId"].clone();
    }
    let place = format!("/conversations/{}", conversation.as_str().unwrap());
    let first = platform.get(&format!("{place}?limit=2"), &platform.owner()).await.ok();
    let next = platform.get(&format!("{place}?limit=2&cursor={}", first["nextCursor"].as_str().unwrap()), &platform.owner()).await.ok();
    let texts = |page: &Value| page["items"].as_array().unwrap().iter().map(|item| item["message"].clone()).collect::<Vec<_>>();
    assert_eq!((texts(&first), texts(&next)), (vec![json!("2"), json!("1")], vec![json!("0")]));
    assert_eq!(next.get("nextCursor"), None);
}
