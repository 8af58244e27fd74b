//! Receiving: what somebody wrote joins the conversation with them, once, and has the execution go on that waits for it.

use serde_json::json;

use super::messages::{self, Came};
use super::{channels, conversations, preference};
use crate::api::communication::{Direction, Message, Receive};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::engine::Engine;
use crate::platform::engine::runtime::alarms;
use crate::platform::http::context::Cx;

pub(super) async fn receive(cx: Cx, request: Receive) -> Result<Message> {
    for (field, text) in [("senderId", Some(&request.sender_id)), ("externalId", request.external_id.as_ref())] {
        if text.is_some_and(|text| text.trim().is_empty() || text.chars().any(char::is_control)) {
            return Err(Error::new(Kind::Invalid, "FM-COMMS-SENDER", "the message names its writer or itself in a way that is not valid")
                .field(format!("/{field}"), "format", "is not blank and holds no control characters"));
        }
    }
    let webhook_id = cx.webhook_id.clone();
    let message = cx.write(move |tx| take_in(tx, &request, webhook_id.as_deref())).await?;
    alarms::changed(&cx.platform);
    Ok(message)
}

fn take_in(tx: &mut Tx<'_>, request: &Receive, webhook_id: Option<&str>) -> Result<Message> {
    let channel = channels::find(tx, tx.tenant(), request.id.as_str())?;
    for (column, id) in [(Came::As, request.external_id.as_deref()), (Came::By, webhook_id)] {
        let Some(id) = id else { continue };
        if let Some(before) = messages::repeated(tx, tx.tenant(), &channel.id, column, id)? {
            return Ok(before);
        }
    }
    let preferred = preference::read(request.data.as_ref())?;
    let data = conversations::text(request.data.as_ref())?;
    let conversation = conversations::with(tx, &channel.id, &request.sender_id)?;
    let new = messages::New {
        conversation: &conversation.id,
        channel: &channel.id,
        direction: Direction::Inbound,
        sender: &request.sender_id,
        recipient: channel.account.as_deref().unwrap_or(&channel.id),
        body: &request.message,
        data,
        external_id: request.external_id.as_deref(),
        webhook_id,
        // Nothing was written in the future.
        sent_at: Some(request.sent_at.unwrap_or(tx.now()).min(tx.now())),
    };
    let id = messages::add(tx, &new)?;
    if let Some(kind) = preferred {
        preference::keep(tx, &request.sender_id, &kind)?;
    }
    // What the conversation is about hears of it; the text is read from the conversation.
    let data = json!({
        "messageId": id, "conversationId": conversation.id, "channelId": channel.id, "channel": channel.kind, "status": "received",
        "executionId": conversation.execution, "taskId": conversation.task,
    });
    tx.emit("message.received", &conversation.id, data)?;
    if let Some(execution) = &conversation.execution {
        let mut result = json!({
            "messageId": id, "conversationId": conversation.id, "channel": channel.kind, "senderId": request.sender_id,
            "message": request.message,
        });
        if let Some(data) = &request.data {
            result["data"] = json!(data);
        }
        Engine::new(tx).message_came(execution, result)?;
    }
    messages::find(tx, tx.tenant(), &id)
}
