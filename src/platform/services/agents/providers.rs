//! The providers of language models: which have a model, whose turn it is, and another one where the first fails.

mod anthropic;
mod health;
mod openai;
mod post;
pub(super) mod talk;

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::options::{Agents, Provider};
use crate::api::Timestamp;
use crate::api::agents;
use crate::api::arguments::quote;
use crate::api::near::nearest;
use crate::error::{Error, Kind, Result};
use crate::platform::clock::Clock;

use health::Health;
use talk::{Cause, Failure, Inquiry, Reply, Sink};

/// Calls of providers at once, of all tenants.
const AT_ONCE: usize = 64;
/// Name of the model where there are no providers.
pub(super) const LOCAL: &str = "local-rules";

/// All providers.
#[derive(Debug)]
pub(super) struct Pool {
    providers: Vec<Provider>,
    healths: Mutex<Vec<Health>>,
    permits: Semaphore,
    timeout: Duration,
    /// The clients for this machine and for others, made at the first need.
    clients: [OnceLock<reqwest::Client>; 2],
}

/// A model, and the providers that have it; none of them for the local rules.
pub(super) struct Served<'p> {
    pub(super) model: String,
    pool: &'p Pool,
    places: Vec<usize>,
}

impl Served<'_> {
    /// Whether the local rules answer.
    pub(super) fn is_local(&self) -> bool {
        self.pool.providers.is_empty()
    }

    /// The provider that would answer first as far as weight and health do not say otherwise.
    pub(super) fn provider(&self) -> agents::Provider {
        let first = self.places.first().and_then(|place| self.pool.providers.get(*place));
        first.map_or(agents::Provider::LocalRules, |provider| provider.kind.name())
    }

    /// Whether anything would answer.
    pub(super) fn is_healthy(&self, now: Timestamp) -> bool {
        let healths = self.pool.healths.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_local() || self.places.iter().any(|place| healths.get(*place).is_some_and(|health| health.is_good(now)))
    }
}

impl Pool {
    /// The providers of a configuration, all of good health.
    pub(super) fn new(options: &Agents) -> Self {
        Self {
            providers: options.providers.clone(),
            healths: Mutex::new(vec![Health::default(); options.providers.len()]),
            permits: Semaphore::new(AT_ONCE),
            timeout: options.timeout,
            clients: [OnceLock::new(), OnceLock::new()],
        }
    }

    /// Who has a model, or the default one where none is named. Without providers the local rules stand in for any.
    pub(super) fn served(&self, model: Option<&str>) -> Result<Served<'_>> {
        let default = self.providers.first().and_then(|provider| provider.models.first()).map_or(LOCAL, String::as_str);
        if self.providers.is_empty() {
            return Ok(Served { model: LOCAL.to_owned(), pool: self, places: Vec::new() });
        }
        let model = model.unwrap_or(default);
        let has = |provider: &Provider| provider.models.iter().any(|known| known == model);
        let places: Vec<usize> = self.providers.iter().enumerate().filter(|(_, provider)| has(provider)).map(|(place, _)| place).collect();
        if places.is_empty() {
            let mut known: Vec<&str> = self.providers.iter().flat_map(|provider| &provider.models).map(String::as_str).collect();
            known.sort_unstable();
            known.dedup();
            let near = nearest(model, &known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            known.truncate(20);
            let detail = format!("is {}; this platform has {}{near}", quote(model), known.join(", "));
            return Err(Error::new(Kind::Invalid, "FM-AIS-UNKNOWN-MODEL", "no provider of this platform has the model")
                .field("/model", "unknown", detail)
                .hint("Leave `model` out for the agent's own, or name one of those."));
        }
        Ok(Served { model: model.to_owned(), pool: self, places })
    }

    /// Asks a model: the provider whose turn it is, and the next ones where it fails before it said anything.
    pub(super) async fn ask(
        &self,
        served: &Served<'_>,
        inquiry: &Inquiry,
        clock: &dyn Clock,
        sink: Option<&Sink>,
    ) -> Result<(Reply, agents::Provider), Failure> {
        let _permit = self.permits.try_acquire().map_err(|_| Failure::new(Cause::Busy, "too many calls run at once"))?;
        let weights: Vec<(usize, u32)> =
            served.places.iter().filter_map(|place| Some((*place, self.providers.get(*place)?.weight))).collect();
        let order = health::order(&mut self.healths(), &weights, clock.now());
        let mut last = None;
        for place in order {
            let Some(provider) = self.providers.get(place) else { continue };
            let mut has_spoken = false;
            let answered = match self.client(provider) {
                Ok(client) => post::ask(client, provider, inquiry, self.timeout, sink, &mut has_spoken).await,
                Err(detail) => Err(Failure::new(Cause::Broken, detail)),
            };
            let failure = match answered {
                Ok(reply) => {
                    self.note(place, Health::succeeded);
                    return Ok((reply.with_estimated_usage(inquiry), provider.kind.name()));
                }
                Err(failure) => failure,
            };
            let now = clock.now();
            self.note(place, |health| health.failed(failure.cause, now));
            if !matches!(failure.cause, Cause::Cancelled) {
                tracing::warn!(provider = provider.name, cause = ?failure.cause, detail = failure.detail, "a language model did not answer");
            }
            if has_spoken || matches!(failure.cause, Cause::Refused | Cause::Cancelled) {
                return Err(failure);
            }
            last = Some(failure);
        }
        Err(last.unwrap_or_else(|| {
            let (healths, now) = (self.healths(), clock.now());
            let soonest = served.places.iter().filter_map(|place| healths.get(*place)).map(|health| health.out_for(now)).min();
            Failure::new(Cause::Down(soonest.unwrap_or_default()), "every provider failed lately")
        }))
    }

    fn healths(&self) -> std::sync::MutexGuard<'_, Vec<Health>> {
        self.healths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, place: usize, change: impl FnOnce(&mut Health)) {
        if let Some(health) = self.healths().get_mut(place) {
            change(health);
        }
    }

    fn client(&self, provider: &Provider) -> Result<&reqwest::Client, String> {
        let is_here = reqwest::Url::parse(&provider.url).is_ok_and(|url| crate::io::outbound::is_loopback(&url));
        let [here, elsewhere] = &self.clients;
        let place = if is_here { here } else { elsewhere };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let client = crate::io::outbound::client(is_here)
            .connect_timeout(self.timeout)
            .build()
            .map_err(|error| format!("no client can be made: {error}"))?;
        Ok(place.get_or_init(|| client))
    }
}
