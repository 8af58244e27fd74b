//! The scripted platform: tasks that anybody may read, and channels that show what the bench tells.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::serve::ListenerExt as _;
use futures_util::SinkExt as _;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::task::AbortOnDropHandle;

use crate::Failure;
use crate::tokens::Issuer;

const CHANNEL: &str = "sub-1";
/// Frames that are written together, if so many wait.
const TOGETHER: usize = 256;
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module. It ends with this.
pub struct Upstream {
    pub url: String,
    shown: Arc<Shown>,
    _serving: AbortOnDropHandle<()>,
}

/// What was told and read so far.
#[derive(Default)]
struct Shown {
    keys: String,
    channels: Mutex<Vec<UnboundedSender<Utf8Bytes>>>,
    /// Frames that are not written yet, of all channels.
    waiting: AtomicUsize,
    told: AtomicU64,
    reads: Mutex<HashMap<String, usize>>,
}

impl Upstream {
    pub async fn start(issuer: &Issuer) -> Result<Self, Failure> {
        let shown = Arc::new(Shown { keys: issuer.keys(), ..Shown::default() });
        let subscription = json!({
            "subscriptionId": CHANNEL, "topic": "*", "delivery": { "type": "channel" }, "channel": CHANNEL,
            "createdAt": "2026-03-01T08:30:00.000Z",
        });
        let routes = Router::new()
            .route("/.well-known/jwks.json", get(keys))
            .route("/tasks/{id}", get(task))
            .route("/subscriptions", post(async move || (StatusCode::CREATED, axum::Json(subscription))))
            .route("/subscriptions/{id}", delete(async || axum::Json(json!({}))))
            .route("/events/replay", get(async || axum::Json(json!({ "items": [] }))))
            .route("/channels/{id}/subscribe", get(channel))
            .with_state(Arc::clone(&shown));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("the scripted platform ended: {error}");
            }
        });
        Ok(Self { url, shown, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Tells every channel that a task was answered; returns the event's number.
    pub fn tell(&self, task: &str) -> u64 {
        let number = self.shown.told.fetch_add(1, Ordering::Relaxed) + 1;
        let frame = Utf8Bytes::from(format!(
            r#"{{"type":"task.responded","channel":"{CHANNEL}","seq":{number},"id":"evt-{number}","ts":"2026-03-01T08:30:00.000Z","source":"/services/human-task","subject":"{task}","sequence":{number},"payload":{{"taskId":"{task}","decision":"approve","n":{number}}}}}"#
        ));
        lock(&self.shown.channels).retain(|channel| {
            self.shown.waiting.fetch_add(1, Ordering::Relaxed);
            let is_open = channel.send(frame.clone()).is_ok();
            if !is_open {
                self.shown.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            is_open
        });
        number
    }

    /// Frames that are not written yet, since the other side does not read as fast.
    pub fn waiting(&self) -> usize {
        self.shown.waiting.load(Ordering::Relaxed)
    }

    /// How often tasks were read.
    pub fn reads(&self) -> usize {
        lock(&self.shown.reads).values().sum()
    }

    /// How often a task was read.
    pub fn reads_of(&self, task: &str) -> usize {
        lock(&self.shown.reads).get(task).copied().unwrap_or_default()
    }

    /// Waits until so many channels are open.
    pub async fn is_heard_by(&self, channels: usize) -> Result<(), Failure> {
        self.until(|| lock(&self.shown.channels).len() >= channels, "no channel was opened").await
    }

    /// Waits until tasks were read so often.
    pub async fn is_read(&self, reads: usize) -> Result<(), Failure> {
        self.until(|| self.reads() >= reads, "tasks were not read as often as they have subscribers").await
    }

    async fn until(&self, is_so: impl Fn() -> bool, otherwise: &str) -> Result<(), Failure> {
        let waits = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waits).await.map_err(|_| otherwise.into())
    }
}

async fn keys(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], shown.keys.clone())
}

async fn task(State(shown): State<Arc<Shown>>, Path(id): Path<String>) -> axum::Json<Value> {
    *lock(&shown.reads).entry(id.clone()).or_default() += 1;
    axum::Json(json!({ "taskId": id, "status": "created", "title": "Approve the invoice", "createdAt": "2026-03-01T08:30:00.000Z" }))
}

async fn channel(State(shown): State<Arc<Shown>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| show(&shown, socket).await)
}

/// Shows a channel until the other side hangs up.
async fn show(shown: &Shown, mut socket: WebSocket) {
    let (sender, mut frames) = unbounded_channel();
    lock(&shown.channels).push(sender);
    let mut together = Vec::with_capacity(TOGETHER);
    loop {
        tokio::select! {
            count = frames.recv_many(&mut together, TOGETHER) => {
                for frame in together.drain(..) {
                    if socket.feed(Message::Text(frame)).await.is_err() {
                        return;
                    }
                }
                if count == 0 || socket.flush().await.is_err() {
                    return;
                }
                shown.waiting.fetch_sub(count, Ordering::Relaxed);
            }
            message = socket.recv() => if !matches!(message, Some(Ok(_))) { return },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
