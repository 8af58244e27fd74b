//! Agents in the database, and the one that every tenant has.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::profile::Profile;
use crate::api::Operation as _;
use crate::api::Timestamp;
use crate::api::agents::List;
use crate::api::arguments::quote;
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;

/// The agent that every tenant has.
pub(super) const BUILT_IN: &str = "agent-assistant";

/// An agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(super) id: String,
    pub(super) version: i64,
    pub(super) profile: Profile,
    pub(super) is_enabled: bool,
    pub(super) created_at: Option<Timestamp>,
    pub(super) updated_at: Option<Timestamp>,
}

impl Agent {
    /// The built-in agent. It is in no row: it is there in each tenant.
    pub(super) fn built_in() -> Self {
        let profile = Profile {
            name: "Assistant".to_owned(),
            description: Some("Answers questions about the data that they come with; every tenant has it.".to_owned()),
            ..Profile::default()
        };
        Self { id: BUILT_IN.to_owned(), version: 1, profile, is_enabled: true, created_at: None, updated_at: None }
    }

    /// Its version as feedback names it.
    pub(crate) fn version(&self) -> String {
        self.version.to_string()
    }
}

const COLUMNS: &str = "id, version, profile, is_enabled, created_at, updated_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Result<Agent>> {
    let profile = serde_json::from_str(row.get_ref(2)?.as_str()?).map_err(Error::internal);
    let (id, version, is_enabled) = (row.get(0)?, row.get(1)?, row.get(3)?);
    let (created_at, updated_at) = (Timestamp::from_millis(row.get(4)?), Timestamp::from_millis(row.get(5)?));
    Ok(profile.map(|profile| Agent { id, version, profile, is_enabled, created_at: Some(created_at), updated_at: Some(updated_at) }))
}

/// An agent of the tenant, if there is one.
pub(crate) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Option<Agent>> {
    if id == BUILT_IN {
        return Ok(Some(Agent::built_in()));
    }
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM agents WHERE tenant_id = ?1 AND id = ?2"))?
        .query_row(params![tenant, id], from_row)
        .optional()?
        .transpose()
}

/// An agent that a path names.
pub(super) fn get(connection: &Connection, tenant: &str, id: &str) -> Result<Agent> {
    find(connection, tenant, id)?.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-AIS-NOT-FOUND", format!("there is no agent {}", quote(id)))
            .hint(format!("{} shows the agents there are.", List::SPEC.name))
    })
}

/// Whether the tenant has an agent.
pub(crate) fn is_known(connection: &Connection, tenant: &str, id: &str) -> Result<bool> {
    if id == BUILT_IN {
        return Ok(true);
    }
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM agents WHERE tenant_id = ?1 AND id = ?2)")?
        .query_row(params![tenant, id], |row| row.get(0))?)
}

/// The agents after an id, by their ids, the built-in one among them.
pub(super) fn list(connection: &Connection, tenant: &str, after: Option<&str>, most: usize) -> Result<Vec<Agent>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM agents WHERE tenant_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3"))?;
    let after = after.unwrap_or_default();
    let rows = statement.query_map(params![tenant, after, i64::try_from(most).unwrap_or(i64::MAX)], from_row)?;
    let mut agents = rows.map(|row| row?).collect::<Result<Vec<_>>>()?;
    if after < BUILT_IN {
        agents.push(Agent::built_in());
        agents.sort_by(|one, other| one.id.cmp(&other.id));
        agents.truncate(most);
    }
    Ok(agents)
}

/// Most agents of a tenant.
const MAX_AGENTS: i64 = 1_000;

/// Keeps a new agent.
pub(super) fn insert(tx: &Tx<'_>, agent: &Agent, text: &str) -> Result<()> {
    let known: i64 = tx.prepare_cached("SELECT count(*) FROM agents WHERE tenant_id = ?1")?.query_row([tx.tenant()], |row| row.get(0))?;
    if known >= MAX_AGENTS {
        let message = format!("the tenant has {MAX_AGENTS} agents, which is as many as there may be");
        return Err(Error::new(Kind::Conflict, "FM-AIS-TOO-MANY-AGENTS", message).hint("Change one of them instead."));
    }
    tx.prepare_cached(
        "INSERT INTO agents (tenant_id, id, version, profile, is_enabled, created_at, created_by, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?6)",
    )?
    .execute(params![tx.tenant(), agent.id, agent.version, text, agent.is_enabled, tx.now().millis(), tx.scope().actor])?;
    Ok(())
}

/// Keeps an agent's new profile as its next version.
pub(super) fn update(tx: &Tx<'_>, agent: &Agent, text: &str) -> Result<()> {
    tx.prepare_cached("UPDATE agents SET version = ?3, profile = ?4, is_enabled = ?5, updated_at = ?6 WHERE tenant_id = ?1 AND id = ?2")?
        .execute(params![tx.tenant(), agent.id, agent.version, text, agent.is_enabled, tx.now().millis()])?;
    Ok(())
}
