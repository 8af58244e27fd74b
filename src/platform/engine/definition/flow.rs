//! How tokens move: along the first edge whose condition holds, along all of them at a fork, and together at a join.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::MAX_BRANCHES;
use crate::api::processes::Node;
use crate::platform::engine::expressions::conditions::Expression;
use crate::platform::engine::runtime::history;
use crate::platform::engine::runtime::run::{MAX_VARIABLES, Run, Token, Wait, size_of};
use crate::platform::engine::{Engine, Stop};

/// Longest result that the history keeps as it is, in bytes of JSON.
const MAX_NOTED: usize = 16 * 1024;

impl Engine<'_, '_> {
    /// A node is done: notes its result and moves the token on.
    pub(crate) fn leave(&mut self, run: &mut Run, place: usize, node: &Node, result: Value, forks: bool) -> Result<(), Stop> {
        run.state.node_states.insert(node.id.clone(), json!("completed"));
        let mut data = json!({});
        if !result.is_null() {
            let length = size_of(&result);
            data["result"] = if length > MAX_NOTED { json!({ "bytes": length }) } else { result.clone() };
            run.state.results.insert(node.id.clone(), result);
            if size_of(&run.state.results) > MAX_VARIABLES {
                return Err(Stop::failed(
                    "FM-EES-VARIABLES-TOO-LARGE",
                    format!("the results of the nodes would hold more than {MAX_VARIABLES} bytes"),
                ));
            }
        }
        history::append(self.tx, &run.head.id, "node.completed", Some(&node.id), data)?;
        if node.config.contains_key("compensate") {
            run.state.undo.push(node.id.clone());
        }
        let ways: Vec<(usize, String)> = if forks {
            run.plan.leaving(&node.id).map(|(edge, to)| (edge, to.to.clone())).collect()
        } else {
            choose(run, &node.id)?.into_iter().collect()
        };
        if run.state.tokens.len() + ways.len() > MAX_BRANCHES {
            return Err(Stop::failed(
                "FM-EES-TOO-MANY-BRANCHES",
                format!("more than {MAX_BRANCHES} branches would run side by side; join them before they divide again"),
            ));
        }
        run.state.tokens.remove(place);
        run.state.tokens.extend(ways.into_iter().map(|(edge, to)| Token { node: to, via: Some(edge), wait: Wait::Nothing }));
        Ok(())
    }

    /// A token came to a gateway that joins: it waits, until there is one from every side.
    pub(crate) fn join(&mut self, run: &mut Run, place: usize, node: &Node) -> Result<(), Stop> {
        run.state.tokens[place].wait = Wait::Branches;
        run.state.node_states.insert(node.id.clone(), json!("waiting"));
        // The first token of each side.
        let mut sides = HashSet::new();
        let joins =
            |token: &Token| token.node == node.id && token.wait == Wait::Branches && token.via.is_some_and(|side| sides.insert(side));
        let arrived: Vec<usize> =
            run.state.tokens.iter().map(joins).enumerate().filter_map(|(place, joins)| joins.then_some(place)).collect();
        if arrived.len() < run.plan.entering(&node.id).len() {
            return Ok(());
        }
        for token in arrived.into_iter().rev() {
            run.state.tokens.remove(token);
        }
        run.state.tokens.push(Token { node: node.id.clone(), via: None, wait: Wait::Nothing });
        let last = run.state.tokens.len() - 1;
        self.leave(run, last, node, Value::Null, true)
    }
}

/// The connection that is taken from a node: the first whose condition holds, or else the one without.
fn choose(run: &Run, node: &str) -> Result<Option<(usize, String)>, Stop> {
    let mut otherwise = None;
    let mut asked = Vec::new();
    for (place, edge) in run.plan.leaving(node) {
        match &edge.condition {
            None => {
                otherwise.get_or_insert((place, edge.to.clone()));
            }
            Some(condition) => {
                if Expression::compile(condition)?.holds(run.facts())? {
                    return Ok(Some((place, edge.to.clone())));
                }
                asked.push(condition.clone());
            }
        }
    }
    if otherwise.is_none() && !asked.is_empty() {
        let message = format!("no way leads on from {node}: none of these holds: {}", asked.join("; "));
        return Err(Stop::failed("FM-EES-NO-WAY", message));
    }
    Ok(otherwise)
}
