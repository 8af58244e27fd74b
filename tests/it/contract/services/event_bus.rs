//! Event Bus Service (contract, section 15).

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::target::{Target, column, id_in, items, refused, says};
use crate::support::standin::{StandIn, becomes};

async fn publish(target: &Target, topic: &str, n: u64) -> Value {
    target.post("/events", json!({ "topic": topic, "event": { "n": n } })).await.ok()
}

async fn subscribe(target: &Target, topic: &str, receiver: &StandIn) -> String {
    let request = json!({ "topic": topic, "delivery": { "type": "webhook", "url": format!("{}/hook", receiver.url) } });
    id_in(&target.post("/subscriptions", request).await.ok(), "subscriptionId")
}

/// The numbers of the events that came.
fn numbers(receiver: &StandIn) -> Vec<u64> {
    receiver.asked().iter().map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap()["data"]["n"].as_u64().unwrap()).collect()
}

/// **At-least-once delivery**: an event that a subscriber did not take comes again, the same and in order.
#[tokio::test]
async fn an_event_that_was_not_taken_comes_again() {
    let target = Target::open().await;
    let asked = AtomicUsize::new(0);
    let answer = move |_| std::future::ready(says(if asked.fetch_add(1, Ordering::Relaxed) == 0 { 500 } else { 200 }, json!({})));
    let Some(receiver) = target.outside(answer).await else { return };
    let topic = format!("{}.opened", target.word("order"));
    subscribe(&target, &topic, &receiver).await;
    for n in 1..=3 {
        publish(&target, &topic, n).await;
    }
    becomes(|| numbers(&receiver).len() >= 4).await.unwrap();
    assert_eq!(numbers(&receiver), [1, 1, 2, 3]);
    let id = |n: usize| serde_json::from_str::<Value>(&receiver.asked()[n].body).unwrap()["id"].clone();
    assert_eq!(id(0), id(1), "a repeat is told by its id");
}

/// **Schema validation**: what is no event, or no topic, is refused, and so is a forged event of the platform's own.
#[tokio::test]
async fn what_is_no_event_is_refused() {
    let target = Target::open().await;
    for request in [
        json!({ "topic": "order.opened" }),
        json!({ "topic": "order.opened", "event": "text" }),
        json!({ "topic": "", "event": {} }),
        json!({ "topic": "order opened", "event": {} }),
        json!({ "event": {} }),
    ] {
        refused(&target.post("/events", request).await, &[400, 422]);
    }
    let forged = json!({ "topic": "execution.completed", "event": { "executionId": "exec-789", "status": "completed" } });
    refused(&target.post("/events", forged).await, &[403]);
}

/// **Dead-letter queue**: an event that is never taken is given up, and those after it come.
#[tokio::test]
async fn an_event_that_is_never_taken_is_given_up() {
    let target = Target::open().await;
    if target.embedded("how often a real platform tries, and for how long, is its own").is_none() {
        return;
    }
    let answer = async |asked: crate::support::standin::Asked| says(if asked.body.contains("\"n\":1}") { 500 } else { 200 }, json!({}));
    let Some(receiver) = target.outside(answer).await else { return };
    let topic = format!("{}.opened", target.word("order"));
    let id = subscribe(&target, &topic, &receiver).await;
    for n in 1..=2 {
        publish(&target, &topic, n).await;
    }
    becomes(|| numbers(&receiver).contains(&2)).await.unwrap();
    assert_eq!(numbers(&receiver), [1, 1, 1, 2]);
    let listed = target.until("/subscriptions?limit=200", |page| items(page).iter().any(|one| one["deadLetters"] == 1)).await;
    assert!(items(&listed).iter().any(|one| one["subscriptionId"] == id), "{listed:#}");
}

/// **Replay capability**: the past comes back by topic and from a time, page by page.
#[tokio::test]
async fn the_past_is_replayed_from_a_time() {
    let target = Target::open().await;
    let topic = format!("{}.opened", target.word("order"));
    for (n, minute) in [(1, 10), (2, 20), (3, 30)] {
        let timestamp = format!("2025-02-07T10:{minute}:00Z");
        target.post("/events", json!({ "topic": topic, "event": { "n": n }, "timestamp": timestamp })).await.ok();
    }
    let replay = async |more: &str| target.get(&format!("/events/replay?topic={topic}{more}")).await.ok();
    let read = |page: &Value| -> Vec<u64> { items(page).iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect() };
    assert_eq!(read(&replay("").await), [1, 2, 3]);
    assert_eq!(read(&replay("&from=2025-02-07T10:20:00Z").await), [2, 3]);
    let first = replay("&limit=2").await;
    let rest = replay(&format!("&limit=2&cursor={}", first["nextCursor"].as_str().unwrap())).await;
    assert_eq!([read(&first), read(&rest)].concat(), [1, 2, 3]);
}

/// **Subscription model**: a subscriber gets its topics alone, as long as it is subscribed.
#[tokio::test]
async fn a_subscriber_gets_its_topics_until_it_unsubscribes() {
    let target = Target::open().await;
    let Some(receiver) = target.outside(async |_| says(200, json!({}))).await else { return };
    let prefix = target.word("order");
    let id = subscribe(&target, &format!("{prefix}.*"), &receiver).await;
    publish(&target, &format!("{}.opened", target.word("invoice")), 9).await;
    publish(&target, &format!("{prefix}.opened"), 1).await;
    publish(&target, &format!("{prefix}.closed"), 2).await;
    becomes(|| numbers(&receiver).len() >= 2).await.unwrap();
    let mut came = numbers(&receiver);
    came.sort_unstable();
    assert_eq!(came, [1, 2]);
    let path = format!("/subscriptions/{id}");
    assert_eq!(target.delete(&path).await.status, 204);
    refused(&target.delete(&path).await, &[404]);
    publish(&target, &format!("{prefix}.opened"), 3).await;
    let listed = target.get("/subscriptions?limit=200").await.ok();
    assert!(!column(&listed, "subscriptionId").contains(&id.as_str()), "{listed:#}");
    assert_eq!(numbers(&receiver).len(), 2);
}
