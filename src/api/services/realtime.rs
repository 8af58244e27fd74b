//! WebSocket Gateway Service: live channels and who is on them (contract, section 16).
//!
//! The contract's three routes are WebSockets, which are not calls: `GET /connect`, `/channels/{id}/subscribe` and
//! `/channels/{id}/publish`. What travels over them is a [`Frame`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::cloud_event::Event;
use crate::api::ids::{EventId, TenantId};
use crate::api::operation::operations;
use crate::api::service::Layer;
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// WebSocket Gateway Service.
pub const SERVICE: Service =
    Service::new("websocket-gateway", "realtime", "WGS", "Live channels: what is published on them, and who is there.")
        .layer(Layer::Foundation)
        .operations(operations![Publish, Presence])
        .shown(&["channel", "type", "payload"]);

/// The user's own connection.
pub const CONNECT: Spec = Spec::get("realtime_connect", "/connect", Effect::Read);
/// Listening to a channel.
pub const SUBSCRIBE: Spec = Spec::get("realtime_subscribe", "/channels/{channel}/subscribe", Effect::Read).requires(Permission::EVENT_VIEW);
/// Publishing on a channel, frame by frame.
pub const PUBLISH: Spec = Spec::get("realtime_publish", "/channels/{channel}/publish", Effect::Write).requires(Permission::EVENT_PUBLISH);

/// The query parameter by which a stream goes on after a frame.
pub const LAST_SEQ: &str = "lastSeq";
/// The subprotocol of the gateway, for clients that can set no header.
pub const SUBPROTOCOL: &str = "flowmaster.v1";
/// The prefix of the subprotocol that carries the token of such clients.
pub const TOKEN_SUBPROTOCOL: &str = "bearer.";
/// The channel on which everybody is who has a connection of their own (`/connect`).
pub const USERS: &str = "users";

/// Why the gateway closed a stream.
pub mod close {
    /// The token ended or was revoked.
    pub const UNAUTHENTICATED: u16 = 4401;
    /// The permission was taken away.
    pub const FORBIDDEN: u16 = 4403;
    /// The subscription was ended, so the channel is no more.
    pub const GONE: u16 = 4404;
    /// Nothing was heard of the client for too long.
    pub const IDLE: u16 = 4408;
    /// The client reads too slowly.
    pub const TOO_SLOW: u16 = 4429;
}

/// One message of a channel. Of another platform it may have a type and a payload alone: then it is a hint to read again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Frame {
    /// What it tells, such as task.created.
    #[serde(rename = "type")]
    pub kind: String,
    /// The channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Its place on the channel: it grows with each frame, not always by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The event's id, by which repeats are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<Timestamp>,
    /// What happened.
    #[serde(default)]
    pub payload: Map<String, Value>,
    /// Who published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is about, such as a task's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The event's place in its topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The request or the execution that it goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlationid: Option<String>,
    /// The tenant, where a platform says it. A frame of another tenant is dropped.
    #[serde(default, alias = "tenantId", skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub tenantid: Option<TenantId>,
}

impl Frame {
    /// A frame without a place on its channel.
    #[must_use]
    pub fn hint(kind: impl Into<String>, channel: &str, payload: Map<String, Value>) -> Self {
        Self {
            kind: kind.into(),
            channel: Some(channel.to_owned()),
            seq: None,
            id: None,
            ts: None,
            payload,
            source: None,
            subject: None,
            sequence: None,
            correlationid: None,
            tenantid: None,
        }
    }

    /// The frame of an event at its place on a channel.
    #[must_use]
    pub fn of_event(event: &Event, channel: &str, seq: u64) -> Self {
        Self {
            seq: Some(seq),
            id: Some(event.id.clone()),
            ts: event.time,
            source: Some(event.source.clone()).filter(|source| !source.is_empty()),
            subject: event.subject.clone(),
            sequence: event.sequence,
            correlationid: event.correlationid.clone(),
            ..Self::hint(event.topic.clone(), channel, event.data.clone())
        }
    }

    /// The event that the frame carries; none where the frame has no id.
    #[must_use]
    pub fn into_event(self) -> Option<Event> {
        Some(Event {
            specversion: "1.0".to_owned(),
            id: self.id?,
            source: self.source.unwrap_or_default(),
            topic: self.kind,
            time: self.ts,
            subject: self.subject,
            tenantid: None,
            correlationid: self.correlationid,
            sequence: self.sequence,
            data: self.payload,
        })
    }
}

/// Shows a message at once to everyone who is connected to a channel (live, websocket).
///
/// Flash on all screens that we close in minutes, push an update to the board, tell everybody in the room that lunch is
/// ready, broadcast to viewers of the portal or production, or put it over a browser window or page as a pop-up.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Publish {
    /// Channel such as `room-1`: small letters, digits, `_`, `-`, dots.
    #[schemars(length(min = 1, max = 100))]
    pub channel: String,
    /// What the message tells, such as `task.update`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 100))]
    pub kind: String,
    /// The message.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub payload: Map<String, Value>,
}

impl Operation for Publish {
    type Output = Frame;
    const SPEC: Spec = Spec::post("realtime_publish", "/channels/{channel}/publish", Effect::Write)
        .titled("Publish on a channel")
        .requires(Permission::EVENT_PUBLISH)
        .answers(201)
        .id_alias("eventId")
        .extension();
}

/// Somebody on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The user or service.
    pub user_id: String,
    /// Since when.
    pub since: Timestamp,
    /// Over how many connections.
    pub connections: u32,
}

/// Who is on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Present {
    /// The channel.
    pub channel: String,
    /// Those who listen or publish, by their ids.
    pub members: Vec<Member>,
}

/// Tells who is connected to a channel at the moment (presence).
///
/// See if anyone is online right now, is the doctor still active, which colleagues are available on the ward, how many
/// people are present in an open room or portal for support, and is anybody offline or with a green dot?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Presence {
    /// The channel; `users` is everybody with a connection of their own.
    #[schemars(length(min = 1, max = 100))]
    pub channel: String,
}

impl Operation for Presence {
    type Output = Present;
    const SPEC: Spec = Spec::get("realtime_presence", "/channels/{channel}/presence", Effect::Read)
        .titled("Who is there and online now")
        .requires(Permission::EVENT_VIEW)
        .extension();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_frame_of_type_and_payload_is_read_and_is_no_event() {
        let bare = json!({ "type": "task.update", "payload": { "taskId": "task-111", "status": "completed" } });
        let frame: Frame = serde_json::from_value(bare.clone()).unwrap();
        assert_eq!(serde_json::to_value(&frame).unwrap(), bare);
        assert_eq!(frame.into_event(), None);
    }

    #[test]
    fn an_event_comes_through_a_frame_unchanged() {
        let event: Event = serde_json::from_value(json!({
            "specversion": "1.0", "id": "evt-1", "source": "/services/human-task", "type": "task.created", "time": "2025-02-07T10:30:00Z",
            "subject": "task-1", "correlationid": "req-1", "sequence": 7, "data": { "taskId": "task-1" },
        }))
        .unwrap();
        let frame = Frame::of_event(&event, "sub-1", 9);
        assert_eq!((frame.seq, frame.channel.as_deref()), (Some(9), Some("sub-1")));
        assert_eq!(frame.into_event().unwrap(), event);
    }
}
