//! Proposals for the process designer: which variable of a process fills which field of the integrations it calls.

use rusqlite::Connection;
use serde_json::Value;

use super::mappings::{self, Slot};
use super::store;
use super::values::ValueType;
use crate::api::processes::{NodeKind, SuggestedMapping};
use crate::error::Result;
use crate::platform::engine::definition::Definition;

/// Most nodes whose integrations are looked at.
const MAX_NODES: usize = 50;

/// Proposes which variables fill the fields of integrations whose data was discovered, each target as `node.field`.
pub(crate) fn suggest_for_process(connection: &Connection, tenant: &str, definition: &Definition) -> Result<Vec<SuggestedMapping>> {
    let variables: Vec<Slot> = definition
        .variables
        .iter()
        .map(|variable| Slot { name: variable.name.clone(), kind: variable.kind.as_deref().and_then(ValueType::of_name) })
        .collect();
    let mut suggested = Vec::new();
    for node in definition.nodes.iter().filter(|node| node.kind == NodeKind::Integration).take(MAX_NODES) {
        let Some(integration) = node.config.get("integrationId").and_then(Value::as_str) else { continue };
        let Some(known) = store::latest_of(connection, tenant, integration)? else { continue };
        for mut mapping in mappings::suggest(&variables, &Slot::of_profile(&known.profile)) {
            mapping.target.insert_str(0, &format!("{}.", node.id));
            suggested.push(mapping);
        }
    }
    Ok(suggested)
}
