//! Receivers that are slow or lead elsewhere, a log that does not reach back, and callers who may not hear any more.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ask, publish, server};
use crate::support::platform::TestPlatform;
use crate::support::receiver::{Behaviour, NEVER, Receiver};

#[tokio::test]
async fn a_slow_receiver_is_tried_again_and_delays_no_other() {
    let platform = TestPlatform::start().await;
    let (slow, quick) = (Receiver::listen([NEVER], Behaviour::default()).await, Receiver::listen([], Behaviour::default()).await);
    let served = server(&platform, &[&slow, &quick], None).await;
    for receiver in [&slow, &quick] {
        ask(&served, &platform.owner(), "events/subscribe", &receiver.params()).await.result();
    }
    publish(&platform, 1..=2).await;
    quick.hears(&[1, 2]).await;
    assert_eq!(slow.numbers(), [1], "an event goes out only after the one before");
    // It is given up after ten seconds.
    slow.hears(&[1, 1, 2]).await;
    assert_eq!(quick.numbers(), [1, 2]);
}

#[tokio::test]
async fn a_challenge_that_is_redirected_or_left_open_is_no_consent() {
    let platform = TestPlatform::start().await;
    let target = Receiver::listen([], Behaviour::default()).await;
    let redirects = Behaviour { redirects_to: Some(target.url()), ..Behaviour::default() };
    let redirecting = Receiver::listen([], redirects).await;
    let silent = Receiver::listen([], Behaviour { ignores_challenge: true, ..Behaviour::default() }).await;
    let served = server(&platform, &[&target, &redirecting, &silent], None).await;
    let owner = platform.owner();
    let refused = async |receiver: &Receiver| {
        let answer = ask(&served, &owner, "events/subscribe", &receiver.params()).await;
        assert_eq!(answer.code(), "FM-MCP-EVENT-RECEIVER", "{answer:?}");
        answer.body["error"]["data"]["reason"].clone()
    };
    let (redirected, late) = tokio::join!(refused(&redirecting), refused(&silent));
    assert_eq!((redirected, late), (json!("challenge_failed"), json!("timeout")));
    assert!(target.messages(&json!("verification")).is_empty(), "a redirect was followed");
    publish(&platform, 1..=1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for receiver in [&target, &redirecting, &silent] {
        assert!(receiver.messages(&Value::Null).is_empty());
    }
}

#[tokio::test]
async fn a_log_that_does_not_reach_back_is_told_as_a_gap() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let receiver = Receiver::listen([], Behaviour::default()).await;
    let first = server(&platform, &[&receiver], Some(folder.path())).await;
    let mut endless = receiver.params();
    endless["ttlMs"] = Value::Null;
    let begun = ask(&first, &platform.owner(), "events/subscribe", &endless).await.result().clone();
    publish(&platform, 1..=1).await;
    receiver.hears(&[1]).await;
    drop(first);
    tokio::time::sleep(Duration::from_millis(500)).await;
    publish(&platform, 2..=2).await;
    // A place that the platform's log does not have any more.
    let store = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    assert_eq!(store.execute("UPDATE webhooks SET cursor = 'l.gone', due = 0, lease = NULL, leased_until = 0", []).unwrap(), 1);
    drop(store);
    let _second = server(&platform, &[&receiver], Some(folder.path())).await;
    let (headers, gap) = receiver.only("gap").await;
    assert_eq!(headers["x-mcp-subscription-id"].to_str().unwrap(), begun["id"].as_str().unwrap());
    assert!(headers["webhook-id"].to_str().unwrap().starts_with("msg_gap_"), "{headers:?}");
    // From there on a host can ask for what it may have missed otherwise, and nothing more is left out.
    assert!(gap["cursor"].as_str().is_some_and(|cursor| cursor.starts_with("l.") && cursor != "l.gone"), "{gap}");
    publish(&platform, 3..=3).await;
    receiver.hears(&[1, 3]).await;
}

#[tokio::test]
async fn a_subscription_ends_with_the_right_of_its_caller() {
    let (platform, receiver) = (TestPlatform::start().await, Receiver::listen([], Behaviour::default()).await);
    let boss = platform.owner();
    let role = platform.post("/roles", &boss, json!({ "name": "watcher", "permissions": ["event:view"] })).await.ok();
    platform.user("tenant-local", "wanda@acme.example", &["watcher"], &[]).await;
    let token = platform.login("tenant-local", "wanda@acme.example").await;
    let served = server(&platform, &[&receiver], None).await;
    ask(&served, &token, "events/subscribe", &receiver.params()).await.result();
    publish(&platform, 1..=1).await;
    receiver.hears(&[1]).await;
    let path = format!("/roles/{}/permissions", role["roleId"].as_str().unwrap());
    platform.put(&path, &boss, json!({ "permissions": ["task:view"] })).await.ok();
    publish(&platform, 2..=3).await;
    let (_, terminated) = receiver.only("terminated").await;
    assert_eq!(terminated["error"]["code"], -32012, "{terminated}");
    assert!(!terminated.to_string().contains("order"), "nothing of the events is told: {terminated}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiver.numbers(), [1]);
    // With the right back, it is another subscription.
    platform.put(&path, &boss, json!({ "permissions": ["event:view"] })).await.ok();
    let again = ask(&served, &token, "events/subscribe", &receiver.params()).await;
    assert!(again.result().get("deliveryStatus").is_none(), "{again:?}");
}
