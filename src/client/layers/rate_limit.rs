//! Keeps to the limits that the platform teaches by its `RateLimit` headers, per service and tenant.
//!
//! It stands inside retry, so that each attempt pays, and inside the breaker, which a refusal tells nothing. A refused
//! attempt never left: `retry` waits for its turn if the call has the time.

mod headers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::HeaderMap;
use tokio::time::Instant;

use crate::api::ids::TenantId;
use crate::api::{Entry, Service};
use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::client::per_service::PerService;
use crate::error::{Error, Kind, Result};
use headers::Policy;

/// Tenants of a service whose limits are remembered; beyond them all are taught again.
const MAX_TENANTS: usize = 4_096;

/// The limits that were taught.
pub(in crate::client) struct Limits {
    /// Whether any were: a platform without limits costs nothing.
    are_taught: AtomicBool,
    services: PerService<Mutex<HashMap<TenantId, Limit>>>,
}

/// What a tenant may at a service.
#[derive(Default)]
struct Limit {
    policy: Option<(Policy, DefaultDirectRateLimiter)>,
    /// Until when there are no calls left.
    until: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { are_taught: AtomicBool::new(false), services: PerService::new(Mutex::default) }
    }
}

impl Limits {
    /// Learns from an answer's headers.
    pub(in crate::client) fn learn(&self, entry: &Entry, tenant: &TenantId, headers: &HeaderMap) {
        if !headers.contains_key("ratelimit-policy") && !headers.contains_key("ratelimit") {
            return;
        }
        let lesson = headers::read(headers);
        if lesson.policy.is_none() && lesson.pause.is_none() {
            return;
        }
        let mut tenants = self.tenants(entry);
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(tenant) {
            tenants.clear();
        }
        let limit = tenants.entry(tenant.clone()).or_default();
        if let Some(pause) = lesson.pause {
            limit.until = Some(Instant::now() + pause);
        }
        if let Some(policy) = lesson.policy
            && limit.policy.as_ref().is_none_or(|(known, _)| *known != policy)
        {
            limit.policy = Quota::with_period(policy.window / policy.calls.get())
                .map(|quota| (policy, RateLimiter::direct(quota.allow_burst(policy.calls))));
        }
        self.are_taught.store(true, Ordering::Release);
    }

    /// Pays for an attempt, or says when it may come again.
    fn pay(&self, call: &Call) -> Result<(), Duration> {
        if !self.are_taught.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut tenants = self.tenants(call.entry);
        let Some(limit) = tenants.get_mut(&call.caller.tenant) else { return Ok(()) };
        let now = Instant::now();
        if let Some(until) = limit.until.filter(|until| *until > now) {
            return Err(until - now);
        }
        match &limit.policy {
            Some((_, limiter)) => limiter.check().map_err(|refused| refused.wait_time_from(limiter.clock().now())),
            None => Ok(()),
        }
    }

    fn tenants(&self, entry: &Entry) -> MutexGuard<'_, HashMap<TenantId, Limit>> {
        self.services.of(entry).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(in crate::client) struct RateLimit(pub(in crate::client) Arc<Limits>);

impl Layer for RateLimit {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        match self.0.pay(&call) {
            Ok(()) => next.run(call),
            Err(wait) => {
                call.metrics.refusals.rate_limit.increment(1);
                Box::pin(std::future::ready(Err(limited(call.entry.service, wait))))
            }
        }
    }
}

fn limited(service: &Service, wait: Duration) -> Error {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Error::new(
        Kind::RateLimited,
        "FM-MCP-RATE-LIMITED",
        format!("the tenant has no calls of {} left; try again in {seconds} s", service.title()),
    )
    .retry_after(Duration::from_secs(seconds))
    .unsent()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::Caller;
    use crate::client::call::CallOptions;
    use crate::client::layers::deadline::Deadline;
    use crate::client::layers::retry::Retry;
    use crate::client::layers::scripted::{Scripted, call, list, user};

    fn taught(by: &Call, name: &'static str, value: &'static str) -> Arc<Limits> {
        let limits = Arc::new(Limits::default());
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        limits.learn(by.entry, &by.caller.tenant, &headers);
        limits
    }

    #[tokio::test(start_paused = true)]
    async fn a_taught_policy_holds_for_its_tenant_and_service_alone() {
        let anna = user("anna", &[]);
        let end = Scripted::default();
        let limits = taught(&list(&anna), "ratelimit-policy", "\"default\";q=2;w=3600");
        let layers: [Arc<dyn Layer>; 1] = [Arc::new(RateLimit(limits))];
        for _ in 0..2 {
            end.run_through(&layers, list(&anna)).await.unwrap();
        }
        let refused = end.run_through(&layers, list(&anna)).await.unwrap_err();
        assert_eq!((refused.code(), refused.kind(), refused.is_unsent()), ("FM-MCP-RATE-LIMITED", Kind::RateLimited, true));
        assert!(refused.when_to_retry().is_some_and(|wait| wait.as_secs() > 1_700 && wait.as_secs() <= 1_800), "{refused:?}");
        let other = Arc::new(Caller { tenant: "tenant-2".into(), ..(*anna).clone() });
        for _ in 0..5 {
            end.run_through(&layers, list(&other)).await.unwrap();
            let prompt = call(&anna, "prompts_get", &json!({ "id": "prompt-1" }), CallOptions::default());
            end.run_through(&layers, prompt).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_allowance_is_waited_for_if_the_call_has_the_time() {
        for (pause, waited) in [("\"default\";r=0;t=20", true), ("\"default\";r=0;t=90", false)] {
            let (anna, end, began) = (user("anna", &[]), Scripted::default(), Instant::now());
            let limit = RateLimit(taught(&list(&anna), "ratelimit", pause));
            let layers: [Arc<dyn Layer>; 3] = [Arc::new(Deadline(Duration::from_mins(1))), Arc::new(Retry::new(4, false)), Arc::new(limit)];
            let answered = end.run_through(&layers, list(&anna)).await;
            assert_eq!((answered.is_ok(), end.arrived().len(), began.elapsed().as_secs() >= 20), (waited, usize::from(waited), waited));
        }
    }

    #[test]
    fn the_limits_of_very_many_tenants_are_not_kept() {
        let limits = Limits::default();
        let (entry, headers) =
            (list(&user("anna", &[])).entry, HeaderMap::from_iter([("ratelimit".parse().unwrap(), "a;r=0;t=9".parse().unwrap())]));
        for index in 0..10_000 {
            limits.learn(entry, &format!("tenant-{index}").as_str().into(), &headers);
        }
        assert!(limits.tenants(entry).len() <= MAX_TENANTS);
    }
}
