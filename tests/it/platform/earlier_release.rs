//! A data folder of the first release under the present program.

use std::collections::HashSet;
use std::path::Path;

use axum::Json;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use crate::support::fixture::first_release;
use crate::support::platform::TestPlatform;
use crate::support::program::binary;
use crate::support::standin::StandIn;
#[cfg(unix)]
use crate::support::terminal::beside_at_terminal;

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

/// Runs the program on a folder before a platform that may be away.
async fn run(data: &Path, url: &str, tenant: &str, arguments: &[&str]) -> Value {
    let settings =
        [("FLOWMASTER_URL", url), ("FLOWMASTER_TOKEN", "own"), ("FLOWMASTER_SERVICE_TOKEN", "account"), ("FLOWMASTER_TENANT", tenant)];
    let output = binary(data).args(arguments).arg("--json").envs(settings).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_the_first_release_left_are_sent_and_its_dead_letters_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    first_release(&data);
    let platform = StandIn::start(|_| async { Json(json!({ "items": [] })).into_response() }).await;
    let dead = run(&data, &platform.url, "tenant-1", &["audit", "--dead"]).await;
    assert_eq!(dead["items"].as_array().unwrap().len(), 1, "{dead}");
    assert_eq!(dead["items"][0]["reason"], "HTTP-403: the platform answered 403");
    assert!(std::fs::read_dir(data.join("audit")).unwrap().next().is_none(), "files are read in once");
    let waiting = run(&data, &platform.url, "tenant-1", &["audit"]).await;
    assert_eq!((&waiting["waiting"], &waiting["dead"]), (&json!(5), &json!(1)), "{waiting}");

    let resent = run(&data, &platform.url, "tenant-1", &["audit", "--resend"]).await;
    assert_eq!(
        (&resent["resent"], &resent["backlog"]["waiting"], &resent["backlog"]["dead"]),
        (&json!(1), &json!(0), &json!(0)),
        "{resent}"
    );
    let sent: Vec<_> = platform.asked().into_iter().filter(|asked| asked.path == "/audit-logs").collect();
    // An attempt that took too long is repeated under its key.
    let keys = |tenant: Option<&str>| {
        let of_tenant = sent.iter().filter(|asked| tenant.is_none_or(|tenant| asked.header("x-tenant-id") == tenant));
        of_tenant.map(|asked| asked.header("idempotency-key")).collect::<HashSet<_>>().len()
    };
    assert_eq!((keys(None), keys(Some("tenant-2"))), (6, 3));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_waited_under_the_first_release_still_wait() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    first_release(&data);
    for caller in std::fs::read_dir(data.join("pending")).unwrap().map(|entry| entry.unwrap().path()) {
        for path in std::fs::read_dir(caller).unwrap().map(|entry| entry.unwrap().path()) {
            let mut call: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            call["expiresAt"] = json!("2999-01-01T00:00:00.000Z");
            std::fs::write(&path, call.to_string()).unwrap();
        }
    }
    let confirm = async |arguments: &[&str]| {
        let mut command = binary(&data);
        command.arg("confirm").args(arguments).arg("--json");
        let (output, shown) = beside_at_terminal(command, "yes").await;
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|_| panic!("{shown}"))
    };
    let waiting = confirm(&[]).await;
    let calls = waiting["pending"].as_array().unwrap();
    assert_eq!(calls.len(), 2, "{waiting}");
    assert_eq!(calls.iter().filter(|call| call["approvedAt"].is_string()).count(), 1);
    assert!(!data.join("pending").exists(), "files are read in once");
    let open = calls.iter().find(|call| call["approvedAt"].is_null()).unwrap()["id"].as_str().unwrap();
    assert!(confirm(&[open]).await["approvedAt"].is_string());
    assert_eq!(confirm(&[]).await["pending"].as_array().unwrap().len(), 2);
}
