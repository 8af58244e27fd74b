//! Which agents there are: those registered with the AI Agent Service, and the one that every tenant has.

use rusqlite::Connection;

use crate::api::Operation as _;
use crate::api::agents::List;
use crate::api::arguments::quote;
use crate::error::{Error, Kind, Result};
use crate::platform::services::agents;

pub(super) use crate::platform::services::agents::is_known;

/// Returns the version of an agent that a body names; rejects one that the tenant does not have.
pub(super) fn version(connection: &Connection, tenant: &str, id: &str) -> Result<String> {
    agents::find(connection, tenant, id)?.map(|agent| agent.version()).ok_or_else(|| unknown(id))
}

/// Rejects an agent, named in a body, that the tenant does not have.
pub(super) fn must_exist(connection: &Connection, tenant: &str, id: &str) -> Result<()> {
    if is_known(connection, tenant, id)? { Ok(()) } else { Err(unknown(id)) }
}

fn unknown(id: &str) -> Error {
    Error::new(Kind::Invalid, "FM-LMS-UNKNOWN-AGENT", format!("there is no agent {}", quote(id)))
        .field("/agentId", "unknown", "must be the id of a registered agent, such as agent-gpt4")
        .hint(format!("{} shows the agents there are.", List::SPEC.name))
}
