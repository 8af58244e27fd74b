//! An agent's day: from what a person says to what is done, by what the tools answer alone.

use flowmaster_mcp::api::Timestamp;
use flowmaster_mcp::platform::Clock as _;
use flowmaster_mcp::server::Settings;
use rmcp::model::ElicitationAction;
use serde_json::{Value, json};

use crate::support::mcp::{Host, Session, app, call, ok, over_stdio, owner, revisions, text};
use crate::support::platform::TestPlatform;

/// The company before the day begins.
async fn company() -> TestPlatform {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let leave = json!([{ "id": "node-1", "type": "human_task", "config": { "assignee": "manager", "title": "Leave" } }]);
    let broken = json!([{ "id": "node-1", "type": "script", "config": { "expression": "1 / 0" } }]);
    for (name, nodes) in
        [("Holiday leave approval", leave), ("Nightly totals", broken), ("Travel expenses", json!([{ "id": "a", "type": "start" }]))]
    {
        let id = bench.post("/processes/designs", &owner, json!({ "name": name, "nodes": nodes })).await.ok()["id"].clone();
        if name != "Travel expenses" {
            bench.post(&format!("/processes/{}/publish", id.as_str().unwrap()), &owner, json!({})).await.ok();
        }
        if name == "Nightly totals" {
            for days in [9.0, 3.0] {
                bench.post("/executions", &owner, json!({ "processId": id })).await.ok();
                bench.clock.advance(days * 24.0 * 3600.0);
            }
        }
    }
    bench.post("/roles", &owner, json!({ "name": "approver", "permissions": ["task:approve"] })).await.ok();
    bench.user("tenant-local", "maria.lopez@example.com", &[], &[]).await;
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    bench.post("/entities", &owner, json!({ "entityType": "customer", "schema": schema })).await.ok();
    bench.post("/entities/customer", &owner, json!({ "data": { "name": "Acme" } })).await.ok();
    bench
}

async fn answer(session: &Session, tool: &str, arguments: Value) -> Value {
    ok(call(session, tool, arguments).await)
}

/// The only item of a list.
async fn only(session: &Session, tool: &str, arguments: Value) -> Value {
    let page = answer(session, tool, arguments).await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{tool}: {page:#}");
    page["items"][0].clone()
}

#[tokio::test]
async fn an_agent_does_its_days_work_with_what_the_tools_say() {
    let bench = company().await;
    for revision in revisions() {
        let host = Host::new(ElicitationAction::Accept);
        let (session, _server) = over_stdio(app(&bench, Settings::default()), owner(), revision, host.clone()).await;

        // "Start a leave approval": the process is found by what it is called, and says what it needs.
        let process = only(&session, "processes_list", json!({ "name": "leave" })).await;
        let steps = answer(&session, "processes_get", json!({ "id": process["id"] })).await;
        assert_eq!((&steps["status"], &steps["nodes"][0]["type"]), (&json!("published"), &json!("human_task")));
        let started = answer(&session, "executions_start", json!({ "processId": process["id"] })).await;

        // "Where does it stand?": a later question knows the process alone.
        let runs = answer(&session, "executions_list", json!({ "processId": process["id"], "status": ["waiting"] })).await;
        assert_eq!((&runs["items"][0]["executionId"], &runs["items"][0]["processName"]), (&started["executionId"], &process["name"]));
        let stands = answer(&session, "executions_get", json!({ "id": runs["items"][0]["executionId"] })).await;
        assert_eq!(stands["currentNode"], "node-1");

        // "Make Maria an approver": a person is asked, and reads whom it is about.
        let maria = only(&session, "users_list", json!({ "startsWith": "maria" })).await;
        let roles = answer(&session, "roles_list", json!({})).await;
        assert!(roles["items"].as_array().unwrap().iter().any(|role| role["name"] == "approver"), "{roles:#}");
        let given = answer(&session, "users_assign_roles", json!({ "id": maria["id"], "roles": ["approver"] })).await;
        assert_eq!(given["roles"], json!(["approver"]));
        let asked = host.asked();
        assert!(asked.len() == 1 && asked[0].contains("maria.lopez@example.com") && asked[0].contains("approver"), "{asked:?}");

        // "Customers need an e-mail address": the type is found, and changed as far as its records allow.
        let kind = only(&session, "entities_types", json!({ "entityType": "customer" })).await;
        let mut schema = kind["schema"].clone();
        schema["properties"]["email"] = json!({ "type": "string" });
        let changed = answer(&session, "entities_redefine", json!({ "type": "customer", "schema": schema })).await;
        assert!(changed["schema"]["properties"]["email"].is_object(), "{changed:#}");
        schema["required"] = json!(["email"]);
        let refused = call(&session, "entities_redefine", json!({ "type": "customer", "schema": schema })).await;
        assert!(
            text(&refused).starts_with("FM-IDHS-RECORDS-DO-NOT-FIT") && text(&refused).contains("record entity-"),
            "{}",
            text(&refused)
        );

        // "What failed in the last week?"
        let week_ago: Timestamp = bench.clock.now().plus_seconds(-7.0 * 24.0 * 3600.0);
        let failed = only(&session, "executions_list", json!({ "status": ["failed"], "createdAfter": week_ago })).await;
        assert_eq!(failed["processName"], "Nightly totals");
        let history = answer(&session, "executions_history", json!({ "id": failed["executionId"] })).await;
        assert!(!history["items"].as_array().unwrap().is_empty());
    }
}
