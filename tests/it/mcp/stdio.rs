//! MCP over stdio before a real platform, in both revisions: a person's answer, bad input, and an owner who cannot be asked.

use std::sync::Arc;

use flowmaster_mcp::auth::{Caller, Credential};
use flowmaster_mcp::server::consent::approvals;
use flowmaster_mcp::server::{App, Settings};
use rmcp::model::ElicitationAction;
use rmcp::service::ClientLifecycleMode;
use serde_json::json;

use crate::support::mcp::{self, Host, Session, call, ok, over_stdio, revisions, text};
use crate::support::platform::TestPlatform;

async fn connect(app: Arc<App>, revision: ClientLifecycleMode, host: Host) -> Session {
    over_stdio(app, mcp::owner(), revision, host).await.0
}

#[tokio::test]
async fn an_approval_by_the_person_starts_and_ends_with_the_platform() {
    for revision in revisions() {
        let platform = TestPlatform::start().await;
        let host = Host::new(ElicitationAction::Accept);
        let session = connect(mcp::app(&platform, Settings::default()), revision, host.clone()).await;
        let process = ok(call(
            &session,
            "processes_create",
            json!({ "name": "Approval Workflow", "nodes": [
                { "id": "start", "type": "start", "name": "Start" },
                { "id": "approve", "type": "human_task", "name": "Approve", "config": {
                    "assignee": "user-owner",
                    "form": { "fields": [{ "name": "decision", "type": "enum", "options": ["approve", "reject"], "required": true }] },
                } },
                { "id": "end", "type": "end", "name": "End" },
            ] }),
        )
        .await);
        let id = process["id"].as_str().unwrap();
        let checked = ok(call(&session, "processes_validate", json!({ "id": id })).await);
        assert_eq!(checked["valid"], true, "{checked}");
        ok(call(&session, "processes_publish", json!({ "id": id })).await);
        let execution = ok(call(&session, "executions_start", json!({ "processId": id, "variables": { "amount": 5000 } })).await);
        let execution_id = execution["executionId"].as_str().unwrap().to_owned();
        let task = loop {
            let page = ok(call(&session, "tasks_list", json!({ "executionId": execution_id })).await);
            if let Some(task) = page["items"].as_array().unwrap().first() {
                break task["taskId"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        ok(call(&session, "tasks_respond", json!({ "id": task, "decision": "approve" })).await);
        assert!(host.asked()[0].contains(&execution_id), "{:?}", host.asked());
        let status = loop {
            let execution = ok(call(&session, "executions_get", json!({ "id": execution_id })).await);
            if execution["status"] != "running" && execution["status"] != "waiting" {
                break execution["status"].clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!(status, "completed");
        let again = call(&session, "tasks_respond", json!({ "id": task, "decision": "reject" })).await;
        assert_eq!(again.is_error, Some(true), "a task was answered twice");
        let prompt = session
            .get_prompt(
                rmcp::model::GetPromptRequestParams::new("diagnose-execution")
                    .with_arguments(json!({ "executionId": execution_id }).as_object().cloned().unwrap()),
            )
            .await
            .unwrap();
        assert!(serde_json::to_string(&prompt.messages).unwrap().contains("completed"));
    }
}

#[tokio::test]
async fn an_owner_who_cannot_be_asked_approves_elsewhere() {
    let platform = TestPlatform::start().await;
    let settings = Settings { data_dir: Some(platform.folder.path().to_owned()), ..Settings::default() };
    let session = connect(mcp::app(&platform, settings), revisions()[1].clone(), Host::new(None)).await;
    ok(call(&session, "entities_define", json!({ "entityType": "customer" })).await);
    let record = ok(call(&session, "entities_insert", json!({ "type": "customer", "data": { "name": "Acme" } })).await);
    let delete = json!({ "type": "customer", "id": record["id"] });
    assert!(text(&call(&session, "entities_delete", delete.clone()).await).starts_with("FM-MCP-CONFIRM:"));
    let waiting = approvals::list(platform.folder.path(), &Caller::owner(Credential::Owner)).unwrap();
    assert!(waiting[0].question.contains("Acme"), "{}", waiting[0].question);
    approvals::approve(platform.folder.path(), &Caller::owner(Credential::Owner), &waiting[0].id).unwrap();
    // What changes meanwhile is not what was approved.
    ok(call(&session, "entities_update", json!({ "type": "customer", "id": record["id"], "data": { "name": "Bolt" } })).await);
    assert!(text(&call(&session, "entities_delete", delete.clone()).await).starts_with("FM-MCP-CONFIRM:"));
    let waiting = approvals::list(platform.folder.path(), &Caller::owner(Credential::Owner)).unwrap();
    assert!(waiting.len() == 1 && waiting[0].question.contains("Bolt"), "{waiting:?}");
    approvals::approve(platform.folder.path(), &Caller::owner(Credential::Owner), &waiting[0].id).unwrap();
    ok(call(&session, "entities_delete", delete).await);
}

#[tokio::test]
async fn an_answer_is_bounded_and_says_how_to_narrow() {
    let platform = TestPlatform::start().await;
    let settings = Settings { answer_limit: 4096, ..Settings::default() };
    let session = connect(mcp::app(&platform, settings), revisions()[0].clone(), Host::new(None)).await;
    ok(call(&session, "entities_define", json!({ "entityType": "note" })).await);
    for number in 0..20 {
        ok(call(&session, "entities_insert", json!({ "type": "note", "data": { "number": number, "text": "x".repeat(400) } })).await);
    }
    let page = call(&session, "entities_query", json!({ "type": "note" })).await;
    assert!(text(&page).len() <= 4096);
    // The page is smaller, and its cursor goes on where it ends.
    let mut numbers = Vec::new();
    let mut page = ok(page);
    loop {
        numbers.extend(page["items"].as_array().unwrap().iter().map(|item| item["data"]["number"].as_u64().unwrap()));
        assert!(page.get("truncated").is_none());
        let Some(cursor) = page.get("nextCursor") else { break };
        page = ok(call(&session, "entities_query", json!({ "type": "note", "cursor": cursor })).await);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    // One record that is larger than an answer is marked where it is cut.
    let large = ok(call(&session, "entities_insert", json!({ "type": "note", "data": { "text": "y".repeat(9000) } })).await);
    let read = ok(call(&session, "entities_get", json!({ "type": "note", "id": large["id"] })).await);
    assert_eq!(read["data"]["text"]["$truncated"]["bytes"], 9000);
    assert!(read["truncated"]["leftOut"][0].as_str().unwrap().starts_with("/data/text"), "{read}");
}
