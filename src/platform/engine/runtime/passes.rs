//! The passes that can be undone: a row for each completed pass of a node, with what its undoing reads as it was then.

use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::run::{Run, document, parse, size_of};
use crate::api::processes::Node;
use crate::error::{Error, Result};
use crate::platform::database::Tx;
use crate::platform::engine::definition::config::{self, Undo};
use crate::platform::engine::{Engine, Stop};

/// Most bytes of JSON that the rows of an execution hold together.
const MAX_KEPT: usize = 16 * 1024 * 1024;

/// A pass of a node that completed.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The node.
    pub(crate) node: String,
    /// What its undoing reads; none for a pass of before this was kept.
    facts: Option<Facts>,
    /// The execution whose steps are undone instead.
    pub(crate) below: Option<String>,
}

/// What an undoing reads, as it was when the step completed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Facts {
    variables: Map<String, Value>,
    nodes: Map<String, Value>,
    /// The item of a list, where the step worked on one.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    each: Map<String, Value>,
}

impl Engine<'_, '_> {
    /// Keeps what it takes to undo the pass of a node that completes now, if the node says how it is undone.
    pub(crate) fn keep(&mut self, run: &mut Run, node: &Node) -> Result<(), Stop> {
        let Some(undo) = config::undo_of(node)? else { return Ok(()) };
        let mut facts = Facts::default();
        for path in undo.reads()? {
            let (from, into) = match path.first().map(String::as_str) {
                Some("variables") => (&run.state.variables, &mut facts.variables),
                Some("nodes") => (&run.state.results, &mut facts.nodes),
                Some("each") => (&run.each, &mut facts.each),
                _ => continue,
            };
            match path.get(1) {
                Some(name) => into.extend(from.get(name).map(|value| (name.clone(), value.clone()))),
                None => into.clone_from(from),
            }
        }
        run.state.kept += size_of(&facts);
        if run.state.kept > MAX_KEPT {
            return Err(Stop::failed(
                "FM-EES-UNDO-TOO-LARGE",
                format!("what undoing the steps reads would hold more than {MAX_KEPT} bytes; let config.compensate read less"),
            ));
        }
        Ok(add(self.tx, &run.head.id, &node.id, Some(&document(&facts)?), None)?)
    }

    /// As [`Engine::keep`], for a node whose execution below has steps of its own to undo.
    pub(crate) fn keep_below(&mut self, run: &Run, node: &str, below: &str) -> Result<()> {
        if any(self.tx, below)? { add(self.tx, &run.head.id, node, None, Some(below)) } else { Ok(()) }
    }
}

impl Pass {
    /// Does something that sees variables and results as they were in the pass, with what undoing has set since.
    pub(crate) fn seen<T>(&self, run: &mut Run, undo: &Undo, work: impl FnOnce(&Run) -> Result<T, Stop>) -> Result<T, Stop> {
        let Some(facts) = &self.facts else { return work(run) };
        let (variables, results) = (run.state.variables.clone(), run.state.results.clone());
        let undone = run.state.undone.clone().unwrap_or_default();
        for path in undo.reads()? {
            let (now, then) = match path.first().map(String::as_str) {
                Some("variables") => (&mut run.state.variables, &facts.variables),
                Some("nodes") => (&mut run.state.results, &facts.nodes),
                _ => continue,
            };
            let names: Vec<String> = match path.get(1) {
                Some(name) => vec![name.clone()],
                None => now.keys().chain(then.keys()).cloned().collect(),
            };
            for name in names.into_iter().filter(|name| path[0] == "nodes" || !undone.contains(name)) {
                match then.get(&name) {
                    Some(value) => drop(now.insert(name, value.clone())),
                    None => drop(now.remove(&name)),
                }
            }
        }
        run.each.clone_from(&facts.each);
        let outcome = work(run);
        (run.state.variables, run.state.results) = (variables, results);
        outcome
    }
}

fn add(tx: &Tx<'_>, execution: &str, node: &str, facts: Option<&str>, below: Option<&str>) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO execution_undo (tenant_id, execution_id, sequence, node_id, facts, below_id) VALUES (?1, ?2, \
         (SELECT coalesce(max(sequence), 0) + 1 FROM execution_undo WHERE tenant_id = ?1 AND execution_id = ?2), ?3, ?4, ?5)",
    )?
    .execute(params![tx.tenant(), execution, node, facts, below])?;
    Ok(())
}

/// Whether an execution has anything to undo.
pub(crate) fn any(tx: &Tx<'_>, execution: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM execution_undo WHERE tenant_id = ?1 AND execution_id = ?2";
    Ok(tx.prepare_cached(sql)?.exists((tx.tenant(), execution))?)
}

/// The pass that is undone next: the one that completed last.
pub(crate) fn last(tx: &Tx<'_>, execution: &str) -> Result<Option<Pass>> {
    let row: Option<(String, Option<String>, Option<String>)> = tx
        .prepare_cached(
            "SELECT node_id, facts, below_id FROM execution_undo WHERE tenant_id = ?1 AND execution_id = ?2 ORDER BY sequence DESC LIMIT 1",
        )?
        .query_row((tx.tenant(), execution), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    row.map(|(node, facts, below)| Ok(Pass { node, facts: facts.as_deref().map(parse).transpose()?, below })).transpose()
}

/// Forgets the pass that completed last: it is undone.
pub(crate) fn forget_last(tx: &Tx<'_>, execution: &str) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM execution_undo WHERE tenant_id = ?1 AND execution_id = ?2 AND sequence = \
         (SELECT max(sequence) FROM execution_undo WHERE tenant_id = ?1 AND execution_id = ?2)",
    )
    .map_err(Error::from)?
    .execute((tx.tenant(), execution))?;
    Ok(())
}
