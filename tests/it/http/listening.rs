//! Requests that listen are streams with bounds of their own: they use up no calls, neither of their caller nor of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::IntoResponse as _;
use flowmaster_mcp::client::{Client, Fixed};
use flowmaster_mcp::server::{App, Options, Settings};
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::raw::{Known, Served, answer, read, serve, user};
use crate::support::standin::{StandIn, becomes};

/// Requests that a caller may have running at once.
const CALLS: usize = 64;
/// Streams of a tenant that may have two sessions.
const STREAMS: usize = 4;

/// A server whose platform answers nothing, and how many requests the platform has.
async fn busy() -> (Served, Arc<AtomicUsize>) {
    let working = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&working);
    let platform = StandIn::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            std::future::pending::<()>().await;
            ().into_response()
        }
    })
    .await;
    let client = Client::builder(Arc::new(Fixed::new(&platform.url).unwrap())).build();
    let app = App::new(Options { client, settings: Settings::default() }).unwrap();
    let known = Known::default()
        .with("anna", user("tenant-1", "anna", &["*"]))
        .with("bert", user("tenant-1", "bert", &["*"]))
        .with("eve", user("tenant-2", "eve", &["*"]));
    (serve(app, known.admission(), |options| options.sessions_per_tenant = 2).await, working)
}

async fn listen(served: &Served, token: &str) -> Response {
    let params = json!({ "notifications": { "toolsListChanged": true, "resourceSubscriptions": [] } });
    served.modern(token, "subscriptions/listen", &params).send().await.unwrap()
}

#[tokio::test]
async fn a_host_that_listens_uses_up_no_calls() {
    let (served, working) = busy().await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let stream = listen(&served, "anna").await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let refused = read(listen(&served, "anna").await).await;
    refused.refused(429, "FM-MCP-TOO-MANY-STREAMS");
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    // A long poll listens, too.
    let poll = json!({ "name": "event.published", "arguments": { "topic": "order.*" } });
    answer(served.modern("anna", "events/poll", &poll)).await.refused(429, "FM-MCP-TOO-MANY-STREAMS");
    // The tenant has as many as its caller took; another tenant has its own.
    read(listen(&served, "bert").await).await.refused(429, "FM-MCP-TOO-MANY-STREAMS");
    assert_eq!(listen(&served, "eve").await.status(), 200);

    let list: Value = json!({ "name": "tasks_list", "arguments": {} });
    let calls: Vec<_> = (0..CALLS).map(|_| tokio::spawn(served.modern("anna", "tools/call", &list).send())).collect();
    let all = Arc::clone(&working);
    assert!(becomes(move || all.load(Ordering::SeqCst) == CALLS).await.is_ok(), "{} calls", working.load(Ordering::SeqCst));
    answer(served.modern("anna", "tools/list", &json!({}))).await.refused(429, "FM-MCP-TOO-MANY-CALLS");
    for call in calls {
        call.abort();
    }
    // Who hangs up makes room.
    streams.pop();
    let mut status = 429;
    for _ in 0..500 {
        status = listen(&served, "bert").await.status().as_u16();
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(status, 200, "the place of the stream was not released");
}
