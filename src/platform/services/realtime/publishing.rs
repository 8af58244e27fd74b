//! Publishing on a channel: by a call, and frame by frame over a WebSocket. What is published is an event of the log.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::channel::{check_publishable, published, topic_of};
use crate::api::FieldError;
use crate::api::realtime::{Frame, Publish};
use crate::auth::CallerKind;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Scope;
use crate::platform::http::body;
use crate::platform::http::context::Cx;

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    payload: Map<String, Value>,
}

/// The operation.
pub(super) async fn publish(cx: Cx, request: Publish) -> Result<Frame> {
    check_publishable(&request.channel)?;
    let Publish { channel, kind, payload } = request;
    write(&cx.platform, cx.scope(), cx.caller.kind, channel, Message { kind, payload }).await
}

/// Reads a client's frame.
pub(super) fn read(text: &str) -> Result<Message> {
    let fields = body::parse("WGS", text.as_bytes())?;
    let message: Message = serde_json::from_value(Value::Object(fields)).map_err(|error| {
        Error::new(Kind::Invalid, "FM-WGS-INVALID", "a frame is published with a type and a payload")
            .with_fields(vec![FieldError::new("", "type", error.to_string())])
            .hint(r#"Send {"type": "task.update", "payload": {…}}."#)
    })?;
    if message.kind.is_empty() || message.kind.len() > 100 {
        return Err(Error::new(Kind::Invalid, "FM-WGS-INVALID", "a frame has a type of 1 to 100 bytes").field(
            "/type",
            "length",
            "is empty or too long",
        ));
    }
    Ok(message)
}

/// Appends a message to the log, which feeds its channel; answers its frame.
pub(super) async fn write(platform: &Platform, scope: Scope, kind: CallerKind, channel: String, message: Message) -> Result<Frame> {
    let role = if kind == CallerKind::Service { "services" } else { "users" };
    platform
        .database()
        .write(scope, move |tx| {
            let source = format!("/{role}/{}", tx.scope().actor);
            let data = json!({ "type": message.kind, "payload": message.payload });
            let now = tx.now();
            let event = tx.emit_as(&source, &topic_of(&channel), None, now, data)?;
            let position = tx.last_insert_rowid();
            tx.audit("event.published", "event", event.id.as_str(), None)?;
            Ok(published(Frame::of_event(&event, &channel, position.unsigned_abs())))
        })
        .await
}
