//! Execution Engine Service (contract, section 2).
//!
//! Not seen over HTTP: **Execution may be distributed**, between client and server.

use serde_json::json;

use super::target::{Target, column, human, items, refused, says};

/// **Durable state**: an execution and its history are the same after a restart, and go on from there.
#[tokio::test]
async fn an_execution_survives_a_restart() {
    let target = Target::open().await;
    let process = target.publish(json!([human("node-1", "manager")])).await;
    let path = target.start(&process, json!({ "userId": "user-456", "amount": 5000 })).await;
    let before = target.get(&path).await.ok();
    assert_eq!(before["state"]["variables"], json!({ "userId": "user-456", "amount": 5000 }));
    let history = target.get(&format!("{path}/history")).await.ok();
    let target = target.restarted().await;
    assert_eq!(target.get(&path).await.ok(), before);
    assert_eq!(target.get(&format!("{path}/history")).await.ok(), history);
    target.put(&format!("{path}/pause"), json!({})).await.ok();
    assert_eq!(target.get(&path).await.ok()["status"], "paused");
    refused(&target.put(&format!("{path}/pause"), json!({})).await, &[409]);
    target.put(&format!("{path}/resume"), json!({})).await.ok();
    target.put(&format!("{path}/cancel"), json!({})).await.ok();
    refused(&target.put(&format!("{path}/resume"), json!({})).await, &[409]);
    let grown = target.get(&format!("{path}/history?limit=200")).await.ok();
    assert!(items(&grown).len() > items(&history).len(), "a history is only added to: {grown:#}");
}

/// **Event-driven**: start and end of an execution are events.
#[tokio::test]
async fn an_execution_tells_of_its_start_and_its_end() {
    let target = Target::open().await;
    let process = target.publish(json!([{ "id": "sum", "type": "script", "config": { "expression": "1 + 1", "output": "sum" } }])).await;
    let path = target.start(&process, json!({})).await;
    let done = target.until(&path, |execution| execution["status"] == "completed").await;
    assert_eq!(done["state"]["variables"]["sum"], 2);
    let id = done["executionId"].as_str().unwrap();
    for topic in ["execution.started", "execution.completed"] {
        assert_eq!(target.events(topic, "executionId", id, 1).await[0]["processId"], process, "{topic}");
    }
}

/// **Node routing**: each type of node goes to its service.
#[tokio::test]
async fn nodes_go_to_people_agents_and_outside_systems() {
    let target = Target::open().await;
    let Some(system) = target.outside(async |_| says(200, json!({ "booked": true }))).await else { return };
    let request = json!({ "name": target.named("Booking"), "connectorType": "rest_api", "baseUrl": system.url });
    let integration = target.post("/integrations", request).await.ok()["integrationId"].clone();
    let agents = target.get("/agents").await.ok();
    let process = target
        .publish(json!([
            { "id": "ask", "type": "ai_agent", "config": { "agentId": items(&agents)[0]["agentId"], "prompt": "Greet", "output": "text" } },
            { "id": "book", "type": "integration", "config": { "integrationId": integration, "method": "POST", "path": "/bookings" } },
            human("decide", "manager"),
        ]))
        .await;
    let path = target.start(&process, json!({})).await;
    let waiting = target.until(&path, |execution| execution["currentNode"] == "decide").await;
    assert_eq!(waiting["state"]["nodeStates"], json!({ "ask": "completed", "book": "completed", "decide": "waiting" }));
    assert_eq!(system.asked().iter().map(|asked| asked.path.as_str()).collect::<Vec<_>>(), ["/bookings"]);
    let tasks = target.get(&format!("/tasks?executionId={}", waiting["executionId"].as_str().unwrap())).await.ok();
    assert_eq!(column(&tasks, "assignedTo"), ["manager"]);
}

/// **Saga pattern**: completed steps are undone in reverse, once.
#[tokio::test]
async fn completed_steps_are_undone_in_reverse_and_once() {
    let target = Target::open().await;
    let step = |id: &str| {
        let undo = json!({ "type": "script", "expression": format!("variables.log + ['undo {id}']"), "output": "log" });
        let config = json!({ "expression": format!("variables.log + ['{id}']"), "output": "log", "compensate": undo });
        json!({ "id": id, "type": "script", "config": config })
    };
    let process = target.publish(json!([step("a"), step("b")])).await;
    let path = target.start(&process, json!({ "log": [] })).await;
    target.until(&path, |execution| execution["status"] == "completed").await;
    target.post(&format!("{path}/compensate"), json!({})).await.ok();
    let undone = target.until(&path, |execution| execution["status"] == "compensated").await;
    assert_eq!(undone["state"]["variables"]["log"], json!(["a", "b", "undo b", "undo a"]));
    refused(&target.post(&format!("{path}/compensate"), json!({})).await, &[409]);
    let plain = target.publish(json!([{ "id": "a", "type": "script", "config": { "expression": "1" } }])).await;
    let path = target.start(&plain, json!({})).await;
    target.until(&path, |execution| execution["status"] == "completed").await;
    refused(&target.post(&format!("{path}/compensate"), json!({})).await, &[409]);
}
