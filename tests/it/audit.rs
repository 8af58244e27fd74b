//! The audit log of calls: entries, reads, queues per tenant, outages.

mod calls;
mod outage;
mod queues;
mod reads;

use std::path::Path;

use flowmaster_mcp::server::audit::{self, Backlog};

/// What waits in a data folder.
pub fn backlog(data: &Path) -> Backlog {
    audit::backlog(data).unwrap()
}
