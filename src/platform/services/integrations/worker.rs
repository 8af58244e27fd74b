//! The worker: sends queued calls that are due, and keeps how each attempt ended.
//!
//! An end is kept after the system answered. A crash in between repeats the call under the same key, and never loses it.

use super::calls::{self, Due, Ready};
use super::failure::Failure;
use super::store;
use crate::error::{Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Tx;
use crate::platform::queue::{self, Job, Queue, Rows};

/// Calls that wait for their next attempt.
#[derive(Clone)]
struct Calls;

/// Sends until the platform stops.
pub(super) async fn run(platform: Platform) {
    if let Err(error) = give_up_interrupted(&platform).await {
        tracing::error!(%error, "calls that were interrupted cannot be looked up");
    }
    queue::run(platform, Calls).await;
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

impl Queue for Calls {
    const AT_ONCE: usize = 16;
    const OF_ONE_TENANT: usize = 8;

    fn rows(&self) -> Rows {
        Rows { what: "calls", table: "integration_calls", id: "id", due: "next_attempt_at", waiting: "next_attempt_at IS NOT NULL".into() }
    }

    async fn woken(&mut self, platform: &Platform) {
        platform.hub().queued.notified().await;
    }

    async fn work(&self, platform: &Platform, job: Job) -> Result<()> {
        let (tenant, id) = (job.tenant.clone(), job.id);
        match platform.database().read_for(&job.tenant, move |connection| calls::queued(connection, &tenant, &id)).await? {
            Some(due) => attempt(platform, due).await,
            None => Ok(()),
        }
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
