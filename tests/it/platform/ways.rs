//! Ways on beside the connections, over HTTP: when the time of a task is over, when a step fails, and inclusive choices.

use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::executions::{decide, human, open_tasks, publish, start};
use crate::support::platform::TestPlatform;

fn script(id: &str, expression: &str, output: &str) -> Value {
    json!({ "id": id, "type": "script", "config": { "expression": expression, "output": output } })
}

fn gateway(id: &str, mode: &str) -> Value {
    json!({ "id": id, "type": "gateway", "config": { "mode": mode } })
}

fn way(from: &str, to: &str) -> Value {
    json!({ "from": from, "to": to })
}

fn ways(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(from, to)| way(from, to)).collect()
}

async fn read(bench: &TestPlatform, execution: &Value) -> Value {
    bench.get(&format!("/executions/{}", execution["executionId"].as_str().unwrap()), &bench.owner()).await.ok()
}

async fn at(bench: &TestPlatform, execution: &Value, node: &str) {
    for _ in 0..500 {
        if read(bench, execution).await["currentNode"] == node {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come to {node}: {:#}", read(bench, execution).await);
}

/// Designs a process and answers its path.
async fn design(bench: &TestPlatform, nodes: Value, edges: Value) -> String {
    let design = json!({ "name": "Test", "nodes": nodes, "edges": edges });
    let id = bench.post("/processes/designs", &bench.owner(), design).await.ok()["id"].as_str().unwrap().to_owned();
    format!("/processes/{id}")
}

/// The codes of the errors and of the warnings of a process.
async fn findings(bench: &TestPlatform, nodes: Value, edges: Value) -> (Vec<String>, Vec<String>) {
    let path = design(bench, nodes, edges).await;
    let found = bench.post(&format!("{path}/validate"), &bench.owner(), json!({})).await.ok();
    let codes =
        |list: &str| found[list].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    (codes("errors"), codes("warnings"))
}

fn in_time(id: &str, after: &str, to: &str) -> Value {
    let mut task = human(id);
    task["config"]["timeout"] = json!({ "after": after, "to": to });
    task
}

#[tokio::test]
async fn a_task_whose_time_is_over_is_left_by_its_other_way() {
    let bench = TestPlatform::start().await;
    let nodes = json!([in_time("review", "PT1H", "chief"), human("chief"), script("done", "nodes.chief.decision", "by")]);
    let process = publish(&bench, nodes, ways(&[("review", "done"), ("chief", "done")])).await;
    let (late, soon) = (start(&bench, &process, json!({})).await, start(&bench, &process, json!({})).await);
    let task = open_tasks(&bench, &late).await.remove(0);
    let bench = bench.restart().await;
    bench.clock.advance(3599.0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(read(&bench, &late).await["currentNode"], "review");
    assert_eq!(decide(&bench, &soon, "yes").await["status"], "completed");
    bench.clock.advance(1.0);
    at(&bench, &late, "chief").await;
    let path = format!("/tasks/{}", task["taskId"].as_str().unwrap());
    assert_eq!(bench.get(&path, &bench.owner()).await.ok()["status"], "cancelled");
    bench.put(&format!("{path}/respond"), &bench.owner(), json!({ "decision": "yes" })).await.refused(409, "FM-HTS-CLOSED");
    decide(&bench, &late, "no").await;
    let ended = read(&bench, &late).await;
    assert_eq!((&ended["status"], &ended["state"]["variables"]["by"]), (&json!("completed"), &json!("no")), "{ended:#}");
    assert_eq!(ended["state"]["nodeStates"]["review"], "timed_out");
    let path = format!("/executions/{}/history?limit=200", late["executionId"].as_str().unwrap());
    let history = bench.get(&path, &bench.owner()).await.ok();
    assert!(history["items"].as_array().unwrap().iter().any(|entry| entry["type"] == "node.timed_out" && entry["nodeId"] == "review"));
    assert_eq!(read(&bench, &soon).await["error"]["code"], "FM-EES-EXPRESSION-MISSING", "the chief was not asked");
}

#[tokio::test]
async fn a_step_that_fails_goes_on_by_its_error_way() {
    let bench = TestPlatform::start().await;
    let inner = publish(&bench, json!([script("bad", "1/0", "x")]), json!([])).await;
    let nodes = json!([
        { "id": "sub", "type": "subprocess", "config": { "processId": inner, "onError": "sum" } },
        { "id": "sum", "type": "script", "config": { "expression": "variables.none", "output": "y", "onError": "mend" } },
        { "id": "mend", "type": "human_task", "config": { "assignee": "admin", "title": "Mend {{nodes.sum.error.code}}" } },
        { "id": "end", "type": "end" },
    ]);
    let process = publish(&bench, nodes, ways(&[("sub", "end"), ("sum", "end"), ("mend", "end")])).await;
    let execution = start(&bench, &process, json!({})).await;
    assert_eq!((&execution["status"], &execution["currentNode"]), (&json!("waiting"), &json!("mend")), "{execution:#}");
    assert_eq!(open_tasks(&bench, &execution).await[0]["title"], "Mend FM-EES-EXPRESSION-MISSING");
    decide(&bench, &execution, "done").await;
    let ended = read(&bench, &execution).await;
    assert_eq!(ended["status"], "completed");
    assert_eq!((&ended["state"]["nodeStates"]["sub"], &ended["state"]["nodeStates"]["sum"]), (&json!("failed"), &json!("failed")));
    // What it went on without cannot be retried by itself.
    let below = bench.get(&format!("/executions?processId={inner}"), &bench.owner()).await.ok()["items"][0].clone();
    let path = format!("/executions/{}/resume", below["executionId"].as_str().unwrap());
    bench.put(&path, &bench.owner(), json!({})).await.refused(409, "FM-EES-RETRY-ALONE");
}

#[tokio::test]
async fn a_rehearsal_takes_the_other_ways() {
    let bench = TestPlatform::start().await;
    let ask = json!({ "id": "ask", "type": "ai_agent", "config": { "agentId": "agent-assistant", "prompt": "?", "onError": "mend" } });
    let nodes = json!([in_time("review", "PT1H", "ask"), ask, script("mend", "nodes.ask.error.message", "why"), human("plain")]);
    let path = design(&bench, nodes, ways(&[("review", "ask"), ("ask", "plain"), ("mend", "plain")])).await;
    let tried = async |answers: Value| bench.post(&format!("{path}/sandbox"), &bench.owner(), json!({ "answers": answers })).await.ok();
    let ways = tried(json!({ "review": { "timesOut": true }, "ask": { "fails": "too dear" }, "plain": "yes" })).await;
    assert_eq!((&ways["status"], &ways["state"]["variables"]["why"]), (&json!("completed"), &json!("too dear")), "{ways:#}");
    assert_eq!(ways["state"]["nodeStates"]["review"], "timed_out");
    let wrong = tried(json!({ "review": "yes", "ask": { "text": "x" }, "plain": { "timesOut": true } })).await;
    assert_eq!((&wrong["error"]["code"], &wrong["error"]["nodeId"]), (&json!("FM-EES-ANSWER"), &json!("plain")), "{wrong:#}");
}

#[tokio::test]
async fn an_inclusive_choice_takes_what_holds_and_waits_for_that() {
    let bench = TestPlatform::start().await;
    let nodes = json!([
        gateway("choose", "or"),
        human("legal"),
        human("finance"),
        script("plain", "true", "plain"),
        gateway("meet", "or"),
        script("after", "has(variables.after) ? variables.after + 1 : 1", "after"),
    ]);
    let edges = json!([
        { "from": "choose", "to": "legal", "condition": "variables.foreign" },
        { "from": "choose", "to": "finance", "condition": "variables.amount > 100" },
        way("choose", "plain"), way("legal", "meet"), way("finance", "meet"), way("plain", "meet"), way("meet", "after"),
    ]);
    let (errors, warnings) = findings(&bench, nodes.clone(), edges.clone()).await;
    assert!(errors.is_empty() && warnings.iter().all(|code| code == "UNKNOWN_VARIABLE"), "{errors:?} {warnings:?}");
    let process = publish(&bench, nodes, edges).await;
    for (foreign, amount, asked) in [(true, 500, 2), (true, 5, 1), (false, 500, 1), (false, 5, 0)] {
        let execution = start(&bench, &process, json!({ "foreign": foreign, "amount": amount })).await;
        let tasks = open_tasks(&bench, &execution).await;
        assert_eq!(tasks.len(), asked);
        for task in &tasks {
            assert_eq!(read(&bench, &execution).await["status"], "waiting");
            let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
            bench.put(&path, &bench.owner(), json!({ "decision": "yes" })).await.ok();
        }
        let ended = read(&bench, &execution).await;
        let variables = &ended["state"]["variables"];
        assert_eq!((&ended["status"], &variables["after"]), (&json!("completed"), &json!(1)), "{ended:#}");
        assert_eq!(variables.get("plain").is_some(), asked == 0);
    }
}

#[tokio::test]
async fn ways_that_lead_round_or_nowhere_are_told() {
    let bench = TestPlatform::start().await;
    let none: Vec<String> = Vec::new();
    let circle = json!([in_time("a", "PT1H", "b"), in_time("b", "PT1H", "a"), json!({ "id": "end", "type": "end" })]);
    let entry = json!([json!({ "id": "s", "type": "start" }), circle[0], circle[1], circle[2]]);
    let edges = ways(&[("s", "a"), ("a", "end"), ("b", "end")]);
    assert_eq!(findings(&bench, entry, edges).await, (vec!["TIMEOUT_CIRCLE".to_owned(); 2], none.clone()));

    let nodes = json!([{ "id": "s", "type": "start" }, in_time("ask", "P2D", "remind"), script("remind", "1", "x"), { "id": "end", "type": "end" }]);
    let reminding = findings(&bench, nodes, ways(&[("s", "ask"), ("ask", "end"), ("remind", "ask")])).await;
    assert_eq!(reminding, (none.clone(), vec!["TIMEOUT_LOOP".to_owned()]));

    let own = json!([{ "id": "a", "type": "script", "config": { "expression": "1", "onError": "a" } }]);
    assert_eq!(findings(&bench, own, json!([])).await.0, ["ON_ERROR_SELF"]);
    let nowhere = json!([{ "id": "a", "type": "script", "config": { "expression": "1", "onError": "b" } }]);
    assert_eq!(findings(&bench, nowhere, json!([])).await.0, ["UNKNOWN_NODE"]);
    let untimed = json!([{ "id": "a", "type": "human_task", "config": { "assignee": "x", "timeout": { "after": "soon" } } }]);
    assert_eq!(findings(&bench, untimed, json!([])).await.0, ["CONFIG", "CONFIG"]);

    let nodes = json!([gateway("choose", "or"), human("a"), human("b"), gateway("meet", "and")]);
    let edges = json!([
        { "from": "choose", "to": "a", "condition": "has(variables.x)" }, { "from": "choose", "to": "b", "condition": "has(variables.x)" },
        way("a", "meet"), way("b", "meet"),
    ]);
    assert!(findings(&bench, nodes, edges).await.1.contains(&"JOIN_MAY_STICK".to_owned()));
}
