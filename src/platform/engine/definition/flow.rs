//! How tokens move: along the first edge whose condition holds, along all of them at a fork, and together at a join.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value, json};

use super::MAX_BRANCHES;
use super::config::{self, Mode, Step};
use super::exits::Exit;
use crate::api::processes::Node;
use crate::error::Result;
use crate::platform::engine::expressions::conditions::Expression;
use crate::platform::engine::runtime::history;
use crate::platform::engine::runtime::run::{MAX_VARIABLES, Run, Token, Wait, size_of};
use crate::platform::engine::{Engine, Stop};

impl Engine<'_, '_> {
    /// A node is done: notes its result and moves the token on.
    pub(crate) fn leave(&mut self, run: &mut Run, place: usize, node: &Node, result: Value) -> Result<(), Stop> {
        let mut data = json!({});
        if !result.is_null() {
            data["result"] = history::noted(&result);
            run.state.results.insert(node.id.clone(), result);
            if size_of(&run.state.results) > MAX_VARIABLES {
                return Err(Stop::failed(
                    "FM-EES-VARIABLES-TOO-LARGE",
                    format!("the results of the nodes would hold more than {MAX_VARIABLES} bytes"),
                ));
            }
        }
        history::append(self.tx, &run.head.id, "node.completed", Some(&node.id), data)?;
        // Items were kept one by one.
        if !node.config.contains_key("forEach") {
            self.keep(run, node)?;
        }
        run.state.tokens[place].wait = Wait::Leaving;
        go(run, place)
    }

    /// Moves a token on by a way out beside the connections; false where the node has none.
    pub(crate) fn exit(&mut self, run: &mut Run, place: usize, exit: Exit, result: Value) -> Result<bool> {
        let node = run.state.tokens[place].node.clone();
        let Some((edge, to)) = run.plan.exit(&node, exit) else { return Ok(false) };
        let token = Token::at(to.to_owned(), Some(edge));
        let place = self.close_round(run, place)?;
        run.state.results.insert(node, result);
        run.state.tokens.remove(place);
        run.state.tokens.push(token);
        Ok(true)
    }

    /// Joins the branches at a gateway to which no other branch can come any more; false where there is none.
    pub(crate) fn join_present(&mut self, run: &mut Run) -> Result<bool> {
        let waits = |token: &Token, node: &str| token.wait == Wait::Branches && token.node == node;
        let gateways: BTreeSet<&str> =
            run.state.tokens.iter().filter(|token| token.wait == Wait::Branches).map(|token| token.node.as_str()).collect();
        let ready = gateways.into_iter().find(|gateway| {
            run.plan.node(gateway).and_then(config::mode_of) == Some(Mode::Some) && {
                let before = run.plan.before(gateway);
                run.state.tokens.iter().all(|token| waits(token, gateway) || !before.contains(token.node.as_str()))
            }
        });
        let Some(gateway) = ready.map(str::to_owned) else { return Ok(false) };
        let node = run.node(&gateway)?;
        run.state.tokens.retain(|token| !waits(token, &gateway));
        run.state.tokens.push(Token::at(gateway, None));
        let last = run.state.tokens.len() - 1;
        self.attempt_at(run, last, |engine, run| engine.leave(run, last, &node, Value::Null))?;
        Ok(true)
    }

    /// A token came to a gateway that joins: it waits, until there is one from every side.
    pub(crate) fn join(&mut self, run: &mut Run, place: usize, node: &Node, mode: Mode) -> Result<(), Stop> {
        run.state.tokens[place].wait = Wait::Branches;
        run.state.node_states.insert(node.id.clone(), json!("waiting"));
        if mode == Mode::Some {
            return Ok(());
        }
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
        run.state.tokens.push(Token::at(node.id.clone(), None));
        let last = run.state.tokens.len() - 1;
        self.leave(run, last, node, Value::Null)
    }
}

/// Moves the token of a node that is done on. What fails here can be retried without doing the node again.
pub(crate) fn go(run: &mut Run, place: usize) -> Result<(), Stop> {
    let node = run.node(&run.state.tokens[place].node)?;
    run.each = Map::new();
    run.state.node_states.insert(node.id.clone(), json!("completed"));
    let ways: Vec<(usize, String)> = match config::step_of(&node)? {
        Step::Gateway(Mode::All) => run.plan.leaving(&node.id).map(|(edge, to)| (edge, to.to.clone())).collect(),
        Step::Gateway(Mode::Some) => choose(run, &node.id, usize::MAX)?,
        _ => choose(run, &node.id, 1)?,
    };
    if run.state.tokens.len() + ways.len() > MAX_BRANCHES {
        return Err(Stop::failed(
            "FM-EES-TOO-MANY-BRANCHES",
            format!("more than {MAX_BRANCHES} branches would run side by side; join them before they divide again"),
        ));
    }
    run.state.tokens.remove(place);
    run.state.tokens.extend(ways.into_iter().map(|(edge, to)| Token::at(to, Some(edge))));
    Ok(())
}

/// The connections that are taken from a node: the first so many whose conditions hold, or else the one without.
fn choose(run: &Run, node: &str, most: usize) -> Result<Vec<(usize, String)>, Stop> {
    let (mut taken, mut otherwise, mut asked) = (Vec::new(), None, Vec::new());
    for (place, edge) in run.plan.leaving(node) {
        match &edge.condition {
            None => {
                otherwise.get_or_insert((place, edge.to.clone()));
            }
            Some(condition) => {
                if Expression::compile(condition)?.holds(run.facts())? {
                    taken.push((place, edge.to.clone()));
                    if taken.len() == most {
                        return Ok(taken);
                    }
                }
                asked.push(condition.clone());
            }
        }
    }
    if taken.is_empty() && otherwise.is_none() && !asked.is_empty() {
        let message = format!("no way leads on from {node}: none of these holds: {}", asked.join("; "));
        return Err(Stop::failed("FM-EES-NO-WAY", message));
    }
    Ok(if taken.is_empty() { otherwise.into_iter().collect() } else { taken })
}
