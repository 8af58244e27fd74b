//! Working through a list: a node is done for each item, one after another or several at a time.
//!
//! The list is not copied: it is evaluated again where a transaction needs its items, and must be the same then.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::run::{Item, MAX_VARIABLES, Round, Run, Token, Wait, document, size_of};
use super::variables::set_variable;
use super::{history, tasks, work};
use crate::api::processes::Node;
use crate::error::Result;
use crate::io::hash::sha256;
use crate::io::hex::hex;
use crate::platform::engine::definition::MAX_BRANCHES;
use crate::platform::engine::definition::config::{self, ForEach};
use crate::platform::engine::expressions::conditions::Expression;
use crate::platform::engine::{Engine, Stop};

/// Most items of a list that is worked through.
pub const MAX_ITEMS: usize = 10_000;

impl Engine<'_, '_> {
    /// A node's work gave its result: the token moves on, or the next item is begun.
    pub(crate) fn done(&mut self, run: &mut Run, place: usize, node: &Node, result: Value) -> Result<(), Stop> {
        if let Some(item) = run.state.tokens[place].item.clone() {
            return self.item_done(run, place, node, &item, result);
        }
        if let Some(output) = node.config.get("output").and_then(Value::as_str) {
            set_variable(run, output, result.clone())?;
        }
        self.leave(run, place, node, result)
    }

    /// Begins to work through a list: a token for each item that is done at the same time.
    pub(crate) fn begin_round(&mut self, run: &mut Run, place: usize, node: &Node, each: &ForEach) -> Result<(), Stop> {
        let items = items_of(run, each)?;
        if items.is_empty() {
            return self.done(run, place, node, json!([]));
        }
        let side_by_side = each.parallel.min(items.len());
        if run.state.tokens.len() + side_by_side > MAX_BRANCHES {
            return Err(Stop::failed(
                "FM-EES-TOO-MANY-BRANCHES",
                format!("more than {MAX_BRANCHES} branches would run side by side; make config.parallel smaller"),
            ));
        }
        let id = run.state.rounds.last_key_value().map_or(1, |(last, _)| last + 1);
        let round = Round { list: digest_of(&items)?, next: side_by_side, results: vec![Value::Null; items.len()], bytes: 0 };
        run.state.rounds.insert(id, round);
        run.items.insert(id, Rc::new(items));
        let token = run.state.tokens.remove(place);
        for index in 0..side_by_side {
            run.state.tokens.push(Token { item: Some(Item { round: id, index }), ..token.clone() });
        }
        Ok(())
    }

    fn item_done(&mut self, run: &mut Run, place: usize, node: &Node, item: &Item, result: Value) -> Result<(), Stop> {
        let said = json!({ "index": item.index, "result": history::noted(&result) });
        history::append(self.tx, &run.head.id, "item.completed", Some(&node.id), said)?;
        if node.config.contains_key("compensate") {
            take_item(run, node, item)?;
            let before = run.state.results.insert(node.id.clone(), result.clone());
            let kept = self.keep(run, node);
            match before {
                Some(before) => drop(run.state.results.insert(node.id.clone(), before)),
                None => drop(run.state.results.remove(&node.id)),
            }
            kept?;
        }
        let round = run.state.rounds.get_mut(&item.round).ok_or_else(|| Stop::failed("FM-EES-CONFIG", "the list is not worked through"))?;
        round.bytes += size_of(&result);
        if round.bytes > MAX_VARIABLES {
            return Err(Stop::failed(
                "FM-EES-VARIABLES-TOO-LARGE",
                format!("what the items give would hold more than {MAX_VARIABLES} bytes"),
            ));
        }
        if let Some(slot) = round.results.get_mut(item.index) {
            *slot = result;
        }
        if round.next < round.results.len() {
            let next = Item { round: item.round, index: round.next };
            round.next += 1;
            let token = &mut run.state.tokens[place];
            (token.wait, token.until, token.item) = (Wait::Nothing, None, Some(next));
            return Ok(());
        }
        if run.state.tokens.iter().enumerate().any(|(other, token)| other != place && is_of(token, item.round)) {
            run.state.tokens.remove(place);
            return Ok(());
        }
        let results = run.state.rounds.remove(&item.round).map(|round| round.results).unwrap_or_default();
        run.items.remove(&item.round);
        run.state.tokens[place].item = None;
        self.done(run, place, node, Value::Array(results))
    }

    /// Gives up the list of a token: what its other items wait for is taken away. Answers where the token is then.
    pub(crate) fn close_round(&mut self, run: &mut Run, place: usize) -> Result<usize> {
        let Some(item) = run.state.tokens[place].item.take() else { return Ok(place) };
        run.state.rounds.remove(&item.round);
        let before = run.state.tokens[..place].iter().filter(|token| is_of(token, item.round)).count();
        let others: Vec<Token> = run.state.tokens.iter().filter(|token| is_of(token, item.round)).cloned().collect();
        run.state.tokens.retain(|token| !is_of(token, item.round));
        // What ends below does not come back here.
        run.store(self.tx)?;
        for other in others {
            match other.wait {
                Wait::Task(task) => tasks::cancel(self.tx, &task, "the step was left another way")?,
                Wait::Work(id) => work::drop_one(self.tx, &id)?,
                Wait::Execution(below) => {
                    self.cancel(&below, Some("the step above was left another way"))?;
                    self.keep_below(run, &other.node, &below)?;
                }
                _ => {}
            }
        }
        Ok(place - before)
    }
}

/// Lets expressions see an item, as `each`.
pub(crate) fn take_item(run: &mut Run, node: &Node, item: &Item) -> Result<(), Stop> {
    let items = if let Some(items) = run.items.get(&item.round) {
        Rc::clone(items)
    } else {
        let each = config::for_each_of(node)?.ok_or_else(|| Stop::failed("FM-EES-CONFIG", "config.forEach is missing"))?;
        let items = Rc::new(items_of(run, &each)?);
        if run.state.rounds.get(&item.round).map(|round| &round.list) != Some(&digest_of(&items)?) {
            return Err(Stop::failed(
                "FM-EES-LIST-CHANGED",
                format!("the list that {} works through changed meanwhile; let nothing set it until all items are done", node.id),
            ));
        }
        run.items.insert(item.round, Rc::clone(&items));
        items
    };
    let value = items.get(item.index).cloned().unwrap_or_default();
    let fields = [("item", value), ("index", json!(item.index)), ("count", json!(items.len()))];
    run.each = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(())
}

fn is_of(token: &Token, round: u64) -> bool {
    token.item.as_ref().is_some_and(|item| item.round == round)
}

/// The list as it is now.
fn items_of(run: &mut Run, each: &ForEach) -> Result<Vec<Value>, Stop> {
    run.each = Map::new();
    match Expression::compile(&each.list)?.evaluate(run.facts())? {
        Value::Array(items) if items.len() <= MAX_ITEMS => Ok(items),
        Value::Array(items) => Err(Stop::failed(
            "FM-EES-TOO-MANY-ITEMS",
            format!("config.forEach gives {} items; at most {MAX_ITEMS} are worked through. Split the list over several runs", items.len()),
        )),
        other => {
            let given = crate::api::arguments::quote(&other.to_string());
            Err(Stop::failed("FM-EES-NOT-A-LIST", format!("config.forEach gives {given}, which is not a list")))
        }
    }
}

fn digest_of(items: &[Value]) -> Result<String> {
    Ok(hex(&sha256(document(&items)?.as_bytes())))
}
