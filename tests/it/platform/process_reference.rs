//! The examples of `docs/processes.md` and `examples/processes`: each is valid and ends its rehearsals as it says.

use std::collections::BTreeSet;
use std::path::Path;

use flowmaster_mcp::api::processes::NodeKind;
use serde_json::{Value, json};

use crate::support::platform::TestPlatform;

/// The blocks of JSON of the reference.
fn examples() -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/processes.md")).unwrap();
    let blocks = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"))).collect()
}

/// The definitions of real life.
fn definitions() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/processes");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect()
}

/// Whether a value holds everything that another says.
fn holds(value: &Value, said: &Value) -> bool {
    match said {
        Value::Object(fields) => fields.iter().all(|(name, said)| value.get(name).is_some_and(|value| holds(value, said))),
        said => value == said,
    }
}

/// Designs and publishes a process and runs its rehearsals. Answers the nodes that they reached.
async fn run(bench: &TestPlatform, example: &Value) -> BTreeSet<String> {
    let owner = bench.owner();
    let name = example["process"]["name"].as_str().unwrap();
    let id = bench.post("/processes/designs", &owner, example["process"].clone()).await.ok()["id"].as_str().unwrap().to_owned();
    let found = bench.post(&format!("/processes/{id}/validate"), &owner, json!({})).await.ok();
    assert_eq!(found["valid"], true, "{name}: {found:#}");
    let mut reached = BTreeSet::new();
    for rehearsal in example["rehearsals"].as_array().unwrap() {
        let mut asked = rehearsal.clone();
        let ends = asked.as_object_mut().unwrap().remove("ends").unwrap();
        let trial = bench.post(&format!("/processes/{id}/sandbox"), &owner, asked).await.ok();
        let (state, code) = (&trial["state"], &trial["error"]["code"]);
        let said = json!({ "status": trial["status"], "currentNode": trial["currentNode"], "error": code, "variables": state["variables"],
            "nodeStates": state["nodeStates"] });
        assert!(holds(&said, &ends), "{name}: {ends} but {trial:#}");
        reached.extend(state["nodeStates"].as_object().unwrap().keys().cloned());
    }
    bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await.ok();
    reached
}

#[tokio::test]
async fn each_example_of_the_reference_ends_as_it_says() {
    let bench = TestPlatform::start().await;
    let examples = examples();
    assert!(examples.len() >= 10);
    for example in &examples {
        run(&bench, example).await;
    }
}

#[tokio::test]
async fn each_definition_of_real_life_is_rehearsed_in_every_way() {
    let bench = TestPlatform::start().await;
    let definitions = definitions();
    assert!(definitions.len() >= 8);
    for definition in &definitions {
        let reached = run(&bench, definition).await;
        let nodes: BTreeSet<String> =
            definition["process"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(reached, nodes, "{}", definition["process"]["name"]);
    }
}

#[test]
fn the_reference_has_an_example_of_each_construct() {
    let examples = examples();
    let nodes: Vec<&Value> = examples.iter().flat_map(|example| example["process"]["nodes"].as_array().unwrap()).collect();
    for kind in NodeKind::ALL {
        assert!(nodes.iter().any(|node| node["type"] == *kind), "no example has a node of the type {kind}");
    }
    for name in ["form", "timeout", "onError", "forEach", "parallel", "compensate", "until", "seconds", "mode"] {
        assert!(nodes.iter().any(|node| node["config"].get(name).is_some()), "no example has config.{name}");
    }
    let rehearsed = examples.iter().all(|example| example["rehearsals"].as_array().is_some_and(|list| !list.is_empty()));
    assert!(rehearsed, "an example without a rehearsal shows nothing");
}

#[tokio::test]
async fn a_long_list_is_rehearsed_as_it_would_be_run() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let sandbox = async |node: Value| {
        let nodes = json!([{ "id": "start", "type": "start" }, node, { "id": "end", "type": "end" }]);
        let edges = json!([{ "from": "start", "to": "each" }, { "from": "each", "to": "end" }]);
        let design = json!({ "name": "Long", "nodes": nodes, "edges": edges });
        let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
        let items: Vec<usize> = (0..3_000).collect();
        let asked = json!({ "variables": { "items": items }, "answers": { "each": "approve" } });
        bench.post(&format!("/processes/{id}/sandbox"), &owner, asked).await.ok()
    };
    let config = json!({ "forEach": "variables.items", "expression": "each.item + 1", "output": "sums" });
    let trial = sandbox(json!({ "id": "each", "type": "script", "config": config })).await;
    assert_eq!(trial["status"], "completed", "{}", trial["error"]);
    assert_eq!(trial["state"]["variables"]["sums"][2_999], 3_000);
    let config = json!({ "forEach": "variables.items", "assignee": "manager", "parallel": 10 });
    let trial = sandbox(json!({ "id": "each", "type": "human_task", "config": config })).await;
    assert_eq!(trial["status"], "completed", "{}", trial["error"]);
}
