//! What each statement cost, for the log at the level `trace`: how to find one that reads more than it answers with.

use std::path::Path;

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};

use crate::error::Result;

/// The module that a filter of logs names: `flowmaster_mcp::sql=trace`.
const TARGET: &str = "flowmaster_mcp::sql";

/// Has the log told of a connection's statements, without their values.
///
/// The counts of a prepared statement go on from run to run.
pub(super) fn tell(connection: &mut Connection, file: &Path) -> Result<()> {
    // SQLite would read the clock for each statement.
    if !tracing::enabled!(target: TARGET, tracing::Level::TRACE) {
        return Ok(());
    }
    let file = file.to_owned();
    let tell = move |event: TraceEvent<'_>| {
        let TraceEvent::Profile(statement, took) = event else { return };
        tracing::trace!(
            target: TARGET,
            database = %file.display(),
            runs = statement.get_status(StatementStatus::Run),
            steps = statement.get_status(StatementStatus::VmStep),
            scanned = statement.get_status(StatementStatus::FullscanStep),
            micros = took.as_micros(),
            sql = %statement.sql(),
        );
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(tell))?;
    Ok(())
}
