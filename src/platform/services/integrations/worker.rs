//! The worker of the queue: sends calls that are due, a few at once, and keeps how each attempt ended.
//!
//! An end is kept after the system answered. A crash in between repeats the call under the same key, and never loses it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};

use super::calls::{self, Due, Ready};
use super::failure::Failure;
use super::store;
use crate::api::Timestamp;
use crate::error::{Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Tx;

/// How many calls are under way at once.
const AT_ONCE: usize = 16;
/// How many of them may be of one tenant.
const OF_ONE_TENANT: usize = 8;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A call under way: its tenant and its id.
type Key = (String, String);

/// Sends until the platform stops.
pub(super) async fn run(platform: Platform) {
    if let Err(error) = give_up_interrupted(&platform).await {
        tracing::error!(%error, "calls that were interrupted cannot be looked up");
    }
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
                tracing::error!(%error, "the queue of calls cannot be read");
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
            () = platform.hub().queued.notified() => {}
            () = due => {}
            Some(done) = sending.join_next_with_id() => {
                busy.remove(&done.map_or_else(|error| error.id(), |(task, ())| task));
            }
        }
    }
    // Those under way break off by themselves.
    while sending.join_next().await.is_some() {}
}

/// A call whose caller waited for it when the platform ended has no one to answer; whether it arrived is not known.
async fn give_up_interrupted(platform: &Platform) -> Result<()> {
    let instance = platform.instance().to_owned();
    let interrupted = platform.database().read(move |connection| calls::interrupted(connection, &instance)).await?;
    for Due { call, scope } in interrupted {
        let writer = platform.clone();
        let message = "the platform ended before the system's answer was kept; it may have carried the call out";
        let failure = Failure { sent: true, ..Failure::refused("FM-IHS-INTERRUPTED", message) };
        platform.database().write(scope, move |tx| calls::end(tx, &writer, &call, &Err(failure))).await?;
    }
    Ok(())
}

fn key_of(due: &Due) -> Key {
    (due.scope.tenant.to_string(), due.call.id.clone())
}

/// What is due and not under way, as far as there is room, and when the next is.
async fn look(platform: &Platform, busy: &HashMap<Id, Key>) -> Result<(Vec<Due>, Option<Timestamp>)> {
    let room = AT_ONCE.saturating_sub(busy.len());
    if room == 0 {
        return Ok((Vec::new(), None));
    }
    let now = platform.now();
    let (due, next) =
        platform.database().read(move |connection| Ok((calls::due(connection, now, 4 * AT_ONCE)?, calls::next(connection, now)?))).await?;
    let mut by_tenant: HashMap<String, usize> = HashMap::new();
    for (tenant, _) in busy.values() {
        *by_tenant.entry(tenant.clone()).or_default() += 1;
    }
    let mut chosen = Vec::new();
    for due in due {
        let key = key_of(&due);
        if busy.values().any(|taken| *taken == key) {
            continue;
        }
        let of_tenant = by_tenant.entry(key.0).or_default();
        if *of_tenant < OF_ONE_TENANT && chosen.len() < room {
            *of_tenant += 1;
            chosen.push(due);
        }
    }
    Ok((chosen, next))
}

async fn deliver(platform: Platform, due: Due) {
    let id = due.call.id.clone();
    if let Err(error) = attempt(&platform, due).await {
        tracing::error!(%error, call = id, "the attempt of a queued call cannot be kept");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn attempt(platform: &Platform, due: Due) -> Result<()> {
    let Due { mut call, scope } = due;
    let (writer, asked) = (platform.clone(), call.clone());
    let begun = platform.database().write(scope.clone(), move |tx| begin(tx, &writer, &asked)).await?;
    let Some(ready) = begun else { return Ok(()) };
    let sent = tokio::select! {
        biased;
        () = platform.stopping().cancelled() => return Ok(()),
        sent = ready.send(platform, scope.tenant.as_str(), &call.key) => sent.map(|completed| completed.status_code),
    };
    call.attempts += 1;
    let (writer, policy) = (platform.clone(), platform.integrations().clone());
    let keep = move |tx: &mut Tx<'_>| match &sent {
        Err(failure) if failure.is_transient && call.attempts < policy.queued_attempts => {
            let pause = failure.pause.unwrap_or_default().max(policy.queued_delay(call.attempts));
            calls::retry(tx, &writer, &call, failure, tx.now().plus_seconds(pause.as_secs_f64()))
        }
        sent => calls::end(tx, &writer, &call, sent),
    };
    platform.database().write(scope, keep).await
}

/// Makes a queued call ready, puts it off while the breaker is open, or gives it up where it cannot be made any more.
fn begin(tx: &mut Tx<'_>, platform: &Platform, call: &calls::Call) -> Result<Option<Ready>> {
    match Ready::of(tx, platform, tx.tenant(), &call.integration, &call.asked) {
        Ok(ready) => match store::pass(tx, platform, &ready.record)? {
            None => Ok(Some(ready)),
            Some(until) => {
                calls::postpone(tx, &call.id, until)?;
                Ok(None)
            }
        },
        Err(error) if error.kind() == Kind::Internal => Err(error),
        Err(error) => {
            calls::end(tx, platform, call, &Err(Failure::of(&error)))?;
            Ok(None)
        }
    }
}
