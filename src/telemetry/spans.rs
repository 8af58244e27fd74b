//! Where a span of this program stands in its trace.

use tracing::Span;

#[cfg(feature = "otel")]
use super::otlp::export;
use super::trace_context::TraceContext;

/// Says where a span stands that was just created within a parent, and tells the trace in the span's field `trace`.
///
/// A span that is exported has one id: here, at the collector, and in the `traceparent` of what it sends.
#[must_use]
pub fn place(span: &Span, parent: Option<&TraceContext>) -> TraceContext {
    if span.is_disabled() {
        return TraceContext::within(parent);
    }
    let here = exported(span, parent).unwrap_or_else(|| TraceContext::within(parent));
    span.record("trace", here.trace_id());
    here
}

#[cfg(feature = "otel")]
fn exported(span: &Span, parent: Option<&TraceContext>) -> Option<TraceContext> {
    export::place(span, parent)
}

/// Without the feature `otel` no span is exported.
#[cfg(not(feature = "otel"))]
const fn exported(_: &Span, _: Option<&TraceContext>) -> Option<TraceContext> {
    None
}
