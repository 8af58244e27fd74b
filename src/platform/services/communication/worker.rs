//! The worker: takes messages that are due from the queue, sends a few at once and keeps how each attempt ended.
//!
//! An attempt is kept after the provider answered. A crash in between repeats the message under its id, and never loses it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};

use super::messages::{self, Due};
use super::send::attempt;
use crate::api::Timestamp;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::Scope;

/// How many messages are sent at once.
const AT_ONCE: usize = 8;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Sends until the platform stops.
pub(super) async fn run(platform: Platform) {
    let mut sending = JoinSet::new();
    let mut busy: HashMap<Id, Due> = HashMap::new();
    while !platform.stopping().is_cancelled() {
        let next = match look(&platform, &busy).await {
            Ok((due, next)) => {
                for due in due {
                    busy.insert(sending.spawn(deliver(platform.clone(), due.clone())).id(), due);
                }
                next
            }
            Err(error) => {
                tracing::error!(%error, "the queue of messages cannot be read");
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
            () = platform.messages_notify().notified() => {}
            () = due => {}
            Some(done) = sending.join_next_with_id() => {
                busy.remove(&done.map_or_else(|error| error.id(), |(task, ())| task));
            }
        }
    }
    // Those under way break off by themselves.
    while sending.join_next().await.is_some() {}
}

/// What is due and not under way, as far as there is room, and when the next is.
async fn look(platform: &Platform, busy: &HashMap<Id, Due>) -> Result<(Vec<Due>, Option<Timestamp>)> {
    let now = platform.now();
    let (mut due, next) = platform
        .database()
        .read(move |connection| Ok((messages::due(connection, now, 2 * AT_ONCE)?, messages::next(connection, now)?)))
        .await?;
    due.retain(|due| !busy.values().any(|taken| taken == due));
    due.truncate(AT_ONCE.saturating_sub(busy.len()));
    Ok((due, next))
}

async fn deliver(platform: Platform, due: Due) {
    // What the platform does by itself goes back to the message.
    let scope = Scope { correlation_id: Some(due.id.clone()), ..Scope::system(due.tenant.clone().into()) };
    let (writer, id) = (platform.clone(), due.id.clone());
    let ended = match platform.database().write(scope.clone(), move |tx| messages::claim(tx, &writer, &id)).await {
        Ok(None) => return,
        Ok(Some(outgoing)) => match attempt(&platform, scope, outgoing).await {
            Some(kept) => kept.map(drop),
            None => return,
        },
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::error!(%error, message = due.id, "the attempt of a message cannot be kept");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}
