//! Whether branches that divide also meet: joins that can never be complete, and paths that run side by side without a join.
//!
//! Conditions are not looked at: every way may be taken. What no choice of ways can mend is an error, the rest is a warning.

mod net;
mod parallel;
mod tokens;

use super::Definition;
use super::findings::Findings;
use crate::api::arguments::quote;
use crate::api::processes::{Node, NodeKind};
use net::Net;

/// Examines how the branches of a process divide and meet. The shape must be free of errors.
pub fn examine(definition: &Definition, findings: &mut Findings) {
    let net = Net::of(definition);
    if !net.divides() {
        return;
    }
    let moved = tokens::explore(&net);
    for place in &moved.stuck {
        let (node, pointer) = (&definition.nodes[*place], format!("/nodes/{place}"));
        if moved.is_whole && !moved.complete.contains(place) {
            let message = format!(
                "{} waits for a branch from each connection that leads to it, and they can never all arrive: a choice before it takes one \
                 way alone, or a loop leads back to it. Where ways only meet again, let them meet at a gateway with the mode xor",
                quote(&node.id)
            );
            findings.error("JOIN_NEVER_COMPLETE", Some(node), pointer, message);
        } else {
            let message = format!(
                "{} can wait for a branch that ended or went another way, and the execution fails then; join only branches that all arrive",
                quote(&node.id)
            );
            findings.warning("JOIN_MAY_STICK", Some(node), pointer, message);
        }
    }
    let parallel = parallel::of(&net);
    let merges = parallel.merges(&net).into_iter().filter(|place| goes_on(definition, &net, *place));
    let merges: Vec<usize> = merges.collect();
    for place in &merges {
        let node = &definition.nodes[*place];
        let message = format!(
            "branches that run side by side meet at {} without waiting for one another, so what follows runs once for each; let them meet \
             at a gateway with the mode and first",
            quote(&node.id)
        );
        findings.warning("RUNS_TWICE", Some(node), format!("/nodes/{place}"), message);
    }
    if merges.is_empty()
        && let Some(place) = parallel.again(&net).into_iter().find(|place| goes_on(definition, &net, *place))
    {
        let node = &definition.nodes[place];
        let message = format!(
            "a loop comes back to {} while branches of an earlier pass may still run, so they may run several times side by side; join \
             them before the loop",
            quote(&node.id)
        );
        findings.warning("FORK_IN_LOOP", Some(node), format!("/nodes/{place}"), message);
    }
}

/// Whether anything but an end comes of a second run.
fn goes_on(definition: &Definition, net: &Net, place: usize) -> bool {
    let idle = |node: &Node| matches!(node.kind, NodeKind::End);
    match definition.nodes[place].kind {
        NodeKind::End => false,
        NodeKind::Gateway => net.leaving[place].iter().any(|way| !idle(&definition.nodes[net.to[*way]])),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Nodes by name: `s` starts, `e` ends, `+x` forks and joins, `?x` chooses, anything else works.
    fn found(ways: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let mut ids: Vec<&str> = Vec::new();
        for id in ways.iter().flat_map(|(from, to)| [*from, *to]) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let node = |id: &str| match id.chars().next() {
            Some('s') => json!({ "id": id, "type": "start" }),
            Some('e') => json!({ "id": id, "type": "end" }),
            Some('+') => json!({ "id": id, "type": "gateway", "config": { "mode": "and" } }),
            Some('?') => json!({ "id": id, "type": "gateway" }),
            _ => json!({ "id": id, "type": "script", "config": { "expression": "1" } }),
        };
        let nodes: Vec<Value> = ids.into_iter().map(node).collect();
        let edges: Vec<Value> = ways.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        let definition: Definition = serde_json::from_value(json!({ "nodes": nodes, "edges": edges })).unwrap();
        let mut findings = Findings::default();
        examine(&definition, &mut findings);
        let short = |list: Vec<crate::api::processes::Finding>| {
            list.into_iter().map(|finding| format!("{} {}", finding.code, finding.node_id.unwrap())).collect()
        };
        (short(findings.errors), short(findings.warnings))
    }

    fn only_error(text: &str) -> (Vec<String>, Vec<String>) {
        (vec![text.to_owned()], vec![])
    }

    fn only_warning(text: &str) -> (Vec<String>, Vec<String>) {
        (vec![], vec![text.to_owned()])
    }

    #[test]
    fn a_fork_and_its_join_are_sound() {
        let ways = [("s", "+f"), ("+f", "a"), ("+f", "b"), ("a", "+j"), ("b", "+j"), ("+j", "c"), ("c", "e")];
        assert_eq!(found(&ways), (vec![], vec![]));
        // A choice and a loop within a branch, and a loop around both.
        let ways = [
            ("s", "?m"),
            ("?m", "+f"),
            ("+f", "?x"),
            ("?x", "a"),
            ("?x", "b"),
            ("a", "?y"),
            ("b", "?y"),
            ("?y", "?x"),
            ("?y", "+j"),
            ("+f", "c"),
            ("c", "+j"),
            ("+j", "?z"),
            ("?z", "?m"),
            ("?z", "e"),
        ];
        assert_eq!(found(&ways), (vec![], vec![]));
    }

    #[test]
    fn branches_that_end_apart_are_sound() {
        assert_eq!(found(&[("s", "+f"), ("+f", "a"), ("+f", "b"), ("a", "e"), ("b", "e")]), (vec![], vec![]));
        assert_eq!(found(&[("s", "+f"), ("+f", "a"), ("+f", "b"), ("a", "?m"), ("b", "?m"), ("?m", "e")]), (vec![], vec![]));
    }

    #[test]
    fn a_choice_before_a_join_is_an_error() {
        let ways = [("s", "?x"), ("?x", "a"), ("?x", "b"), ("a", "+j"), ("b", "+j"), ("+j", "e")];
        assert_eq!(found(&ways), only_error("JOIN_NEVER_COMPLETE +j"));
    }

    #[test]
    fn a_loop_back_into_a_fork_is_an_error() {
        let ways = [("s", "+f"), ("+f", "a"), ("+f", "b"), ("a", "+j"), ("b", "+j"), ("+j", "?x"), ("?x", "+f"), ("?x", "e")];
        assert_eq!(found(&ways), only_error("JOIN_NEVER_COMPLETE +f"));
    }

    #[test]
    fn a_join_that_a_choice_may_miss_is_a_warning() {
        let ways = [("s", "+f"), ("+f", "?x"), ("+f", "b"), ("?x", "+j"), ("?x", "e"), ("b", "+j"), ("+j", "e")];
        assert_eq!(found(&ways), only_warning("JOIN_MAY_STICK +j"));
    }

    #[test]
    fn branches_that_merge_without_a_join_are_a_warning() {
        let ways = [("s", "+f"), ("+f", "a"), ("+f", "b"), ("a", "?m"), ("b", "?m"), ("?m", "c"), ("c", "e")];
        assert_eq!(found(&ways), only_warning("RUNS_TWICE ?m"));
        let ways = [("s", "+f"), ("+f", "a"), ("+f", "b"), ("a", "c"), ("b", "c"), ("c", "e")];
        assert_eq!(found(&ways), only_warning("RUNS_TWICE c"));
    }

    #[test]
    fn a_fork_that_a_loop_repeats_without_a_join_is_a_warning() {
        let ways = [("s", "?m"), ("?m", "+f"), ("+f", "a"), ("+f", "b"), ("a", "?x"), ("?x", "?m"), ("?x", "e"), ("b", "e")];
        assert_eq!(found(&ways), only_warning("FORK_IN_LOOP +f"));
    }

    #[test]
    fn wide_forks_with_choices_are_examined_within_the_bound() {
        let names: Vec<[String; 5]> = (0..100)
            .map(|number| ["?x", "a", "b", "?m", "+j"].map(|name| if name == "+j" { name.to_owned() } else { format!("{name}{number}") }))
            .collect();
        let mut ways = vec![("s", "+f"), ("+j", "e")];
        for [choice, left, right, merge, join] in names.iter().map(|names| names.each_ref().map(String::as_str)) {
            ways.extend([("+f", choice), (choice, left), (choice, right), (left, merge), (right, merge), (merge, join)]);
        }
        assert_eq!(found(&ways), (vec![], vec![]));
    }
}
