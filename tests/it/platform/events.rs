//! The Event Bus over HTTP: publishing, replay, subscriptions, and delivery to a receiver of the test's own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flowmaster_mcp::api::Timestamp;
use flowmaster_mcp::platform::{Options, SystemClock};
use serde_json::{Value, json};

use crate::support::platform::{Reply, TestPlatform};

/// Calls as the owner.
async fn call(bench: &TestPlatform, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Reply {
    let mut request = bench.request(method.parse().unwrap(), path, &bench.owner());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    bench.send(if let Some(body) = body { request.json(&body) } else { request }).await
}

/// A receiver of webhooks that answers as it is told and remembers what came.
#[derive(Clone, Default)]
struct Receiver {
    came: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    /// Listens on loopback; answers 200 once the answers given are used up.
    async fn listen(answers: impl IntoIterator<Item = u16>) -> (Self, String) {
        let receiver = Self { came: Arc::default(), answers: Arc::new(Mutex::new(answers.into_iter().collect())) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/hook", post(async |State(receiver): State<Self>, headers, body| receiver.receive(headers, body)))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, url)
    }

    fn receive(&self, headers: HeaderMap, body: Bytes) -> (StatusCode, [(&'static str, &'static str); 1]) {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(200);
        self.came.lock().unwrap().push((headers, body));
        (StatusCode::from_u16(answer).unwrap(), [("location", "/hook")])
    }

    fn sequences(&self) -> Vec<u64> {
        self.events().iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
    }

    fn events(&self) -> Vec<Value> {
        self.came.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }

    async fn wait_for(&self, count: usize) {
        until(|| async { self.came.lock().unwrap().len() >= count }).await;
    }
}

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

async fn publish(bench: &TestPlatform, topic: &str, event: Value) -> (u16, Value) {
    let reply = call(bench, "POST", "/events", Some(json!({ "topic": topic, "event": event })), &[]).await;
    (reply.status, reply.body)
}

async fn replay(bench: &TestPlatform, query: &str) -> (u16, Value) {
    let reply = call(bench, "GET", &format!("/events/replay?{query}"), None, &[]).await;
    (reply.status, reply.body)
}

async fn subscribe(bench: &TestPlatform, topic: &str, url: &str) -> Value {
    let request = json!({ "topic": topic, "delivery": { "type": "webhook", "url": url } });
    let reply = call(bench, "POST", "/subscriptions", Some(request), &[]).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.body
}

async fn subscription(bench: &TestPlatform) -> Value {
    call(bench, "GET", "/subscriptions", None, &[]).await.body["items"][0].clone()
}

/// Short waits, in real time.
fn impatient(options: &mut Options) {
    options.clock = Arc::new(SystemClock);
    options.webhooks.first_delay = Duration::from_millis(5);
    options.webhooks.longest_delay = Duration::from_millis(20);
    options.webhooks.timeout = Duration::from_millis(500);
    options.webhooks.attempts = 3;
}

fn numbers(page: &Value) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|event| event["data"]["n"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn an_event_carries_its_source_its_tenant_and_its_place() {
    let bench = TestPlatform::start().await;
    let request = json!({ "topic": "invoice.received", "event": { "n": 1 }, "timestamp": "2025-02-07T10:30:00Z" });
    let first = call(&bench, "POST", "/events", Some(request), &[("x-correlation-id", "corr-1")]).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let event = &first.body;
    assert_eq!(
        (&event["specversion"], &event["type"], &event["source"]),
        (&json!("1.0"), &json!("invoice.received"), &json!("/users/user-owner"))
    );
    assert_eq!((&event["tenantid"], &event["correlationid"]), (&json!("tenant-local"), &json!("corr-1")));
    assert_eq!((&event["sequence"], &event["time"], &event["data"]), (&json!(1), &json!("2025-02-07T10:30:00.000Z"), &json!({ "n": 1 })));
    assert_eq!(publish(&bench, "invoice.received", json!({})).await.1["sequence"], 2);
    assert_eq!(publish(&bench, "invoice.paid", json!({})).await.1["sequence"], 1, "each topic counts for itself");
}

#[tokio::test]
async fn the_contracts_topics_belong_to_its_services() {
    let bench = TestPlatform::start().await;
    for topic in flowmaster_mcp::api::cloud_event::TOPICS {
        let (status, refused) = publish(&bench, topic, json!({ "executionId": "exec-789", "status": "completed" })).await;
        assert_eq!((status, &refused["code"]), (403, &json!("FM-EBS-TOPIC-RESERVED")), "{topic}");
    }
    for topic in ["", "A.b", "a b", "exec*", "*", "a..b", "execution.completed ", "a\u{0}b"] {
        let (status, refused) = publish(&bench, topic, json!({})).await;
        assert_eq!(status, 422, "{topic}: {refused}");
    }
    let (_, page) = replay(&bench, "topic=*").await;
    assert_eq!(page["items"], json!([]), "what is refused is not published");
}

#[tokio::test]
async fn the_past_is_replayed_by_time_and_by_offset() {
    let bench = TestPlatform::start().await;
    for (n, minute) in [(1, 10), (2, 20), (3, 30), (4, 40)] {
        let timestamp = format!("2025-02-07T10:{minute}:00Z");
        let request = json!({ "topic": if n == 3 { "order.closed" } else { "order.opened" }, "event": { "n": n }, "timestamp": timestamp });
        assert_eq!(call(&bench, "POST", "/events", Some(request), &[]).await.status, 201);
    }
    publish(&bench, "orders.other", json!({ "n": 9 })).await;
    for (query, expected) in [
        ("topic=order.opened", vec![1, 2, 4]),
        ("topic=order.*", vec![1, 2, 3, 4]),
        ("topic=*", vec![1, 2, 3, 4, 9]),
        ("topic=order.*&from=2025-02-07T10:20:00Z", vec![2, 3, 4]),
        ("topic=order.*&from=2025-02-07T11:20:00%2B01:00&to=2025-02-07T10:30:00Z", vec![2, 3]),
        ("topic=order.opened&from=2", vec![2, 4]),
        ("topic=order.opened&from=2&to=2", vec![2]),
        ("topic=order.opened&from=9", vec![]),
        ("topic=task.created", vec![]),
    ] {
        let (status, page) = replay(&bench, query).await;
        assert_eq!((status, numbers(&page)), (200, expected), "{query}");
    }
    let (_, first) = replay(&bench, "topic=order.*&limit=3").await;
    let (_, rest) = replay(&bench, &format!("topic=order.*&limit=3&cursor={}", first["nextCursor"].as_str().unwrap())).await;
    assert_eq!(([numbers(&first), numbers(&rest)].concat(), &rest["nextCursor"]), (vec![1, 2, 3, 4], &Value::Null));
    for query in [
        "topic=order.*&from=soon",
        "topic=order.*&to=2025-02-07",
        "topic=order.*&from=-1",
        "topic=a[b]",
        "topic=nothing.here",
        "",
        "topic=x&cursor=zzz",
    ] {
        assert_eq!(replay(&bench, query).await.0, 422, "{query}");
    }
}

#[tokio::test]
async fn a_subscriber_gets_signed_events_in_order_and_nothing_else() {
    let bench = TestPlatform::start_with(impatient).await;
    let (receiver, url) = Receiver::listen([]).await;
    publish(&bench, "order.opened", json!({ "before": true })).await;
    let made = subscribe(&bench, "order.*", &url).await;
    let secret = made["signingSecret"].as_str().unwrap();
    assert_eq!(subscription(&bench).await["signingSecret"], Value::Null, "the secret is shown once");
    for n in 0..40 {
        publish(&bench, "order.opened", json!({ "n": n })).await;
        publish(&bench, "other.topic", json!({ "n": n })).await;
    }
    receiver.wait_for(40).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(receiver.sequences(), (2..=41).collect::<Vec<_>>());
    let came = receiver.came.lock().unwrap().clone();
    for (headers, body) in &came {
        assert_eq!(headers["content-type"], "application/cloudevents+json");
        assert_eq!(headers["x-flowmaster-subscription"], made["subscriptionId"].as_str().unwrap());
        assert!(headers.get("authorization").is_none());
        let timestamp: i64 = headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        assert!((Timestamp::now().millis() / 1000 - timestamp).abs() < 300);
        assert_eq!(headers["webhook-signature"], signature(secret, headers, body));
    }
}

/// The signature of a delivery as Standard Webhooks says it.
fn signature(secret: &str, headers: &HeaderMap, body: &Bytes) -> String {
    let [id, timestamp] = ["webhook-id", "webhook-timestamp"].map(|name| headers[name].to_str().unwrap());
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
    let tag = aws_lc_rs::hmac::sign(&key, &[format!("{id}.{timestamp}.").as_bytes(), body].concat());
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

#[tokio::test]
async fn a_signing_secret_is_replaced_by_those_who_may_subscribe() {
    let bench = TestPlatform::start_with(impatient).await;
    let (receiver, url) = Receiver::listen([]).await;
    let made = subscribe(&bench, "order.*", &url).await;
    let path = format!("/subscriptions/{}/signing-secret", made["subscriptionId"].as_str().unwrap());
    for (permissions, status) in [(&["subscription:view"][..], 403), (&["subscription:create"], 200)] {
        let token = bench.signed_in("tenant-local", &format!("{status}@b.c"), permissions).await;
        assert_eq!(bench.post(&path, &token, json!({})).await.status, status);
    }
    let stranger = bench.signed_in("tenant-other", "a@b.c", &["subscription:create"]).await;
    bench.post(&path, &stranger, json!({})).await.refused(404, "FM-EBS-NOT-FOUND");
    let replaced = bench.post(&path, &bench.owner(), json!({})).await.ok();
    let secret = replaced["signingSecret"].as_str().unwrap();
    assert_ne!(made["signingSecret"], replaced["signingSecret"]);
    publish(&bench, "order.opened", json!({})).await;
    receiver.wait_for(1).await;
    let (headers, body) = receiver.came.lock().unwrap()[0].clone();
    assert_eq!(headers["webhook-signature"], signature(secret, &headers, &body));
}

#[tokio::test]
async fn what_is_not_taken_is_tried_again_and_then_kept_as_a_dead_letter() {
    let bench = TestPlatform::start_with(impatient).await;
    // The first event is taken at the third attempt, the second never, the third at once.
    let (receiver, url) = Receiver::listen([500, 302, 200, 503, 404, 500]).await;
    let id = subscribe(&bench, "*", &url).await["subscriptionId"].as_str().unwrap().to_owned();
    for n in 1..=3 {
        publish(&bench, "order.opened", json!({ "n": n })).await;
    }
    receiver.wait_for(7).await;
    assert_eq!(receiver.sequences(), [1, 1, 1, 2, 2, 2, 3]);
    until(|| async { subscription(&bench).await["status"] == "active" }).await;
    assert_eq!(subscription(&bench).await["deadLetters"], 1);
    let letters = call(&bench, "GET", &format!("/subscriptions/{id}/dead-letters"), None, &[]).await;
    let letter = &letters.body["items"][0];
    assert_eq!((&letter["event"]["sequence"], &letter["attempts"]), (&json!(2), &json!(3)), "{}", letters.body);
    assert!(letter["reason"].as_str().unwrap().contains("500"));

    assert_eq!(call(&bench, "DELETE", &format!("/subscriptions/{id}"), None, &[]).await.status, 204);
    assert_eq!(call(&bench, "DELETE", &format!("/subscriptions/{id}"), None, &[]).await.status, 404);
    publish(&bench, "order.opened", json!({})).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(receiver.sequences().len(), 7, "nothing comes after the end");
}

#[tokio::test]
async fn a_dead_subscriber_does_not_hold_up_the_others() {
    let bench = TestPlatform::start_with(|options| {
        impatient(options);
        options.webhooks.attempts = 1_000;
    })
    .await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    subscribe(&bench, "*", &format!("http://{}/", closed.local_addr().unwrap())).await;
    drop(closed);
    let (receiver, url) = Receiver::listen([]).await;
    subscribe(&bench, "*", &url).await;
    publish(&bench, "order.opened", json!({})).await;
    receiver.wait_for(1).await;
    until(|| async { subscription(&bench).await["status"] == "failing" }).await;
}

#[tokio::test]
async fn the_wait_between_attempts_goes_by_the_platforms_clock() {
    let bench = TestPlatform::start().await;
    let (receiver, url) = Receiver::listen([500, 500]).await;
    subscribe(&bench, "*", &url).await;
    publish(&bench, "order.opened", json!({})).await;
    for (count, wait) in [(1, 1.0), (2, 2.0)] {
        receiver.wait_for(count).await;
        until(|| async { subscription(&bench).await["status"] == "failing" }).await;
        bench.clock.advance(wait - 0.1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(receiver.sequences().len(), count);
        bench.clock.advance(0.2);
        receiver.wait_for(count + 1).await;
    }
    until(|| async { subscription(&bench).await["status"] == "active" }).await;
}

#[tokio::test]
async fn events_go_nowhere_they_should_not() {
    let bench = TestPlatform::start().await;
    let own = format!("http://localhost:{}/entities/x", bench.running.address().port());
    for url in [
        own.as_str(),
        "http://10.0.0.1/hook",
        "http://0.0.0.0:9/hook",
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://no-such-host.invalid/hook",
        "ftp://127.0.0.1/hook",
        "file:///etc/passwd",
        "http://user:pw@127.0.0.1/",
        "127.0.0.1:9",
        "",
    ] {
        let request = json!({ "topic": "*", "delivery": { "type": "webhook", "url": url } });
        let reply = call(&bench, "POST", "/subscriptions", Some(request), &[]).await;
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("FM-EBS-WEBHOOK-URL")), "{url}");
    }
    let pattern = json!({ "topic": "exec*", "delivery": { "type": "webhook", "url": "http://127.0.0.1:9/" } });
    assert_eq!(call(&bench, "POST", "/subscriptions", Some(pattern), &[]).await.body["code"], "FM-EBS-TOPIC");
    assert_eq!(call(&bench, "GET", "/subscriptions", None, &[]).await.body["items"], json!([]));
}

#[tokio::test]
async fn what_was_not_delivered_before_a_restart_is_delivered_after_it() {
    let mut bench = TestPlatform::start_with(impatient).await;
    let (receiver, url) = Receiver::listen(std::iter::repeat_n(503, 2)).await;
    bench = bench.restart_with(|options| options.webhooks.attempts = 1_000).await;
    subscribe(&bench, "*", &url).await;
    for n in 1..=5 {
        publish(&bench, "order.opened", json!({ "n": n })).await;
    }
    receiver.wait_for(1).await;
    bench = bench.restart_with(impatient).await;
    until(|| async { receiver.sequences().last() == Some(&5) }).await;
    let mut taken = receiver.sequences();
    assert!(taken.is_sorted(), "{taken:?}");
    taken.dedup();
    assert_eq!(taken, [1, 2, 3, 4, 5]);
    drop(bench);
}

#[tokio::test]
async fn a_service_publishes_the_contracts_example() {
    let bench = TestPlatform::start().await;
    let service = json!({ "name": "execution-engine", "permissions": ["event:publish"] });
    let token = bench.post("/service-tokens", &bench.owner(), service).await.ok()["token"].as_str().unwrap().to_owned();
    let mut example = json!({
        "topic": "execution.completed",
        "event": { "executionId": "exec-789", "status": "completed", "duration": 3600, "processId": "proc-123" },
        "timestamp": "2025-02-07T10:30:00Z",
    });
    let event = bench.post("/events", &token, example.clone()).await.ok();
    assert_eq!(event["data"], example["event"]);
    assert!(event["source"].as_str().unwrap().starts_with("/services/"), "{event}");
    example["event"]["executionId"] = json!(789);
    let refused = bench.post("/events", &token, example).await.refused(422, "FM-EBS-EVENT-SCHEMA");
    assert_eq!(refused["errors"][0]["pointer"], "/event/executionId");
}

#[tokio::test]
async fn a_tenants_events_are_its_own() {
    let bench = TestPlatform::start_with(impatient).await;
    let stranger = bench.signed_in("tenant-b", "eve", &["event:*", "subscription:*"]).await;
    let (receiver, url) = Receiver::listen([]).await;
    let id = subscribe(&bench, "*", &url).await["subscriptionId"].as_str().unwrap().to_owned();
    publish(&bench, "order.opened", json!({ "whose": "local" })).await;
    let foreign = bench.post("/events", &stranger, json!({ "topic": "order.opened", "event": { "whose": "b" } })).await.ok();
    assert_eq!((&foreign["sequence"], &foreign["tenantid"]), (&json!(1), &json!("tenant-b")));
    publish(&bench, "order.opened", json!({ "whose": "local" })).await;
    receiver.wait_for(2).await;
    assert!(receiver.events().iter().all(|event| event["tenantid"] == "tenant-local"), "{:?}", receiver.events());

    let seen = bench.get("/events/replay?topic=order.*", &stranger).await.ok();
    assert_eq!(seen["items"], json!([foreign]));
    assert_eq!(bench.get("/subscriptions", &stranger).await.ok()["items"], json!([]));
    bench.delete(&format!("/subscriptions/{id}"), &stranger, None).await.refused(404, "FM-EBS-NOT-FOUND");
    bench.get(&format!("/subscriptions/{id}/dead-letters"), &stranger).await.refused(404, "FM-EBS-NOT-FOUND");
    let (_, page) = replay(&bench, "topic=order.*&limit=1").await;
    let cursor = page["nextCursor"].as_str().unwrap();
    bench.get(&format!("/events/replay?topic=order.*&limit=1&cursor={cursor}"), &stranger).await.refused(422, "FM-AGS-CURSOR");
    let listener = bench.signed_in("tenant-b", "rob", &["event:view"]).await;
    bench.post("/events", &listener, json!({ "topic": "a", "event": {} })).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn the_platforms_own_events_name_what_they_are_about() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let design = json!({ "name": "Approval", "nodes": [{ "id": "ask", "type": "human_task", "config": { "assignee": "user-owner" } }] });
    let process = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
    bench.post(&format!("/processes/{process}/publish"), &owner, json!({})).await.ok();
    bench.post("/executions", &owner, json!({ "processId": process })).await.ok();
    until(|| async { !bench.get("/tasks", &owner).await.ok()["items"].as_array().unwrap().is_empty() }).await;
    let task = bench.get("/tasks", &owner).await.ok()["items"][0]["taskId"].as_str().unwrap().to_owned();
    bench.put(&format!("/tasks/{task}/respond"), &owner, json!({ "decision": "approve" })).await.ok();
    until(|| async { !replay(&bench, "topic=execution.completed").await.1["items"].as_array().unwrap().is_empty() }).await;
    for (topic, name) in [
        ("process.created", "processId"),
        ("execution.started", "executionId"),
        ("task.created", "taskId"),
        ("task.responded", "taskId"),
        ("execution.completed", "executionId"),
    ] {
        let (_, page) = replay(&bench, &format!("topic={topic}")).await;
        let event = &page["items"][0];
        assert!(event["data"][name].is_string(), "{topic}: {event}");
        assert_eq!(event["subject"], event["data"][name], "{topic}");
    }
}

#[tokio::test]
async fn a_page_of_large_events_or_entries_ends_early_and_goes_on() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let large = "x".repeat(600 * 1024);
    for number in 0..3 {
        let event = json!({ "topic": "file.scanned", "event": { "number": number, "text": large } });
        bench.post("/events", &owner, event).await.ok();
        let after = json!({ "number": number, "text": large });
        let entry =
            json!({ "actor": "a", "action": "file.scanned", "resourceType": "file", "resourceId": "7", "changes": { "after": after } });
        bench.post("/audit-logs", &owner, entry).await.ok();
    }
    for path in ["/events/replay?topic=file.scanned", "/audit-logs?action=file.scanned"] {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = bench.get(&format!("{path}&limit=200{cursor}"), &owner).await.ok();
            pages.push(page["items"].as_array().unwrap().len());
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(pages, [1, 1, 1], "{path}");
    }
}

#[tokio::test]
async fn a_replay_by_time_finds_events_that_were_published_late() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let minutes = [5, 7, 3, 7, 9, 1, 8, 20, 12, 20, 21, 4, 30];
    for (place, minute) in minutes.iter().enumerate() {
        let topic = if place % 4 == 3 { "stock.other" } else { "stock.counted" };
        let event = json!({ "topic": topic, "event": { "place": place }, "timestamp": format!("2025-02-07T10:{minute:02}:00Z") });
        platform.post("/events", &owner, event).await.ok();
    }
    for topic in ["stock.counted", "stock.*", "*"] {
        for (from, to) in [
            (None, None),
            (Some(0), None),
            (Some(7), None),
            (None, Some(7)),
            (Some(4), Some(8)),
            (Some(13), Some(19)),
            (Some(31), None),
            (None, Some(0)),
        ] {
            let bound = |name: &str, minute: Option<i32>| {
                minute.map_or_else(String::new, |minute| format!("&{name}=2025-02-07T10:{minute:02}:00Z"))
            };
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let query = format!("/events/replay?topic={topic}&limit=2{}{}{cursor}", bound("from", from), bound("to", to));
                let page = platform.get(&query, &owner).await.ok();
                let items = page["items"].as_array().unwrap();
                seen.extend(items.iter().filter_map(|event| event["data"]["place"].as_u64()));
                let Some(next) = page["nextCursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            let is_within = |minute: i32| from.is_none_or(|from| minute >= from) && to.is_none_or(|to| minute <= to);
            let expected: Vec<u64> = (0..minutes.len())
                .filter(|place| (topic != "stock.counted" || place % 4 != 3) && is_within(minutes[*place]))
                .map(|place| place as u64)
                .collect();
            assert_eq!(seen, expected, "{topic} {from:?} {to:?}");
        }
    }
}
