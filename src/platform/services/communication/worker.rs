//! The worker: sends messages that are due.
//!
//! An attempt is kept after the provider answered. A crash in between repeats the message under its id, and never loses it.

use super::messages;
use super::send::attempt;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::Scope;
use crate::platform::queue::{Job, Queue, Rows};

/// Messages that wait for their next attempt.
#[derive(Clone)]
pub(super) struct Messages;

impl Queue for Messages {
    const AT_ONCE: usize = 8;
    const OF_ONE_TENANT: usize = 4;

    fn rows(&self) -> Rows {
        Rows {
            what: "messages",
            table: "conversation_messages",
            id: "id",
            due: "next_attempt_at",
            waiting: "next_attempt_at IS NOT NULL".into(),
        }
    }

    async fn woken(&mut self, platform: &Platform) {
        platform.messages_notify().notified().await;
    }

    async fn work(&self, platform: &Platform, job: Job) -> Result<()> {
        // What the platform does by itself goes back to the message.
        let scope = Scope { correlation_id: Some(job.id.clone()), ..Scope::system(job.tenant.into()) };
        let writer = platform.clone();
        let claimed = platform.database().write(scope.clone(), move |tx| messages::claim(tx, &writer, &job.id)).await?;
        let Some(outgoing) = claimed else { return Ok(()) };
        attempt(platform, scope, outgoing).await.map_or(Ok(()), |kept| kept.map(drop))
    }
}
