//! A data folder of the first release under the present program.

use serde_json::json;

use crate::support::fixture::first_release;
use crate::support::platform::TestPlatform;

#[tokio::test]
async fn a_folder_of_the_first_release_goes_on_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    let ids = first_release(&folder.path().join("data"));
    let id = |name: &str| ids[name].as_str().unwrap().to_owned();
    let mut platform = TestPlatform::start_in(folder).await;
    for _ in 0..2 {
        let owner = platform.owner();
        let get = async |path: &str| platform.get(path, &owner).await.ok();
        for (execution, status) in [("waiting", "waiting"), ("done", "completed"), ("paused", "paused")] {
            assert_eq!(get(&format!("/executions/{}", id(execution))).await["status"], status, "{execution}");
        }
        assert_eq!(get("/entities/customer").await["items"].as_array().unwrap().len(), 3);
        assert_eq!(get("/subscriptions").await["items"].as_array().unwrap().len(), 1);
        let found = platform.post("/entities/search", &owner, json!({ "query": "Basel" })).await.ok();
        assert_eq!(found["items"][0]["data"]["name"], "Globex", "{found}");
        let events = get("/events/replay?topic=execution.completed").await;
        assert_eq!(events["items"][0]["data"]["executionId"], id("done"), "{events}");
        let entries = get("/audit-logs?action=contract.signed").await;
        assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");
        platform = platform.restart().await;
    }
    let owner = platform.owner();
    platform.post(&format!("/processes/{}/publish", id("draft")), &owner, json!({})).await.ok();
    let tasks = platform.get(&format!("/tasks?executionId={}", id("waiting")), &owner).await.ok();
    let task = tasks["items"][0]["taskId"].as_str().unwrap();
    platform.put(&format!("/tasks/{task}/respond"), &owner, json!({ "decision": "approve" })).await.ok();
    let execution = platform.get(&format!("/executions/{}", id("waiting")), &owner).await.ok();
    assert_eq!((&execution["status"], &execution["state"]["variables"]["doubled"]), (&json!("completed"), &json!(42)), "{execution}");
    platform.put(&format!("/executions/{}/resume", id("paused")), &owner, json!({ "reason": "it goes on" })).await.ok();
    let verdicts = flowmaster_mcp::platform::verify_trails(&platform.folder.path().join("data")).unwrap();
    assert!(!verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.verified), "{verdicts:?}");
    platform.login_as("tenant-local", "anna@example.com", "correct horse battery").await.ok();
}
