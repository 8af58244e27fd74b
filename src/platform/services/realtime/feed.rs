//! The feed: reads each committed event once, whoever listens, and hands it to the connections of its tenant.
//!
//! What it hands on is the newest part of the log alone. A connection that has fallen behind, or begins in the past, reads
//! the log itself and comes back to the feed where it has caught up; repeats are told by their position.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sync::broadcast;

use crate::api::Event;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::events::{COLUMNS, event_of};

/// Most items of a tenant that wait for its slowest connection; a connection further behind reads the log.
const RING: usize = 256;
/// Most bytes of an event's data in the ring; connections read larger events from the log.
const MAX_RING_BYTES: usize = 64 * 1024;
/// Most events that are read at once.
const BATCH: usize = 256;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What connections are told.
#[derive(Clone)]
pub(super) enum Item {
    /// An event with its position.
    Event(i64, Arc<Event>),
    /// There is an event at this position, to be read from the log.
    Large(i64),
    /// Somebody came to a channel or left it.
    Presence {
        /// The channel.
        channel: Arc<str>,
        /// Who.
        user: Arc<str>,
        /// Whether they came.
        joined: bool,
    },
}

/// The connections by tenant.
#[derive(Default)]
pub(super) struct Feed(Mutex<HashMap<String, broadcast::Sender<Item>>>);

impl Feed {
    /// Joins a tenant's feed. What is read from the log afterwards and what comes by the feed leave nothing out between them.
    pub(super) fn join(&self, tenant: &str) -> broadcast::Receiver<Item> {
        let mut tenants = self.tenants();
        match tenants.get(tenant) {
            Some(sender) => sender.subscribe(),
            None => tenants.entry(tenant.to_owned()).or_insert_with(|| broadcast::channel(RING).0).subscribe(),
        }
    }

    /// Tells a tenant's connections.
    pub(super) fn tell(&self, tenant: &str, item: Item) {
        if let Some(sender) = self.tenants().get(tenant) {
            // Without a receiver there is nobody to tell.
            let _ = sender.send(item);
        }
    }

    /// Whether anybody listens; tenants without connections are forgotten.
    fn is_heard(&self) -> bool {
        let mut tenants = self.tenants();
        tenants.retain(|_, sender| sender.receiver_count() > 0);
        !tenants.is_empty()
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<String, broadcast::Sender<Item>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands on what is committed until the platform stops.
pub(super) async fn run(platform: Platform) {
    let mut commits = platform.events_notify();
    let mut position = *commits.borrow_and_update();
    loop {
        tokio::select! {
            () = platform.stopping().cancelled() => return,
            changed = commits.changed() => if changed.is_err() { return },
        }
        let head = *commits.borrow_and_update();
        let feed = &platform.realtime().feed;
        if !feed.is_heard() {
            position = head;
        }
        while position < head {
            match platform.database().read(move |connection| between(connection, position, head)).await {
                Ok(events) => {
                    position = events.last().filter(|_| events.len() == BATCH).map_or(head, |(last, _, _)| *last);
                    for (place, tenant, item) in events {
                        feed.tell(&tenant, item.map_or(Item::Large(place), |event| Item::Event(place, Arc::new(event))));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the event log cannot be read for the channels");
                    tokio::select! {
                        () = platform.stopping().cancelled() => return,
                        () = tokio::time::sleep(RETRY_PAUSE) => {}
                    }
                }
            }
        }
    }
}

/// The events after a position and up to another, with their tenants; the data of large ones is left where it is.
fn between(connection: &Connection, after: i64, head: i64) -> Result<Vec<(i64, String, Option<Event>)>> {
    let sql = format!("SELECT {COLUMNS}, length(data) FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?");
    let mut events = connection.prepare_cached(&sql)?;
    let mut rows = events.query(params![after, head, BATCH])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let is_large = row.get::<_, usize>(10)? > MAX_RING_BYTES;
        let event = if is_large { None } else { Some(event_of(row)?.1) };
        found.push((row.get(0)?, row.get(2)?, event));
    }
    Ok(found)
}
