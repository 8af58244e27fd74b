//! What is counted and measured, as Prometheus reads it.
//!
//! An operation's handles are registered at its first call and held from then on, so that a count is one atomic addition and
//! no text is made per call. Labels take values of the catalogue and of this program alone, and where a value comes from
//! outside, as a tenant does, the first so many (`bounded.rs`). Without a page that shows them nothing is counted.

mod bounded;
mod duration;
mod operation;

use std::sync::{Arc, LazyLock, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::api::{Entry, catalogue};
use crate::error::{Error, Result};
use bounded::Bounded;
use duration::Durations;

pub use duration::{Ended, Measured, Method};
pub use operation::{Occupied, OperationMetrics};

/// How long what a host asks for takes, `mcp.server.operation.duration` of the semantic conventions.
const DURATION: &str = "mcp_server_operation_duration_seconds";
/// The bounds of its buckets, in seconds, as the conventions have them.
const BUCKETS: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// How many tenants have figures of their own; those of the others are added up.
const MAX_TENANTS: usize = 1_000;
/// How many codes of refusals are told apart.
const MAX_CODES: usize = 100;

/// Every figure with what it says.
const FIGURES: &[(&str, &str)] = &[
    (DURATION, "Time from a host's request to its answer."),
    (
        "flowmaster_mcp_calls_total",
        "Calls of the platform, their repeated attempts counted once; error_type is the status that a failure stands for.",
    ),
    ("flowmaster_mcp_attempts_total", "Requests sent to the platform."),
    ("flowmaster_mcp_retries_total", "Calls sent again after a failure."),
    (
        "flowmaster_mcp_cache_reads_total",
        "Reads that the cache may answer: hit, miss, shared (waited for an equal read), stale (its service is away).",
    ),
    ("flowmaster_mcp_refusals_total", "Calls that a limit refused: breaker, bulkhead, rate_limit, retry_budget, caller, tenant."),
    ("flowmaster_mcp_http_refusals_total", "Requests over HTTP that were refused before they became a call, by code."),
    ("flowmaster_mcp_tenant_calls_total", "Tool calls by tenant, where telemetry.tenant_label is set."),
    ("flowmaster_mcp_calls_in_flight", "Calls that a service works on."),
    ("flowmaster_mcp_calls_waiting", "Calls that wait for a place at a service (bulkhead)."),
    ("flowmaster_mcp_breaker_state", "Breaker of a service: 0 closed, 1 half open, 2 open; of its instances the worst."),
    ("flowmaster_mcp_events_dropped_total", "Records of Apache Kafka that were dropped: malformed, too_large, no_tenant."),
    ("flowmaster_mcp_audit_outbox_entries", "Audit entries in the outbox: waiting, backing_off (of those that wait), dead."),
    (
        "flowmaster_mcp_webhook_dead_letters",
        "Events that webhooks' receivers did not take and that were given up, by the category of the failure.",
    ),
    ("flowmaster_mcp_audit_lost_entries", "Audit entries that were lost and that no entry tells of yet."),
];

/// The figures. A clone shares them.
#[derive(Clone, Default)]
pub struct Metrics(Option<Arc<Recorded>>);

struct Recorded {
    recorder: PrometheusRecorder,
    page: PrometheusHandle,
    /// By place in the catalogue.
    operations: Box<[OnceLock<Arc<OperationMetrics>>]>,
    /// By [`Method`].
    methods: [Durations; Method::ALL.len()],
    tenants: Option<Bounded<[Counter; 2]>>,
    codes: Bounded<Counter>,
}

impl Metrics {
    /// Figures that are kept; of tenants only where it is asked for.
    ///
    /// # Errors
    /// None, unless the crate that keeps them refuses its own defaults.
    pub fn kept(by_tenant: bool) -> Result<Self> {
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS).map_err(Error::internal)?;
        let recorder = builder.build_recorder();
        for (name, about) in FIGURES {
            let unit = (*name == DURATION).then_some(Unit::Seconds);
            // A description is one for all kinds.
            recorder.describe_counter((*name).into(), unit, (*about).into());
        }
        let page = recorder.handle();
        let operations = catalogue().entries().map(|_| OnceLock::new()).collect();
        let methods = Method::ALL.map(|method| Durations::new(vec![label("mcp_method_name", method.name())]));
        let tenants = by_tenant.then(|| Bounded::new(MAX_TENANTS));
        Ok(Self(Some(Arc::new(Recorded { recorder, page, operations, methods, tenants, codes: Bounded::new(MAX_CODES) }))))
    }

    /// Whether they are kept.
    #[must_use]
    pub const fn are_kept(&self) -> bool {
        self.0.is_some()
    }

    /// The handles of an operation.
    #[must_use]
    pub fn of(&self, entry: &Entry) -> Arc<OperationMetrics> {
        static NONE: LazyLock<Arc<OperationMetrics>> = LazyLock::new(|| Arc::new(OperationMetrics::new(&Metrics::default(), "", "")));
        let known = self.0.as_ref().and_then(|kept| kept.operations.get(catalogue().place(entry.spec.name)?));
        let Some(known) = known else { return Arc::clone(&NONE) };
        Arc::clone(known.get_or_init(|| Arc::new(OperationMetrics::new(self, entry.service.name, entry.spec.name))))
    }

    /// Begins to measure what a host asks for.
    pub fn measure(&self, method: Method) -> Measured {
        Measured::begin(self, method)
    }

    /// Counts a tool call of a tenant.
    pub fn count_tenant(&self, tenant: &str, has_failed: bool) {
        let Some(tenants) = self.0.as_ref().and_then(|kept| kept.tenants.as_ref()) else { return };
        let register = |tenant: &str| {
            ["ok", "failed"].map(|outcome| {
                let labels = vec![Label::new("tenant", tenant.to_owned()), label("outcome", outcome)];
                self.counter("flowmaster_mcp_tenant_calls_total", labels)
            })
        };
        tenants.with(tenant, register, |counters| counters[usize::from(has_failed)].increment(1));
    }

    /// Counts a request over HTTP that was refused before it became a call.
    pub fn count_http_refusal(&self, code: &str) {
        let Some(kept) = &self.0 else { return };
        let register = |code: &str| self.counter("flowmaster_mcp_http_refusals_total", vec![Label::new("code", code.to_owned())]);
        kept.codes.with(code, register, |counter| counter.increment(1));
    }

    /// Counts a record of the bus that was dropped, by the reason.
    pub fn count_dropped_event(&self, reason: &'static str) {
        self.counter("flowmaster_mcp_events_dropped_total", vec![label("reason", reason)]).increment(1);
    }

    /// Sets a figure that is looked up when the page is read.
    pub fn set(&self, name: &'static str, by: Option<(&'static str, &'static str)>, to: f64) {
        self.gauge(name, by.map(|(name, value)| label(name, value)).into_iter().collect()).set(to);
    }

    /// Makes room: measured times are kept one by one until they are added up here or by the page.
    pub fn tidy(&self) {
        if let Some(kept) = &self.0 {
            kept.page.run_upkeep();
        }
    }

    /// The page that Prometheus reads.
    #[must_use]
    pub fn page(&self) -> String {
        self.0.as_ref().map(|kept| kept.page.render()).unwrap_or_default()
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.0.as_ref().map_or_else(Counter::noop, |kept| kept.recorder.register_counter(&Key::from_parts(name, labels), &HERE))
    }

    fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.0.as_ref().map_or_else(Gauge::noop, |kept| kept.recorder.register_gauge(&Key::from_parts(name, labels), &HERE))
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.0.as_ref().map_or_else(Histogram::noop, |kept| kept.recorder.register_histogram(&Key::from_parts(name, labels), &HERE))
    }
}

const HERE: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

const fn label(name: &'static str, value: &'static str) -> Label {
    Label::from_static_parts(name, value)
}

#[cfg(test)]
mod tests;
