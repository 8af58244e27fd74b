//! Where traces go, which OpenTelemetry's own variables say.

use super::Finding;
use crate::telemetry::otlp::Collector;

/// Where traces go, if the environment names a collector.
pub(super) fn exported() -> Option<Finding> {
    match Collector::read(&|name| std::env::var(name).ok()) {
        Ok(collector) => collector.map(|collector| Finding::good("traces", format!("go to {} by OTLP", collector.origin()))),
        Err(error) => {
            Some(Finding::care("traces", format!("are not exported: {}", error.message()), error.next_step().unwrap_or_default()))
        }
    }
}
