//! Nodes of processes that call outside systems.

use serde_json::{Value, json};

use super::{System, quick, register, rest, synced, until};
use crate::platform::executions::{publish, start};
use crate::support::platform::TestPlatform;

/// A node that books the amount.
fn node(integration: &str) -> Value {
    json!({ "id": "book", "type": "integration", "config": {
        "integrationId": integration, "method": "POST", "path": "/bookings/{{variables.order}}",
        "body": { "amount": "=variables.amount * 2", "note": "Order {{variables.order}}", "lines": [{ "n": "=1 + 1" }] }, "output": "booking",
    } })
}

async fn read(platform: &TestPlatform, execution: &Value) -> Value {
    platform.get(&format!("/executions/{}", execution["executionId"].as_str().unwrap()), &platform.owner()).await.ok()
}

async fn when(platform: &TestPlatform, execution: &Value, status: &str) -> Value {
    until(async || read(platform, execution).await["status"] == status).await;
    read(platform, execution).await
}

async fn steer(platform: &TestPlatform, execution: &Value, action: &str) {
    let path = format!("/executions/{}/{action}", execution["executionId"].as_str().unwrap());
    platform.put(&path, &platform.owner(), json!({})).await.ok();
}

#[tokio::test]
async fn a_node_calls_its_system_and_goes_on_with_the_answer() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let mut request = rest(&system);
    request["mapping"] = json!({ "external_id": "id" });
    let id = register(&platform, request).await;
    let after = json!({ "id": "after", "type": "script", "config": { "expression": "nodes.book.external_id + 1", "output": "next" } });
    let process = publish(&platform, json!([node(&id), after]), json!([])).await;
    let execution = start(&platform, &process, json!({ "order": "A/1", "amount": 5 })).await;
    assert_eq!((&execution["status"], &execution["currentNode"]), (&json!("waiting"), &json!("book")), "{execution:#}");
    let done = when(&platform, &execution, "completed").await;
    assert_eq!((&done["state"]["variables"]["booking"], &done["state"]["variables"]["next"]), (&json!({ "external_id": 42 }), &json!(43)));
    let came = system.came().remove(0);
    assert_eq!(came.path, "/api/bookings/A/1");
    let sent: Value = serde_json::from_slice(&came.body).unwrap();
    assert_eq!(sent, json!({ "amount": 10, "note": "Order A/1", "lines": [{ "n": 2 }] }));
    assert!(came.header("idempotency-key").starts_with("work-"));
    let event = synced(&platform).await.remove(0);
    assert_eq!((&event["executionId"], &event["nodeId"], &event["status"]), (&done["executionId"], &json!("book"), &json!("completed")));
}

#[tokio::test]
async fn a_call_that_fails_fails_its_node_with_the_reason() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    for (integration, answer, code) in [(id.as_str(), 409, "FM-IHS-REJECTED"), ("int-none", 200, "FM-IHS-NOT-FOUND")] {
        system.say([answer]);
        let process = publish(&platform, json!([node(integration)]), json!([])).await;
        let execution = start(&platform, &process, json!({ "order": "1", "amount": 5 })).await;
        let failed = when(&platform, &execution, "failed").await;
        assert_eq!((&failed["error"]["code"], &failed["error"]["nodeId"]), (&json!(code), &json!("book")), "{failed:#}");
    }
    assert_eq!(system.came().len(), 1);
}

#[tokio::test]
async fn a_node_that_waits_for_its_system_survives_a_restart() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    let process = publish(&platform, json!([node(&id)]), json!([])).await;
    system.say([503]);
    let execution = start(&platform, &process, json!({ "order": "1", "amount": 5 })).await;
    until(async || system.came().len() == 1).await;
    let platform = platform.restart_with(quick).await;
    assert_eq!(read(&platform, &execution).await["status"], "waiting");
    until(async || {
        platform.clock.advance(2.0);
        read(&platform, &execution).await["status"] == "completed"
    })
    .await;
    let keys: Vec<String> = system.came().iter().map(|came| came.header("idempotency-key").to_owned()).collect();
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
}

#[tokio::test]
async fn a_call_that_was_refused_is_retried_under_another_key() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    let process = publish(&platform, json!([node(&id)]), json!([])).await;
    system.say([409]);
    let execution = start(&platform, &process, json!({ "order": "1", "amount": 5 })).await;
    when(&platform, &execution, "failed").await;
    let path = format!("/executions/{}/resume", execution["executionId"].as_str().unwrap());
    platform.put(&path, &platform.owner(), json!({ "variables": { "order": "2" } })).await.ok();
    when(&platform, &execution, "completed").await;
    let came: Vec<(String, String)> =
        system.came().iter().map(|came| (came.path.clone(), came.header("idempotency-key").to_owned())).collect();
    assert_eq!((came.len(), came[1].0.as_str()), (2, "/api/bookings/2"), "{came:?}");
    assert_ne!(came[0].1, came[1].1, "a refused call is not repeated, another one is made");
}

#[tokio::test]
async fn a_held_or_cancelled_execution_calls_nobody() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    let process = publish(&platform, json!([node(&id)]), json!([])).await;
    system.say([503, 503]);
    let held = start(&platform, &process, json!({ "order": "1", "amount": 5 })).await;
    let cancelled = start(&platform, &process, json!({ "order": "2", "amount": 5 })).await;
    until(async || system.came().len() == 2).await;
    steer(&platform, &held, "pause").await;
    steer(&platform, &cancelled, "cancel").await;
    platform.clock.advance(10.0);
    let other = start(&platform, &process, json!({ "order": "3", "amount": 5 })).await;
    when(&platform, &other, "completed").await;
    assert_eq!(system.came().len(), 3);
    steer(&platform, &held, "resume").await;
    until(async || {
        platform.clock.advance(2.0);
        read(&platform, &held).await["status"] == "completed"
    })
    .await;
    assert_eq!(read(&platform, &cancelled).await["status"], "cancelled");
    assert_eq!(system.came().len(), 4);
}

#[tokio::test]
async fn a_node_is_undone_by_a_call() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    let mut booked = node(&id);
    booked["config"]["compensate"] =
        json!({ "type": "integration", "integrationId": id, "method": "DELETE", "path": "/bookings/{{nodes.book.id}}" });
    let process = publish(&platform, json!([booked]), json!([])).await;
    let execution = start(&platform, &process, json!({ "order": "1", "amount": 5 })).await;
    when(&platform, &execution, "completed").await;
    let path = format!("/executions/{}/compensate", execution["executionId"].as_str().unwrap());
    system.say([409]);
    platform.post(&path, &platform.owner(), json!({})).await.ok();
    let failed = when(&platform, &execution, "failed").await;
    assert_eq!(failed["error"]["code"], "FM-EES-COMPENSATION", "{failed:#}");
    // What failed can be tried again.
    platform.post(&path, &platform.owner(), json!({})).await.ok();
    let undone = when(&platform, &execution, "compensated").await;
    assert_eq!(undone["state"]["nodeStates"]["book"], "compensated");
    let came: Vec<String> = system.came().iter().map(|came| format!("{} {}", came.method, came.path)).collect();
    assert_eq!(came, ["POST /api/bookings/1", "DELETE /api/bookings/42", "DELETE /api/bookings/42"]);
}

#[tokio::test]
async fn a_rehearsal_calls_nobody() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    let process = publish(&platform, json!([node(&id)]), json!([])).await;
    let path = format!("/processes/{process}/sandbox");
    let variables = json!({ "order": "1", "amount": 5 });
    let waits = platform.post(&path, &platform.owner(), json!({ "variables": variables })).await.ok();
    assert_eq!((&waits["status"], &waits["currentNode"]), (&json!("waiting"), &json!("book")), "{waits:#}");
    let answered = json!({ "variables": variables, "answers": { "book": { "id": 7 } } });
    let passes = platform.post(&path, &platform.owner(), answered).await.ok();
    assert_eq!((&passes["status"], &passes["state"]["variables"]["booking"]), (&json!("completed"), &json!({ "id": 7 })));
    assert!(system.came().is_empty());
}

#[tokio::test]
async fn a_node_that_cannot_call_is_found_before_it_runs() {
    let platform = TestPlatform::start().await;
    let nodes = json!([{ "id": "a", "type": "integration", "config": { "body": { "x": "{{amount}}", "y": "=1 +" }, "method": "GET", "qurey": {} } }]);
    let design = json!({ "name": "Test", "nodes": nodes });
    let id = platform.post("/processes/designs", &platform.owner(), design).await.ok()["id"].as_str().unwrap().to_owned();
    let checked = platform.post(&format!("/processes/{id}/validate"), &platform.owner(), json!({})).await.ok();
    let pointers: Vec<&str> = checked["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/nodes/0/config/integrationId", "/nodes/0/config/method", "/nodes/0/config/body/x"], "{checked:#}");
}
