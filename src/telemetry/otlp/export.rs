//! Sends spans to the collector: in batches, by a thread of its own, from a bounded queue; what does not fit is dropped.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceState, TracerProvider as _};
use opentelemetry::{Context, KeyValue, SpanId, TraceId, Value};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::{Builder, Runtime};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::{Collector, unexported};
use crate::error::{Error, Result};
use crate::io::outbound;
use crate::telemetry::trace_context::TraceContext;

/// What the program is called unless OTEL_SERVICE_NAME says otherwise.
const SERVICE: &str = env!("CARGO_PKG_NAME");
/// Longest that the collector is waited for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that the end of the program waits for the last batch.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Characters of an attribute; a host's id of a request may have any number.
const MAX_ATTRIBUTE: usize = 200;

/// Attributes that are exported under their own names.
const EXPORTED: &[&str] = &[
    "error.type",
    "gen_ai.operation.name",
    "gen_ai.tool.name",
    "http.request.method",
    "http.request.resend_count",
    "http.response.status_code",
    "jsonrpc.request.id",
    "mcp.method.name",
    "mcp.protocol.version",
    "network.transport",
    "url.template",
];

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// The layer that hands spans of this program to the exporter. Events stay in the log.
pub(super) fn layer<S>(collector: &Collector, names_tenants: bool) -> Result<impl Layer<S> + use<S>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // The connection would be old at the next batch, since nothing drives it in between.
    let client = outbound::client(outbound::is_loopback(&collector.url)).timeout(REQUEST_TIMEOUT).pool_max_idle_per_host(0);
    let inner = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(client.build().map_err(Error::internal)?)
        .build()
        .map_err(|error| unexported(error.to_string()).hint("Correct the OTEL_EXPORTER_OTLP_ variables."))?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::internal)?;
    let exporter = Exporter { inner, runtime, names_tenants, is_failing: AtomicBool::new(false) };
    let provider = SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SERVICE))
        .with_context_activation(false)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let _set = PROVIDER.set(provider);
    let is_ours =
        filter_fn(|about| about.is_span() && *about.level() <= Level::DEBUG && about.target().starts_with(env!("CARGO_CRATE_NAME")));
    Ok(layer.with_filter(is_ours.with_max_level_hint(LevelFilter::DEBUG)))
}

/// Sends what is left. After this nothing is exported any more.
pub(in crate::telemetry) fn flush() {
    if let Some(Err(error)) = PROVIDER.get().map(|provider| provider.shutdown_with_timeout(FLUSH_TIMEOUT)) {
        tracing::debug!(%error, "the last traces were not exported");
    }
}

/// Says where a span stands, if it is exported, after its parent was told.
pub(in crate::telemetry) fn place(span: &Span, parent: Option<&TraceContext>) -> Option<TraceContext> {
    let around = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(context_of(parent)));
    // It fails where there is no collector.
    span.set_parent(around).ok()?;
    let context = span.context();
    let here = context.span().span_context().clone();
    here.is_valid().then(|| TraceContext {
        trace: u128::from_be_bytes(here.trace_id().to_bytes()),
        span: u64::from_be_bytes(here.span_id().to_bytes()),
        flags: u8::from(here.is_sampled()),
        is_remote: false,
        state: parent.and_then(|parent| parent.state.clone()),
    })
}

fn context_of(place: &TraceContext) -> SpanContext {
    let state = place.state().and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    SpanContext::new(TraceId::from(place.trace), SpanId::from(place.span), TraceFlags::new(place.flags), place.is_remote, state)
}

fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version.clone());
    let known = builder.build();
    let is_named = known.get(&"service.name".into()).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named { known } else { Resource::builder().with_attribute(version).with_service_name(SERVICE).build() }
}

/// The exporter behind the queue: names spans by the conventions and drops all attributes but those of a list.
#[derive(Debug)]
struct Exporter {
    inner: opentelemetry_otlp::SpanExporter,
    /// What requests run on: the queue's thread has no runtime, and the program's may have ended by the last batch.
    runtime: Runtime,
    names_tenants: bool,
    is_failing: AtomicBool,
}

impl SpanExporter for Exporter {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &mut batch {
            shape(span, self.names_tenants);
        }
        let exported = self.runtime.block_on(self.inner.export(batch));
        match (&exported, self.is_failing.swap(exported.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => tracing::warn!(%error, "the collector does not take traces; they are dropped until it does"),
            (Ok(()), true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Gives a span name, kind and status by the conventions for MCP and HTTP, and its attributes bounds.
fn shape(span: &mut SpanData, names_tenants: bool) {
    let text = |key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        found.map(|attribute| attribute.value.as_str().into_owned()).unwrap_or_default()
    };
    let (kind, name) = match &*span.name {
        "execute_tool" => (SpanKind::Server, format!("{} {}", text("mcp.method.name"), text("gen_ai.tool.name"))),
        "attempt" => (SpanKind::Client, format!("{} {}", text("http.request.method"), text("url.template"))),
        name => (SpanKind::Internal, format!("{name} {}", text("operation"))),
    };
    if !text("error.type").is_empty() {
        span.status = Status::Error { description: Cow::Borrowed("") };
    }
    (span.span_kind, span.name) = (kind, name.trim_end().to_owned().into());
    span.attributes.retain_mut(|attribute| {
        match attribute.key.as_str() {
            "operation" => attribute.key = "flowmaster.operation".into(),
            "tenant" if names_tenants => attribute.key = "flowmaster.tenant".into(),
            known if EXPORTED.contains(&known) => {}
            _ => return false,
        }
        if let Value::String(text) = &attribute.value
            && let Some((end, _)) = text.as_str().char_indices().nth(MAX_ATTRIBUTE)
        {
            attribute.value = text.as_str()[..end].to_owned().into();
        }
        true
    });
}
