//! Bounds the calls that are in flight to a service at once; a few more wait their turn, and the rest is refused.
//!
//! It stands inside the breaker, which a refusal tells nothing. One tenant has three quarters of the places at most and a
//! short queue of its own, so that its flood refuses nobody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::Service;
use crate::api::ids::TenantId;
use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::client::per_service::PerService;
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::{Occupied, OperationMetrics};

/// Calls of a tenant that may wait at a service.
const MAX_WAITING: usize = 16;
/// How long a call waits its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// When a refused call may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Tenants of a service from which on the idle ones are forgotten.
const MANY_TENANTS: usize = 1_024;

/// See the module.
pub(in crate::client) struct Bulkhead {
    per_tenant: usize,
    services: PerService<Places>,
}

/// The places of a service.
struct Places {
    all: Semaphore,
    tenants: Mutex<HashMap<TenantId, Arc<Share>>>,
}

/// A tenant's share of them.
struct Share {
    places: Semaphore,
    waiting: AtomicUsize,
}

/// A call that waits its turn.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bulkhead {
    /// A bulkhead with so many calls in flight to each service.
    pub(in crate::client) fn new(in_flight: usize) -> Self {
        let in_flight = in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let places = || Places { all: Semaphore::new(in_flight), tenants: Mutex::default() };
        Self { per_tenant: in_flight.saturating_mul(3).div_ceil(4), services: PerService::new(places) }
    }

    fn share(&self, places: &Places, tenant: &TenantId) -> Arc<Share> {
        let mut tenants = places.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = tenants.get(tenant) {
            return Arc::clone(share);
        }
        if tenants.len() >= MANY_TENANTS {
            tenants.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let share = Arc::new(Share { places: Semaphore::new(self.per_tenant), waiting: AtomicUsize::new(0) });
        tenants.insert(tenant.clone(), Arc::clone(&share));
        share
    }
}

impl Layer for Bulkhead {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        // Whoever repeats by itself has few calls in flight.
        if call.options.is_paced {
            return next.run(call);
        }
        let places = self.services.of(call.entry);
        let share = self.share(places, &call.caller.tenant);
        Box::pin(async move {
            // One without the other is given back here: a call that waits holds no place of the service.
            let both = share.places.try_acquire().ok().zip(places.all.try_acquire().ok());
            let _places = match both {
                Some(both) => both,
                None => turn(places, &share, &call.metrics).await.ok_or_else(|| busy(call.entry.service))?,
            };
            let metrics = Arc::clone(&call.metrics);
            let _working = Occupied::raise(&metrics.in_flight);
            next.run(call).await
        })
    }
}

/// Waits until there are places of the tenant and of the service; none if too many wait, or it takes too long.
async fn turn<'a>(places: &'a Places, share: &'a Share, metrics: &OperationMetrics) -> Option<(SemaphorePermit<'a>, SemaphorePermit<'a>)> {
    let before = share.waiting.fetch_add(1, Ordering::Relaxed);
    let _waiting = Waiting(&share.waiting);
    let mut both = None;
    if before < MAX_WAITING {
        let _counted = Occupied::raise(&metrics.waiting);
        let turn = async { Some((share.places.acquire().await.ok()?, places.all.acquire().await.ok()?)) };
        both = tokio::time::timeout(LONGEST_WAIT, turn).await.ok().flatten();
    }
    if both.is_none() {
        metrics.refusals.bulkhead.increment(1);
    }
    both
}

fn busy(service: &Service) -> Error {
    Error::new(
        Kind::RateLimited,
        "FM-MCP-SERVICE-BUSY",
        format!("{} has as many calls in flight as it may; try again in {} s", service.title(), RETRY_AFTER.as_secs()),
    )
    .retry_after(RETRY_AFTER)
    .unsent()
    .conclusive()
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::auth::Caller;
    use crate::client::call::CallOptions;
    use crate::client::layers::scripted::{Scripted, call, list, user};

    fn of_tenant(tenant: &str) -> Arc<Caller> {
        Arc::new(Caller { tenant: tenant.into(), ..(*user("anna", &[])).clone() })
    }

    async fn flood(end: &Scripted, layers: &[Arc<dyn Layer>], caller: &Arc<Caller>, calls: usize) -> Vec<Result<Reply>> {
        join_all((0..calls).map(|_| end.run_through(layers, list(caller)))).await
    }

    #[tokio::test(start_paused = true)]
    async fn some_calls_run_some_wait_and_the_rest_is_refused() {
        let (end, began) = (Scripted::slow(Duration::from_secs(1)), Instant::now());
        let layers: [Arc<dyn Layer>; 1] = [Arc::new(Bulkhead::new(8))];
        let answers = flood(&end, &layers, &of_tenant("one"), 40).await;
        let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert_eq!((refused.len(), end.arrived().len()), (40 - 6 - 16, 6 + 16));
        assert!(refused.iter().all(|error| error.code() == "FM-MCP-SERVICE-BUSY" && error.is_unsent() && error.is_conclusive()));
        assert_eq!(began.elapsed().as_secs(), 4, "six at a time");
        let again = flood(&end, &layers, &of_tenant("one"), 20).await;
        assert!(again.iter().all(Result::is_ok), "all places are free again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_tenant_and_a_full_service_refuse_nobody_else() {
        let end = Scripted::slow(Duration::from_secs(4));
        let layers: [Arc<dyn Layer>; 1] = [Arc::new(Bulkhead::new(8))];
        let (one, two) = (of_tenant("one"), of_tenant("two"));
        let prompt = || call(&one, "prompts_get", &json!({ "id": "prompt-1" }), CallOptions::default());
        let others = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let began = Instant::now();
            let (two, prompt) = tokio::join!(flood(&end, &layers, &two, 2), end.run_through(&layers, prompt()));
            (two.iter().all(Result::is_ok) && prompt.is_ok(), began.elapsed())
        };
        let (flooded, (served, took)) = tokio::join!(flood(&end, &layers, &one, 100), others);
        assert!(served && took == Duration::from_secs(4), "{took:?}");
        assert!(flooded.iter().any(Result::is_err));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_in_time_and_a_cancelled_wait_leave_nothing_behind() {
        let end = Scripted::slow(Duration::from_secs(20));
        let bulkhead = Arc::new(Bulkhead::new(1));
        let layers: [Arc<dyn Layer>; 1] = [Arc::clone(&bulkhead) as Arc<dyn Layer>];
        let one = of_tenant("one");
        let answers = flood(&end, &layers, &one, 3).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 2);
        let cancelled = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _cancelled = tokio::time::timeout(Duration::from_secs(1), end.run_through(&layers, list(&one))).await;
        };
        tokio::join!(end.run_through(&layers, list(&one)), cancelled).0.unwrap();
        let places = bulkhead.services.of(list(&one).entry);
        assert_eq!((places.all.available_permits(), bulkhead.share(places, &one.tenant).waiting.load(Ordering::Relaxed)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_tenants_are_forgotten() {
        let (end, bulkhead) = (Scripted::default(), Arc::new(Bulkhead::new(8)));
        let layers: [Arc<dyn Layer>; 1] = [Arc::clone(&bulkhead) as Arc<dyn Layer>];
        for index in 0..3_000 {
            end.run_through(&layers, list(&of_tenant(&format!("tenant-{index}")))).await.unwrap();
        }
        let places = bulkhead.services.of(list(&of_tenant("one")).entry);
        assert!(places.tenants.lock().unwrap().len() <= MANY_TENANTS);
    }
}
