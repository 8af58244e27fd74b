//! Answers a read by what the same caller read a moment ago, and equal reads that are under way by one request.
//!
//! It stands before `retry`, so that a hit costs no quota and no attempt, and behind `access`, so that nobody reads what it
//! may not ask for. What is kept belongs to a tenant, a subject and what it may (the subject falls out only where an operation
//! says that the answer cannot depend on it). A write of the tenant makes what it evicts unreachable before it answers.

mod generations;
mod kept;
mod served;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::{HeaderValue, IF_NONE_MATCH};
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use crate::api::ids::TenantId;
use crate::api::{Effect, Event, Spec};
use crate::auth::{Caller, Credential};
use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::error::{Error, Kind, Result};
use crate::io::hash::sha256;
use generations::Generations;
use kept::{Kept, Shares};
use served::Served;

/// The longest that an answer is fresh, whatever its operation says.
const MAX_FRESH: Duration = Duration::from_mins(5);

/// How much is kept, and how old it may be served.
#[derive(Debug, Clone, Copy)]
pub struct CacheSettings {
    /// Bytes of all answers; nothing is kept with 0. A tenant has a quarter at most.
    pub bytes: u64,
    /// How old an answer may be that is served while its service is away; it says so.
    pub stale: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { bytes: 0, stale: Duration::from_mins(1) }
    }
}

/// The digest of everything that an answer depends on.
type Key = [u8; 32];

/// See the module.
pub(in crate::client) struct Cache {
    answers: moka::future::Cache<Key, Arc<Kept>>,
    shares: Shares,
    generations: Generations,
    served: Served,
    stale: Duration,
}

impl Cache {
    /// A cache; none where it may keep nothing.
    pub(in crate::client) fn new(settings: CacheSettings) -> Option<Self> {
        if settings.bytes == 0 {
            return None;
        }
        let answers = moka::future::Cache::builder()
            .max_capacity(settings.bytes)
            .weigher(|_: &Key, kept: &Arc<Kept>| kept.weight)
            .time_to_live(MAX_FRESH.saturating_add(settings.stale))
            .eviction_listener(|_, kept: Arc<Kept>, _| kept.give_back())
            .build();
        let shares = Shares::new(settings.bytes / 4);
        let served = Served::new(MAX_FRESH.saturating_add(settings.stale), settings.stale);
        Some(Self { answers, shares, generations: Generations::default(), served, stale: settings.stale })
    }

    /// Evicts what an event of a tenant says to have changed, and everything of the tenant where something happened that is
    /// not told. An event that a user may have published evicts nothing.
    pub(in crate::client) fn evict(&self, tenant: &TenantId, event: Option<&Event>) {
        match event {
            Some(event) if event.is_of_platform() => self.generations.evict_told(tenant, event),
            Some(_) => {}
            None => self.generations.evict_all(tenant),
        }
    }

    async fn read(&self, call: Call, next: Next<'_>, fresh_for: Duration) -> Result<Reply> {
        let generation = self.generations.of(&call.caller.tenant, call.entry.service_index);
        let key = key(&call, generation);
        let metrics = Arc::clone(&call.metrics);
        let (caller, operation) = (Arc::clone(&call.caller), call.entry);
        let before = self.answers.get(&key).await;
        if let Some(kept) = &before
            && kept.is_fresh()
        {
            metrics.cache.hits.increment(1);
            return kept.reply();
        }
        let read = async {
            let kept = self.fetch(call, next, before, fresh_for).await;
            Arc::new(kept)
        };
        // Those who ask for the same meanwhile wait here. A read that began before a write has another generation, so nobody
        // who asks after the write waits for it or finds it.
        let entry = self.answers.entry(key).or_insert_with_if(read, |kept| !kept.is_fresh()).await;
        let is_mine = entry.is_fresh();
        let kept = entry.into_value();
        match (kept.is_stale(), is_mine) {
            (true, _) => metrics.cache.stale.increment(1),
            (false, true) => metrics.cache.misses.increment(1),
            (false, false) => metrics.cache.shared.increment(1),
        }
        match (is_mine, kept.is_worth_keeping()) {
            (true, false) => self.answers.invalidate(&key).await,
            (true, true) if !kept.is_stale() => {
                self.served.keep(&caller, operation.service_index, operation.spec.name, generation, fresh_for);
            }
            _ => {}
        }
        kept.reply()
    }

    /// Runs a call; where its service is away, the error says what of it the caller can still read.
    async fn telling(&self, caller: Arc<Caller>, service: usize, result: impl Future<Output = Result<Reply>>) -> Result<Reply> {
        result.await.map_err(|error| {
            let generation = self.generations.of(&caller.tenant, service);
            if is_away(&error) { self.served.told(error, &caller, service, generation) } else { error }
        })
    }

    /// Asks the platform, by the version that is known.
    async fn fetch(&self, mut call: Call, next: Next<'_>, before: Option<Arc<Kept>>, fresh_for: Duration) -> Kept {
        let tenant = call.caller.tenant.clone();
        let etag = before.as_ref().and_then(|kept| kept.etag()).and_then(|etag| HeaderValue::from_str(etag).ok());
        let is_conditional = etag.is_some();
        if let Some(etag) = etag {
            call.headers.insert(IF_NONE_MATCH, etag);
        }
        let began = Instant::now();
        match (next.run(call).await, before) {
            (Ok(reply), _) => self.shares.keep(tenant, reply, began, fresh_for),
            (Err(error), Some(before)) if is_conditional && error.code() == NOT_MODIFIED => before.renewed(&self.shares, tenant, began),
            (Err(error), Some(before)) if is_away(&error) && before.is_younger_than(self.stale) => {
                before.stale(&self.shares, tenant, error.code())
            }
            (Err(error), _) => Kept::failed(error),
        }
    }
}

/// The code of an answer that says that nothing changed.
const NOT_MODIFIED: &str = "HTTP-304";

/// Whether a failure says nothing but that the service is away.
fn is_away(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::Timeout)
}

impl Layer for Cache {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        let (caller, service, spec) = (Arc::clone(&call.caller), call.entry.service_index, &call.entry.spec);
        if spec.effect != Effect::Read {
            return Box::pin(self.telling(caller, service, async move {
                // However the write ends, it may have happened, unless it was never sent.
                let evicting = self.generations.evicting(&call.caller.tenant, call.entry);
                let result = next.run(call).await;
                if result.as_ref().is_err_and(Error::is_unsent) {
                    evicting.spare();
                }
                result
            }));
        }
        match fresh_for(spec).filter(|_| !call.options.is_fresh && !call.options.is_paced && call.options.if_match.is_none()) {
            Some(fresh_for) => Box::pin(self.telling(caller, service, self.read(call, next, fresh_for))),
            None => next.run(call),
        }
    }
}

fn fresh_for(spec: &Spec) -> Option<Duration> {
    spec.cache.filter(|_| !spec.public).map(|fresh| fresh.min(MAX_FRESH))
}

/// Everything that an answer depends on, each part by its length, so that no two calls read as one.
fn key(call: &Call, generation: u64) -> Key {
    let (caller, request) = (&call.caller, &call.request);
    let mut text = Vec::with_capacity(512);
    let mut add = |part: &[u8]| {
        text.extend_from_slice(&part.len().to_le_bytes());
        text.extend_from_slice(part);
    };
    add(&generation.to_le_bytes());
    add(caller.tenant.as_str().as_bytes());
    add(call.entry.spec.name.as_bytes());
    add(request.path.as_bytes());
    for (name, value) in &request.query {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    add(request.body.as_deref().unwrap_or_default());
    add(if call.entry.spec.shared_in_tenant { b"all" } else { caller.subject.as_bytes() });
    add(&[caller.kind as u8]);
    for role in &caller.roles {
        add(role.as_bytes());
    }
    add(b"may");
    match (&caller.permissions, &caller.credential) {
        (Some(permissions), _) => permissions.iter().for_each(|permission| add(permission.as_bytes())),
        // What the platform alone knows may differ with every token.
        (None, Credential::Bearer(token)) => add(&sha256(token.expose_secret().as_bytes())),
        (None, _) => add(b"?"),
    }
    sha256(&text)
}

#[cfg(test)]
mod tests;
