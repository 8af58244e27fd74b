//! Jobs of the platform as tasks: retraining and imports.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use flowmaster_mcp::server::{Policy, Settings};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{begin, ended, request, server, state};
use crate::platform::learning::school::School;
use crate::support::mcp::{admission, app};
use crate::support::platform::TestPlatform;
use crate::support::raw::{answer, serve};

#[tokio::test]
async fn retraining_is_followed_by_any_process_and_nobody_else() {
    let (school, folder) = (School::open().await, tempfile::tempdir().unwrap());
    let (platform, dataset) = (&school.bench, school.dataset().await);
    let owner = platform.owner();
    let stranger = platform.signed_in("globex", "eve@globex.example", &["*"]).await;
    let first = server(platform, folder.path()).await;
    let arguments = json!({ "agentId": "agent-gpt4", "datasetId": dataset });
    let begun = begin(&first, &owner, "retraining_jobs_schedule", arguments.clone()).await;
    assert_eq!((&begun["resultType"], &begun["status"]), (&json!("task"), &json!("working")), "{begun}");
    assert!(begun["statusMessage"].is_string(), "{begun}");
    drop(first);

    let second = server(platform, folder.path()).await;
    let unknown = request(&second, &stranger, "tasks/get", json!({ "taskId": begun["taskId"] })).await;
    assert_eq!(unknown["error"]["data"]["code"], "FM-MCP-TASK-UNKNOWN", "{unknown}");
    let done = ended(&second, &owner, &begun).await;
    let job = &done["result"]["structuredContent"];
    assert_eq!((&done["status"], &job["status"]), (&json!("completed"), &json!("completed")), "{done}");
    assert!(job["jobId"].is_string() && done["statusMessage"].as_str().unwrap().starts_with("completed"), "{done}");

    // A job that begins later is not waited for, and a host that knows no tasks gets the job.
    let mut later = arguments.clone();
    later["scheduledAt"] = json!(school.at(3600.0));
    let planned = begin(&second, &owner, "retraining_jobs_schedule", later).await;
    assert_eq!((&planned["resultType"], &planned["structuredContent"]["status"]), (&json!("complete"), &json!("pending")), "{planned}");
    let call = json!({ "name": "retraining_jobs_schedule", "arguments": arguments });
    let plain = answer(second.modern(&owner, "tools/call", &call)).await.result().clone();
    assert!(plain["structuredContent"]["jobId"].is_string() && plain.get("taskId").is_none(), "{plain}");

    // The platform cannot cancel a retraining: the task ends and says so.
    let begun = begin(&second, &owner, "retraining_jobs_schedule", call["arguments"].clone()).await;
    request(&second, &owner, "tasks/cancel", json!({ "taskId": begun["taskId"] })).await["result"].as_object().unwrap();
    let cancelled = state(&second, &owner, &begun).await;
    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    assert!(cancelled["statusMessage"].as_str().unwrap().contains("goes on"), "{cancelled}");
}

/// A job whose source answers when it is let to, and what lets it.
async fn held_up(platform: &TestPlatform) -> (Value, Arc<Semaphore>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rows", listener.local_addr().unwrap());
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let rows = async move || {
        let _passed = held.acquire().await;
        "{\"id\":1}\n"
    };
    let router = Router::new().route("/rows", get(rows));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (import(platform, json!({ "url": url })).await, gate)
}

async fn import(platform: &TestPlatform, source: Value) -> Value {
    let job = json!({ "sourceType": "jsonl", "sourceConfig": source, "destination": "internal-data-hub", "entityType": "customer" });
    platform.post("/ingest/jobs", &platform.owner(), job).await.ok()["jobId"].clone()
}

async fn becomes(platform: &TestPlatform, job: &Value, status: &str) {
    let path = format!("/ingest/jobs/{}", job.as_str().unwrap());
    for _ in 0..600 {
        if platform.get(&path, &platform.owner()).await.ok()["status"] == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the import is not {status}");
}

#[tokio::test]
async fn an_import_is_followed_and_cancelled_only_where_nobody_is_asked() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let owner = platform.owner();
    let served = server(&platform, folder.path()).await;
    let done = import(&platform, json!({ "content": "{\"id\":1}\n" })).await;
    let begun = begin(&served, &owner, "ingest_jobs_start", json!({ "id": done })).await;
    assert_eq!(begun["resultType"], "task", "{begun}");
    let ended = ended(&served, &owner, &begun).await;
    assert_eq!((&ended["result"]["structuredContent"]["status"], &ended["statusMessage"]), (&json!("completed"), &json!("completed")));

    // A person is asked before an import is cancelled, and nobody can be asked here.
    let (job, gate) = held_up(&platform).await;
    let begun = begin(&served, &owner, "ingest_jobs_start", json!({ "id": job })).await;
    becomes(&platform, &job, "running").await;
    let working = state(&served, &owner, &begun).await;
    assert_eq!((&working["status"], &working["statusMessage"]), (&json!("working"), &json!("running")), "{working}");
    request(&served, &owner, "tasks/cancel", json!({ "taskId": begun["taskId"] })).await["result"].as_object().unwrap();
    let cancelled = state(&served, &owner, &begun).await;
    let message = cancelled["statusMessage"].as_str().unwrap();
    assert!(
        cancelled["status"] == "cancelled" && message.contains("not cancelled") && message.contains("ingest_jobs_cancel"),
        "{cancelled}"
    );
    gate.add_permits(1);
    becomes(&platform, &job, "completed").await;

    // Where the operator allows it, the import is cancelled with its task.
    let rule = serde_json::from_value(json!({ "tools": ["ingest_jobs_cancel"], "decision": "allow" })).unwrap();
    let settings = Settings { policy: Arc::new(Policy::new(&[rule]).unwrap()), ..Settings::default() };
    let freely = serve(app(&platform, settings), admission(&platform, Duration::from_mins(1)), |_| {}).await;
    let (job, _gate) = held_up(&platform).await;
    let begun = begin(&freely, &owner, "ingest_jobs_start", json!({ "id": job })).await;
    becomes(&platform, &job, "running").await;
    request(&freely, &owner, "tasks/cancel", json!({ "taskId": begun["taskId"] })).await["result"].as_object().unwrap();
    becomes(&platform, &job, "cancelled").await;
    let cancelled = state(&freely, &owner, &begun).await;
    assert_eq!((&cancelled["status"], &cancelled["statusMessage"]), (&json!("cancelled"), &json!("cancelled")), "{cancelled}");
}

#[tokio::test]
async fn a_job_that_its_caller_may_not_read_is_no_task() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let starter = platform.signed_in("tenant-local", "sam@acme.example", &["ingest:start", "entity:insert", "entity:update"]).await;
    let served = server(&platform, folder.path()).await;
    let (job, _gate) = held_up(&platform).await;
    let begun = begin(&served, &starter, "ingest_jobs_start", json!({ "id": job })).await;
    assert_eq!((&begun["resultType"], &begun["isError"]), (&json!("complete"), &json!(false)), "{begun}");
    assert_eq!(begun["structuredContent"]["jobId"], job);
}
