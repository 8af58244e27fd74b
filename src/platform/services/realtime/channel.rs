//! Channels: how they are named, and which events each of them shows.

use rusqlite::{Connection, params};
use serde_json::{Map, Value};

use crate::api::arguments::quote;
use crate::api::cloud_event::topic_matches;
use crate::api::realtime::{CONNECT, Frame, PUBLISH, USERS};
use crate::api::{Event, Permission, Spec};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::events::{COLUMNS, event_of};
use crate::platform::services::events::find_channel;

/// How the ids of subscriptions begin, whose channels have the same name.
const SUBSCRIPTION: &str = "sub-";
/// Most events that a connection reads from the log at once.
pub(super) const PAGE: usize = 64;
/// Longest name.
const MAX_NAME: usize = 100;

/// A channel as one connection sees it.
pub(super) struct Channel {
    /// Its name.
    pub(super) name: String,
    /// Where its stream begins unless the client says after which frame; the log's end if absent.
    pub(super) begins: Option<i64>,
    shows: Shows,
}

enum Shows {
    /// The topics of a subscription.
    Topics(String),
    /// What is published on the channel.
    Published(String),
    /// The tasks of one user, by its id and its roles.
    Own { subject: String, roles: Vec<String>, tasks: bool },
}

impl Shows {
    fn own(caller: &Caller) -> Self {
        let tasks = caller.permissions.as_ref().is_some_and(|held| held.allow(Permission::TASK_VIEW));
        Self::Own { subject: caller.subject.clone(), roles: caller.roles.clone(), tasks }
    }
}

/// The topic of what is published on a named channel.
pub(super) fn topic_of(name: &str) -> String {
    format!("realtime.{name}")
}

/// Rejects a name that no channel for publishing has.
pub(super) fn check_name(name: &str) -> Result<()> {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-')
    };
    if name.len() <= MAX_NAME && name.split('.').all(is_part) {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-WGS-CHANNEL", format!("{} cannot be a channel", quote(name)))
        .hint("A channel has parts of lower-case letters, digits, `_` and `-` with dots between, such as room-1.")
        .field("/channel", "name", format!("is not written as a channel, or longer than {MAX_NAME} bytes")))
}

/// Rejects a channel on which clients cannot publish.
pub(super) fn check_publishable(name: &str) -> Result<()> {
    check_name(name)?;
    if !name.starts_with(SUBSCRIPTION) && name != USERS {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-WGS-CHANNEL", format!("nothing is published on {}", quote(name)))
        .hint("Channels of subscriptions show events by themselves: publish an event on its topic, or choose a channel such as room-1.")
        .field("/channel", "reserved", "belongs to the platform"))
}

impl Channel {
    /// Finds the channel of a request.
    pub(super) async fn find(platform: &Platform, spec: &Spec, name: &str, caller: &Caller) -> Result<Self> {
        if spec.name == CONNECT.name {
            return Ok(Self { name: USERS.to_owned(), begins: None, shows: Shows::own(caller) });
        }
        if spec.name == PUBLISH.name {
            check_publishable(name)?;
        } else if name.starts_with(SUBSCRIPTION) {
            let (tenant, id) = (caller.tenant.clone(), name.to_owned());
            let found =
                platform.database().read_for(caller.tenant.as_str(), move |connection| find_channel(connection, tenant.as_str(), &id));
            let (topics, begins) = found.await?;
            return Ok(Self { name: name.to_owned(), begins: Some(begins), shows: Shows::Topics(topics) });
        } else {
            check_name(name)?;
        }
        Ok(Self { name: name.to_owned(), begins: None, shows: Shows::Published(topic_of(name)) })
    }

    /// Goes by what the caller is and may see now.
    pub(super) fn judge(&mut self, caller: &Caller) {
        if matches!(self.shows, Shows::Own { .. }) {
            self.shows = Shows::own(caller);
        }
    }

    /// Whether the channel is a subscription's, and ends with it.
    pub(super) fn is_subscription(&self) -> bool {
        matches!(self.shows, Shows::Topics(_))
    }

    /// Whether the channel shows an event.
    pub(super) fn shows(&self, event: &Event) -> bool {
        match &self.shows {
            Shows::Topics(pattern) => topic_matches(pattern, &event.topic),
            Shows::Published(topic) => *topic == event.topic,
            Shows::Own { subject, roles, tasks } => {
                let assignee = event.data.get("assignedTo").and_then(Value::as_str);
                *tasks
                    && topic_matches("task.*", &event.topic)
                    && assignee.is_some_and(|assignee| assignee == subject || roles.iter().any(|role| role == assignee))
            }
        }
    }

    /// The pattern of the topics that the channel looks at.
    fn pattern(&self) -> &str {
        match &self.shows {
            Shows::Topics(pattern) => pattern,
            Shows::Published(topic) => topic,
            Shows::Own { .. } => "task.*",
        }
    }

    /// Reads what the channel may show after a position, and up to where the log was read.
    pub(super) async fn read(&self, platform: &Platform, tenant: &str, after: i64) -> Result<(Vec<(i64, Event)>, i64)> {
        let (pattern, of) = (self.pattern().to_owned(), tenant.to_owned());
        platform.database().read_for(tenant, move |connection| page(connection, &of, &pattern, after)).await
    }

    /// The frame of an event.
    pub(super) fn frame(&self, position: i64, event: &Event) -> Frame {
        let frame = Frame::of_event(event, &self.name, position.unsigned_abs());
        match &self.shows {
            Shows::Published(_) => published(frame),
            _ => frame,
        }
    }
}

/// The frame of what was published on a channel: type and payload are the publisher's.
pub(super) fn published(frame: Frame) -> Frame {
    let field = |name: &str| frame.payload.get(name).cloned();
    let kind = field("type").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_else(|| frame.kind.clone());
    let payload: Map<String, Value> = match field("payload") {
        Some(Value::Object(payload)) => payload,
        _ => frame.payload.clone(),
    };
    Frame { kind, payload, ..frame }
}

/// Topics hold no character that GLOB knows but the star of a pattern.
fn page(connection: &Connection, tenant: &str, pattern: &str, after: i64) -> Result<(Vec<(i64, Event)>, i64)> {
    let head: i64 = connection.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get(0))?;
    let matches = if pattern.ends_with('*') { "GLOB" } else { "=" };
    let sql = format!("SELECT {COLUMNS} FROM events WHERE tenant_id = ? AND position > ? AND topic {matches} ? ORDER BY position LIMIT ?");
    let mut events = connection.prepare_cached(&sql)?;
    let mut rows = events.query(params![tenant, after, pattern, PAGE])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(event_of(row)?);
    }
    let read = found.last().filter(|_| found.len() == PAGE).map_or(head.max(after), |(last, _)| *last);
    Ok((found, read))
}
