//! Sending: which channel a message goes by, what it says, and the first attempt, which the caller waits for.
//!
//! The message is kept before it is sent. Where the attempt fails for now, or the platform ends, the worker goes on with it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::channels::{self, Record};
use super::provider::{self, Failure, Outgoing};
use super::{conversations, messages, preference};
use crate::api::FieldError;
use crate::api::communication::{ChannelKind, Direction, Message, SendMessage};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};
use crate::platform::http::context::Cx;
use crate::platform::services::notifications::text;

/// Longest text as it is sent, in characters.
const MAX_TEXT: usize = 4_096;

pub(super) async fn send(cx: Cx, request: SendMessage) -> Result<Message> {
    if request.recipient_id.chars().any(char::is_control) || request.recipient_id.trim().is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-COMMS-RECIPIENT", "the recipient is not valid").field(
            "/recipientId",
            "format",
            "is a user id, a phone number or a chat id, without control characters",
        ));
    }
    let wording = wording(&request.message, &request.variables.unwrap_or_default())?;
    let (platform, chosen, recipient) = (cx.platform.clone(), request.channel, request.recipient_id);
    let outgoing = cx
        .write(move |tx| {
            let channel = route(tx, request.id.as_str(), chosen, &recipient)?;
            let id = keep(tx, &channel, &recipient, &wording)?;
            messages::claim(tx, &platform, &id)?.ok_or_else(|| Error::internal("a message that was just kept is not there"))
        })
        .await?;
    // The attempt goes on and is kept even if its caller goes away.
    let (answer, answered) = oneshot::channel();
    let (platform, scope) = (cx.platform.clone(), Scope { mark: None, ..cx.scope() });
    cx.platform.spawn(async move {
        if let Some(ended) = attempt(&platform, scope, outgoing).await {
            let _ = answer.send(ended);
        }
    });
    let (message, failure) = answered.await.map_err(|_| {
        Error::new(Kind::Unavailable, "FM-PLATFORM-STOPPING", "the platform is shutting down; the message is kept and sent later")
    })??;
    match failure {
        Some(failure) if failure.is_permanent => {
            Err(Error::new(failure.kind, failure.code, format!("{}; message {} has failed", failure.reason, message.message_id))
                .hint("Correct the recipient or the text; a channel with another address or sign-in is made with channels_register."))
        }
        _ => Ok(message),
    }
}

/// Sends a message once and keeps how that ended; nothing when the platform stops.
pub(super) async fn attempt(platform: &Platform, scope: Scope, outgoing: Outgoing) -> Option<Result<(Message, Option<Failure>)>> {
    let ended = tokio::select! {
        biased;
        () = platform.stopping().cancelled() => return None,
        ended = provider::post(platform, &outgoing) => ended,
    };
    if let Err(failure) = &ended {
        tracing::warn!(message = outgoing.id, channel = outgoing.channel, reason = failure.reason, "a message was not taken");
    }
    let writer = platform.clone();
    let kept = platform
        .database()
        .write(scope, move |tx| {
            let message = messages::keep(tx, &writer, &outgoing, &ended)?;
            Ok((message, ended.err()))
        })
        .await;
    platform.messages_notify().notify_one();
    Some(kept)
}

/// The channel that a message goes by: of the kind that the caller names, else of the one that the recipient prefers, else
/// the channel itself.
fn route(tx: &Tx<'_>, id: &str, chosen: Option<ChannelKind>, recipient: &str) -> Result<Record> {
    let own = channels::find(tx, tx.tenant(), id)?;
    match chosen {
        Some(kind) if kind != own.kind => channels::of_kind(tx, tx.tenant(), &kind)?.ok_or_else(|| {
            Error::new(Kind::Invalid, "FM-COMMS-CHANNEL-UNAVAILABLE", format!("there is no channel of kind {kind}"))
                .field("/channel", "unavailable", format!("is {kind}, and channel {id} is {}", own.kind))
                .hint("Leave `channel` out, or register one with channels_register.")
        }),
        Some(_) => Ok(own),
        None => match preference::of(tx, tx.tenant(), recipient)?.filter(|kind| *kind != own.kind) {
            Some(kind) => Ok(channels::of_kind(tx, tx.tenant(), &kind)?.unwrap_or(own)),
            None => Ok(own),
        },
    }
}

fn keep(tx: &mut Tx<'_>, channel: &Record, recipient: &str, body: &str) -> Result<String> {
    let conversation = conversations::with(tx, &channel.id, recipient)?;
    let sender = tx.scope().actor.clone();
    let new = messages::New {
        conversation: &conversation.id,
        channel: &channel.id,
        direction: Direction::Outbound,
        sender: &sender,
        recipient,
        body,
        data: None,
        external_id: None,
        webhook_id: None,
        sent_at: None,
    };
    messages::add(tx, &new)
}

/// The text with its places filled in.
fn wording(source: &str, variables: &Map<String, Value>) -> Result<String> {
    let pieces = text::read(source).map_err(|detail| {
        Error::new(Kind::Invalid, "FM-COMMS-TEXT", "the text has a place that cannot be read").field("/message", "format", detail)
    })?;
    let (mut values, mut faults) = (BTreeMap::new(), Vec::new());
    for name in text::names(&pieces) {
        match variables.get(name) {
            Some(Value::String(text)) => drop(values.insert(name.to_owned(), text.clone())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => drop(values.insert(name.to_owned(), value.to_string())),
            Some(_) => faults.push(FieldError::new(format!("/variables/{name}"), "type", "must be a text, a number or a boolean")),
            None => faults.push(FieldError::new(format!("/variables/{name}"), "required", "is a place of the text without a value")),
        }
    }
    if !faults.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-COMMS-VARIABLES", "the text cannot be filled in")
            .with_fields(faults)
            .hint("Give each place of the text a value in `variables`."));
    }
    let wording = text::render(&pieces, &values);
    if wording.chars().count() > MAX_TEXT || wording.trim().is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-COMMS-TEXT", "the text has a wrong length once it is filled in").field(
            "/variables",
            "length",
            format!("a message has 1 to {MAX_TEXT} characters, not blanks alone"),
        ));
    }
    Ok(wording)
}
