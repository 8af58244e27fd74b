//! The Execution Engine over HTTP: ways, waits, holds, ends and undoing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::processes::contract_example;
use crate::support::platform::{Reply, TestPlatform};

/// A human task that any administrator can answer.
pub fn human(id: &str) -> Value {
    json!({ "id": id, "type": "human_task", "config": { "assignee": "manager" } })
}

fn script(id: &str, expression: &str, output: &str) -> Value {
    json!({ "id": id, "type": "script", "config": { "expression": expression, "output": output } })
}

/// Designs and publishes a process, and answers its id.
pub async fn publish(bench: &TestPlatform, nodes: Value, edges: Value) -> String {
    let owner = bench.owner();
    let design = json!({ "name": "Test", "nodes": nodes, "edges": edges });
    let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
    bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await.ok();
    id
}

/// Starts a process as the owner.
pub async fn start(bench: &TestPlatform, process: &str, variables: Value) -> Value {
    bench.post("/executions", &bench.owner(), json!({ "processId": process, "variables": variables })).await.ok()
}

fn id_of(execution: &Value) -> &str {
    execution["executionId"].as_str().unwrap()
}

async fn read(bench: &TestPlatform, execution: &Value) -> Value {
    bench.get(&format!("/executions/{}", id_of(execution)), &bench.owner()).await.ok()
}

async fn steer(bench: &TestPlatform, execution: &Value, action: &str) -> Reply {
    let path = format!("/executions/{}/{action}", id_of(execution));
    if action == "compensate" {
        bench.post(&path, &bench.owner(), json!({ "reason": "a test" })).await
    } else {
        bench.put(&path, &bench.owner(), json!({ "reason": "a test" })).await
    }
}

/// The open tasks of an execution.
pub async fn open_tasks(bench: &TestPlatform, execution: &Value) -> Vec<Value> {
    let path = format!("/tasks?status=created,assigned,escalated&sort=createdAt&executionId={}", id_of(execution));
    bench.get(&path, &bench.owner()).await.ok()["items"].as_array().unwrap().clone()
}

/// Answers the only open task of an execution.
pub async fn decide(bench: &TestPlatform, execution: &Value, decision: &str) -> Value {
    let tasks = open_tasks(bench, execution).await;
    assert_eq!(tasks.len(), 1, "{tasks:#?}");
    respond(bench, &tasks[0], decision).await
}

async fn respond(bench: &TestPlatform, task: &Value, decision: &str) -> Value {
    let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
    bench.put(&path, &bench.owner(), json!({ "decision": decision })).await.ok()
}

async fn history(bench: &TestPlatform, execution: &Value) -> Vec<(String, Option<String>)> {
    let page = bench.get(&format!("/executions/{}/history?limit=200", id_of(execution)), &bench.owner()).await.ok();
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["type"].as_str().unwrap().to_owned(), entry["nodeId"].as_str().map(str::to_owned)))
        .collect()
}

/// Reads an execution until it is in a state; background work does that in its own time.
async fn until(bench: &TestPlatform, execution: &Value, status: &str) -> Value {
    for _ in 0..500 {
        let now = read(bench, execution).await;
        if now["status"] == status {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not become {status}: {:#}", read(bench, execution).await)
}

#[tokio::test]
async fn the_contracts_example_runs_from_start_to_end() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let process = bench.post("/processes/designs", &owner, contract_example()).await.ok()["id"].as_str().unwrap().to_owned();
    bench.post(&format!("/processes/{process}/publish"), &owner, json!({})).await.ok();
    let begin = json!({
        "processId": process, "version": "1.0.0", "variables": { "userId": "user-456", "amount": 5000 }, "initiator": "system",
    });
    let started = bench.post("/executions", &owner, begin).await;
    assert_eq!(started.status, 201);
    let execution = started.body.clone();
    assert_eq!(started.headers["location"], format!("/executions/{}", id_of(&execution)));
    assert_eq!((&execution["status"], &execution["currentNode"]), (&json!("waiting"), &json!("node-1")));
    assert_eq!(execution["state"], json!({ "variables": { "userId": "user-456", "amount": 5000 }, "nodeStates": { "node-1": "waiting" } }));
    assert_eq!((&execution["initiator"], &execution["processId"]), (&json!("system"), &json!(process)));

    let task = open_tasks(&bench, &execution).await.remove(0);
    assert_eq!((&task["assignedTo"], &task["nodeId"], &task["response"]), (&json!("manager"), &json!("node-1"), &Value::Null));
    let answered = decide(&bench, &execution, "approve").await;
    assert_eq!((&answered["status"], &answered["response"]["respondedBy"]), (&json!("completed"), &json!("user-owner")));
    let ended = read(&bench, &execution).await;
    assert_eq!((&ended["status"], &ended["state"]["nodeStates"]["node-1"]), (&json!("completed"), &json!("completed")));
    assert!(ended["completedAt"].is_string());
    let expected = [
        ("execution.started", None),
        ("node.started", Some("node-1")),
        ("node.waiting", Some("node-1")),
        ("node.completed", Some("node-1")),
        ("execution.completed", None),
    ];
    assert_eq!(history(&bench, &execution).await, expected.map(|(kind, node)| (kind.to_owned(), node.map(str::to_owned))));

    let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
    bench.put(&path, &owner, json!({ "decision": "reject" })).await.refused(409, "FM-HTS-ALREADY-RESPONDED");
    for (topic, data) in [("execution.completed", json!("completed")), ("task.responded", json!("completed"))] {
        let replayed = bench.get(&format!("/events/replay?topic={topic}"), &owner).await.ok();
        assert_eq!(replayed["items"][0]["data"]["status"], data, "{replayed:#}");
    }
}

#[tokio::test]
async fn a_decision_chooses_the_way() {
    let bench = TestPlatform::start().await;
    let nodes = json!([
        { "id": "review", "type": "human_task", "config": { "assignee": "manager", "output": "review", "title": "Approve {{variables.amount}}" } },
        { "id": "size", "type": "gateway", "config": { "mode": "xor" } },
        script("pay", "variables.amount * 2", "paid"), script("note", "'small'", "note"), script("refuse", "'no'", "note"),
    ]);
    let edges = json!([
        { "from": "review", "to": "size", "condition": "variables.review.decision == 'approve'" },
        { "from": "review", "to": "refuse" },
        { "from": "size", "to": "pay", "condition": "variables.amount > 1000" },
        { "from": "size", "to": "note" },
    ]);
    let process = publish(&bench, nodes, edges).await;
    for (amount, decision, paid, note) in [
        (5000, "approve", json!(10000), Value::Null),
        (5, "approve", Value::Null, json!("small")),
        (5000, "reject", Value::Null, json!("no")),
    ] {
        let execution = start(&bench, &process, json!({ "amount": amount })).await;
        assert_eq!(open_tasks(&bench, &execution).await[0]["title"], format!("Approve {amount}"));
        decide(&bench, &execution, decision).await;
        let ended = read(&bench, &execution).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
        assert_eq!((&ended["state"]["variables"]["paid"], &ended["state"]["variables"]["note"]), (&paid, &note));
    }
}

#[tokio::test]
async fn branches_run_side_by_side_and_join() {
    let bench = TestPlatform::start().await;
    let nodes = json!([
        { "id": "fork", "type": "gateway", "config": { "mode": "and" } }, human("a"), human("b"),
        { "id": "join", "type": "gateway", "config": { "mode": "and" } }, script("after", "1", "joined"),
    ]);
    let edges = json!([
        { "from": "fork", "to": "a" }, { "from": "fork", "to": "b" }, { "from": "a", "to": "join" }, { "from": "b", "to": "join" },
        { "from": "join", "to": "after" },
    ]);
    let process = publish(&bench, nodes, edges).await;
    let execution = start(&bench, &process, json!({})).await;
    let tasks = open_tasks(&bench, &execution).await;
    assert_eq!(tasks.len(), 2);
    respond(&bench, &tasks[0], "approve").await;
    let half = read(&bench, &execution).await;
    assert_eq!((&half["status"], &half["state"]["nodeStates"]["join"]), (&json!("waiting"), &json!("waiting")));
    assert_eq!(half["currentNode"], tasks[1]["nodeId"], "the person is what it waits for");
    respond(&bench, &tasks[1], "approve").await;
    let ended = read(&bench, &execution).await;
    assert_eq!((&ended["status"], &ended["state"]["variables"]["joined"]), (&json!("completed"), &json!(1)));
}

#[tokio::test]
async fn what_can_never_end_fails_and_says_why() {
    let bench = TestPlatform::start().await;
    let spin = publish(
        &bench,
        json!([{ "id": "s", "type": "start" }, script("a", "1", "x"), { "id": "end", "type": "end" }]),
        json!([{ "from": "s", "to": "a" }, { "from": "a", "to": "a", "condition": "variables.x == 1" }, { "from": "a", "to": "end" }]),
    )
    .await;
    let stuck = publish(
        &bench,
        json!([
            { "id": "fork", "type": "gateway", "config": { "mode": "and" } }, script("a", "1", "x"), script("b", "1", "x"),
            { "id": "join", "type": "gateway", "config": { "mode": "and" } }, { "id": "end", "type": "end" },
        ]),
        json!([
            { "from": "fork", "to": "a" }, { "from": "fork", "to": "b" }, { "from": "a", "to": "end", "condition": "variables.x == 1" },
            { "from": "a", "to": "join" }, { "from": "b", "to": "join" },
        ]),
    )
    .await;
    let no_way =
        publish(&bench, json!([script("a", "1", "x"), human("b")]), json!([{ "from": "a", "to": "b", "condition": "variables.x > 1" }]))
            .await;
    let missing = publish(&bench, json!([script("a", "variables.amount + 1", "x")]), json!([])).await;
    for (process, code, node) in [
        (spin, "FM-EES-STEP-LIMIT", "a"),
        (stuck, "FM-EES-JOIN-STUCK", "join"),
        (no_way, "FM-EES-NO-WAY", "a"),
        (missing, "FM-EES-EXPRESSION-MISSING", "a"),
    ] {
        let failed = start(&bench, &process, json!({})).await;
        assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!(code)), "{failed:#}");
        assert_eq!((&failed["error"]["nodeId"], &failed["state"]["nodeStates"][node]), (&json!(node), &json!("failed")));
    }
    let replayed = bench.get("/events/replay?topic=execution.failed", &bench.owner()).await.ok();
    assert_eq!(replayed["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_held_execution_takes_answers_and_goes_on_when_resumed() {
    let bench = TestPlatform::start().await;
    let process = publish(&bench, json!([human("a"), script("b", "1", "done")]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    assert_eq!(steer(&bench, &execution, "pause").await.ok()["status"], "paused");
    decide(&bench, &execution, "approve").await;
    let held = read(&bench, &execution).await;
    assert_eq!((&held["status"], held["state"]["variables"].get("done")), (&json!("paused"), None));
    assert_eq!(steer(&bench, &execution, "resume").await.ok()["status"], "completed");
    assert_eq!(read(&bench, &execution).await["state"]["variables"]["done"], 1);
}

#[tokio::test]
async fn a_transition_that_is_not_allowed_says_what_is() {
    let bench = TestPlatform::start().await;
    let process = publish(&bench, json!([human("a")]), json!([])).await;
    let (waiting, paused, cancelled, completed) = (
        start(&bench, &process, json!({})).await,
        start(&bench, &process, json!({})).await,
        start(&bench, &process, json!({})).await,
        start(&bench, &process, json!({})).await,
    );
    steer(&bench, &paused, "pause").await.ok();
    steer(&bench, &cancelled, "cancel").await.ok();
    decide(&bench, &completed, "approve").await;
    for (execution, refused, allowed) in [
        (&waiting, vec!["resume", "compensate"], "allowed now: pause, cancel"),
        (&paused, vec!["pause", "compensate"], "allowed now: resume, cancel"),
        (&cancelled, vec!["pause", "resume", "cancel"], "allowed now: compensate"),
        (&completed, vec!["pause", "resume", "cancel"], "allowed now: compensate"),
    ] {
        for action in refused {
            let problem = steer(&bench, execution, action).await.refused(409, "FM-EES-NOT-ALLOWED");
            assert!(problem["detail"].as_str().unwrap().contains(allowed), "{action}: {problem}");
        }
    }
    steer(&bench, &completed, "compensate").await.refused(409, "FM-EES-NOTHING-TO-COMPENSATE");
    let none = json!({ "executionId": "exec-none" });
    for action in ["pause", "resume", "cancel", "compensate"] {
        steer(&bench, &none, action).await.refused(404, "FM-EES-NOT-FOUND");
    }
}

#[tokio::test]
async fn cancelling_closes_tasks_and_what_runs_below() {
    let bench = TestPlatform::start().await;
    let below = publish(&bench, json!([human("inner")]), json!([])).await;
    let process = publish(&bench, json!([{ "id": "sub", "type": "subprocess", "config": { "processId": below } }]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    let inner = bench.get(&format!("/executions?processId={below}"), &bench.owner()).await.ok()["items"][0].clone();
    assert_eq!(inner["parentExecutionId"], execution["executionId"]);
    let task = open_tasks(&bench, &inner).await.remove(0);
    assert_eq!(steer(&bench, &execution, "cancel").await.ok()["status"], "cancelled");
    assert_eq!(read(&bench, &inner).await["status"], "cancelled");
    let path = format!("/tasks/{}", task["taskId"].as_str().unwrap());
    assert_eq!(bench.get(&path, &bench.owner()).await.ok()["status"], "cancelled");
    bench.put(&format!("{path}/respond"), &bench.owner(), json!({ "decision": "approve" })).await.refused(409, "FM-HTS-CLOSED");
}

#[tokio::test]
async fn a_failure_closes_the_other_branches() {
    let bench = TestPlatform::start().await;
    let nodes =
        json!([{ "id": "fork", "type": "gateway", "config": { "mode": "and" } }, human("a"), human("b"), script("bad", "1/0", "x")]);
    let edges = json!([{ "from": "fork", "to": "a" }, { "from": "fork", "to": "b" }, { "from": "b", "to": "bad" }]);
    let process = publish(&bench, nodes, edges).await;
    let execution = start(&bench, &process, json!({})).await;
    let tasks = open_tasks(&bench, &execution).await;
    respond(&bench, &tasks[1], "approve").await;
    let failed = read(&bench, &execution).await;
    assert_eq!((&failed["status"], &failed["error"]["nodeId"]), (&json!("failed"), &json!("bad")));
    assert_eq!(failed["state"]["nodeStates"]["a"], "cancelled");
    assert!(open_tasks(&bench, &execution).await.is_empty());
}

#[tokio::test]
async fn a_timer_rings_when_its_time_has_come_and_over_a_restart() {
    let bench = TestPlatform::start().await;
    let nodes = json!([{ "id": "nap", "type": "timer", "config": { "seconds": 3600 } }, script("after", "1", "rung")]);
    let process = publish(&bench, nodes, json!([])).await;
    let (first, held) = (start(&bench, &process, json!({})).await, start(&bench, &process, json!({})).await);
    assert_eq!((&first["status"], &first["currentNode"]), (&json!("waiting"), &json!("nap")));
    steer(&bench, &held, "pause").await.ok();
    bench.clock.advance(3599.0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(read(&bench, &first).await["status"], "waiting");
    bench.clock.advance(1.0);
    assert_eq!(until(&bench, &first, "completed").await["state"]["variables"]["rung"], 1);
    assert_eq!(read(&bench, &held).await["status"], "paused", "time does not move what is held");
    assert_eq!(steer(&bench, &held, "resume").await.ok()["status"], "completed");

    let second = start(&bench, &process, json!({})).await;
    bench.clock.advance(4000.0);
    let bench = bench.restart().await;
    until(&bench, &second, "completed").await;
}

#[tokio::test]
async fn a_task_is_answered_after_a_restart() {
    let bench = TestPlatform::start().await;
    let process = publish(&bench, json!([human("a"), script("b", "1", "done")]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    let bench = bench.restart().await;
    assert_eq!(read(&bench, &execution).await["status"], "waiting");
    decide(&bench, &execution, "approve").await;
    assert_eq!(read(&bench, &execution).await["status"], "completed");
}

#[tokio::test]
async fn a_subprocess_works_on_its_own_variables_and_gives_them_back() {
    let bench = TestPlatform::start().await;
    let below = publish(&bench, json!([human("ask"), script("double", "variables.n * 2", "n")]), json!([])).await;
    let sub = json!({ "id": "sub", "type": "subprocess", "config": {
        "processId": below, "variables": { "n": "=variables.amount + 1", "who": "x" }, "output": "result",
    } });
    let process = publish(&bench, json!([sub, script("after", "variables.result.n", "total")]), json!([])).await;
    let execution = start(&bench, &process, json!({ "amount": 20 })).await;
    assert_eq!((&execution["status"], &execution["currentNode"]), (&json!("waiting"), &json!("sub")));
    let inner = bench.get(&format!("/executions?processId={below}&status=waiting"), &bench.owner()).await.ok()["items"][0].clone();
    assert_eq!(read(&bench, &inner).await["state"]["variables"], json!({ "n": 21, "who": "x" }));
    decide(&bench, &inner, "approve").await;
    let ended = read(&bench, &execution).await;
    assert_eq!((&ended["status"], &ended["state"]["variables"]["total"]), (&json!("completed"), &json!(42)), "{ended:#}");
}

#[tokio::test]
async fn a_subprocess_that_fails_or_never_ends_fails_the_one_above() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let below = publish(&bench, json!([human("ask"), script("bad", "1/0", "n")]), json!([])).await;
    let process = publish(&bench, json!([{ "id": "sub", "type": "subprocess", "config": { "processId": below } }]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    let inner = bench.get(&format!("/executions?processId={below}"), &owner).await.ok()["items"][0].clone();
    decide(&bench, &inner, "approve").await;
    let failed = read(&bench, &execution).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("FM-EES-SUBPROCESS")), "{failed:#}");

    let execution = start(&bench, &process, json!({})).await;
    let inner = bench.get(&format!("/executions?processId={below}&status=waiting"), &owner).await.ok()["items"][0].clone();
    steer(&bench, &inner, "cancel").await.ok();
    let failed = read(&bench, &execution).await;
    assert!(failed["error"]["message"].as_str().unwrap().contains("is cancelled"), "{failed:#}");

    // One that runs itself: the depth is bounded.
    let own = bench.post("/processes/designs", &owner, json!({ "name": "Self", "nodes": [human("a")] })).await.ok()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let nodes = json!([{ "id": "sub", "type": "subprocess", "config": { "processId": own } }]);
    bench.put(&format!("/processes/{own}"), &owner, json!({ "nodes": nodes })).await.ok();
    bench.post(&format!("/processes/{own}/publish"), &owner, json!({})).await.ok();
    let failed = start(&bench, &own, json!({})).await;
    assert_eq!(failed["status"], "failed");
    assert!(failed["error"]["message"].as_str().unwrap().contains("nested more than 8"), "{failed:#}");
    let gone = publish(&bench, json!([{ "id": "sub", "type": "subprocess", "config": { "processId": "proc-none" } }]), json!([])).await;
    assert_eq!(start(&bench, &gone, json!({})).await["error"]["code"], "FM-EES-SUBPROCESS");
}

#[tokio::test]
async fn steps_are_undone_in_reverse_and_once() {
    let bench = TestPlatform::start().await;
    let undone = |id: &str, expression: &str, undo: Value| json!({ "id": id, "type": "script", "config": { "expression": expression, "output": id, "compensate": undo } });
    let nodes = json!([
        undone("book", "1", json!({ "type": "script", "expression": "variables.log + ['book']", "output": "log" })),
        undone("pay", "2", json!({ "type": "human_task", "assignee": "cashier", "title": "Refund {{variables.pay}}" })),
        undone("ship", "3", json!({ "type": "script", "expression": "variables.log + ['ship']", "output": "log" })),
        script("fail", "1/0", "x"),
    ]);
    let process = publish(&bench, nodes, json!([])).await;
    let execution = start(&bench, &process, json!({ "log": [] })).await;
    assert_eq!(execution["status"], "failed");
    let undoing = steer(&bench, &execution, "compensate").await;
    assert_eq!((undoing.status, &undoing.body["status"], &undoing.body["currentNode"]), (202, &json!("compensating"), &json!("pay")));
    let task = open_tasks(&bench, &execution).await.remove(0);
    assert_eq!((&task["title"], &task["assignedTo"]), (&json!("Refund 2"), &json!("cashier")));
    steer(&bench, &execution, "compensate").await.refused(409, "FM-EES-NOT-ALLOWED");
    respond(&bench, &task, "done").await;
    let ended = read(&bench, &execution).await;
    assert_eq!((&ended["status"], &ended["state"]["variables"]["log"]), (&json!("compensated"), &json!(["ship", "book"])), "{ended:#}");
    assert_eq!(
        ended["state"]["nodeStates"],
        json!({ "book": "compensated", "pay": "compensated", "ship": "compensated", "fail": "failed" })
    );
    steer(&bench, &execution, "compensate").await.refused(409, "FM-EES-NOT-ALLOWED");
}

#[tokio::test]
async fn what_could_not_be_undone_is_tried_again_and_the_rest_is_not() {
    let bench = TestPlatform::start().await;
    let nodes = json!([
        { "id": "a", "type": "script", "config": { "expression": "1", "output": "a", "compensate":
            { "type": "script", "expression": "variables.none", "output": "x" } } },
        { "id": "b", "type": "script", "config": { "expression": "0", "output": "count", "compensate":
            { "type": "script", "expression": "variables.count + 1", "output": "count" } } },
    ]);
    let process = publish(&bench, nodes, json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    assert_eq!(execution["status"], "completed");
    for _ in 0..2 {
        let failed = steer(&bench, &execution, "compensate").await.ok();
        assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("FM-EES-COMPENSATION")));
        assert_eq!(failed["state"]["variables"]["count"], 1, "b was undone once");
    }
}

#[tokio::test]
async fn a_start_gives_what_the_process_declares() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let design = json!({
        "name": "Declared", "nodes": [human("a")],
        "variables": [{ "name": "amount", "type": "number", "required": true }, { "name": "note", "type": "string" }],
    });
    let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
    bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await.ok();
    let refused =
        bench.post("/executions", &owner, json!({ "processId": id, "variables": { "note": 1 } })).await.refused(422, "FM-EES-VARIABLES");
    let pointers: Vec<&str> = refused["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/variables/amount", "/variables/note"]);
    start(&bench, &id, json!({ "amount": 1, "more": true })).await;
    assert_eq!(bench.get("/executions", &owner).await.ok()["items"].as_array().unwrap().len(), 1);
    bench.get("/executions?status=sleeping", &owner).await.refused(422, "FM-EES-INVALID");
}

#[tokio::test]
async fn numbers_are_of_the_kind_that_is_declared() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let form = json!({ "fields": [{ "name": "count", "type": "integer" }, { "name": "share", "type": "number" }] });
    let design = json!({
        "name": "Numbers",
        "variables": [{ "name": "price", "type": "number" }, { "name": "pieces", "type": "integer" }, { "name": "half", "type": "number" }],
        "nodes": [
            script("gross", "variables.price * 1.2", "gross"),
            script("half", "variables.pieces", "half"),
            script("quarter", "variables.half / 2", "quarter"),
            script("sum", "variables.prices[0] + variables.prices[1]", "sum"),
            { "id": "ask", "type": "human_task", "config": { "assignee": "admin", "form": form, "title": "{{variables.price}} a piece" } },
            script("answered", "nodes.ask.share / 2", "answered"),
        ],
    });
    let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
    bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await.ok();
    let execution = start(&bench, &id, json!({ "price": 20, "pieces": 5.0, "prices": [1, 2.5] })).await;
    let task = open_tasks(&bench, &execution).await.remove(0);
    assert_eq!(task["title"], "20 a piece");
    let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
    bench.put(&path, &owner, json!({ "decision": "ok", "data": { "count": 5.0, "share": 3 } })).await.ok();
    let state = read(&bench, &execution).await["state"].clone();
    for (name, value) in [("gross", "24.0"), ("pieces", "5"), ("half", "5.0"), ("quarter", "2.5"), ("sum", "3.5"), ("answered", "1.5")] {
        assert_eq!(state["variables"][name].to_string(), value, "{name}");
    }
    let task = bench.get(&format!("/tasks/{}", task["taskId"].as_str().unwrap()), &owner).await.ok();
    assert_eq!(task["response"]["data"]["count"].to_string(), "5", "{task}");
}

#[tokio::test]
async fn a_script_that_takes_too_much_fails_its_execution_alone() {
    let bench = TestPlatform::start().await;
    let bomb = publish(&bench, json!([script("a", "variables.l.map(x, variables)", "x")]), json!([])).await;
    let failed = start(&bench, &bomb, json!({ "l": vec![1; 30_000] })).await;
    assert_eq!((failed["status"].as_str(), failed["error"]["code"].as_str()), (Some("failed"), Some("FM-EES-EXPRESSION-COST")));
    let nodes = json!([{ "id": "s", "type": "start" }, script("a", "[variables.l]", "l"), { "id": "b", "type": "gateway" }, { "id": "c", "type": "end" }]);
    let edges = json!([{ "from": "s", "to": "a" }, { "from": "a", "to": "b" }, { "from": "b", "to": "a", "condition": "true" }, { "from": "b", "to": "c" }]);
    let nested = publish(&bench, nodes, edges).await;
    let failed = start(&bench, &nested, json!({ "l": 1 })).await;
    assert_eq!(failed["error"]["code"], "FM-EES-EXPRESSION-RESULT");
    let fine = publish(&bench, json!([script("a", "1 + 1", "x")]), json!([])).await;
    assert_eq!(start(&bench, &fine, json!({})).await["status"], "completed");
}

#[tokio::test]
async fn another_tenant_sees_no_execution() {
    let bench = TestPlatform::start().await;
    let process = publish(&bench, json!([human("a")]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    let stranger = bench.signed_in("tenant-other", "eve", &["*"]).await;
    let path = format!("/executions/{}", id_of(&execution));
    bench.get(&path, &stranger).await.refused(404, "FM-EES-NOT-FOUND");
    bench.get(&format!("{path}/history"), &stranger).await.refused(404, "FM-EES-NOT-FOUND");
    bench.put(&format!("{path}/cancel"), &stranger, json!({})).await.refused(404, "FM-EES-NOT-FOUND");
    let task = open_tasks(&bench, &execution).await.remove(0);
    let path = format!("/tasks/{}", task["taskId"].as_str().unwrap());
    bench.get(&path, &stranger).await.refused(404, "FM-HTS-NOT-FOUND");
    bench.put(&format!("{path}/respond"), &stranger, json!({ "decision": "approve" })).await.refused(404, "FM-HTS-NOT-FOUND");
    assert_eq!(bench.get("/tasks", &stranger).await.ok()["items"], json!([]));
}

#[tokio::test]
async fn branches_are_bounded_and_thousands_of_edges_cost_little() {
    let bench = TestPlatform::start().await;
    let forking = |id: &str| json!({ "id": id, "type": "gateway", "config": { "mode": "and" } });
    let mut nodes = vec![forking("f1"), json!({ "id": "merge", "type": "gateway" }), forking("f2")];
    let mut edges = vec![json!({ "from": "merge", "to": "f2" })];
    for number in 0..40 {
        let (first, second) = (format!("a{number}"), format!("b{number}"));
        edges.extend([("f1", &*first), (&*first, "merge"), ("f2", &*second)].map(|(from, to)| json!({ "from": from, "to": to })));
        nodes.extend([script(&first, "1", "x"), script(&second, "1", "x")]);
    }
    let process = publish(&bench, json!(nodes), json!(edges)).await;
    let failed = start(&bench, &process, json!({})).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("FM-EES-TOO-MANY-BRANCHES")), "{failed:#}");

    // A draft may have any faults: the same edge many times, and one that leads nowhere.
    for (parallel, to, expected) in
        [(900, "join", None), (1_500, "join", Some("FM-EES-TOO-MANY-BRANCHES")), (1, "gone", Some("FM-EES-UNKNOWN-NODE"))]
    {
        let nodes = json!([{ "id": "s", "type": "start" }, forking("fork"), forking("join"), script("after", "1", "joined")]);
        let mut edges = vec![json!({ "from": "s", "to": "fork" }), json!({ "from": "join", "to": "after" })];
        edges.extend(vec![json!({ "from": "fork", "to": to }); parallel]);
        let draft = bench.post("/processes/designs", &bench.owner(), json!({ "name": "Draft", "nodes": nodes, "edges": edges })).await.ok();
        let trial = bench.post(&format!("/processes/{}/sandbox", draft["id"].as_str().unwrap()), &bench.owner(), json!({})).await.ok();
        assert_eq!(trial["error"]["code"].as_str(), expected, "{parallel} to {to}: {}", trial["error"]);
        assert_eq!(trial["state"]["variables"].get("joined").is_some(), expected.is_none());
    }
}
