//! A stream whose events come from a bus that this process reads for all tenants.
//!
//! The bus knows no callers, so the platform decides who hears of it: a caller reads event replay, with its own rights, before
//! it hears of anything and every half a minute from then on. What the bus has dropped, or the stream was too slow for, is
//! replayed the same way, and repeats are dropped by id.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep};

use super::{FIRST_WAIT, Follow, Notice, STEADY, Source, TOPIC_UNKNOWN, broken, verdict};
use crate::api::cloud_event::topic_matches;
use crate::api::events::Replay;
use crate::api::{PageRequest, Timestamp};
use crate::auth::Caller;
use crate::client::Client;
use crate::client::events::backoff::{self, LONGEST_WAIT};
use crate::client::events::bus::{Bus, Joined, Told};
use crate::client::events::verdict::Verdict;
use crate::error::{Error, Kind, Result};

impl Follow {
    /// Follows the bus until the caller may not or cannot go on.
    pub(super) async fn follow_bus(&mut self, bus: Arc<dyn Bus>) -> Error {
        let mut waits = backoff::waits(FIRST_WAIT);
        loop {
            let caller = match self.principal.caller().await {
                Ok(caller) => caller,
                Err(error) => return error,
            };
            let began = Instant::now();
            let error = match self.join(&*bus, &caller).await {
                Ok(joined) => self.hear(joined, &caller).await,
                Err(error) => error,
            };
            if began.elapsed() > STEADY {
                waits = backoff::waits(FIRST_WAIT);
            }
            tracing::debug!(code = error.code(), topic = self.topic, "an event stream broke: {}", error.message());
            match verdict::of(&error) {
                Verdict::Again => self.is_owed_replay |= self.latest.is_some(),
                Verdict::Renew => match self.principal.renewed(Arc::clone(&caller)).await {
                    Ok(renewed) if !Arc::ptr_eq(&renewed, &caller) => self.is_owed_replay |= self.latest.is_some(),
                    _ => return error,
                },
                Verdict::Resubscribe | Verdict::Overleap | Verdict::Replay => return error,
            }
            sleep(waits.next().unwrap_or(LONGEST_WAIT)).await;
        }
    }

    /// Joins those who hear of the tenant, once the platform lets the caller read events, and replays what is owed.
    async fn join(&mut self, bus: &dyn Bus, caller: &Arc<Caller>) -> Result<Joined> {
        self.tenant = Some(caller.tenant.clone());
        let mut joined = bus.join(&caller.tenant);
        joined.stands.wait_for(|stands| *stands).await.map_err(|_| broken("the bus is not read any more"))?;
        if self.is_owed_replay {
            self.replay(caller).await?;
            self.is_owed_replay = false;
        } else {
            check_right(&self.client, &self.topic, caller).await?;
        }
        self.latest.get_or_insert_with(Timestamp::now);
        self.tell(Notice::Started(Source::Kafka)).await;
        Ok(joined)
    }

    /// Passes on what the bus tells, for as long as the caller may hear of it.
    async fn hear(&mut self, mut joined: Joined, caller: &Arc<Caller>) -> Error {
        let mut refused = pin!(until_refused(self.client.clone(), self.topic.clone(), Arc::clone(caller), joined.check_every));
        let ended = || Error::new(Kind::Unauthenticated, "FM-MCP-STREAM-ENDED", "the event stream ended with the token");
        let mut missed = false;
        loop {
            if std::mem::take(&mut missed)
                && let Err(error) = self.replay(caller).await
            {
                self.is_owed_replay = true;
                return error;
            }
            tokio::select! {
                biased;
                error = &mut refused => return error,
                told = joined.told.recv() => {
                    if caller.expires.is_some_and(|end| end <= Timestamp::now()) {
                        return ended();
                    }
                    match told {
                        Ok(Told::Event(event)) if topic_matches(&self.topic, &event.topic) => self.pass((*event).clone()).await,
                        Ok(Told::Event(_)) => {}
                        Ok(Told::Hint) => self.tell(Notice::Hint).await,
                        Ok(Told::Gap) => {
                            self.tell(Notice::Hint).await;
                            missed = true;
                        }
                        Err(RecvError::Lagged(_)) => missed = true,
                        Err(RecvError::Closed) => return broken("the bus is not read any more"),
                    }
                }
            }
        }
    }
}

/// Asks again and again whether the caller may still read events. A platform that does not answer takes nobody's right away.
async fn until_refused(client: Client, topic: String, caller: Arc<Caller>, every: Duration) -> Error {
    loop {
        sleep(every).await;
        match check_right(&client, &topic, &caller).await {
            Err(error) if verdict::of(&error) != Verdict::Again => return error,
            _ => {}
        }
    }
}

/// Has the platform decide whether a caller may read events.
async fn check_right(client: &Client, topic: &str, caller: &Arc<Caller>) -> Result<()> {
    let page = PageRequest { limit: Some(1), cursor: None };
    let request = Replay { topic: topic.to_owned(), from: Some(Timestamp::now().to_string()), to: None, page };
    match client.send(caller, &request).await {
        Err(error) if error.code() != TOPIC_UNKNOWN => Err(error),
        _ => Ok(()),
    }
}
