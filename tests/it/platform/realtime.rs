//! The WebSocket Gateway: channels of subscriptions and of names, resuming, presence, and how a stream ends.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::platform::TestPlatform;
use crate::support::socket::{Socket, connect, open};

/// Publishes events numbered from one to another.
async fn publish(platform: &TestPlatform, topic: &str, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        platform.post("/events", &platform.owner(), json!({ "topic": topic, "event": { "n": n } })).await.ok();
    }
}

/// Subscribes a channel, and answers its name.
async fn subscribe(platform: &TestPlatform, token: &str, topic: &str) -> String {
    let request = json!({ "topic": topic, "delivery": { "type": "channel" } });
    let subscription = platform.post("/subscriptions", token, request).await.ok();
    assert_eq!(subscription["delivery"], json!({ "type": "channel" }));
    subscription["channel"].as_str().unwrap().to_owned()
}

fn stream(channel: &str) -> String {
    format!("/channels/{channel}/subscribe")
}

/// The numbers of the next frames, and the place of the last.
async fn numbers(socket: &mut Socket, count: usize) -> (Vec<u64>, u64) {
    let (mut numbers, mut seq) = (Vec::new(), 0);
    while numbers.len() < count {
        let frame = socket.frame().await;
        if let Some(n) = frame["payload"]["n"].as_u64() {
            assert!(frame["seq"].as_u64().unwrap() > seq, "{frame}");
            seq = frame["seq"].as_u64().unwrap();
            numbers.push(n);
        }
    }
    (numbers, seq)
}

#[tokio::test]
async fn a_channel_shows_its_topics_in_order_and_goes_on_after_a_restart() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let channel = subscribe(&platform, &owner, "order.*").await;
    publish(&platform, "order.opened", 1..=3).await;
    publish(&platform, "invoice.paid", 100..=100).await;
    let mut socket = open(&platform, &stream(&channel), &owner).await;
    assert_eq!(numbers(&mut socket, 3).await.0, [1, 2, 3], "the stream begins with the subscription");
    publish(&platform, "order.closed", 4..=5).await;
    let frame = loop {
        let frame = socket.frame().await;
        if frame.get("seq").is_some() {
            break frame;
        }
    };
    assert_eq!((&frame["type"], &frame["channel"], &frame["payload"]), (&json!("order.closed"), &json!(channel), &json!({ "n": 4 })));
    assert!(frame["id"].as_str().is_some_and(|id| id.starts_with("evt-")) && frame["ts"].is_string() && frame["sequence"] == 1, "{frame}");
    let (_, seq) = numbers(&mut socket, 1).await;
    drop(socket);

    // More than the feed keeps, and than is read at once.
    publish(&platform, "order.opened", 6..=80).await;
    let platform = platform.restart().await;
    publish(&platform, "order.opened", 81..=85).await;
    let owner = platform.owner();
    let mut socket = open(&platform, &format!("{}?lastSeq={seq}", stream(&channel)), &owner).await;
    assert_eq!(numbers(&mut socket, 80).await.0, (6..=85).collect::<Vec<_>>());
    let listed = platform.get("/subscriptions", &owner).await.ok();
    assert_eq!((&listed["items"][0]["channel"], &listed["items"][0]["status"]), (&json!(channel), &json!("active")));
}

#[tokio::test]
async fn what_is_published_on_a_channel_reaches_its_listeners_alone() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let stranger = platform.signed_in("globex", "eve@globex.example", &["event:view", "event:publish"]).await;
    let mut listener = open(&platform, "/channels/room-1/subscribe", &owner).await;
    let mut foreign = open(&platform, "/api/channels/room-1/subscribe", &stranger).await;
    let mut publisher = open(&platform, "/channels/room-1/publish", &owner).await;
    let message = json!({ "type": "task.update", "payload": { "taskId": "task-111", "status": "completed" } });
    for wrong in [json!({}), json!([]), json!({ "type": 5 }), json!({ "type": "" }), json!({ "type": "a", "more": 1 }), json!("{")] {
        publisher.say(&wrong).await;
        let answer = publisher.frame().await;
        assert_eq!(answer["type"], "error", "{wrong}");
        assert!(answer["payload"]["code"].as_str().unwrap().starts_with("FM-WGS-"), "{answer}");
    }
    publisher.say(&message).await;
    let answer = publisher.frame().await;
    assert_eq!(answer["type"], "published");
    let called = json!({ "type": "typing", "payload": { "who": "ada" } });
    let by_call = platform.post("/channels/room-1/publish", &owner, called).await.ok();
    platform.post("/channels/room-1/publish", &stranger, json!({ "type": "foreign" })).await.ok();

    let mut came = Vec::new();
    while came.len() < 2 {
        let frame = listener.frame().await;
        if frame.get("seq").is_some() {
            came.push(frame);
        }
    }
    assert_eq!((&came[0]["type"], &came[0]["payload"]), (&message["type"], &message["payload"]));
    assert_eq!((&came[0]["seq"], &came[0]["id"]), (&answer["seq"], &answer["id"]));
    assert_eq!(came[1], by_call);
    assert_eq!((&came[1]["type"], &came[1]["source"]), (&json!("typing"), &json!("/users/user-owner")));
    let frame = loop {
        let frame = foreign.frame().await;
        if frame.get("seq").is_some() {
            break frame;
        }
    };
    assert_eq!(frame["type"], "foreign", "a channel of the same name in another tenant is another");

    publisher.say("x".repeat(65 * 1024)).await;
    assert_eq!(publisher.close_code().await, 1009);
}

#[tokio::test]
async fn a_handshake_that_is_not_right_is_refused_in_http() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let channel = subscribe(&platform, &owner, "*").await;
    let viewer = platform.signed_in("globex", "eve@globex.example", &["event:view"]).await;
    let nobody = platform.signed_in("globex", "bob@globex.example", &[]).await;
    let (owner, viewer, nobody) = (format!("Bearer {owner}"), format!("Bearer {viewer}"), format!("Bearer {nobody}"));
    let in_protocol = format!("flowmaster.v1, bearer.{}", platform.owner());
    let refused = async |path: &str, headers: &[(&str, &str)], status: u16, code: &str| {
        let Err((found, body)) = connect(&platform, path, headers).await else { panic!("{path} was opened") };
        assert_eq!((found, body["code"].as_str().unwrap_or_default()), (status, code), "{path}: {body}");
    };
    let room = "/channels/room-1/subscribe";
    refused(room, &[], 401, "FM-AAS-UNAUTHENTICATED").await;
    refused(room, &[("authorization", "Bearer wrong")], 401, "FM-AAS-UNAUTHENTICATED").await;
    refused(room, &[("sec-websocket-protocol", "flowmaster.v1, bearer.wrong")], 401, "FM-AAS-UNAUTHENTICATED").await;
    refused(&format!("{room}?token={}", platform.owner()), &[], 400, "FM-WGS-QUERY").await;
    refused(room, &[("authorization", &owner), ("sec-websocket-protocol", &in_protocol)], 400, "FM-WGS-TWO-TOKENS").await;
    refused(room, &[("authorization", &nobody)], 403, "FM-AAS-FORBIDDEN").await;
    refused("/channels/room-1/publish", &[("authorization", &viewer)], 403, "FM-AAS-FORBIDDEN").await;
    refused(room, &[("authorization", &viewer), ("x-tenant-id", "acme")], 403, "FM-AAS-TENANT-MISMATCH").await;
    refused(room, &[("authorization", &owner), ("origin", "https://evil.example")], 403, "FM-AGS-ORIGIN").await;
    refused(&stream(&channel), &[("authorization", &viewer)], 404, "FM-WGS-NOT-FOUND").await;
    refused(&stream("sub-unknown"), &[("authorization", &owner)], 404, "FM-WGS-NOT-FOUND").await;
    for seq in ["x", "-1", "1.5", "999999", "99999999999999999999"] {
        refused(&format!("{room}?lastSeq={seq}"), &[("authorization", &owner)], 422, "FM-WGS-SEQ").await;
    }
    for name in ["Room", "room%201", "a..b", ".", "room%2F1", &"x".repeat(101)] {
        refused(&stream(name), &[("authorization", &owner)], 422, "FM-WGS-CHANNEL").await;
    }
    for name in [channel.as_str(), "users"] {
        refused(&format!("/channels/{name}/publish"), &[("authorization", &owner)], 422, "FM-WGS-CHANNEL").await;
        let body = json!({ "type": "a" });
        platform.post(&format!("/channels/{name}/publish"), &platform.owner(), body).await.refused(422, "FM-WGS-CHANNEL");
    }
    platform.get(room, &platform.owner()).await.refused(400, "FM-WGS-UPGRADE");

    let socket = connect(&platform, room, &[("sec-websocket-protocol", &in_protocol)]).await;
    assert!(socket.is_ok(), "a browser sends its token as a subprotocol");
}

#[tokio::test]
async fn a_stream_ends_with_its_token_its_permission_and_its_subscription() {
    let platform = TestPlatform::start().await;
    let rights = ["event:view", "event:publish", "subscription:create", "subscription:delete"];
    let ada = platform.signed_in("acme", "ada@acme.example", &rights).await;
    let (mut listening, mut publishing) =
        (open(&platform, "/channels/room-1/subscribe", &ada).await, open(&platform, "/channels/room-1/publish", &ada).await);
    platform.post("/auth/logout", &ada, json!({})).await.ok();
    assert_eq!((listening.close_code().await, publishing.close_code().await), (4401, 4401), "the login was ended");

    let admin = platform.signed_in("acme", "admin@acme.example", &["*"]).await;
    let role = platform.post("/roles", &admin, json!({ "name": "listener", "permissions": ["event:view"] })).await.ok();
    platform.user("acme", "bob@acme.example", &["listener"], &[]).await;
    let bob = platform.login("acme", "bob@acme.example").await;
    let mut socket = open(&platform, "/channels/room-1/subscribe", &bob).await;
    let path = format!("/roles/{}/permissions", role["roleId"].as_str().unwrap());
    platform.put(&path, &admin, json!({ "permissions": ["task:view"] })).await.ok();
    assert_eq!(socket.close_code().await, 4403);

    let grace = platform.signed_in("acme", "grace@acme.example", &rights).await;
    let channel = subscribe(&platform, &grace, "*").await;
    let mut socket = open(&platform, &stream(&channel), &grace).await;
    platform.delete(&format!("/subscriptions/{channel}"), &grace, None).await.ok();
    assert_eq!(socket.close_code().await, 4404);

    let mut socket = open(&platform, "/connect", &grace).await;
    platform.clock.advance(7200.0);
    assert_eq!(socket.close_code().await, 4401, "the token has ended by the platform's clock");
    let owner = platform.owner();
    let mut socket = open(&platform, "/connect", &owner).await;
    platform.running.shutdown().await;
    assert_eq!(socket.close_code().await, 1001);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed_as_idle() {
    let platform = TestPlatform::start().await;
    let mut socket = open(&platform, "/connect", &platform.owner()).await;
    // Nothing reads the socket meanwhile, so no ping is answered.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(socket.close_code().await, 4408);
}

#[tokio::test]
async fn those_on_a_channel_are_known_in_their_tenant() {
    let platform = TestPlatform::start().await;
    let ada = platform.signed_in("acme", "ada@acme.example", &["event:view", "event:publish"]).await;
    let bob = platform.signed_in("acme", "bob@acme.example", &["event:view"]).await;
    let eve = platform.signed_in("globex", "eve@globex.example", &["event:view"]).await;
    let mut first = open(&platform, "/channels/room-1/subscribe", &ada).await;
    let second = open(&platform, "/channels/room-1/publish", &ada).await;
    let others = open(&platform, "/channels/room-1/subscribe", &bob).await;
    let _foreign = open(&platform, "/channels/room-1/subscribe", &eve).await;
    let present = platform.get("/channels/room-1/presence", &ada).await.ok();
    let mut connections: Vec<i64> = present["members"].as_array().unwrap().iter().map(|one| one["connections"].as_i64().unwrap()).collect();
    connections.sort_unstable();
    assert_eq!(connections, [1, 2], "{present}");
    drop((second, others));
    let mut told = Vec::new();
    while told.len() < 3 {
        let frame = first.frame().await;
        told.push(frame["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(told, ["presence.joined", "presence.joined", "presence.left"], "a second connection is nobody new");
    let present = platform.get("/channels/room-1/presence", &bob).await.ok();
    assert_eq!(present["members"].as_array().unwrap().len(), 1);
    assert_eq!(platform.get("/channels/users/presence", &eve).await.ok()["members"], json!([]));
    platform.get("/channels/Room/presence", &eve).await.refused(422, "FM-WGS-CHANNEL");
}

#[tokio::test]
async fn a_users_own_connection_shows_the_users_tasks() {
    let platform = TestPlatform::start().await;
    let id = platform.user("acme", "ada@acme.example", &[], &["task:view", "task:create", "event:view"]).await;
    let other = platform.user("acme", "bob@acme.example", &[], &["event:view"]).await;
    let (ada, bob) = (platform.login("acme", "ada@acme.example").await, platform.login("acme", "bob@acme.example").await);
    let (mut own, mut blind) = (open(&platform, "/connect", &ada).await, open(&platform, "/connect", &bob).await);
    let task = |assignee: &str| json!({ "title": "Check", "assignee": assignee });
    platform.post("/tasks", &ada, task(&other)).await.ok();
    let mine = platform.post("/tasks", &ada, task(&id)).await.ok();
    let frame = loop {
        let frame = own.frame().await;
        if frame["type"] != "presence.joined" {
            break frame;
        }
    };
    assert_eq!((&frame["type"], &frame["payload"]["taskId"]), (&json!("task.created"), &mine["taskId"]));
    // Bob may not see tasks: the next thing that he hears is that Ada left.
    drop(own);
    let frame = loop {
        let frame = blind.frame().await;
        if frame["type"] != "presence.joined" {
            break frame;
        }
    };
    assert_eq!((&frame["type"], &frame["payload"]["userId"]), (&json!("presence.left"), &json!(id)));
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_dropped_and_delays_nobody() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let channel = subscribe(&platform, &owner, "big.one").await;
    let mut slow = open(&platform, &stream(&channel), &owner).await;
    let mut quick = open(&platform, &stream(&channel), &owner).await;
    let filler = "x".repeat(900 * 1024);
    for n in 0..24 {
        platform.post("/events", &owner, json!({ "topic": "big.one", "event": { "n": n, "filler": filler } })).await.ok();
        assert_eq!(numbers(&mut quick, 1).await.0, [n]);
    }
    let present = async || platform.get(&format!("/channels/{channel}/presence"), &owner).await.ok()["members"][0]["connections"].clone();
    for _ in 0..300 {
        if present().await == 1 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(present().await, 1, "the slow connection is closed");
    let mut read = 0;
    while let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_secs(5), futures_util::StreamExt::next(&mut slow.0)).await {
        read += usize::from(message.is_text());
    }
    assert!(read < 24, "{read} frames were kept for a client that did not read");
}

#[tokio::test]
async fn a_caller_has_a_bounded_number_of_connections() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let mut sockets = Vec::new();
    for _ in 0..64 {
        sockets.push(open(&platform, "/connect", &owner).await);
    }
    let bearer = format!("Bearer {owner}");
    let Err((status, body)) = connect(&platform, "/connect", &[("authorization", &bearer)]).await else { panic!("it was opened") };
    assert_eq!((status, &body["code"]), (429, &json!("FM-WGS-TOO-MANY-CONNECTIONS")));
    drop(sockets.pop());
    for _ in 0..200 {
        if connect(&platform, "/connect", &[("authorization", &bearer)]).await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("a place that was left stays taken");
}

#[tokio::test]
async fn a_subscription_that_nobody_listens_to_is_removed_after_an_hour() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let (left, heard) = (subscribe(&platform, &owner, "*").await, subscribe(&platform, &owner, "*").await);
    let _socket = open(&platform, &stream(&heard), &owner).await;
    platform.clock.advance(3_601.0);
    let third = subscribe(&platform, &owner, "*").await;
    let listed = platform.get("/subscriptions", &owner).await.ok();
    let names: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|one| &one["channel"]).collect();
    assert_eq!(names, [&json!(heard), &json!(third)], "{left} had no listener");
}
