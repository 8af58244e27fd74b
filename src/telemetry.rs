//! Logs: to stderr alone, since stdout belongs to the protocol. Secrets are of a type that does not print itself. Beside them
//! what is counted and measured, and where a request stands in its trace.

pub mod metrics;
pub mod otlp;
mod spans;
mod trace_context;
mod trace_state;

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_subscriber::Layer as _;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;
use crate::error::{Error, Kind, Result};

pub use spans::place;
pub use trace_context::TraceContext;

/// Begins logging, and exporting traces where the environment names a collector. A second call in one process changes nothing.
///
/// # Errors
/// A filter that cannot be read.
pub fn init(filter: &str, format: LogFormat, names_tenants: bool) -> Result<()> {
    let Filter(targets) = Filter::read(filter)?;
    let (targets, handle) = reload::Layer::new(targets);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // A program that embeds the crate may have begun logging already: its logger stays.
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets));
    let (has_begun, unexported) = match otlp::layer(&|name| std::env::var(name).ok(), names_tenants) {
        Ok(Some(layer)) => (subscriber.with(layer).try_init().is_ok(), None),
        // An empty layer would be asked about each span.
        Ok(None) => (subscriber.try_init().is_ok(), None),
        Err(error) => (subscriber.try_init().is_ok(), Some(error)),
    };
    if has_begun {
        let _set = IN_FORCE.set(handle);
    }
    if let Some(error) = unexported {
        tracing::warn!(code = error.code(), "no traces are exported: {error}");
    }
    Ok(())
}

/// Exports the traces that are left, for a short time at most, when the program ends.
pub fn flush() {
    #[cfg(feature = "otel")]
    otlp::export::flush();
}

/// The filter that can be replaced, once logging has begun.
static IN_FORCE: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// What is logged.
pub struct Filter(Targets);

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// One that cannot be read.
    pub fn read(filter: &str) -> Result<Self> {
        filter.parse().map(Self).map_err(|error| {
            Error::configuration(Kind::Invalid, "FM-CONFIG-LOG", format!("{filter:?} is not a filter of logs"))
                .hint("Write off, error, warn, info, debug or trace, also by module: warn,flowmaster_mcp=debug.")
                .caused_by(error)
        })
    }

    /// Logs by this filter from now on, if it was this program that began logging.
    pub fn apply(self) {
        if let Some(in_force) = IN_FORCE.get() {
            // The subscriber lives as long as the process does.
            let _replaced = in_force.reload(self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_also_by_module() {
        for filter in ["off", "info", "warn,flowmaster_mcp=debug"] {
            assert!(Filter::read(filter).is_ok(), "{filter}");
        }
        assert_eq!(Filter::read("flowmaster_mcp=loud").err().unwrap().code(), "FM-CONFIG-LOG");
    }
}
