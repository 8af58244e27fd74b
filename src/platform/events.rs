//! The event bus at work: reads the log behind each subscription's position and delivers what it finds.
//!
//! The log is the outbox. A subscription's position moves on only after its receiver took the event, so a crash repeats
//! deliveries and never loses one. One subscription is served by one task at a time, which keeps its events in order.

mod log;
mod webhook;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::task::JoinSet;

use super::Platform;
use super::database::Scope;
use crate::api::{Event, Timestamp};
use crate::error::Result;

pub(crate) use log::{COLUMNS, event_of, size_in};
use webhook::Sender;

/// How many subscriptions are delivered to at once.
const AT_ONCE: usize = 8;
/// How many events one delivery task takes before its progress is kept.
const BATCH: i64 = 16;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How events are delivered to webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Hosts that may be called beside those on loopback.
    pub hosts: Vec<String>,
    /// How often an event is tried before it becomes a dead letter.
    pub attempts: u32,
    /// How long to wait after the first failure; it doubles with each.
    pub first_delay: Duration,
    /// The longest wait between two attempts.
    pub longest_delay: Duration,
    /// How long a receiver may take to answer.
    pub timeout: Duration,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            attempts: 10,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_mins(5),
            timeout: Duration::from_secs(10),
        }
    }
}

impl Webhooks {
    fn delay(&self, failures: u32) -> Duration {
        self.first_delay.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(self.longest_delay)
    }
}

/// What is known of a subscription when its next events are delivered.
struct Subscription {
    id: String,
    tenant: String,
    topic: String,
    url: String,
    secret: Vec<u8>,
    position: i64,
    attempts: u32,
    retry_at: Option<Timestamp>,
}

/// A subscription's next events.
struct Batch {
    subscription: Subscription,
    events: Vec<(i64, Event)>,
}

/// What one look at the log found.
#[derive(Default)]
struct Found {
    batches: Vec<Batch>,
    /// Subscriptions that nothing waits for, up to this position.
    idle: Vec<(String, i64)>,
    /// When the next repetition is due.
    next: Option<Timestamp>,
}

/// Delivers events until the platform stops.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(dispatch(platform.clone(), Arc::new(Sender::new(platform))));
}

async fn dispatch(platform: Platform, sender: Arc<Sender>) {
    let mut committed = platform.events_notify();
    let mut deliveries = JoinSet::new();
    let mut busy = HashMap::new();
    // Up to where a subscription's log was read without finding anything: not kept, and not read again.
    let mut idle = HashMap::new();
    while !platform.stopping().is_cancelled() {
        committed.mark_unchanged();
        let (skip, known, now) = (busy.values().cloned().collect(), idle.clone(), platform.now());
        let room = AT_ONCE.saturating_sub(deliveries.len());
        let found = platform.database().read(move |connection| look(connection, &skip, &known, now, room)).await;
        let next = match found {
            Ok(found) => {
                idle.extend(found.idle);
                for batch in found.batches {
                    let id = batch.subscription.id.clone();
                    let task = deliveries.spawn(deliver(platform.clone(), Arc::clone(&sender), batch));
                    busy.insert(task.id(), id);
                }
                found.next
            }
            Err(error) => {
                tracing::error!(%error, "the event log cannot be read");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        tokio::select! {
            () = platform.stopping().cancelled() => {}
            Ok(()) = committed.changed() => {}
            () = sleep_until(&platform, next) => {}
            Some(done) = deliveries.join_next_with_id() => {
                let task = done.map_or_else(|error| error.id(), |(task, ())| task);
                busy.remove(&task);
            }
        }
    }
    // Those under way break off by themselves and keep what they have delivered.
    while deliveries.join_next().await.is_some() {}
}

async fn sleep_until(platform: &Platform, moment: Option<Timestamp>) {
    match moment {
        Some(moment) => platform.clock().sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn look(connection: &Connection, busy: &HashSet<String>, idle: &HashMap<String, i64>, now: Timestamp, room: usize) -> Result<Found> {
    let mut found = Found::default();
    if room == 0 {
        return Ok(found);
    }
    let head: i64 = connection.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get(0))?;
    // In no order: where there is not room for all, no subscription is last every time.
    let mut subscriptions = connection.prepare_cached(
        "SELECT id, tenant_id, topic, url, secret, position, attempts, retry_at FROM subscriptions \
         WHERE delivery = 'webhook' ORDER BY random()",
    )?;
    let mut rows = subscriptions.query([])?;
    while let Some(row) = rows.next()? {
        let subscription = Subscription {
            id: row.get(0)?,
            tenant: row.get(1)?,
            topic: row.get(2)?,
            url: row.get(3)?,
            secret: row.get(4)?,
            position: row.get(5)?,
            attempts: row.get(6)?,
            retry_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
        };
        if busy.contains(&subscription.id) {
            continue;
        }
        if let Some(moment) = subscription.retry_at.filter(|moment| *moment > now) {
            found.next = Some(found.next.map_or(moment, |next| next.min(moment)));
            continue;
        }
        let from = idle.get(&subscription.id).copied().unwrap_or_default().max(subscription.position);
        if from >= head {
            continue;
        }
        let events = after(connection, &subscription, from)?;
        if events.is_empty() {
            found.idle.push((subscription.id, head));
        } else {
            found.batches.push(Batch { subscription, events });
            if found.batches.len() == room {
                break;
            }
        }
    }
    Ok(found)
}

/// The next events of a subscription's topic. Topics hold no character that GLOB knows but the star of a pattern.
fn after(connection: &Connection, subscription: &Subscription, from: i64) -> Result<Vec<(i64, Event)>> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE tenant_id = ? AND position > ? AND topic GLOB ? ORDER BY position LIMIT ?");
    let mut events = connection.prepare_cached(&sql)?;
    let mut rows = events.query(params![subscription.tenant, from, subscription.topic, BATCH])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(event_of(row)?);
    }
    Ok(found)
}

/// How far a subscription has come.
struct Progress {
    position: i64,
    attempts: u32,
    retry_at: Option<Timestamp>,
    last_error: Option<String>,
    /// The event that was given up.
    dead: Option<(i64, u32)>,
}

/// Delivers a batch in order up to its end or the first failure, and keeps how far it came.
async fn deliver(platform: Platform, sender: Arc<Sender>, batch: Batch) {
    let Batch { subscription, events } = batch;
    let policy = platform.webhooks();
    let mut progress =
        Progress { position: subscription.position, attempts: subscription.attempts, retry_at: None, last_error: None, dead: None };
    for (position, event) in &events {
        let sent = tokio::select! {
            biased;
            () = platform.stopping().cancelled() => break,
            sent = sender.send(&subscription, event) => sent,
        };
        match sent {
            Ok(()) => {
                progress = Progress { position: *position, attempts: 0, retry_at: None, last_error: None, dead: None };
            }
            Err(reason) => {
                progress.attempts += 1;
                if progress.attempts >= policy.attempts {
                    progress.dead = Some((*position, progress.attempts));
                    progress.position = *position;
                    progress.attempts = 0;
                } else {
                    let delay = policy.delay(progress.attempts);
                    progress.retry_at = Some(platform.now().plus_seconds(delay.as_secs_f64()));
                }
                tracing::warn!(subscription = subscription.id, event = %event.id, %reason, "a webhook did not take an event");
                progress.last_error = Some(reason);
                break;
            }
        }
    }
    let (id, tenant) = (subscription.id.clone(), subscription.tenant.clone());
    if progress.position > subscription.position || progress.attempts != subscription.attempts {
        let kept = platform.database().write(Scope::system(tenant.into()), move |tx| keep(tx, &subscription.id, &progress)).await;
        if let Err(error) = kept {
            tracing::error!(%error, subscription = id, "the progress of a subscription cannot be kept");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

fn keep(tx: &mut super::database::Tx<'_>, id: &str, progress: &Progress) -> Result<()> {
    let changed = tx
        .prepare_cached("UPDATE subscriptions SET position = ?, attempts = ?, retry_at = ?, last_error = ? WHERE id = ?")?
        .execute(params![progress.position, progress.attempts, progress.retry_at.map(Timestamp::millis), progress.last_error, id])?;
    // The subscription was deleted meanwhile.
    if changed == 0 {
        return Ok(());
    }
    if let Some((position, attempts)) = progress.dead {
        tx.prepare_cached(
            "INSERT INTO dead_letters (subscription_id, position, tenant_id, attempts, reason, failed_at) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            id,
            position,
            tx.tenant(),
            attempts,
            progress.last_error.as_deref().unwrap_or_default(),
            tx.now().millis()
        ])?;
        tx.audit("subscription.dead_letter", "subscription", id, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_longest() {
        let policy = Webhooks::default();
        let waits: Vec<u64> = [1, 2, 3, 9, 10, 60].into_iter().map(|failures| policy.delay(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
    }
}
