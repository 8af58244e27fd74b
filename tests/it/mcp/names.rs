//! Names in place of ids: what a person calls a thing by is enough where one thing alone is called so.

use flowmaster_mcp::server::Settings;
use rmcp::model::ElicitationAction;
use serde_json::{Value, json};

use crate::support::mcp::{Host, app, call, ok, over_stdio, owner, revisions, text};
use crate::support::platform::TestPlatform;

async fn process(bench: &TestPlatform, token: &str, name: &str) -> Value {
    let nodes = json!([{ "id": "node-1", "type": "human_task", "config": { "assignee": "manager" } }]);
    let id = bench.post("/processes/designs", token, json!({ "name": name, "nodes": nodes })).await.ok()["id"].clone();
    bench.post(&format!("/processes/{}/publish", id.as_str().unwrap()), token, json!({})).await.ok();
    id
}

#[tokio::test]
async fn a_name_is_resolved_as_the_caller_where_one_thing_has_it() {
    let bench = TestPlatform::start().await;
    let leave = process(&bench, &bench.owner(), "Holiday leave").await;
    let twins = [process(&bench, &bench.owner(), "Twin").await, process(&bench, &bench.owner(), "Twin").await];
    let stranger = bench.signed_in("tenant-other", "eve@example.com", &["*"]).await;
    process(&bench, &stranger, "Of another tenant").await;
    let maria = bench.user("tenant-local", "maria.lopez@example.com", &[], &[]).await;
    let system = json!({ "name": "Books", "connectorType": "rest_api", "baseUrl": "http://127.0.0.1:9/" });
    let system = bench.post("/integrations", &bench.owner(), system).await.ok();

    for revision in revisions() {
        let host = Host::new(ElicitationAction::Accept);
        let (session, _server) = over_stdio(app(&bench, Settings::default()), owner(), revision, host.clone()).await;
        let started = ok(call(&session, "executions_start", json!({ "processId": "Holiday leave" })).await);
        assert_eq!(ok(call(&session, "executions_get", json!({ "id": started["executionId"] })).await)["processId"], leave);
        assert_eq!(ok(call(&session, "processes_get", json!({ "id": "Holiday leave" })).await)["id"], leave);
        let books = ok(call(&session, "integrations_get", json!({ "id": "Books" })).await);
        assert_eq!(books["integrationId"], system["integrationId"]);

        // An e-mail address is a user's name; the name of a role stays what it is.
        let tasks = ok(call(&session, "tasks_list", json!({ "executionId": started["executionId"] })).await);
        let task = &tasks["items"][0]["taskId"];
        for (assignee, kept) in [("maria.lopez@example.com", maria.as_str()), ("manager", "manager")] {
            let assigned = ok(call(&session, "tasks_assign", json!({ "id": task, "assignee": assignee })).await);
            assert_eq!(assigned["assignedTo"], kept);
        }

        let ambiguous = call(&session, "executions_start", json!({ "processId": "Twin" })).await;
        let said = text(&ambiguous);
        assert!(said.starts_with("FM-MCP-NAME-AMBIGUOUS") && twins.iter().all(|id| said.contains(id.as_str().unwrap())), "{said}");
        for unknown in ["holiday", "Of another tenant", "proc-of-none"] {
            let refused = call(&session, "executions_start", json!({ "processId": unknown })).await;
            assert!(
                text(&refused).starts_with("FM-EES-PROCESS-NOT-FOUND") && text(&refused).contains("processes_list"),
                "{}",
                text(&refused)
            );
        }
        // Rights are given by id alone.
        let refused = call(&session, "users_assign_roles", json!({ "id": "maria.lopez@example.com", "roles": ["manager"] })).await;
        assert!(text(&refused).starts_with("FM-AAS-"), "{}", text(&refused));
    }
}
