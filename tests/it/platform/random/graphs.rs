//! Processes of every shape: forks without joins, all-to-all, endless loops, subprocesses of themselves, edges to nowhere.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::throw;

/// Stands for the id of the process itself, which it has when it is there.
const ITSELF: &str = "itself";

/// How the nodes of a process are connected.
#[derive(Debug, Clone)]
enum Shape {
    InOrder,
    AllToAll,
    Circle,
    /// Layers of so many nodes, each connected with all of the next.
    Layers(usize),
    /// Pairs of places, which may be beyond the last node.
    Pairs(Vec<(usize, usize)>),
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        1 => Just(Shape::InOrder),
        2 => Just(Shape::AllToAll),
        2 => Just(Shape::Circle),
        3 => (1..30_usize).prop_map(Shape::Layers),
        3 => prop::collection::vec((0..40_usize, 0..42_usize), 0..120).prop_map(Shape::Pairs),
    ]
}

impl Shape {
    fn pairs(&self, nodes: usize) -> Vec<(usize, usize)> {
        let all = |from: std::ops::Range<usize>, to: std::ops::Range<usize>| {
            from.flat_map(move |from| to.clone().map(move |to| (from, to))).collect::<Vec<_>>()
        };
        match self {
            Self::InOrder => Vec::new(),
            Self::AllToAll => all(0..nodes.min(44), 0..nodes.min(44)),
            Self::Circle => (0..nodes).map(|node| (node, (node + 1) % nodes)).chain([(nodes / 2, nodes - 1)]).collect(),
            Self::Layers(width) => {
                let layers: Vec<_> = (1..nodes).step_by(*width).map(|first| first..(first + width).min(nodes)).collect();
                let first = all(0..1, layers.first().cloned().unwrap_or(0..0));
                let next = layers.windows(2).flat_map(|pair| all(pair[0].clone(), pair[1].clone()));
                first.into_iter().chain(next).collect()
            }
            Self::Pairs(pairs) => pairs.clone(),
        }
    }
}

fn node() -> impl Strategy<Value = Value> {
    let growing = vec![
        "{'v': variables.v + variables.v}",
        "{'w': variables.v + 'x'}",
        "{'n': variables.n + 1}",
        "variables",
        "nodes",
        "{'v': nodes}",
        "variables.l.map(x, variables.v)",
        "{'l': variables.l + variables.l}",
        "1 / 0",
        "nothing.x",
    ];
    let script = prop::sample::select(growing).prop_map(
        |source| json!({ "type": "script", "config": { "expression": source, "compensate": { "type": "script", "expression": source } } }),
    );
    let below = (prop::sample::select(vec![ITSELF, "proc-none", "", "\0"]), any::<bool>()).prop_map(|(process, all)| {
        let variables = if all { Value::Null } else { json!({ "n": "=variables.n", "v": "=variables.v", "x": [1] }) };
        json!({ "type": "subprocess", "config": { "processId": process, "variables": variables, "output": "v" } })
    });
    prop_oneof![
        3 => Just(json!({ "type": "gateway", "config": { "mode": "and" } })),
        2 => Just(json!({ "type": "gateway", "config": { "mode": "xor" } })),
        5 => script,
        3 => below,
        1 => Just(json!({ "type": "end" })),
        1 => Just(json!({ "type": "start" })),
        2 => Just(json!({ "type": "timer", "config": { "seconds": 0 } })),
        1 => Just(json!({ "type": "timer", "config": { "until": "=variables.v" } })),
        1 => Just(json!({ "type": "human_task", "config": { "assignee": "admin", "title": "{{variables.v}}".repeat(130), "output": "v" } })),
        1 => Just(json!({ "type": "human_task", "config": { "assignee": "{{variables.none}}", "sla": "1h", "escalationChain": ["admin", "x"] } })),
        1 => Just(json!({ "type": "ai_agent", "config": { "agentId": "agent-assistant", "prompt": "{{variables.v}}{{variables.v}}" } })),
        1 => Just(json!({ "type": "integration", "config": { "integrationId": "int-none", "path": "/{{variables.v}}" } })),
        1 => Just(json!({ "type": "robot", "config": { "x": null } })),
    ]
}

/// A process by what it is made of.
#[derive(Debug, Clone)]
struct Process {
    kinds: Vec<Value>,
    nodes: usize,
    shape: Shape,
    conditions: Vec<Option<&'static str>>,
    text: usize,
}

fn process() -> impl Strategy<Value = Process> {
    let conditions = vec![None, None, Some("true"), Some("variables.n < 3"), Some("variables.v == variables.v"), Some("variables.none")];
    let conditions = prop::collection::vec(prop::sample::select(conditions), 1..6);
    (prop::collection::vec(node(), 1..8), 1..120_usize, shape(), conditions, 0..200_000_usize)
        .prop_map(|(kinds, nodes, shape, conditions, text)| Process { kinds, nodes, shape, conditions, text })
}

impl Process {
    /// The process under an id, begun at its first node and ended at its last.
    fn design(&self, id: &str) -> Value {
        let last = self.nodes + 1;
        let kinds = self.kinds.iter().cycle().take(self.nodes).cloned();
        let nodes: Vec<Value> = [json!({ "type": "start" })]
            .into_iter()
            .chain(kinds)
            .chain([json!({ "type": "end" })])
            .enumerate()
            .map(|(place, mut node)| {
                node["id"] = json!(format!("n{place}"));
                if node["config"]["processId"] == ITSELF {
                    node["config"]["processId"] = json!(id);
                }
                node
            })
            .collect();
        let pairs = self.shape.pairs(self.nodes).into_iter().map(|(from, to)| (from + 1, to + 1));
        let around = if matches!(self.shape, Shape::InOrder) { Vec::new() } else { vec![(0, 1), (self.nodes, last)] };
        let conditions = self.conditions.iter().cycle();
        let edges: Vec<Value> = around
            .into_iter()
            .chain(pairs)
            .zip(conditions)
            .map(|((from, to), condition)| {
                let mut edge = Map::from_iter([("from".to_owned(), json!(format!("n{from}"))), ("to".to_owned(), json!(format!("n{to}")))]);
                edge.extend(condition.filter(|_| from > 0).map(|condition| ("condition".to_owned(), json!(condition))));
                Value::Object(edge)
            })
            .collect();
        json!({ "name": "random", "nodes": nodes, "edges": edges })
    }

    fn variables(&self) -> Value {
        json!({ "v": "v".repeat(self.text), "n": 1, "l": [1, 2, 3] })
    }
}

#[test]
fn no_process_ends_or_holds_the_platform() {
    throw(28, &process(), |program, process| async move {
        let empty = json!({ "name": "random", "version": "1.0.0", "nodes": [{ "id": "a", "type": "start" }] });
        let Some(id) = program.send("POST", "/processes/designs", &empty).await?.text("id") else { return Err("no draft".to_owned()) };
        let path = format!("/processes/{id}");
        if !program.send("PUT", &path, &process.design(&id)).await?.is_ok() {
            return Ok(());
        }
        program.send("POST", &format!("{path}/validate"), &json!({})).await?;
        let answers: Map<String, Value> = (0..process.nodes).map(|node| (format!("n{node}"), json!("approve"))).collect();
        program.send("POST", &format!("{path}/sandbox"), &json!({ "variables": process.variables(), "answers": answers })).await?;
        program.send("POST", &format!("{path}/sandbox"), &json!({ "variables": process.variables() })).await?;
        if !program.send("POST", &format!("{path}/publish"), &json!({})).await?.is_ok() {
            return Ok(());
        }
        let started = program.send("POST", "/executions", &json!({ "processId": id, "variables": process.variables() })).await?;
        let Some(execution) = started.text("executionId") else { return Ok(()) };
        let tasks = program.send("GET", &format!("/tasks?executionId={execution}"), &Value::Null).await?;
        for task in tasks.body["items"].as_array().into_iter().flatten().take(3) {
            let task = task["taskId"].as_str().unwrap_or_default();
            program.send("PUT", &format!("/tasks/{task}/respond"), &json!({ "decision": "approve" })).await?;
        }
        program.send("POST", &format!("/executions/{execution}/compensate"), &json!({ "reason": "random" })).await?;
        program.send("PUT", &format!("/executions/{execution}/cancel"), &json!({ "reason": "random" })).await?;
        let ended = program.send("GET", &format!("/executions/{execution}"), &Value::Null).await?;
        match ended.body["status"].as_str() {
            Some("running" | "pending") | None => Err(format!("it runs on without an end: {}", ended.body)),
            Some(_) => Ok(()),
        }
    });
}
