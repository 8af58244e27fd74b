//! Time-outs that lead round: a process in which nobody answers must not go in circles for ever.

use std::collections::{HashMap, HashSet};

use super::Definition;
use super::exits::{Exit, waits_for_people};
use super::findings::Findings;
use crate::api::arguments::quote;
use crate::api::processes::Edge;

/// Looks for tasks to which the way of their own time-out leads back although nobody answers.
pub(super) fn examine(definition: &Definition, connections: &[Edge], findings: &mut Findings) {
    let over: HashMap<String, String> =
        definition.exits().filter(|way| way.exit == Exit::TimedOut).map(|way| (way.edge.from, way.edge.to)).collect();
    if over.is_empty() {
        return;
    }
    let people: HashSet<&str> = definition.nodes.iter().filter(|node| waits_for_people(&node.kind)).map(|node| node.id.as_str()).collect();
    let mut next: HashMap<&str, Vec<&str>> = HashMap::new();
    for edge in connections.iter().filter(|edge| !people.contains(edge.from.as_str())) {
        next.entry(&edge.from).or_default().push(&edge.to);
    }
    for (from, to) in &over {
        next.insert(from.as_str(), vec![to.as_str()]);
    }
    let leads_back = |start: &str, only_people: bool| {
        let (mut seen, mut ahead) = (HashSet::new(), vec![start]);
        while let Some(node) = ahead.pop() {
            for to in next.get(node).into_iter().flatten().filter(|to| !only_people || people.contains(*to)) {
                if *to == start {
                    return true;
                }
                if seen.insert(*to) {
                    ahead.push(to);
                }
            }
        }
        false
    };
    for (place, node) in definition.nodes.iter().enumerate().filter(|(_, node)| over.contains_key(&node.id)) {
        let pointer = format!("/nodes/{place}/config/timeout/to");
        if leads_back(&node.id, true) {
            let message = format!("time-outs alone lead from {} back to it; let one of them lead out of the circle", quote(&node.id));
            findings.error("TIMEOUT_CIRCLE", Some(node), pointer, message);
        } else if leads_back(&node.id, false) {
            let message = format!(
                "if nobody answers, {} is asked again and again until the execution fails by its steps; count the rounds in a variable, and \
                 lead out of the loop by it",
                quote(&node.id)
            );
            findings.warning("TIMEOUT_LOOP", Some(node), pointer, message);
        }
    }
}
