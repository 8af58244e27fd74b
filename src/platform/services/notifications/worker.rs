//! The worker: sends deliveries that are due, and keeps how each attempt ended.
//!
//! An attempt is kept after the provider answered. A crash in between repeats the message, and never loses it.

use super::queue::{self, Due, Failure, Outcome};
use super::{gateway, mail};
use crate::api::notifications::NotificationChannel;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::Scope;
use crate::platform::queue::{Job, Queue, Rows};

/// Longest cause of a failure that is kept, in characters.
const MAX_REASON: usize = 300;

/// Deliveries that wait for their next attempt.
#[derive(Clone)]
pub(super) struct Deliveries;

impl Queue for Deliveries {
    const AT_ONCE: usize = 8;
    const OF_ONE_TENANT: usize = 4;

    fn rows(&self) -> Rows {
        Rows {
            what: "notifications",
            table: "notification_deliveries",
            id: "notification_id || '/' || place",
            due: "next_attempt_at",
            waiting: "next_attempt_at IS NOT NULL".into(),
        }
    }

    async fn woken(&mut self, platform: &Platform) {
        platform.notifications_notify().notified().await;
    }

    async fn work(&self, platform: &Platform, job: Job) -> Result<()> {
        let (tenant, id) = (job.tenant.clone(), job.id);
        let Some(due) = platform.database().read_for(&job.tenant, move |connection| queue::load(connection, &tenant, &id)).await? else {
            return Ok(());
        };
        let sent = tokio::select! {
            biased;
            () = platform.stopping().cancelled() => return Ok(()),
            sent = attempt(platform, &due) => sent,
        };
        let outcome = outcome_of(platform, &due, sent);
        if let Outcome::Retry(failure, _) | Outcome::GivenUp(failure) = &outcome {
            tracing::warn!(notification = due.notification, channel = %due.channel, reason = failure.reason, "a notification was not taken");
        }
        // What the platform does by itself goes back to the notification.
        let scope = Scope { correlation_id: Some(due.notification.clone()), ..Scope::system(job.tenant.into()) };
        platform.database().write(scope, move |tx| queue::keep(tx, &due, &outcome)).await
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
