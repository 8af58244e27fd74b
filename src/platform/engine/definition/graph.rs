//! The shape of a process: what leads where, what is reached, what ends, and which loops can be left.

use std::collections::{HashMap, HashSet};

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Bfs, Reversed};

use super::exits::exits_of;
use super::findings::Findings;
use super::{Definition, MAX_BRANCHES, MAX_EDGES, MAX_NODES, circles, soundness};
use crate::api::arguments::quote;
use crate::api::processes::{Edge, Node, NodeKind};

/// Examines the shape of a process.
pub fn examine(definition: &Definition, findings: &mut Findings) {
    if definition.nodes.is_empty() {
        findings.error("NO_NODES", None, "/nodes", "the process has no nodes; add at least one step");
        return;
    }
    if definition.nodes.len() > MAX_NODES || definition.edges.len() > MAX_EDGES {
        findings.error("TOO_LARGE", None, "/nodes", format!("a process has at most {MAX_NODES} nodes and {MAX_EDGES} edges"));
        return;
    }
    let ids = examine_ids(definition, findings);
    examine_edges(definition, &ids, findings);
    if !findings.errors.is_empty() {
        return;
    }
    let connections = definition.connections();
    let mut graph: DiGraph<usize, ()> = DiGraph::new();
    for place in 0..definition.nodes.len() {
        graph.add_node(place);
    }
    let ways: Vec<Edge> = connections.iter().cloned().chain(definition.exits().map(|way| way.edge)).collect();
    for edge in &ways {
        if let (Some(from), Some(to)) = (ids.get(edge.from.as_str()), ids.get(edge.to.as_str())) {
            graph.add_edge(NodeIndex::new(*from), NodeIndex::new(*to), ());
        }
    }
    let Some(entry) = examine_entry(definition, &ids, findings) else { return };
    examine_reach(definition, &graph, NodeIndex::new(entry), findings);
    let led_to: HashSet<&str> = ways.iter().map(|edge| edge.to.as_str()).collect();
    for (place, node) in definition.nodes.iter().enumerate() {
        examine_branches(node, place, &connections, &led_to, definition.edges.is_empty(), findings);
    }
    circles::examine(definition, &connections, findings);
    if findings.errors.is_empty() {
        soundness::examine(definition, findings);
    }
}

fn examine_ids<'d>(definition: &'d Definition, findings: &mut Findings) -> HashMap<&'d str, usize> {
    let mut ids = HashMap::new();
    for (place, node) in definition.nodes.iter().enumerate() {
        let pointer = format!("/nodes/{place}/id");
        if node.id.is_empty() || node.id.len() > 100 || node.id.contains(char::is_control) {
            findings.error("BAD_ID", Some(node), &pointer, "an id has 1 to 100 printable characters");
        } else if let Some(first) = ids.insert(node.id.as_str(), place) {
            findings.error("DUPLICATE_ID", Some(node), &pointer, format!("nodes {first} and {place} are both called {}", quote(&node.id)));
        }
    }
    ids
}

fn examine_edges(definition: &Definition, ids: &HashMap<&str, usize>, findings: &mut Findings) {
    let mut seen = HashSet::new();
    for (place, edge) in definition.edges.iter().enumerate() {
        if findings.is_full() {
            return;
        }
        for (end, id) in [("from", &edge.from), ("to", &edge.to)] {
            if !ids.contains_key(id.as_str()) {
                let message = format!("there is no node {}{}", quote(id), findings.meant(id, ids.keys().copied()));
                findings.error("UNKNOWN_NODE", None, format!("/edges/{place}/{end}"), message);
            }
        }
        if !seen.insert((&edge.from, &edge.to, &edge.condition)) {
            findings.error("DUPLICATE_EDGE", None, format!("/edges/{place}"), "this connection is there twice");
        }
    }
    for (place, node) in definition.nodes.iter().enumerate() {
        for way in exits_of(node).into_iter().filter(|way| !ids.contains_key(way.edge.to.as_str())) {
            let to = &way.edge.to;
            let message = format!("there is no node {}{}", quote(to), findings.meant(to, ids.keys().copied()));
            findings.error("UNKNOWN_NODE", Some(node), format!("/nodes/{place}{}", way.pointer), message);
        }
    }
}

fn examine_entry(definition: &Definition, ids: &HashMap<&str, usize>, findings: &mut Findings) -> Option<usize> {
    match definition.entries().as_slice() {
        [only] => ids.get(only.id.as_str()).copied(),
        [] => {
            findings.error("NO_START", None, "/nodes", "every node is led to by another; add a node of the type start");
            None
        }
        several => {
            let names: Vec<String> = several.iter().take(5).map(|node| quote(&node.id)).collect();
            let message = format!("the process can begin at {}; connect them, or begin at one node of the type start", names.join(", "));
            findings.error("SEVERAL_STARTS", None, "/nodes", message);
            None
        }
    }
}

fn examine_reach(definition: &Definition, graph: &DiGraph<usize, ()>, entry: NodeIndex, findings: &mut Findings) {
    let mut reached = HashSet::new();
    let mut walk = Bfs::new(graph, entry);
    while let Some(node) = walk.next(graph) {
        reached.insert(node);
    }
    let mut leading_out = HashSet::new();
    for sink in graph.externals(petgraph::Direction::Outgoing) {
        let mut walk = Bfs::new(Reversed(graph), sink);
        while let Some(node) = walk.next(Reversed(graph)) {
            leading_out.insert(node);
        }
    }
    for index in graph.node_indices() {
        let node = &definition.nodes[graph[index]];
        let pointer = format!("/nodes/{}", graph[index]);
        if !reached.contains(&index) {
            findings.error(
                "UNREACHABLE",
                Some(node),
                pointer,
                format!("nothing leads from the start to {}; connect it or remove it", quote(&node.id)),
            );
        } else if !leading_out.contains(&index) {
            let message =
                format!("from {} no end can be reached: the loop cannot be left. Add an edge that leads out of it", quote(&node.id));
            findings.error("ENDLESS_LOOP", Some(node), pointer, message);
        }
    }
}

fn examine_branches(node: &Node, place: usize, connections: &[Edge], led_to: &HashSet<&str>, in_order: bool, findings: &mut Findings) {
    let pointer = format!("/nodes/{place}");
    let leaving: Vec<&Edge> = connections.iter().filter(|edge| edge.from == node.id).collect();
    let entering = led_to.contains(node.id.as_str());
    let conditioned = leaving.iter().filter(|edge| edge.condition.is_some()).count();
    let always = leaving.len() - conditioned;
    let forks = node.kind == NodeKind::Gateway && node.config.get("mode").is_some_and(|mode| mode == "and");
    match node.kind {
        NodeKind::Start if entering => findings.error("START_ENTERED", Some(node), &pointer, "no connection may lead to a start"),
        NodeKind::End if !leaving.is_empty() => findings.error("END_LEFT", Some(node), &pointer, "no connection may leave an end"),
        NodeKind::Gateway if in_order => {
            findings.warning(
                "IDLE_GATEWAY",
                Some(node),
                &pointer,
                "without edges a gateway has nothing to choose from; give the process edges",
            );
        }
        _ => {}
    }
    if forks {
        if leaving.len() > MAX_BRANCHES {
            let message =
                format!("{} connections leave {}; at most {MAX_BRANCHES} branches run side by side", leaving.len(), quote(&node.id));
            findings.error("TOO_MANY_BRANCHES", Some(node), &pointer, message);
        }
        if conditioned > 0 {
            let message = "a gateway of the mode and takes every way: its edges have no conditions. Use the mode xor to choose";
            findings.error("CONDITION_AT_FORK", Some(node), &pointer, message);
        }
    } else if always > 1 {
        let message = format!(
            "{always} connections leave {} without a condition; give all but one a condition, or use a gateway with mode and to go both ways",
            quote(&node.id)
        );
        findings.error("AMBIGUOUS_EDGES", Some(node), &pointer, message);
    } else if conditioned > 0 && always == 0 {
        let message = format!(
            "if no condition at {} holds, the execution fails; add an edge without a condition for all other cases",
            quote(&node.id)
        );
        findings.warning("NO_DEFAULT", Some(node), &pointer, message);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "the cases read better without borrows")]
    fn codes(nodes: serde_json::Value, edges: serde_json::Value) -> (Vec<String>, Vec<String>) {
        let definition: Definition = serde_json::from_value(json!({ "nodes": nodes, "edges": edges })).unwrap();
        let mut findings = Findings::default();
        examine(&definition, &mut findings);
        let codes = |list: Vec<crate::api::processes::Finding>| list.into_iter().map(|finding| finding.code).collect();
        (codes(findings.errors), codes(findings.warnings))
    }

    fn steps(ids: &[&str]) -> serde_json::Value {
        ids.iter().map(|id| json!({ "id": id, "type": "human_task" })).collect()
    }

    #[test]
    fn one_task_alone_is_a_process() {
        assert_eq!(codes(steps(&["node-1"]), json!([])), (vec![], vec![]));
        assert_eq!(codes(json!([]), json!([])).0, ["NO_NODES"]);
    }

    #[test]
    fn without_edges_the_nodes_run_in_order() {
        assert_eq!(codes(steps(&["a", "b", "c"]), json!([])), (vec![], vec![]));
        let after_the_end = json!([{ "id": "a", "type": "end" }, { "id": "b", "type": "human_task" }]);
        assert_eq!(codes(after_the_end, json!([])).0, ["END_LEFT"]);
    }

    #[test]
    fn ids_and_edges_must_agree() {
        assert_eq!(codes(steps(&["a", "a"]), json!([])).0, ["DUPLICATE_ID"]);
        assert_eq!(codes(steps(&["a", ""]), json!([])).0, ["BAD_ID"]);
        assert_eq!(codes(steps(&["a", "b"]), json!([{ "from": "a", "to": "c" }])).0, ["UNKNOWN_NODE"]);
        assert_eq!(codes(steps(&["a", "b"]), json!([{ "from": "a", "to": "b" }, { "from": "a", "to": "b" }])).0, ["DUPLICATE_EDGE"]);
    }

    #[test]
    fn every_node_is_reached_and_leads_to_an_end() {
        assert_eq!(codes(steps(&["a", "b", "c"]), json!([{ "from": "a", "to": "b" }])).0, ["SEVERAL_STARTS"]);
        assert_eq!(codes(steps(&["a", "b"]), json!([{ "from": "a", "to": "b" }, { "from": "b", "to": "a" }])).0, ["NO_START"]);
        let with_start = json!([{ "id": "s", "type": "start" }, { "id": "a", "type": "human_task" }, { "id": "b", "type": "human_task" }]);
        assert_eq!(codes(with_start.clone(), json!([{ "from": "s", "to": "a" }])).0, ["UNREACHABLE"]);
        let endless = json!([{ "from": "s", "to": "a" }, { "from": "a", "to": "b" }, { "from": "b", "to": "a" }]);
        assert_eq!(codes(with_start, endless).0, ["ENDLESS_LOOP", "ENDLESS_LOOP", "ENDLESS_LOOP"]);
    }

    #[test]
    fn a_loop_that_can_be_left_is_allowed() {
        let edges =
            json!([{ "from": "a", "to": "b" }, { "from": "b", "to": "a", "condition": "variables.again" }, { "from": "b", "to": "c" }]);
        let nodes = json!([{ "id": "s", "type": "start" }, { "id": "a", "type": "human_task" }, { "id": "b", "type": "gateway" }, { "id": "c", "type": "end" }]);
        let edges = edges.as_array().unwrap().iter().cloned().chain([json!({ "from": "s", "to": "a" })]).collect();
        assert_eq!(codes(nodes, edges), (vec![], vec![]));
    }

    #[test]
    fn branches_say_when_they_are_taken() {
        let edges = json!([{ "from": "a", "to": "b" }, { "from": "a", "to": "c" }]);
        assert_eq!(codes(steps(&["a", "b", "c"]), edges.clone()).0, ["AMBIGUOUS_EDGES"]);
        let fork = json!([{ "id": "a", "type": "gateway", "config": { "mode": "and" } }, { "id": "b", "type": "end" }, { "id": "c", "type": "end" }]);
        assert_eq!(codes(fork.clone(), edges), (vec![], vec![]));
        let conditioned = json!([{ "from": "a", "to": "b", "condition": "true" }, { "from": "a", "to": "c", "condition": "false" }]);
        assert_eq!(codes(fork, conditioned.clone()).0, ["CONDITION_AT_FORK"]);
        assert_eq!(codes(steps(&["a", "b", "c"]), conditioned), (vec![], vec!["NO_DEFAULT".to_owned()]));
    }
}
