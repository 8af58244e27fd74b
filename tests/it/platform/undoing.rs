//! Undoing over HTTP: each pass of a step with its own data, in reverse, below and beside.

use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::executions::{decide, human, open_tasks, publish, start};
use crate::support::platform::TestPlatform;

fn script(id: &str, expression: &str, output: &str) -> Value {
    json!({ "id": id, "type": "script", "config": { "expression": expression, "output": output } })
}

fn undone_by(mut node: Value, expression: &str, output: &str) -> Value {
    node["config"]["compensate"] = json!({ "type": "script", "expression": expression, "output": output });
    node
}

fn ways(pairs: &[(&str, &str)]) -> Vec<Value> {
    pairs.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect()
}

async fn read(bench: &TestPlatform, id: &Value) -> Value {
    bench.get(&format!("/executions/{}", id.as_str().unwrap()), &bench.owner()).await.ok()
}

async fn compensate(bench: &TestPlatform, execution: &Value) -> Value {
    let path = format!("/executions/{}/compensate", execution["executionId"].as_str().unwrap());
    bench.post(&path, &bench.owner(), json!({})).await.ok()
}

#[tokio::test]
async fn each_pass_of_a_loop_is_undone_with_its_own_data() {
    let bench = TestPlatform::start().await;
    let nodes = json!([
        { "id": "s", "type": "start" },
        script("pick", "variables.orders[variables.at]", "order"),
        undone_by(script("book", "{'id': 'b-' + variables.order}", "booking"), "variables.log + [nodes.book.id + ' of ' + variables.order]", "log"),
        script("next", "variables.at + 1", "at"),
        { "id": "more", "type": "gateway" },
        { "id": "e", "type": "end" },
    ]);
    let mut edges = ways(&[("s", "pick"), ("pick", "book"), ("book", "next"), ("next", "more"), ("more", "e")]);
    edges.push(json!({ "from": "more", "to": "pick", "condition": "variables.at < size(variables.orders)" }));
    let process = publish(&bench, nodes, json!(edges)).await;
    let execution = start(&bench, &process, json!({ "orders": ["a", "b", "c"], "at": 0, "log": [] })).await;
    assert_eq!(execution["status"], "completed", "{execution:#}");
    let undone = compensate(&bench, &execution).await;
    assert_eq!(undone["status"], "compensated", "{undone:#}");
    assert_eq!(undone["state"]["variables"]["log"], json!(["b-c of c", "b-b of b", "b-a of a"]));
    assert_eq!(undone["state"]["variables"]["order"], "c", "what undoing read is not put back");
}

#[tokio::test]
async fn branches_are_undone_in_the_reverse_of_their_completion() {
    let bench = TestPlatform::start().await;
    let gateway = |id: &str| json!({ "id": id, "type": "gateway", "config": { "mode": "and" } });
    let nodes = json!([
        gateway("fork"),
        undone_by(human("left"), "variables.log + ['left ' + nodes.left.decision]", "log"),
        undone_by(human("right"), "variables.log + ['right ' + nodes.right.decision]", "log"),
        gateway("join"),
    ]);
    let process = publish(&bench, nodes, json!(ways(&[("fork", "left"), ("fork", "right"), ("left", "join"), ("right", "join")]))).await;
    let execution = start(&bench, &process, json!({ "log": [] })).await;
    for (node, decision) in [("right", "first"), ("left", "second")] {
        let task = open_tasks(&bench, &execution).await.into_iter().find(|task| task["nodeId"] == node).unwrap();
        let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
        bench.put(&path, &bench.owner(), json!({ "decision": decision })).await.ok();
    }
    let undone = compensate(&bench, &execution).await;
    assert_eq!(undone["state"]["variables"]["log"], json!(["left second", "right first"]), "{undone:#}");
}

#[tokio::test]
async fn each_run_below_is_undone_by_its_own_steps() {
    let bench = TestPlatform::start().await;
    let mut asked = human("ask");
    asked["config"]["compensate"] = json!({ "type": "human_task", "assignee": "manager", "title": "Call off {{nodes.ask.decision}}" });
    let below = publish(&bench, json!([asked]), json!([])).await;
    let nodes = json!([
        { "id": "s", "type": "start" },
        { "id": "sub", "type": "subprocess", "config": { "processId": below } },
        script("count", "variables.left - 1", "left"),
        { "id": "e", "type": "end" },
    ]);
    let mut edges = ways(&[("s", "sub"), ("sub", "count"), ("count", "e")]);
    edges.push(json!({ "from": "count", "to": "sub", "condition": "variables.left > 0" }));
    let process = publish(&bench, nodes, json!(edges)).await;
    let execution = start(&bench, &process, json!({ "left": 2 })).await;
    let running = async || {
        let path = format!("/executions?processId={below}&status=waiting,compensating");
        bench.get(&path, &bench.owner()).await.ok()["items"][0].clone()
    };
    for decision in ["one", "two"] {
        decide(&bench, &running().await, decision).await;
    }
    assert_eq!(read(&bench, &execution["executionId"]).await["status"], "completed");
    assert_eq!(compensate(&bench, &execution).await["status"], "compensating");
    for title in ["Call off two", "Call off one"] {
        assert_eq!(read(&bench, &execution["executionId"]).await["status"], "compensating");
        let inner = running().await;
        assert_eq!(open_tasks(&bench, &inner).await[0]["title"], title);
        decide(&bench, &inner, "done").await;
        assert_eq!(read(&bench, &inner["executionId"]).await["status"], "compensated");
    }
    let undone = read(&bench, &execution["executionId"]).await;
    assert_eq!((&undone["status"], &undone["state"]["nodeStates"]["sub"]), (&json!("compensated"), &json!("compensated")));
}

#[tokio::test]
async fn what_a_failed_run_below_did_is_undone_too() {
    let bench = TestPlatform::start().await;
    let steps = json!([undone_by(script("book", "1", "booked"), "0", "booked"), script("fail", "1/0", "x")]);
    let below = publish(&bench, steps, json!([])).await;
    let process = publish(&bench, json!([{ "id": "sub", "type": "subprocess", "config": { "processId": below } }]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    assert_eq!(execution["status"], "failed");
    assert_eq!(compensate(&bench, &execution).await["status"], "compensated");
    let inner = bench.get(&format!("/executions?processId={below}"), &bench.owner()).await.ok()["items"][0].clone();
    let inner = read(&bench, &inner["executionId"]).await;
    assert_eq!((&inner["status"], &inner["state"]["variables"]["booked"]), (&json!("compensated"), &json!(0)));
}

#[tokio::test]
async fn more_passes_than_a_transaction_takes_are_undone_in_several() {
    let bench = TestPlatform::start().await;
    let nodes = json!([
        { "id": "s", "type": "start" },
        undone_by(script("count", "variables.n + 1", "n"), "variables.undone + 1", "undone"),
        { "id": "more", "type": "gateway" }, human("again"), { "id": "e", "type": "end" },
    ]);
    let mut edges = ways(&[("s", "count"), ("count", "more"), ("more", "again"), ("again", "e")]);
    edges.push(json!({ "from": "more", "to": "count", "condition": "variables.n % 400 != 0" }));
    edges.push(json!({ "from": "again", "to": "count", "condition": "nodes.again.decision == 'yes'" }));
    let process = publish(&bench, nodes, json!(edges)).await;
    let execution = start(&bench, &process, json!({ "n": 0, "undone": 0 })).await;
    for decision in ["yes", "yes", "no"] {
        decide(&bench, &execution, decision).await;
    }
    assert_eq!(read(&bench, &execution["executionId"]).await["state"]["variables"]["n"], 1200);
    assert_eq!(compensate(&bench, &execution).await["status"], "compensating");
    for _ in 0..500 {
        let now = read(&bench, &execution["executionId"]).await;
        if now["status"] == "compensated" {
            assert_eq!(now["state"]["variables"]["undone"], 1200);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it was not undone: {:#}", read(&bench, &execution["executionId"]).await);
}
