//! Retrying failed executions over HTTP: where they stopped, with corrected variables, below and beside.

use serde_json::{Value, json};

use crate::platform::executions::{decide, human, open_tasks, publish, start};
use crate::support::platform::{Reply, TestPlatform};

fn script(id: &str, expression: &str, output: &str) -> Value {
    json!({ "id": id, "type": "script", "config": { "expression": expression, "output": output } })
}

async fn read(bench: &TestPlatform, execution: &Value) -> Value {
    bench.get(&format!("/executions/{}", execution["executionId"].as_str().unwrap()), &bench.owner()).await.ok()
}

async fn resume(bench: &TestPlatform, execution: &Value, body: Value) -> Reply {
    bench.put(&format!("/executions/{}/resume", execution["executionId"].as_str().unwrap()), &bench.owner(), body).await
}

async fn below(bench: &TestPlatform, process: &str) -> Value {
    bench.get(&format!("/executions?processId={process}"), &bench.owner()).await.ok()["items"][0].clone()
}

#[tokio::test]
async fn a_run_that_needed_people_is_not_lost_to_a_missing_variable() {
    let bench = TestPlatform::start().await;
    let process = publish(&bench, json!([human("approve"), script("gross", "variables.amount * 2", "gross")]), json!([])).await;
    let execution = start(&bench, &process, json!({ "amuont": 5 })).await;
    decide(&bench, &execution, "yes").await;
    let failed = read(&bench, &execution).await;
    assert_eq!((&failed["status"], &failed["error"]["nodeId"]), (&json!("failed"), &json!("gross")), "{failed:#}");
    let again = resume(&bench, &execution, json!({})).await.ok();
    assert_eq!((&again["status"], &again["error"]["code"]), (&json!("failed"), &json!("FM-EES-EXPRESSION-MISSING")));

    let bench = bench.restart().await;
    let mended = resume(&bench, &execution, json!({ "reason": "a typo", "variables": { "amount": 5 } })).await.ok();
    assert_eq!((&mended["status"], &mended["state"]["variables"]["gross"]), (&json!("completed"), &json!(10)), "{mended:#}");
    assert_eq!((mended.get("error"), &mended["state"]["nodeStates"]["gross"]), (None, &json!("completed")));
    let path = format!("/executions/{}/history?limit=200", execution["executionId"].as_str().unwrap());
    let history = bench.get(&path, &bench.owner()).await.ok();
    let of = |kind: &str| history["items"].as_array().unwrap().iter().filter(|entry| entry["type"] == kind).cloned().collect::<Vec<_>>();
    let retried = of("node.retried");
    assert_eq!((retried.len(), &retried[1]["nodeId"], &retried[1]["data"]["variables"]), (2, &json!("gross"), &json!({ "amount": 5 })));
    assert_eq!(of("execution.resumed")[1]["data"]["reason"], "a typo");
    let tasks = bench.get(&format!("/tasks?executionId={}", execution["executionId"].as_str().unwrap()), &bench.owner()).await.ok();
    assert_eq!(tasks["items"].as_array().unwrap().len(), 1, "nobody is asked twice");
}

#[tokio::test]
async fn a_step_that_led_nowhere_is_done_again_on_demand_alone() {
    let bench = TestPlatform::start().await;
    let design = json!({
        "nodes": [human("review"), { "id": "yes", "type": "end" }, { "id": "no", "type": "end" }],
        "edges": [
            { "from": "review", "to": "yes", "condition": "nodes.review.decision == 'approve'" },
            { "from": "review", "to": "no", "condition": "nodes.review.decision == variables.refusal" },
        ],
    });
    let process = publish(&bench, design["nodes"].clone(), design["edges"].clone()).await;
    let begin = async || {
        let execution = start(&bench, &process, json!({ "refusal": "reject" })).await;
        decide(&bench, &execution, "aprove").await;
        assert_eq!(read(&bench, &execution).await["error"]["code"], "FM-EES-NO-WAY");
        execution
    };
    let execution = begin().await;
    let chosen = resume(&bench, &execution, json!({ "variables": { "refusal": "aprove" } })).await.ok();
    assert_eq!((&chosen["status"], &chosen["state"]["nodeStates"]["no"]), (&json!("completed"), &json!("completed")), "{chosen:#}");
    assert_eq!(chosen["state"]["nodeStates"]["review"], "completed");

    let execution = begin().await;
    let asked = resume(&bench, &execution, json!({ "repeat": true })).await.ok();
    assert_eq!((&asked["status"], &asked["currentNode"]), (&json!("waiting"), &json!("review")));
    decide(&bench, &execution, "approve").await;
    assert_eq!(read(&bench, &execution).await["status"], "completed");
}

#[tokio::test]
async fn the_other_branches_wait_again_for_what_they_waited_for() {
    let bench = TestPlatform::start().await;
    let gateway = |id: &str| json!({ "id": id, "type": "gateway", "config": { "mode": "and" } });
    let inner = publish(&bench, json!([human("first"), human("second")]), json!([])).await;
    let nodes = json!([
        gateway("fork"), human("trigger"), script("bad", "variables.none", "x"), human("other"),
        { "id": "nap", "type": "timer", "config": { "seconds": 60 } },
        { "id": "sub", "type": "subprocess", "config": { "processId": inner } }, gateway("join"),
    ]);
    let edges: Vec<Value> = [
        ("fork", "trigger"),
        ("trigger", "bad"),
        ("bad", "join"),
        ("fork", "other"),
        ("other", "join"),
        ("fork", "nap"),
        ("nap", "join"),
        ("fork", "sub"),
        ("sub", "join"),
    ]
    .map(|(from, to)| json!({ "from": from, "to": to }))
    .into();
    let process = publish(&bench, nodes, json!(edges)).await;
    let execution = start(&bench, &process, json!({})).await;
    let sub = below(&bench, &inner).await;
    decide(&bench, &sub, "yes").await;
    let answer = async |node: &str| {
        let task = open_tasks(&bench, &execution).await.into_iter().find(|task| task["nodeId"] == node).unwrap();
        let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
        bench.put(&path, &bench.owner(), json!({ "decision": "yes" })).await.ok();
    };
    answer("trigger").await;
    assert_eq!(read(&bench, &execution).await["status"], "failed");
    assert!(open_tasks(&bench, &execution).await.is_empty());
    assert_eq!(read(&bench, &sub).await["status"], "cancelled");

    let mended = resume(&bench, &execution, json!({ "variables": { "none": 1 } })).await.ok();
    assert_eq!(mended["status"], "waiting", "{mended:#}");
    assert_eq!(read(&bench, &sub).await["currentNode"], "second", "what was answered below stays so");
    decide(&bench, &sub, "yes").await;
    answer("other").await;
    bench.clock.advance(61.0);
    for _ in 0..500 {
        if read(&bench, &execution).await["status"] == "completed" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it did not complete: {:#}", read(&bench, &execution).await);
}

#[tokio::test]
async fn a_run_below_is_mended_from_below_or_from_above() {
    let bench = TestPlatform::start().await;
    let inner = publish(&bench, json!([human("ask"), script("double", "variables.n * 2", "n")]), json!([])).await;
    let sub = json!({ "id": "sub", "type": "subprocess", "config": { "processId": inner, "variables": { "m": 1 }, "output": "result" } });
    let process = publish(&bench, json!([sub, script("after", "variables.result.n + 1", "total")]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    let run = below(&bench, &inner).await;
    decide(&bench, &run, "yes").await;
    assert_eq!(read(&bench, &execution).await["error"]["code"], "FM-EES-SUBPROCESS");
    // From above it goes on below, where it fails again by the same fault.
    assert_eq!(resume(&bench, &execution, json!({})).await.ok()["status"], "failed");
    assert_eq!(resume(&bench, &run, json!({ "variables": { "n": 20 } })).await.ok()["status"], "completed");
    let ended = read(&bench, &execution).await;
    assert_eq!((&ended["status"], &ended["state"]["variables"]["total"]), (&json!("completed"), &json!(41)), "{ended:#}");
}

#[tokio::test]
async fn what_cannot_be_retried_is_refused_with_a_code() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let booked = json!({ "id": "book", "type": "script", "config": { "expression": "1", "output": "booked",
        "compensate": { "type": "script", "expression": "0", "output": "booked" } } });
    let inner = publish(&bench, json!([script("fail", "1/0", "x")]), json!([])).await;
    let sub = json!({ "id": "sub", "type": "subprocess", "config": { "processId": inner } });
    let process = publish(&bench, json!([booked, sub]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    let run = below(&bench, &inner).await;
    let path = format!("/executions/{}/compensate", execution["executionId"].as_str().unwrap());
    assert_eq!(bench.post(&path, &owner, json!({})).await.ok()["status"], "compensated");
    resume(&bench, &execution, json!({})).await.refused(409, "FM-EES-COMPENSATED");
    resume(&bench, &run, json!({})).await.refused(409, "FM-EES-RETRY-ALONE");

    let design =
        json!({ "name": "Typed", "nodes": [script("n", "1/variables.n", "m")], "variables": [{ "name": "n", "type": "integer" }] });
    let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
    bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await.ok();
    let failed = start(&bench, &id, json!({ "n": 0 })).await;
    let refused = resume(&bench, &failed, json!({ "variables": { "n": "one" } })).await.refused(422, "FM-EES-VARIABLES");
    assert_eq!(refused["errors"][0]["pointer"], "/variables/n");
    assert_eq!(read(&bench, &failed).await["status"], "failed", "nothing is lost");
    assert_eq!(resume(&bench, &failed, json!({ "variables": { "n": 1 } })).await.ok()["status"], "completed");
    resume(&bench, &failed, json!({})).await.refused(409, "FM-EES-NOT-ALLOWED");
}
