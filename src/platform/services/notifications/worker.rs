//! The worker: takes due deliveries from the queue, sends a few at once and keeps how each attempt ended.
//!
//! An attempt is kept after the provider answered. A crash in between repeats the message, and never loses it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};

use super::queue::{self, Due, Failure, Outcome};
use super::{gateway, mail};
use crate::api::Timestamp;
use crate::api::notifications::NotificationChannel;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::Scope;

/// How many messages are sent at once.
const AT_ONCE: usize = 8;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Longest cause of a failure that is kept, in characters.
const MAX_REASON: usize = 300;

/// A delivery under way: its notification and its place, for its tenant.
type Key = (String, String, i64);

/// Sends until the platform stops.
pub(super) async fn run(platform: Platform) {
    let mut sending = JoinSet::new();
    let mut busy: HashMap<Id, Key> = HashMap::new();
    while !platform.stopping().is_cancelled() {
        let next = match look(&platform, &busy).await {
            Ok((due, next)) => {
                for due in due {
                    let key = key_of(&due);
                    busy.insert(sending.spawn(deliver(platform.clone(), due)).id(), key);
                }
                next
            }
            Err(error) => {
                tracing::error!(%error, "the queue of notifications cannot be read");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        let due = async {
            match next {
                Some(moment) => platform.clock().sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = platform.stopping().cancelled() => {}
            () = platform.notifications_notify().notified() => {}
            () = due => {}
            Some(done) = sending.join_next_with_id() => {
                busy.remove(&done.map_or_else(|error| error.id(), |(task, ())| task));
            }
        }
    }
    // Those under way break off by themselves.
    while sending.join_next().await.is_some() {}
}

fn key_of(due: &Due) -> Key {
    (due.tenant.clone(), due.notification.clone(), due.place)
}

/// What is due and not under way, as far as there is room, and when the next is.
async fn look(platform: &Platform, busy: &HashMap<Id, Key>) -> Result<(Vec<Due>, Option<Timestamp>)> {
    let now = platform.now();
    let (mut due, next) =
        platform.database().read(move |connection| Ok((queue::due(connection, now, AT_ONCE)?, queue::next(connection, now)?))).await?;
    let is_busy = |due: &Due| busy.values().any(|key| *key == key_of(due));
    due.retain(|due| !is_busy(due));
    due.truncate(AT_ONCE.saturating_sub(busy.len()));
    Ok((due, next))
}

async fn deliver(platform: Platform, due: Due) {
    let sent = tokio::select! {
        biased;
        () = platform.stopping().cancelled() => return,
        sent = attempt(&platform, &due) => sent,
    };
    let outcome = outcome_of(&platform, &due, sent);
    if let Outcome::Retry(failure, _) | Outcome::GivenUp(failure) = &outcome {
        tracing::warn!(notification = due.notification, channel = %due.channel, reason = failure.reason, "a notification was not taken");
    }
    // What the platform does by itself goes back to the notification.
    let scope = Scope { correlation_id: Some(due.notification.clone()), ..Scope::system(due.tenant.clone().into()) };
    let id = due.notification.clone();
    if let Err(error) = platform.database().write(scope, move |tx| queue::keep(tx, &due, &outcome)).await {
        tracing::error!(%error, notification = id, "the end of an attempt cannot be kept");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn attempt(platform: &Platform, due: &Due) -> Result<String, Failure> {
    match due.channel {
        NotificationChannel::Email => mail::send(platform, due).await,
        _ => gateway::send(platform, due).await,
    }
}

fn outcome_of(platform: &Platform, due: &Due, sent: Result<String, Failure>) -> Outcome {
    let policy = platform.notifications();
    match sent {
        Ok(provider) => Outcome::Sent { provider },
        Err(mut failure) => {
            failure.reason = failure.reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
            let failures = due.attempts.saturating_add(1);
            if failure.is_permanent || failures >= policy.attempts {
                Outcome::GivenUp(failure)
            } else {
                let delay = policy.delay(failures).as_secs_f64();
                Outcome::Retry(failure, platform.now().plus_seconds(delay))
            }
        }
    }
}
