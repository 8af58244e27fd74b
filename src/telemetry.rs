//! Logs: to stderr alone, since stdout belongs to the protocol. Secrets are of a type that does not print itself. Beside them
//! what is counted and measured, and where a request stands in its trace.

pub mod metrics;
mod trace_context;

use std::io::IsTerminal as _;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;
use crate::error::{Error, Kind, Result};

pub use trace_context::TraceContext;

/// Begins logging. A second call in one process changes nothing.
///
/// # Errors
/// A filter that cannot be read.
pub fn init(filter: &str, format: LogFormat) -> Result<()> {
    let targets = read_filter(filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // A program that embeds the crate may have begun logging already: its logger stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
    Ok(())
}

fn read_filter(filter: &str) -> Result<Targets> {
    filter.parse().map_err(|error| {
        Error::configuration(Kind::Invalid, "FM-CONFIG-LOG", format!("{filter:?} is not a filter of logs"))
            .hint("Write off, error, warn, info, debug or trace, also by module: warn,flowmaster_mcp=debug.")
            .caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_also_by_module() {
        for filter in ["off", "info", "warn,flowmaster_mcp=debug"] {
            assert!(read_filter(filter).is_ok(), "{filter}");
        }
        assert_eq!(read_filter("flowmaster_mcp=loud").unwrap_err().code(), "FM-CONFIG-LOG");
    }
}
