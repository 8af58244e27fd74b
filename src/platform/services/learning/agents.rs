//! Which agents there are. As long as the AI Agent Service is not embedded, an agent is known by the feedback on it.
//!
//! Once the service has a table of agents, these three functions ask it, and nothing else here changes.

use rusqlite::{Connection, params};

use crate::api::arguments::quote;
use crate::error::{Error, Kind, Result};

/// Refuses feedback on what cannot be an agent: the platform's ids of agents begin with `agent-`.
pub(super) fn admit(id: &str) -> Result<()> {
    let name = id.strip_prefix("agent-").unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.is_empty() && name.bytes().all(allowed) { Ok(()) } else { Err(unknown(id)) }
}

/// Refuses an agent, named in a body, that the tenant does not have.
pub(super) fn must_exist(connection: &Connection, tenant: &str, id: &str) -> Result<()> {
    if is_known(connection, tenant, id)? { Ok(()) } else { Err(unknown(id)) }
}

/// Whether the tenant has an agent.
pub(super) fn is_known(connection: &Connection, tenant: &str, id: &str) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM feedback WHERE tenant_id = ?1 AND agent_id = ?2)")?
        .query_row(params![tenant, id], |row| row.get(0))?)
}

fn unknown(id: &str) -> Error {
    Error::new(Kind::Invalid, "FM-LMS-UNKNOWN-AGENT", format!("there is no agent {}", quote(id))).field(
        "/agentId",
        "unknown",
        "must be the id of an agent, such as agent-gpt4",
    )
}
