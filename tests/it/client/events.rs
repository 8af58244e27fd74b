//! The event client before a running platform: cuts, restarts, subscriptions that end, and callers without a gateway.

#[cfg(feature = "kafka")]
mod kafka;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowmaster_mcp::api::Event;
use flowmaster_mcp::auth::{Caller, Principal};
use flowmaster_mcp::client::events::{EventStream, Hub, Notice, Source};
use flowmaster_mcp::client::{Client, Configured, Fixed, Mode, Upstream};
use flowmaster_mcp::error::{Kind, Result};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::support::cut::Way;
use crate::support::platform::{TestPlatform, http};

/// Longest that a test waits for what must come.
const WAIT: Duration = Duration::from_mins(1);

fn client(url: &str) -> Client {
    Client::builder(Arc::new(Fixed::new(url).unwrap())).build()
}

fn caller(token: &str) -> Arc<Caller> {
    Arc::new(Caller::of_unverified_token(token.to_owned().into(), None).unwrap())
}

fn stream(url: &str, token: &str, topic: &str) -> EventStream {
    let principal: Arc<dyn Principal> = Arc::new(caller(token));
    EventStream::open(client(url), principal, topic, None)
}

async fn next(stream: &mut EventStream) -> Result<Notice> {
    timeout(WAIT, stream.next()).await.expect("nothing came in time").expect("the stream ended")
}

async fn started(stream: &mut EventStream) -> Source {
    loop {
        if let Notice::Started(source) = next(stream).await.unwrap() {
            return source;
        }
    }
}

/// The next events, whatever else is told.
async fn events(stream: &mut EventStream, count: usize) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while events.len() < count {
        if let Notice::Event(event) = next(stream).await.unwrap() {
            events.push(event);
        }
    }
    events
}

/// Publishes numbered events, in turn on three topics.
async fn publish(url: &str, token: &str, numbers: std::ops::Range<u64>) {
    let http = http();
    for n in numbers {
        let topic = ["order.opened", "order.paid", "order.closed"][usize::try_from(n % 3).unwrap()];
        let body = json!({ "topic": topic, "event": { "n": n } });
        let sent = http.post(format!("{url}/events")).bearer_auth(token).json(&body).send().await.unwrap();
        assert_eq!(sent.status(), 201);
    }
}

/// Holds events to be whole: each number once, and each topic in its order.
fn hold_whole(events: &[Arc<Event>], count: u64) {
    let mut numbers: Vec<u64> = events.iter().map(|event| event.data["n"].as_u64().unwrap()).collect();
    let mut last: HashMap<&str, u64> = HashMap::new();
    for event in events {
        let sequence = event.sequence.unwrap();
        let before = last.insert(&event.topic, sequence).unwrap_or_default();
        assert_eq!(sequence, before + 1, "{} is out of order", event.topic);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

async fn subscriptions(platform: &TestPlatform) -> Vec<Value> {
    platform.get("/subscriptions", &platform.owner()).await.ok()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_stream_that_is_cut_a_hundred_times_loses_and_repeats_nothing() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let way = Way::to(platform.running.address()).await;
    let mut stream = stream(&way.url(), &owner, "order.*");
    assert_eq!(started(&mut stream).await, Source::Channel);
    let (url, token) = (platform.running.url(), owner.clone());
    let publishing = tokio::spawn(async move {
        let mut n = 0;
        // Load for as long as the way is cut.
        for _ in 0..100 {
            publish(&url, &token, n..n + 6).await;
            n += 6;
        }
    });
    let cutting = {
        let way = way.clone();
        tokio::spawn(async move {
            let mut random = 7_u64;
            for _ in 0..100 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                sleep(Duration::from_millis(random >> 59)).await;
                way.cut();
            }
        })
    };
    let mut came = events(&mut stream, 600).await;
    publishing.await.unwrap();
    cutting.await.unwrap();

    let platform = platform.restart().await;
    way.lead_to(platform.running.address());
    publish(&platform.running.url(), &platform.owner(), 600..630).await;
    came.extend(events(&mut stream, 30).await);
    hold_whole(&came, 630);
    assert_eq!(subscriptions(&platform).await.len(), 1, "a stream has one subscription, whatever happens to it");
    stream.close().await;
    assert!(subscriptions(&platform).await.is_empty(), "the subscription goes with the stream");
}

#[tokio::test]
async fn a_subscription_that_was_ended_is_made_again_and_leaves_out_nothing() {
    let platform = TestPlatform::start().await;
    let (url, owner) = (platform.running.url(), platform.owner());
    let mut stream = stream(&url, &owner, "order.*");
    started(&mut stream).await;
    publish(&url, &owner, 0..5).await;
    let mut came = events(&mut stream, 5).await;
    let id = subscriptions(&platform).await[0]["subscriptionId"].as_str().unwrap().to_owned();
    let path = format!("/subscriptions/{id}");
    let (unsubscribed, ()) = tokio::join!(platform.delete(&path, &owner, None), publish(&url, &owner, 5..20));
    unsubscribed.ok();
    came.extend(events(&mut stream, 15).await);
    started(&mut stream).await;
    publish(&url, &owner, 20..25).await;
    came.extend(events(&mut stream, 5).await);
    hold_whole(&came, 25);
    assert_ne!(subscriptions(&platform).await[0]["subscriptionId"], json!(id));
}

#[tokio::test]
async fn a_caller_who_may_not_subscribe_follows_by_replay() {
    let platform = TestPlatform::start().await;
    let (url, owner) = (platform.running.url(), platform.owner());
    let viewer = platform.signed_in("tenant-local", "ada@acme.example", &["event:view"]).await;
    let stranger = platform.signed_in("globex", "eve@globex.example", &["event:view"]).await;
    let (mut own, mut foreign) = (stream(&url, &viewer, "order.*"), stream(&url, &stranger, "*"));
    publish(&url, &owner, 0..3).await;
    let mut came = events(&mut own, 3).await;
    publish(&url, &owner, 3..6).await;
    came.extend(events(&mut own, 3).await);
    hold_whole(&came, 6);
    assert_eq!(started(&mut foreign).await, Source::Replay);
    assert!(timeout(Duration::from_secs(3), foreign.next()).await.is_err(), "another tenant hears nothing");
    let nobody = platform.signed_in("tenant-local", "bob@acme.example", &["task:view"]).await;
    let refused = next(&mut stream(&url, &nobody, "*")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden, "{refused}");
}

#[tokio::test]
async fn a_stream_ends_with_its_callers_login() {
    let platform = TestPlatform::start().await;
    let rights = ["event:view", "subscription:create", "subscription:delete"];
    let ada = platform.signed_in("acme", "ada@acme.example", &rights).await;
    let mut stream = stream(&platform.running.url(), &ada, "*");
    assert_eq!(started(&mut stream).await, Source::Channel);
    platform.post("/auth/logout", &ada, json!({})).await.ok();
    let ended = loop {
        if let Err(error) = next(&mut stream).await {
            break error;
        }
    };
    assert_eq!(ended.kind(), Kind::Unauthenticated, "{ended}");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn those_who_wait_for_a_caller_share_one_stream() {
    let platform = TestPlatform::start().await;
    let (url, owner) = (platform.running.url(), platform.owner());
    let hub = Hub::new(client(&url));
    let caller = caller(&owner);
    let (mut first, mut second) = (hub.follow(&caller), hub.follow(&caller));
    let deadline = Instant::now() + WAIT;
    // The stream stands: whoever has read before reads again.
    first.wait(|_| false, deadline).await;
    second.wait(|_| false, deadline).await;
    assert_eq!(subscriptions(&platform).await.len(), 1);
    let waited = tokio::spawn(async move {
        let seen = AtomicBool::new(false);
        while !seen.load(Ordering::SeqCst) {
            let is_it = |event: &Event| event.topic == "order.closed" && !seen.swap(true, Ordering::SeqCst);
            first.wait(is_it, deadline).await;
        }
    });
    publish(&url, &owner, 0..3).await;
    timeout(WAIT, waited).await.expect("the event did not wake its waiter").unwrap();
    hub.close().await;
    assert!(subscriptions(&platform).await.is_empty());
}

/// A hub of a server that has an account of its own in a tenant, with permissions.
async fn hub_with_account(platform: &TestPlatform, permissions: &[&str]) -> Hub {
    let account = json!({ "name": "flowmaster-mcp", "tenantId": "tenant-1", "permissions": permissions });
    let account = platform.post("/service-tokens", &platform.owner(), account).await.ok()["token"].as_str().unwrap().to_owned();
    let accounts = Configured::new(Some(account.into()), BTreeMap::new()).unwrap().unwrap();
    let origin = Arc::new(Fixed::new(&platform.running.url()).unwrap());
    Hub::new(Client::builder(origin).upstream(Upstream::new(Mode::Propagate, Some(Arc::new(accounts)))).build())
}

/// How many streams the platform has for a tenant's callers.
async fn streams_of(platform: &TestPlatform, token: &str) -> usize {
    platform.get("/subscriptions", token).await.ok()["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn callers_of_a_tenant_share_the_accounts_stream_and_are_judged_alone() {
    let platform = TestPlatform::start().await;
    let rights = ["event:view", "event:publish", "subscription:create", "subscription:view", "subscription:delete"];
    let anna = platform.signed_in("tenant-1", "anna@acme.example", &rights).await;
    let bert = platform.signed_in("tenant-1", "bert@acme.example", &rights).await;
    let deaf = platform.signed_in("tenant-1", "carl@acme.example", &["task:view"]).await;
    let stranger = platform.signed_in("globex", "eve@globex.example", &rights).await;
    let hub = hub_with_account(&platform, &rights).await;
    let mut both = [hub.follow(&caller(&anna)), hub.follow(&caller(&bert))];
    for follower in &mut both {
        timeout(WAIT, follower.stands()).await.unwrap().unwrap();
    }
    assert_eq!(streams_of(&platform, &anna).await, 1);
    let mut others = [hub.follow(&caller(&deaf)), hub.follow(&caller(&stranger))];
    assert!(timeout(WAIT, others[0].stands()).await.unwrap().is_err(), "who may not follow events has no stream");
    timeout(WAIT, others[1].stands()).await.unwrap().unwrap();
    publish(&platform.running.url(), &anna, 0..3).await;
    for follower in &mut both {
        let mut numbers = Vec::new();
        while numbers.len() < 3 {
            if let Some(Notice::Event(event)) = timeout(WAIT, follower.next()).await.unwrap() {
                numbers.push(event.data["n"].as_u64().unwrap());
            }
        }
        assert_eq!(numbers, [0, 1, 2]);
    }
    // A caller whose token is over hears of nothing more by the account's stream.
    let over = Caller { expires: Some(flowmaster_mcp::api::Timestamp::now().plus_seconds(0.5)), ..(*caller(&anna)).clone() };
    let mut late = hub.follow(&Arc::new(over));
    sleep(Duration::from_millis(600)).await;
    publish(&platform.running.url(), &anna, 3..4).await;
    while let Some(notice) = timeout(WAIT, late.next()).await.unwrap() {
        assert!(!matches!(notice, Notice::Event(_)), "{notice:?}");
    }
    while let Ok(Some(notice)) = timeout(Duration::from_millis(500), others[1].next()).await {
        assert!(!matches!(notice, Notice::Event(_)), "{notice:?}");
    }
    hub.close().await;
}

#[tokio::test]
async fn where_the_account_may_not_follow_events_each_caller_has_a_stream() {
    let platform = TestPlatform::start().await;
    let rights = ["event:view", "event:publish", "subscription:create", "subscription:view", "subscription:delete"];
    let anna = platform.signed_in("tenant-1", "anna@acme.example", &rights).await;
    let bert = platform.signed_in("tenant-1", "bert@acme.example", &rights).await;
    let hub = hub_with_account(&platform, &["audit:log"]).await;
    let mut first = hub.follow(&caller(&anna));
    assert!(timeout(WAIT, first.stands()).await.unwrap().is_err());
    let mut both = [hub.follow(&caller(&anna)), hub.follow(&caller(&bert))];
    for follower in &mut both {
        timeout(WAIT, follower.stands()).await.unwrap().unwrap();
    }
    assert_eq!(streams_of(&platform, &anna).await, 2);
    hub.close().await;
}
