//! `agents_stream`: tokens as progress while they arrive, the whole text as the answer, and an end of the model with the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::program::{Host, Revision, text_of};
use crate::support::standin::{StandIn, becomes};

/// A provider in OpenAI's form that sends a piece for each permit, and counts what it sent.
#[derive(Clone)]
struct Model {
    permits: Arc<Semaphore>,
    sent: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

/// Tells that nobody reads the answer any more, or that it is over.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Model {
    fn new(permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits)), sent: Arc::default(), ended: Arc::default() }
    }

    fn answer(self, pieces: usize) -> Response {
        let ended = Ended(Arc::clone(&self.ended));
        let body = stream::unfold((self, ended, 0), move |(model, ended, place)| async move {
            if place > pieces {
                return None;
            }
            model.permits.acquire().await.unwrap().forget();
            model.sent.fetch_add(1, Ordering::SeqCst);
            let data = json!({ "choices": [{ "delta": { "content": format!("word{place} ") } }] });
            let event = if place == pieces { "data: [DONE]\n\n".to_owned() } else { format!("data: {data}\n\n") };
            Some((Ok::<_, std::io::Error>(event), (model, ended, place + 1)))
        });
        Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(body)).unwrap()
    }
}

/// The program, whose embedded platform has a provider.
async fn host(folder: &std::path::Path, provider: &StandIn) -> Host {
    let config = folder.join("config.toml");
    let text = format!("[[agents.providers]]\nname = 'own'\nkind = 'openai'\nurl = '{}/v1'\nmodels = ['m']\n", provider.url);
    std::fs::write(&config, text).unwrap();
    let settings = [("FLOWMASTER_CONFIG", config.to_str().unwrap()), ("FLOWMASTER_CACHE_SIZE", "0")];
    Host::start_with(&folder.join("data"), Revision::V2025_11_25, Some("accept"), &settings).await
}

/// Asks for an answer as it is written.
async fn ask(host: &mut Host) {
    let params = json!({
        "name": "agents_stream", "arguments": { "id": "agent-assistant", "prompt": "x" }, "_meta": { "progressToken": "p" },
    });
    host.send(&json!({ "jsonrpc": "2.0", "id": 77, "method": "tools/call", "params": params })).await;
}

/// The next message, which is progress.
async fn progress(host: &mut Host) -> (f64, String) {
    let message = host.receive().await;
    assert_eq!(message["method"], "notifications/progress", "{message}");
    assert_eq!(message["params"]["progressToken"], "p");
    (message["params"]["progress"].as_f64().unwrap(), message["params"]["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn tokens_are_told_while_they_arrive_and_the_answer_has_all() {
    let (model, folder) = (Model::new(1), tempfile::tempdir().unwrap());
    let provider = StandIn::start({
        let model = model.clone();
        move |_| std::future::ready(model.clone().answer(4))
    })
    .await;
    let mut host = host(folder.path(), &provider).await;
    ask(&mut host).await;
    assert_eq!(progress(&mut host).await, (6.0, "word0 ".to_owned()));
    assert_eq!(model.sent.load(Ordering::SeqCst), 1, "it was told before there was more");

    model.permits.add_permits(4);
    let (mut last, mut told) = (6.0, "word0 ".to_owned());
    let answer: Value = loop {
        let message = host.receive().await;
        if message["id"] == 77 {
            break message["result"].clone();
        }
        let now = message["params"]["progress"].as_f64().unwrap();
        assert!(now > last, "{message}");
        last = now;
        told.push_str(message["params"]["message"].as_str().unwrap());
    };
    assert_eq!(answer["isError"], false, "{}", text_of(&answer));
    assert_eq!(answer["structuredContent"]["response"], "word0 word1 word2 word3 ");
    assert_eq!(told, "word0 word1 word2 word3 ");

    // Without a token of progress, nothing but the answer is told; what was asked before is in the cache.
    let whole = host.good("agents_stream", json!({ "id": "agent-assistant", "prompt": "x" })).await;
    assert_eq!(whole["response"], "word0 word1 word2 word3 ");
}

#[tokio::test]
async fn cancelling_ends_the_model_whether_it_speaks_or_is_silent() {
    for speaks in [true, false] {
        let (model, folder) = (Model::new(1), tempfile::tempdir().unwrap());
        let provider = StandIn::start({
            let model = model.clone();
            move |_| std::future::ready(model.clone().answer(1_000_000))
        })
        .await;
        let mut host = host(folder.path(), &provider).await;
        ask(&mut host).await;
        progress(&mut host).await;
        let speaking = speaks.then(|| {
            let permits = Arc::clone(&model.permits);
            tokio::spawn(async move {
                loop {
                    permits.add_permits(1);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
        });
        let gone = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 77 } });
        host.send(&gone).await;
        becomes(|| model.ended.load(Ordering::SeqCst)).await.unwrap();
        let sent = model.sent.load(Ordering::SeqCst);
        assert!(sent < 1_000, "{sent} pieces were sent");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(model.sent.load(Ordering::SeqCst), sent, "nothing is sent after the end");
        if let Some(speaking) = speaking {
            speaking.abort();
        }
        // What it cost is in the ledger all the same.
        let mut errors = Value::Null;
        for _ in 0..100 {
            errors = host.good("agents_metrics", json!({ "id": "agent-assistant" })).await["errors"].clone();
            if errors == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(errors, 1);
    }
}

#[tokio::test]
async fn a_stream_that_fails_or_breaks_off_is_an_error_and_a_whole_answer_is_taken() {
    let problem = json!({ "type": "about:blank", "title": "Late", "status": 504, "code": "FM-AIS-TIMEOUT", "detail": "no answer in time" });
    let token = "event: token\ndata: {\"text\":\"Yes\"}\n\n";
    for (events, says) in [
        (format!("{token}event: error\ndata: {problem}\n\n"), "FM-AIS-TIMEOUT"),
        (token.to_owned(), "broke off"),
        (
            format!("{token}event: usage\ndata: {{\"inputTokens\":1,\"outputTokens\":2}}\n\nevent: done\ndata: [DONE]\n\n"),
            "\"outputTokens\":2",
        ),
        (String::new(), "\"response\":\"whole\""),
    ] {
        let platform = StandIn::start(move |asked| {
            let events = events.clone();
            async move {
                if !asked.path.ends_with("/stream") {
                    return StatusCode::NOT_FOUND.into_response();
                }
                assert!(asked.header("accept").starts_with("text/event-stream"), "{}", asked.header("accept"));
                assert_eq!(asked.header("idempotency-key"), "", "an answer in pieces is not kept for a key");
                if events.is_empty() {
                    return axum::Json(json!({ "agentId": "agent-1", "response": "whole" })).into_response();
                }
                ([("content-type", "text/event-stream; charset=utf-8")], events).into_response()
            }
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let settings = [
            ("FLOWMASTER_URL", platform.url.as_str()),
            ("FLOWMASTER_TOKEN", "own"),
            ("FLOWMASTER_TENANT", "tenant-1"),
            ("FLOWMASTER_IDEMPOTENCY_KEYS", "true"),
        ];
        let mut host = Host::start_with(folder.path(), Revision::V2026_07_28, None, &settings).await;
        let result = host.call("agents_stream", json!({ "id": "agent-1", "prompt": "x" })).await;
        assert!(text_of(&result).contains(says), "{}", text_of(&result));
        assert_eq!(platform.asked().iter().filter(|asked| asked.path.ends_with("/stream")).count(), 1);
    }
}
