//! Human Task Service (contract, section 3).

use flowmaster_mcp::api::Timestamp;
use serde_json::{Value, json};

use super::target::{Target, human, id_in, items, refused};

fn task(target: &Target, assignee: &str) -> Value {
    json!({
        "title": target.named("Approve Budget Request"),
        "description": "Review $5000 request for project X",
        "assignee": assignee,
        "form": { "fields": [
            { "name": "decision", "type": "enum", "options": ["approve", "reject", "revise"] },
            { "name": "comments", "type": "text" },
        ] },
        "sla": { "hoursToComplete": 24 },
        "escalationChain": ["manager-123", "director-456"],
    })
}

/// **SLA & escalation handling**: a task has its deadline and goes up its chain.
#[tokio::test]
async fn a_task_has_a_deadline_and_goes_up_its_chain() {
    let target = Target::open().await;
    let created = target.post("/tasks", task(&target, "manager-123")).await.ok();
    let time = |name: &str| created[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!((time("slaDeadline").seconds_since(time("createdAt")) - 86_400.0).abs() < 1.0, "{created:#}");
    let path = format!("/tasks/{}", id_in(&created, "taskId"));
    target.put(&format!("{path}/escalate"), json!({})).await.ok();
    let escalated = target.get(&path).await.ok();
    assert_eq!((&escalated["status"], &escalated["assignedTo"]), (&json!("escalated"), &json!("director-456")));
    refused(&target.put(&format!("{path}/escalate"), json!({})).await, &[409]);
    let history = target.get(&format!("{path}/history")).await.ok();
    assert_eq!(items(&history).len(), 2, "{history:#}");
    let found = target.get("/tasks?assignee=director-456&status=escalated&sla=ok&limit=200").await.ok();
    assert!(items(&found).iter().any(|task| task["taskId"] == created["taskId"]), "{found:#}");
}

/// **Event-driven notifications**: a task tells when it is created, assigned and completed.
#[tokio::test]
async fn a_task_tells_of_its_creation_assignment_and_answer() {
    let target = Target::open().await;
    let me = id_in(&target.claims().await, "sub");
    let id = id_in(&target.post("/tasks", task(&target, "manager-123")).await.ok(), "taskId");
    target.put(&format!("/tasks/{id}/assign"), json!({ "assignee": me })).await.ok();
    target.put(&format!("/tasks/{id}/respond"), json!({ "decision": "approve" })).await.ok();
    for topic in ["task.created", "task.assigned", "task.responded"] {
        target.events(topic, "taskId", &id, 1).await;
    }
}

/// **Dynamic form rendering**: an answer is held to the task's own form, field by field.
#[tokio::test]
async fn an_answer_is_held_to_the_tasks_form() {
    let target = Target::open().await;
    let me = id_in(&target.claims().await, "sub");
    let mut request = task(&target, &me);
    let fields = request["form"]["fields"].as_array_mut().unwrap();
    fields.push(json!({ "name": "days", "type": "integer", "required": true, "min": 1, "max": 30 }));
    let path = format!("/tasks/{}/respond", id_in(&target.post("/tasks", request).await.ok(), "taskId"));
    for answer in [
        json!({ "decision": "perhaps", "data": { "days": 3 } }),
        json!({ "decision": "approve" }),
        json!({ "decision": "approve", "data": { "days": 31 } }),
        json!({ "decision": "approve", "data": { "days": 3, "colour": "red" } }),
    ] {
        refused(&target.put(&path, answer).await, &[400, 422]);
    }
    assert_eq!(target.put(&path, json!({ "decision": "approve", "data": { "days": 3 } })).await.ok()["status"], "completed");
}

/// **Response tracking**: the answer is kept, counts once, and has the execution go on.
#[tokio::test]
async fn an_answer_counts_once_and_moves_the_execution_on() {
    let target = Target::open().await;
    let me = id_in(&target.claims().await, "sub");
    let process = target.publish(json!([human("node-1", &me)])).await;
    let path = target.start(&process, json!({})).await;
    let execution = path.trim_start_matches("/executions/");
    let tasks = target.until(&format!("/tasks?executionId={execution}"), |page| items(page).len() == 1).await;
    let task = format!("/tasks/{}", id_in(&items(&tasks)[0], "taskId"));
    target.put(&format!("{task}/respond"), json!({ "decision": "approve", "comments": "fine" })).await.ok();
    let answered = target.get(&task).await.ok();
    assert_eq!((&answered["response"]["decision"], &answered["executionId"]), (&json!("approve"), &json!(execution)));
    refused(&target.put(&format!("{task}/respond"), json!({ "decision": "reject" })).await, &[409]);
    target.until(&path, |execution| execution["status"] == "completed").await;
}
