//! An answer while it is written: server-sent events `token`, `tool`, `usage`, `done` and `error`, for callers that accept
//! them. Any other caller gets the whole answer at its end, as the contract's operation has it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::asking::{self, Asked, Prepared};
use super::providers::talk::{Frame, Sink};
use crate::api::agents::{Stream, StreamedAnswer};
use crate::error::{Error, Result};
use crate::platform::http::context::Cx;
use crate::platform::http::problem;

/// Frames that wait for a slow reader before the model waits too.
const WAITING: usize = 256;
/// How long nothing may be sent before a comment says that the stream is alive.
const QUIET: Duration = Duration::from_secs(15);

/// The whole answer.
pub(super) async fn whole(cx: Cx, request: Stream) -> Result<StreamedAnswer> {
    let prepared = prepare(&cx, request).await?;
    let (answer, usage) = asking::answered(cx, prepared).await?;
    Ok(StreamedAnswer { answer, usage: Some(usage) })
}

/// The answer as events. What is wrong with the question is told before the first.
pub(super) async fn events(cx: Cx, request: Stream) -> Result<Response> {
    let prepared = prepare(&cx, request).await?;
    let (events, waiting) = mpsc::channel::<Bytes>(WAITING);
    let platform = cx.platform.clone();
    platform.spawn(tell(cx, prepared, events));
    let body = futures_util::stream::unfold(waiting, |mut waiting| async move {
        let next = tokio::time::timeout(QUIET, waiting.recv()).await.unwrap_or(Some(Bytes::from_static(b": alive\n\n")));
        next.map(|event| (Ok::<_, Infallible>(event), waiting))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn prepare(cx: &Cx, request: Stream) -> Result<Prepared> {
    asking::prepare(&cx.platform, cx.caller.tenant.as_str(), Asked::new(request.id.0, request.question)).await
}

/// Asks, and tells what comes. The call is kept even if nobody reads any more.
async fn tell(cx: Cx, prepared: Prepared, events: mpsc::Sender<Bytes>) {
    let (sink, mut frames) = mpsc::channel(1);
    let sink = Sink(sink);
    let asking = async {
        let ended = asking::carry_out(&cx.platform, prepared, Some(&cx), Some(&sink)).await;
        drop(sink);
        asking::kept(&cx, ended).await
    };
    let passing_on = async {
        loop {
            let frame = tokio::select! {
                frame = frames.recv() => frame,
                // Without a reader the frames end, and with them the model's answer, even while it says nothing.
                () = events.closed() => None,
            };
            let Some(frame) = frame else { return frames.close() };
            let event = match frame {
                Frame::Token(text) => event("token", &json!({ "text": text })),
                Frame::Tool(name, completed) => {
                    event("tool", &json!({ "tool": name, "status": if completed { "completed" } else { "failed" } }))
                }
            };
            if events.send(event).await.is_err() {
                return frames.close();
            }
        }
    };
    let (answered, ()) = tokio::join!(asking, passing_on);
    let last = match answered {
        Ok((answer, usage)) => {
            let done = StreamedAnswer { answer, usage: Some(usage) };
            vec![event("usage", &json!(done.usage)), event("done", &json!(done))]
        }
        Err(error) => vec![event("error", &told(&cx, &error))],
    };
    for event in last {
        let _ = events.send(event).await;
    }
}

fn told(cx: &Cx, error: &Error) -> Value {
    json!(problem::problem(error, "/agents", &cx.request_id))
}

/// One event. JSON has no line breaks of its own.
fn event(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
