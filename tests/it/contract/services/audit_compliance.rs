//! Audit & Compliance Service (contract, section 20).

use reqwest::Method;
use serde_json::{Value, json};

use super::target::{Target, column, id_in, items, refused};
use crate::support::platform::Reply;

async fn entry(target: &Target, resource: &str) -> Value {
    json!({
        "timestamp": "2025-02-07T10:30:00Z", "actor": "user-123", "action": "task.responded", "resourceType": "task",
        "resourceId": resource, "changes": { "before": { "status": "assigned" }, "after": { "status": "completed" } },
        "tenantId": target.claims().await["tenantId"],
    })
}

/// **Immutable**: an entry is added, and nothing changes or removes it.
#[tokio::test]
async fn an_entry_is_added_and_never_changed() {
    let target = Target::open().await;
    let resource = target.named("task");
    let entry = entry(&target, &resource).await;
    let kept = target.post("/audit-logs", entry.clone()).await.ok();
    let path = format!("/audit-logs/{}", id_in(&kept, "id"));
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        for path in [path.as_str(), "/audit-logs"] {
            refused(&Reply::to(target.request(method.clone(), path).json(&entry)).await, &[404, 405]);
        }
    }
    let found = target.get(&format!("/audit-logs?resourceId={resource}")).await.ok();
    assert_eq!(items(&found), &[kept]);
}

/// **Audit trail**: a change is kept with who did it and what was before and after.
#[tokio::test]
async fn a_change_is_kept_with_its_author() {
    let target = Target::open().await;
    let me = id_in(&target.claims().await, "sub");
    let task = target.post("/tasks", json!({ "title": target.named("Check"), "assignee": "manager-123" })).await.ok();
    let id = id_in(&task, "taskId");
    target.put(&format!("/tasks/{id}/assign"), json!({ "assignee": "director-456" })).await.ok();
    let trail = target.get(&format!("/audit-logs?resourceId={id}&actor={me}")).await.ok();
    assert_eq!(column(&trail, "action"), ["task.assigned", "task.created"]);
    assert_eq!(items(&trail)[0]["changes"]["after"]["assignedTo"], "director-456", "{trail:#}");
}

/// **Compliance reports**: one for each standard, with its controls.
#[tokio::test]
async fn a_report_is_made_by_each_standard() {
    let target = Target::open().await;
    for standard in ["gdpr", "soc2", "hipaa"] {
        let report = target.post("/reports/compliance", json!({ "standard": standard })).await.ok();
        assert!(!report["controls"].as_array().unwrap().is_empty(), "{report:#}");
    }
    refused(&target.post("/reports/compliance", json!({ "standard": "none" })).await, &[400, 422]);
}

/// **Retention rules**: a person's records are deleted after notice, not at once, and asking twice is asking once.
#[tokio::test]
async fn a_deletion_waits_for_its_notice() {
    let target = Target::open().await;
    let person = format!("{}@example.com", target.word("jane"));
    target.post("/audit-logs", entry(&target, &person).await).await.ok();
    let request = json!({ "subject": person, "reason": "asked by letter" });
    let file = async || Reply::to(target.request(Method::DELETE, "/records").json(&request)).await;
    let filed = file().await;
    assert_eq!((filed.status, &filed.body["status"]), (202, &json!("pending")), "{:#}", filed.body);
    assert_eq!(file().await.ok(), filed.body);
    let kept = target.get(&format!("/audit-logs?resourceId={person}&action=task.responded")).await.ok();
    assert_eq!(items(&kept).len(), 1, "nothing is deleted before the notice is over");
}
