//! WebSocket Gateway Service (contract, section 16).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::target::{Target, id_in};
use crate::support::socket::{Socket, connect_to};

/// Opens a WebSocket; none at a platform that is spoken to by TLS, which the tests' client does not speak.
async fn open(target: &Target, path: &str) -> Option<Socket> {
    let Some(address) = target.url.strip_prefix("http://") else {
        eprintln!("skipped at {}: the tests' WebSocket client speaks no TLS", target.url);
        return None;
    };
    let (address, prefix) = address.split_once('/').map_or((address, String::new()), |(address, prefix)| (address, format!("/{prefix}")));
    let bearer = format!("Bearer {}", target.token);
    let opened = connect_to(address, &format!("{prefix}{path}"), &[("authorization", &bearer)]).await;
    Some(opened.unwrap_or_else(|refused| panic!("{path}: {refused:?}")))
}

/// The next frame of a type.
async fn frame(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = socket.frame().await;
        if frame["type"] == kind {
            return frame;
        }
    }
}

fn update(n: u64) -> Value {
    json!({ "type": "task.update", "payload": { "taskId": "task-111", "status": "completed", "n": n } })
}

/// **Low-latency**: what is published is heard at once. How fast that is, is measured by the benches; here it is within seconds.
#[tokio::test]
async fn what_is_published_is_heard_at_once() {
    let target = Target::open().await;
    let channel = format!("/channels/{}", target.word("room"));
    let Some(mut listener) = open(&target, &format!("{channel}/subscribe")).await else { return };
    let Some(mut publisher) = open(&target, &format!("{channel}/publish")).await else { return };
    let begun = Instant::now();
    publisher.say(update(1)).await;
    assert_eq!(frame(&mut listener, "task.update").await["payload"], update(1)["payload"]);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// **Presence channels**: who listens on a channel hears who joins and who leaves.
#[tokio::test]
async fn a_listener_hears_who_joins_and_leaves() {
    let target = Target::open().await;
    let me = id_in(&target.claims().await, "sub");
    let path = format!("/channels/{}/subscribe", target.word("room"));
    let Some(mut listener) = open(&target, &path).await else { return };
    assert_eq!(frame(&mut listener, "presence.joined").await["payload"]["userId"], me);
    let Some(platform) = target.embedded("a second user is made by an extension") else { return };
    let bob = platform.signed_in("tenant-local", "bob@company.com", &["event:view"]).await;
    let other = crate::support::socket::open(platform, &path, &bob).await;
    let joined = frame(&mut listener, "presence.joined").await;
    drop(other);
    assert_eq!(frame(&mut listener, "presence.left").await["payload"]["userId"], joined["payload"]["userId"]);
}

/// **Automatic reconnection**: a client that comes back goes on after the last frame that it has seen.
#[tokio::test]
async fn a_client_that_comes_back_misses_nothing() {
    let target = Target::open().await;
    let channel = format!("/channels/{}", target.word("room"));
    let Some(mut publisher) = open(&target, &format!("{channel}/publish")).await else { return };
    let Some(mut listener) = open(&target, &format!("{channel}/subscribe")).await else { return };
    publisher.say(update(1)).await;
    let seq = frame(&mut listener, "task.update").await["seq"].as_u64().unwrap();
    drop(listener);
    for n in 2..=3 {
        publisher.say(update(n)).await;
        frame(&mut publisher, "published").await;
    }
    let Some(mut listener) = open(&target, &format!("{channel}/subscribe?lastSeq={seq}")).await else { return };
    for n in 2..=3 {
        assert_eq!(frame(&mut listener, "task.update").await["payload"]["n"], n);
    }
}

/// **Message ordering**: a channel has one order, and its frames say their places in it.
#[tokio::test]
async fn a_channel_has_one_order() {
    let target = Target::open().await;
    let channel = format!("/channels/{}", target.word("room"));
    let Some(mut publisher) = open(&target, &format!("{channel}/publish")).await else { return };
    let Some(mut listener) = open(&target, &format!("{channel}/subscribe")).await else { return };
    for n in 1..=30 {
        publisher.say(update(n)).await;
    }
    let mut last = 0;
    for n in 1..=30 {
        let frame = frame(&mut listener, "task.update").await;
        let seq = frame["seq"].as_u64().unwrap();
        assert!(frame["payload"]["n"] == n && seq > last, "{frame}");
        last = seq;
    }
}

/// The user's own connection shows the user's own tasks.
#[tokio::test]
async fn a_users_own_connection_shows_the_users_tasks() {
    let target = Target::open().await;
    let me = id_in(&target.claims().await, "sub");
    let Some(mut own) = open(&target, "/connect").await else { return };
    let task = target.post("/tasks", json!({ "title": target.named("Check"), "assignee": me })).await.ok();
    assert_eq!(frame(&mut own, "task.created").await["payload"]["taskId"], task["taskId"]);
}
