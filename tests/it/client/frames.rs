//! Frames that are wrong, from a gateway that is scripted: each is a documented drop or a hint to read again, and no event
//! is lost or told twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, http::StatusCode};
use flowmaster_mcp::auth::{Caller, Principal};
use flowmaster_mcp::client::events::{EventStream, Hub, Notice};
use flowmaster_mcp::client::{Client, Fixed};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::raw::user;

/// Longest that a test waits for what must come.
const WAIT: Duration = Duration::from_mins(1);

/// A platform whose channel shows what a test says, one script for each connection.
#[derive(Clone, Default)]
struct Gateway {
    scripts: Arc<Mutex<VecDeque<Vec<String>>>>,
    /// The queries by which the channel was opened.
    opened: Arc<Mutex<Vec<String>>>,
    /// What replay answers.
    log: Arc<Vec<Value>>,
}

impl Gateway {
    async fn start(scripts: impl IntoIterator<Item = Vec<String>>, log: Vec<Value>) -> (Self, Client) {
        let gateway = Self { scripts: Arc::new(Mutex::new(scripts.into_iter().collect())), opened: Arc::default(), log: Arc::new(log) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let subscription = json!({
            "subscriptionId": "sub-1", "topic": "*", "delivery": { "type": "channel" }, "channel": "c1",
            "createdAt": "2026-01-01T00:00:00.000Z",
        });
        let show = async |State(gateway): State<Self>, RawQuery(query): RawQuery, upgrade: WebSocketUpgrade| gateway.show(query, upgrade);
        let app = Router::new()
            .route("/subscriptions", post(move || std::future::ready((StatusCode::CREATED, Json(subscription.clone())))))
            .route("/channels/c1/subscribe", get(show))
            .route("/events/replay", get(async |State(gateway): State<Self>| Json(json!({ "items": *gateway.log }))))
            .with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (gateway, Client::builder(Arc::new(Fixed::new(&url).unwrap())).build())
    }

    fn show(&self, query: Option<String>, upgrade: WebSocketUpgrade) -> Response {
        self.opened.lock().unwrap().push(query.unwrap_or_default());
        let Some(script) = self.scripts.lock().unwrap().pop_front() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
        upgrade.on_upgrade(async move |mut socket| {
            for text in script {
                if socket.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
            // Open until the client closes it.
            while socket.recv().await.is_some_and(|message| message.is_ok()) {}
        })
    }
}

fn anna() -> Arc<Caller> {
    Arc::new(user("tenant-1", "anna", &["*"]))
}

fn frame(number: u64) -> Value {
    json!({ "type": "order.paid", "channel": "c1", "seq": number, "id": format!("e{number}"), "payload": { "n": number } })
}

fn event(number: u64) -> Value {
    json!({ "id": format!("e{number}"), "type": "order.paid", "time": "2026-01-01T00:00:01.000Z", "data": { "n": number } })
}

/// The next notices: numbers of events, 0 for a hint.
async fn numbers(stream: &mut EventStream, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        match timeout(WAIT, stream.next()).await.expect("nothing came in time").expect("the stream ended").unwrap() {
            Notice::Event(event) => numbers.push(event.data["n"].as_u64().unwrap()),
            Notice::Hint => numbers.push(0),
            Notice::Started(_) => {}
        }
    }
    numbers
}

fn stream(client: Client) -> EventStream {
    let principal: Arc<dyn Principal> = Arc::new(anna());
    EventStream::open(client, principal, "*", None)
}

#[tokio::test]
async fn wrong_frames_are_dropped_or_hints() {
    let mut untyped = frame(2);
    untyped.as_object_mut().unwrap().remove("type");
    let mut repeated = frame(5);
    repeated["id"] = json!("e4");
    let (mut elsewhere, mut foreign, mut foreign_too) = (frame(6), frame(7), frame(8));
    elsewhere["channel"] = json!("c2");
    foreign["tenantid"] = json!("tenant-2");
    foreign_too["tenantId"] = json!("tenant-2");
    let mut own = frame(9);
    own["tenantid"] = json!("tenant-1");
    let script = [frame(1), untyped, frame(1), frame(4), frame(3), repeated, elsewhere, foreign, foreign_too, own];
    let mut script: Vec<String> = script.iter().map(Value::to_string).collect();
    script.insert(1, "{ not json".to_owned());
    let (_gateway, client) = Gateway::start([script], Vec::new()).await;
    let mut stream = stream(client);
    // Neither JSON nor a type: something happened. Frame 3 comes out of order, and its place was passed.
    assert_eq!(numbers(&mut stream, 5).await, [1, 0, 0, 4, 9]);
    stream.close().await;
}

#[tokio::test]
async fn a_frame_beyond_the_bound_is_replayed_and_told_once() {
    let large = json!({ "type": "order.paid", "channel": "c1", "seq": 2, "id": "e2", "payload": { "n": 2, "text": "x".repeat(5 << 20) } });
    let first = vec![frame(1).to_string(), large.to_string(), frame(3).to_string()];
    let (gateway, client) = Gateway::start([first, vec![frame(4).to_string()]], vec![event(1), event(2), event(3)]).await;
    let mut stream = stream(client);
    assert_eq!(numbers(&mut stream, 4).await, [1, 2, 3, 4]);
    let opened = gateway.opened.lock().unwrap().clone();
    assert_eq!(opened, ["", ""], "a place before the large frame would show it again");
    stream.close().await;
}

#[tokio::test]
async fn a_follower_whose_buffer_is_full_is_told_to_read_again() {
    const ALL: u64 = 3_000;
    let (_gateway, client) = Gateway::start([(1..=ALL).map(|number| frame(number).to_string()).collect()], Vec::new()).await;
    let hub = Hub::new(client);
    let (mut slow, mut quick) = (hub.follow(&anna()), hub.follow(&anna()));
    loop {
        match timeout(WAIT, quick.next()).await.expect("nothing came in time").expect("the stream ended") {
            Notice::Event(event) if event.data["n"] == ALL => break,
            _ => {}
        }
    }
    assert!(matches!(slow.next().await, Some(Notice::Hint)), "events were dropped and it is not said");
    let mut last = None;
    while last != Some(ALL) {
        let Some(Notice::Event(event)) = slow.next().await else { panic!("after the hint come the latest events") };
        let number = event.data["n"].as_u64().unwrap();
        assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
        last = Some(number);
    }
    hub.close().await;
}
