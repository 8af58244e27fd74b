//! Delivers the events of webhook subscriptions, of all processes on the data folder one at a time for each.
//!
//! A subscription's events are read with its caller's own token, taken over into the outbox together with the place behind
//! them, and sent in their order. Before each message the caller is judged again. The platform's log is what keeps events that
//! were not taken over yet, so a receiver that is away costs no room here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::EventOptions;
use super::kinds::Chosen;
use super::position::Position;
use super::reading::{self, Chunk};
use super::refusals::Reason;
use super::sender::{Failure, Receiver, Sender, envelope_id};
use super::subscription::Subscription;
use super::webhooks::caller_of;
use crate::api::{Event, Timestamp};
use crate::auth::{Admit, Caller, Credential};
use crate::client::events::{Notice, StreamKey};
use crate::error::{Error, Kind, Result};
use crate::server::App;
use crate::server::http::expiry;
use crate::state::{Outcome, State, Webhook, WebhookClaim, WebhookLetter, WebhookStore};

/// Subscriptions that are delivered to at once, and those of them of one tenant.
const AT_ONCE: usize = 16;
const AT_ONCE_OF_TENANT: usize = 4;
/// Events that are taken over at once.
const BATCH: u32 = 10;
/// How long a claim lasts; longer than a batch takes with a receiver that is slow each time.
const LEASE: Duration = Duration::from_mins(3);
/// How often it is looked for subscriptions of other processes.
const LOOK: Duration = Duration::from_secs(5);
/// How long events are gathered after a subscription was woken.
const PAUSE: Duration = Duration::from_millis(20);
/// How long after a read the next one is, unless an event comes before.
const IDLE: f64 = 15.0;
/// How long a platform that is away is left alone, in seconds.
const AWAY: f64 = 5.0;
/// How often an event is tried.
const MAX_ATTEMPTS: u32 = 8;
/// The longest wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_mins(5);
/// The largest message, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// How long deliveries that are under way may take when the server ends.
const GOODBYE: Duration = Duration::from_secs(2);

/// MCP Events of a server: what delivers them.
pub(in crate::server) struct HostEvents {
    pub(super) sender: Sender,
    /// How long after its first failure a message is sent again; it doubles with each.
    first_retry: Duration,
    /// Told when a subscription is due, and when there are others than before.
    wake: Notify,
    pub(super) changed: Notify,
}

/// The deliveries of a server that runs; dropped, they end.
pub(in crate::server) struct Delivering {
    _stop: DropGuard,
}

/// What comes after a look at a subscription.
enum Next {
    /// It is looked at again.
    At(Timestamp),
    /// Another process has it by now.
    Lost,
    /// It is over; its receiver is told why, if it was not its time.
    Over(Option<Error>),
}

impl HostEvents {
    pub(in crate::server) fn new(options: &EventOptions) -> Self {
        Self {
            sender: Sender::new(options.allowed_hosts.clone()),
            first_retry: options.first_retry,
            wake: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// How many dead letters there are, by the category of their failure; none where no receiver is allowed.
    pub(in crate::server) async fn dead_letters(&self, state: &State) -> Result<Vec<(&'static str, u64)>> {
        if !self.sender.is_on() {
            return Ok(Vec::new());
        }
        let dead = state.with_webhooks(|store| store.dead_letters(Timestamp::now())).await?;
        let count = |name: &str| dead.iter().filter(|letters| letters.reason == name).map(|letters| letters.count).sum();
        Ok(Failure::NAMES.iter().map(|name| (*name, count(name))).collect())
    }

    fn backoff(&self, failures: u32) -> f64 {
        self.first_retry.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(MAX_BACKOFF).as_secs_f64()
    }
}

impl std::fmt::Debug for HostEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostEvents")
    }
}

/// Delivers until the guard is dropped; callers are judged again by what let them in.
pub(in crate::server) fn deliver(app: &Arc<App>, admit: Option<Arc<dyn Admit>>) -> Option<Delivering> {
    if !app.events.sender.is_on() {
        return None;
    }
    let stop = CancellationToken::new();
    let deliverer = Arc::new(Deliverer { app: Arc::clone(app), admit, followed: Mutex::default() });
    tokio::spawn(deliverer.run(stop.clone()));
    Some(Delivering { _stop: stop.drop_guard() })
}

struct Deliverer {
    app: Arc<App>,
    admit: Option<Arc<dyn Admit>>,
    /// Whose events are followed, and for which subscriptions.
    followed: Mutex<HashMap<StreamKey, Followed>>,
}

/// Subscriptions by their ids, with what they are to.
type Subscriptions = Vec<(String, Chosen)>;

struct Followed {
    subscriptions: Subscriptions,
    _stop: DropGuard,
}

impl Deliverer {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut working = JoinSet::new();
        let mut tenants = HashMap::new();
        let mut look = Instant::now();
        while !stop.is_cancelled() {
            if Instant::now() >= look {
                self.follow().await;
                look = Instant::now() + LOOK;
            }
            while working.len() < AT_ONCE {
                let Some(claim) = self.claim(&tenants).await else { break };
                let tenant = claim.webhook.tenant.clone();
                let task = working.spawn(Arc::clone(&self).serve(claim));
                tenants.insert(task.id(), tenant);
            }
            let due = self.app.state.with_webhooks(|store| store.due_next()).await.ok().flatten();
            let wait = due.map_or(LOOK, |due| Duration::from_secs_f64(due.seconds_since(Timestamp::now()).clamp(0.05, LOOK.as_secs_f64())));
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.app.events.changed.notified() => look = Instant::now(),
                () = self.app.events.wake.notified() => {}
                () = sleep_until(Instant::now() + wait) => {}
                Some(done) = working.join_next_with_id() => {
                    tenants.remove(&done.map_or_else(|error| error.id(), |(id, ())| id));
                }
            }
        }
        lock(&self.followed).clear();
        let _ended = tokio::time::timeout(GOODBYE, async { while working.join_next().await.is_some() {} }).await;
    }

    async fn claim(&self, tenants: &HashMap<tokio::task::Id, String>) -> Option<Arc<WebhookClaim>> {
        let mut counts: HashMap<&String, usize> = HashMap::new();
        for tenant in tenants.values() {
            *counts.entry(tenant).or_default() += 1;
        }
        let busy: Vec<String> =
            counts.into_iter().filter(|(_, count)| *count >= AT_ONCE_OF_TENANT).map(|(tenant, _)| tenant.clone()).collect();
        let claimed = self.app.state.with_webhooks(move |store| store.claim_due(&busy, BATCH as usize, LEASE, Timestamp::now())).await;
        match claimed {
            Ok(claim) => claim.map(Arc::new),
            Err(error) => {
                tracing::error!(code = error.code(), "webhooks cannot be looked for: {}", error.message());
                None
            }
        }
    }

    /// Follows the events of those who are subscribed, so that a subscription is due when something happened.
    async fn follow(self: &Arc<Self>) {
        let Ok(live) = self.app.state.with_webhooks(|store| store.live(Timestamp::now())).await else { return };
        let mut wanted: HashMap<StreamKey, (Arc<Caller>, Subscriptions)> = HashMap::new();
        for webhook in &live {
            let Some((subscription, caller)) = caller_of(webhook) else { continue };
            let Some(chosen) = self.chosen(&subscription) else { continue };
            wanted.entry(StreamKey::of(&caller)).or_insert_with(|| (caller, Vec::new())).1.push((webhook.id.clone(), chosen));
        }
        let mut followed = lock(&self.followed);
        followed.retain(|key, _| wanted.contains_key(key));
        for (key, (caller, subscriptions)) in wanted {
            if let Some(known) = followed.get_mut(&key) {
                known.subscriptions = subscriptions;
                continue;
            }
            let stop = CancellationToken::new();
            followed.insert(key, Followed { subscriptions, _stop: stop.clone().drop_guard() });
            tokio::spawn(Arc::clone(self).listen(key, caller, stop));
        }
    }

    async fn listen(self: Arc<Self>, key: StreamKey, caller: Arc<Caller>, stop: CancellationToken) {
        let mut follower = self.app.hub.follow(&caller);
        // What happened before the stream stood is read once it does.
        let stands = tokio::select! {
            () = stop.cancelled() => return,
            stands = follower.stands() => stands,
        };
        if stands.is_ok() {
            let mut all = HashSet::new();
            self.concerned(&key, &Notice::Hint, &mut all);
            self.wake(all).await;
        }
        loop {
            let notice = tokio::select! {
                () = stop.cancelled() => return,
                notice = follower.next() => notice,
            };
            // Without events a subscription is read from time to time; a stream is tried again then.
            let Some(notice) = notice else { break };
            let mut concerned = HashSet::new();
            self.concerned(&key, &notice, &mut concerned);
            // What came at the same time is woken for at once.
            while let Some(Some(notice)) = follower.next().now_or_never() {
                self.concerned(&key, &notice, &mut concerned);
            }
            if !concerned.is_empty() {
                self.wake(concerned).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => drop(lock(&self.followed).remove(&key)),
        }
    }

    /// Makes subscriptions due.
    async fn wake(&self, ids: HashSet<String>) {
        let ids: Vec<String> = ids.into_iter().collect();
        let _woken = self.app.state.with_webhooks(move |store| store.wake(&ids, Timestamp::now())).await;
        self.app.events.wake.notify_one();
    }

    /// Adds the subscriptions that a notice is about.
    fn concerned(&self, key: &StreamKey, notice: &Notice, ids: &mut HashSet<String>) {
        let concerns = |chosen: &Chosen| match notice {
            Notice::Event(event) => chosen.concerns(event),
            Notice::Hint | Notice::Started(_) => true,
        };
        if let Some(followed) = lock(&self.followed).get(key) {
            ids.extend(followed.subscriptions.iter().filter(|(_, chosen)| concerns(chosen)).map(|(id, _)| id.clone()));
        }
    }

    async fn serve(self: Arc<Self>, claim: Arc<WebhookClaim>) {
        let next = self.work(&claim).await.unwrap_or_else(|error| {
            tracing::error!(code = error.code(), subscription = claim.webhook.id, "a webhook cannot be served: {}", error.message());
            Next::At(Timestamp::now().plus_seconds(AWAY))
        });
        let kept = match next {
            Next::At(due) => self.app.state.with_webhooks(move |store| store.release(&claim, due)).await,
            Next::Lost => Ok(()),
            Next::Over(why) => {
                if let Some(why) = why {
                    self.tell_end(&claim.webhook, &why).await;
                }
                self.app.state.with_webhooks(move |store| store.end_claimed(&claim)).await
            }
        };
        if let Err(error) = kept {
            tracing::error!(code = error.code(), "what came of a webhook cannot be kept: {}", error.message());
        }
    }

    /// Delivers the next messages of a subscription.
    async fn work(&self, claim: &Arc<WebhookClaim>) -> Result<Next> {
        let webhook = &claim.webhook;
        let Some((subscription, kept)) = caller_of(webhook) else { return Ok(Next::Over(None)) };
        let Some(chosen) = self.chosen(&subscription) else { return Ok(Next::Over(None)) };
        if webhook.expires.is_some_and(|end| end <= Timestamp::now()) {
            return Ok(Next::Over(None));
        }
        let caller = match self.judged(&kept).await {
            Ok(caller) => caller,
            Err(error) => return Ok(after(error)),
        };
        let (letters, more) = if claim.letters.is_empty() {
            let (letters, position, more) = match self.fetch(webhook, &subscription, &chosen, &caller).await {
                Ok(fetched) => fetched,
                Err(error) => return Ok(after(error)),
            };
            let (held, cursor) = (letters.clone(), position.cursor());
            if !self.with(claim, move |store, claim| store.take_over(claim, &held, &cursor)).await? {
                return Ok(Next::Lost);
            }
            (letters, more)
        } else {
            (claim.letters.clone(), true)
        };
        for (place, letter) in letters.iter().enumerate() {
            if place > 0
                && let Err(error) = self.judged(&kept).await
            {
                return Ok(after(error));
            }
            let failures = if place == 0 { claim.delivery.attempts } else { 0 };
            let secrets = subscription.secrets(Timestamp::now());
            let sent = if letter.body.len() > MAX_BODY {
                Err(Failure::Gone)
            } else {
                self.app
                    .events
                    .sender
                    .send(&Receiver { subscription: &webhook.id, url: &webhook.url, secrets }, &letter.id, &letter.body)
                    .await
            };
            let id = letter.id.clone();
            let is_given_up = matches!(sent, Err(Failure::Gone)) || failures + 1 >= MAX_ATTEMPTS;
            let is_held = self
                .with(claim, move |store, claim| {
                    let outcome = match sent {
                        Ok(()) => Outcome::Taken,
                        Err(failure) if is_given_up => Outcome::Dead(failure.name()),
                        Err(failure) => Outcome::Failed(failure.name()),
                    };
                    store.note(claim, &id, outcome, Timestamp::now())
                })
                .await?;
            if !is_held {
                return Ok(Next::Lost);
            }
            if let Err(failure) = sent {
                tracing::warn!(
                    subscription = webhook.id,
                    event = letter.id,
                    reason = failure.name(),
                    is_given_up,
                    "a webhook was not taken"
                );
                if !is_given_up {
                    return Ok(Next::At(Timestamp::now().plus_seconds(self.app.events.backoff(failures + 1))));
                }
            }
        }
        Ok(Next::At(if more { Timestamp::now() } else { Timestamp::now().plus_seconds(IDLE) }))
    }

    /// The next events as messages, and where the next read goes on.
    async fn fetch(
        &self,
        webhook: &Webhook,
        subscription: &Subscription,
        chosen: &Chosen,
        caller: &Arc<Caller>,
    ) -> Result<(Vec<WebhookLetter>, Position, bool)> {
        let app = &self.app;
        let read = match Position::read(&webhook.cursor, &caller.tenant, &chosen.topic) {
            Ok(position) => reading::read(app, caller, chosen, Some(position), BATCH).await.map_err(super::of_cursor),
            Err(error) => Err(error),
        };
        let Chunk { mut events, position, more } = match read {
            // The platform's log does not reach back so far any more.
            Err(error) if error.code() == super::position::FOREIGN => {
                let chunk = reading::read(app, caller, chosen, None, 1).await?;
                let body = json!({ "type": "gap", "cursor": chunk.position.cursor() }).to_string();
                return Ok((vec![WebhookLetter { id: envelope_id("gap"), body }], chunk.position, chunk.more));
            }
            read => read?,
        };
        super::drop_old(&mut events, subscription.not_before);
        let cursor = position.cursor();
        let last = events.len().saturating_sub(1);
        // Up to the last one, what came before it may not have been taken yet.
        let letter = |(place, event): (usize, &Event)| {
            let cursor = if place == last { &cursor } else { &webhook.cursor };
            WebhookLetter { id: event.id.to_string(), body: chosen.occurrence(event, Some(cursor)).to_string() }
        };
        Ok((events.iter().enumerate().map(letter).collect(), position, more))
    }

    /// The caller as of now; refused where it may not hear of events any more.
    async fn judged(&self, kept: &Arc<Caller>) -> Result<Arc<Caller>> {
        if expiry::has_ended(kept) {
            return Err(expiry::ended());
        }
        let caller = match (&self.admit, &kept.credential) {
            (Some(admit), Credential::Bearer(token)) => match admit.admit(token.expose_secret()).await {
                // While the validator is away, the token stays valid.
                Err(error) if !matches!(error.kind(), Kind::Unauthenticated | Kind::Forbidden) => Arc::clone(kept),
                admitted => admitted?,
            },
            _ => Arc::clone(kept),
        };
        if !kept.is_still(&caller) {
            return Err(Error::new(Kind::Unauthenticated, "FM-MCP-LOGIN-ENDED", "the login of the subscription has ended"));
        }
        reading::allowed(&self.app, &caller, &self.app.offer()).await?;
        Ok(caller)
    }

    /// Runs a step of a claim on the store.
    async fn with<T: Send + 'static>(
        &self,
        claim: &Arc<WebhookClaim>,
        step: impl FnOnce(&dyn WebhookStore, &WebhookClaim) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let claim = Arc::clone(claim);
        self.app.state.with_webhooks(move |store| step(store, &claim)).await
    }

    fn chosen(&self, subscription: &Subscription) -> Option<Chosen> {
        Chosen::find(&subscription.name, &subscription.arguments, self.app.settings.events.numbers).ok()
    }

    /// Tells a receiver that nothing comes any more, once and as well as it goes.
    async fn tell_end(&self, webhook: &Webhook, why: &Error) {
        tracing::info!(subscription = webhook.id, code = why.code(), "a webhook subscription ended: {}", why.message());
        let Some((subscription, _)) = caller_of(webhook) else { return };
        let number = self.app.settings.events.numbers.of(Reason::Forbidden);
        let error = json!({ "code": number, "message": "the subscription has ended", "data": { "code": why.code() } });
        let body = json!({ "type": "terminated", "error": error }).to_string();
        let secrets = subscription.secrets(Timestamp::now());
        let receiver = Receiver { subscription: &webhook.id, url: &webhook.url, secrets };
        let _told = self.app.events.sender.send(&receiver, &envelope_id("terminated"), &body).await;
    }
}

/// What a failure means for a subscription.
fn after(error: Error) -> Next {
    match error.kind() {
        Kind::Unauthenticated | Kind::Forbidden => Next::Over(Some(error)),
        _ => {
            tracing::debug!(code = error.code(), "events of a webhook cannot be read now: {}", error.message());
            Next::At(Timestamp::now().plus_seconds(AWAY))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
