//! Nodes of processes that send notifications.

use serde_json::{Value, json};

use super::{mail_of, template, until, when};
use crate::platform::executions::{publish, start};
use crate::support::platform::TestPlatform;

/// A process that tells somebody and is done.
async fn process(platform: &TestPlatform, template: &str) -> String {
    let node = json!({ "id": "tell", "type": "notification", "config": {
        "templateId": template, "recipient": { "email": "{{variables.who}}" },
        "variables": { "taskTitle": "Order {{variables.order}}", "deadline": "='2025-02-0' + string(variables.day)" }, "output": "told",
    } });
    let after = json!({ "id": "after", "type": "script", "config": { "expression": "nodes.tell.status", "output": "state" } });
    publish(platform, json!([node, after]), json!([])).await
}

fn variables() -> Value {
    json!({ "who": "ann@company.com", "order": 7, "day": 8 })
}

async fn read(platform: &TestPlatform, execution: &Value) -> Value {
    platform.get(&format!("/executions/{}", execution["executionId"].as_str().unwrap()), &platform.owner()).await.ok()
}

async fn ended(platform: &TestPlatform, execution: &Value, status: &str) -> Value {
    until(|| async { read(platform, execution).await["status"] == status }).await;
    read(platform, execution).await
}

#[tokio::test]
async fn a_node_queues_its_notification_and_the_process_goes_on() {
    let platform = TestPlatform::start().await;
    template(&platform, &["email"]).await;
    let process = process(&platform, "task-assigned").await;
    let execution = start(&platform, &process, variables()).await;
    let done = ended(&platform, &execution, "completed").await;
    let told = &done["state"]["variables"]["told"];
    assert_eq!((&told["status"], &done["state"]["variables"]["state"]), (&json!("queued"), &json!("queued")));
    let id = told["notificationId"].as_str().unwrap();
    when(&platform, id, "sent").await;
    assert!(mail_of(&platform, id).contains("Please finish Order 7 by 2025-02-08."));
    let sent = platform.get("/notifications", &platform.owner()).await.ok();
    assert_eq!(sent["items"].as_array().unwrap().len(), 1, "{sent:#}");
}

#[tokio::test]
async fn a_notification_that_cannot_be_queued_fails_its_node() {
    let platform = TestPlatform::start().await;
    for (template, who, code) in
        [("nothing", "ann@company.com", "FM-NS-TEMPLATE-UNKNOWN"), ("task-assigned", "not an address", "FM-NS-EMAIL")]
    {
        let process = process(&platform, template).await;
        let mut given = variables();
        given["who"] = json!(who);
        let failed = ended(&platform, &start(&platform, &process, given).await, "failed").await;
        assert_eq!((&failed["error"]["code"], &failed["error"]["nodeId"]), (&json!(code), &json!("tell")), "{failed:#}");
    }
    let sent = platform.get("/notifications", &platform.owner()).await.ok();
    assert_eq!(sent["items"], json!([]));
}

#[tokio::test]
async fn a_node_waits_while_its_recipient_gets_no_more() {
    let platform = TestPlatform::start_with(|options| options.notifications.per_recipient = 1).await;
    template(&platform, &["email"]).await;
    let process = process(&platform, "task-assigned").await;
    ended(&platform, &start(&platform, &process, variables()).await, "completed").await;
    let second = start(&platform, &process, variables()).await;
    platform.clock.advance(600.0);
    assert_eq!(read(&platform, &second).await["status"], "waiting");
    platform.clock.advance(3_100.0);
    until(|| async {
        platform.clock.advance(10.0);
        read(&platform, &second).await["status"] == "completed"
    })
    .await;
}

#[tokio::test]
async fn a_rehearsal_sends_nothing_and_faults_are_found_before() {
    let platform = TestPlatform::start().await;
    template(&platform, &["email"]).await;
    let process = process(&platform, "task-assigned").await;
    let answers = json!({ "tell": { "notificationId": "notif-1", "status": "queued" } });
    let asked = json!({ "variables": variables(), "answers": answers });
    let trial = platform.post(&format!("/processes/{process}/sandbox"), &platform.owner(), asked).await.ok();
    assert_eq!(trial["status"], "completed", "{trial:#}");
    assert_eq!(platform.get("/notifications", &platform.owner()).await.ok()["items"], json!([]));

    let config = json!({ "recipient": "ann", "variables": { "a": "{{a}}" }, "channels": "sms" });
    let design = json!({ "name": "Test", "nodes": [{ "id": "tell", "type": "notification", "config": config }] });
    let id = platform.post("/processes/designs", &platform.owner(), design).await.ok()["id"].as_str().unwrap().to_owned();
    let checked = platform.post(&format!("/processes/{id}/validate"), &platform.owner(), json!({})).await.ok();
    let pointers: Vec<&str> = checked["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    let below = ["templateId", "recipient", "channels", "variables/a"].map(|name| format!("/nodes/0/config/{name}"));
    assert_eq!(pointers, below, "{checked:#}");
}
