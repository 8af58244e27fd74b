//! The handles of one operation.

use std::sync::OnceLock;

use metrics::{Counter, Gauge, Label};

use super::duration::{Durations, Method};
use super::{Metrics, label};
use crate::error::Kind;

/// The handles of one operation.
pub struct OperationMetrics {
    calls: Calls,
    /// Requests that were sent.
    pub attempts: Counter,
    /// Calls that were sent again.
    pub retries: Counter,
    /// How the cache answered.
    pub cache: CacheReads,
    /// Which limit refused.
    pub refusals: Refusals,
    /// Calls that the service works on.
    pub in_flight: Gauge,
    /// Calls that wait for a place at the service.
    pub waiting: Gauge,
    pub(super) durations: Durations,
}

/// Reads that the cache may answer.
pub struct CacheReads {
    /// Answered at once.
    pub hits: Counter,
    /// Asked of the platform.
    pub misses: Counter,
    /// Answered by an equal read that was under way.
    pub shared: Counter,
    /// Answered by an older answer, since the service is away.
    pub stale: Counter,
}

/// Calls that a limit refused.
pub struct Refusals {
    /// The service does not answer.
    pub breaker: Counter,
    /// The service has enough in flight.
    pub bulkhead: Counter,
    /// The platform's limit is used up.
    pub rate_limit: Counter,
    /// The service has had its share of repeated attempts.
    pub retry_budget: Counter,
    /// The caller's limit is used up.
    pub caller: Counter,
    /// The tenant's limit is used up.
    pub tenant: Counter,
}

/// Calls by how they ended; a failure has a counter from its first time on.
struct Calls {
    metrics: Metrics,
    labels: Vec<Label>,
    well: Counter,
    failed: [OnceLock<Counter>; Kind::ALL.len()],
}

impl OperationMetrics {
    pub(super) fn new(metrics: &Metrics, service: &'static str, operation: &'static str) -> Self {
        let labels = vec![label("service", service), label("operation", operation)];
        let counter = |name, more: Option<Label>| metrics.counter(name, labels.iter().cloned().chain(more).collect());
        let cache = |result| counter("flowmaster_mcp_cache_reads_total", Some(label("result", result)));
        let refusals = |limit| counter("flowmaster_mcp_refusals_total", Some(label("limit", limit)));
        let gauge = |name| metrics.gauge(name, vec![label("service", service)]);
        Self {
            calls: Calls {
                metrics: metrics.clone(),
                labels: labels.clone(),
                well: counter("flowmaster_mcp_calls_total", None),
                failed: Default::default(),
            },
            attempts: counter("flowmaster_mcp_attempts_total", None),
            retries: counter("flowmaster_mcp_retries_total", None),
            cache: CacheReads { hits: cache("hit"), misses: cache("miss"), shared: cache("shared"), stale: cache("stale") },
            refusals: Refusals {
                breaker: refusals("breaker"),
                bulkhead: refusals("bulkhead"),
                rate_limit: refusals("rate_limit"),
                retry_budget: refusals("retry_budget"),
                caller: refusals("caller"),
                tenant: refusals("tenant"),
            },
            in_flight: gauge("flowmaster_mcp_calls_in_flight"),
            waiting: gauge("flowmaster_mcp_calls_waiting"),
            durations: Durations::new(vec![
                label("mcp_method_name", Method::ToolsCall.name()),
                label("gen_ai_tool_name", operation),
                label("service", service),
            ]),
        }
    }

    /// Counts a call by how it ended.
    pub fn count_call(&self, failure: Option<Kind>) {
        let Some(kind) = failure else { return self.calls.well.increment(1) };
        let register = || {
            let error_type = Label::new("error_type", kind.status().to_string());
            self.calls.metrics.counter("flowmaster_mcp_calls_total", self.calls.labels.iter().cloned().chain([error_type]).collect())
        };
        self.calls.failed[kind as usize].get_or_init(register).increment(1);
    }
}

/// One more of something, until it is dropped.
pub struct Occupied<'a>(&'a Gauge);

impl<'a> Occupied<'a> {
    /// Adds one.
    #[must_use]
    pub fn raise(gauge: &'a Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Occupied<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
