//! Two real processes on one data folder: they see each other's tasks, survive each other, and trust no stranger.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::program::{Host, Revision, binary};
use crate::support::standin::StandIn;
#[cfg(unix)]
use crate::support::terminal::beside_at_terminal;

/// A data folder that does not exist yet.
struct Folder {
    path: PathBuf,
    _outer: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        Self { path: outer.path().join("data"), _outer: outer }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

fn task(title: &str) -> Value {
    json!({ "title": title, "assignee": "user-owner" })
}

async fn titles(host: &mut Host) -> Vec<String> {
    let mut titles: Vec<String> = host.good("tasks_list", json!({ "limit": 200 })).await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["title"].as_str().unwrap().to_owned())
        .collect();
    titles.sort();
    titles
}

/// The address that the folder's platform last told.
fn address(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("address")).unwrap()).unwrap()
}

#[tokio::test]
async fn two_processes_share_one_platform_and_the_second_takes_over() {
    let folder = Folder::new();
    let mut first = Host::start(folder.path(), Revision::V2025_11_25).await;
    let mut second = Host::start(folder.path(), Revision::V2026_07_28).await;
    let made = first.good("tasks_create", task("one")).await;
    second.good("tasks_create", task("two")).await;
    assert_eq!(titles(&mut first).await, ["one", "two"]);
    assert_eq!(titles(&mut second).await, ["one", "two"]);

    // What one asks for, the other answers.
    let answered = second.good("tasks_respond", json!({ "id": made["taskId"], "decision": "done" })).await;
    assert_eq!(answered["status"], "completed");
    assert_eq!(first.good("tasks_get", json!({ "id": made["taskId"] })).await["status"], "completed");

    let before = address(folder.path());
    first.kill().await;
    second.good("tasks_create", task("three")).await;
    assert_eq!(titles(&mut second).await, ["one", "three", "two"], "nothing acknowledged is lost");
    assert_ne!(address(folder.path())["instance"], before["instance"], "the second runs the platform now");

    // A third comes, and the second ends in peace.
    let mut third = Host::start(folder.path(), Revision::V2025_11_25).await;
    assert_eq!(titles(&mut third).await.len(), 3);
    assert!(second.end().await.success());
    third.good("tasks_create", task("four")).await;
    assert_eq!(titles(&mut third).await, ["four", "one", "three", "two"]);
    assert!(third.end().await.success());
}

#[tokio::test]
async fn a_waiting_execution_survives_the_process_that_started_it() {
    let folder = Folder::new();
    let mut first = Host::start(folder.path(), Revision::V2026_07_28).await;
    let process = first
        .good(
            "processes_create",
            json!({ "name": "Approval Workflow", "version": "1.0.0", "nodes": [
                { "id": "node-1", "type": "human_task", "config": { "assignee": "user-owner" } },
            ] }),
        )
        .await;
    first.good("processes_publish", json!({ "id": process["id"] })).await;
    let execution = first.good("executions_start", json!({ "processId": process["id"], "variables": { "amount": 5000 } })).await;
    assert_eq!(execution["currentNode"], "node-1");
    first.kill().await;

    let mut second = Host::start(folder.path(), Revision::V2025_11_25).await;
    let tasks = second.good("tasks_list", json!({ "executionId": execution["executionId"] })).await;
    let id = &tasks["items"][0]["taskId"];
    second.good("tasks_respond", json!({ "id": id, "decision": "approve" })).await;
    let execution = second.good("executions_get", json!({ "id": execution["executionId"] })).await;
    assert_eq!(execution["status"], "completed");
    let report = second.good("audit_report", json!({ "standard": "soc2" })).await;
    assert_eq!(report["chain"]["verified"], json!(true), "the audit chain verifies: {report}");
    assert!(second.end().await.success());
}

/// A listener that answers anything with 200 and keeps what it was told.
async fn stranger(address: &str) -> (tokio::task::JoinHandle<()>, std::sync::Arc<std::sync::Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeps = std::sync::Arc::clone(&heard);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let keeps = std::sync::Arc::clone(&keeps);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(length) = stream.read(&mut buffer).await {
                    if length == 0 {
                        break;
                    }
                    keeps.lock().unwrap().extend_from_slice(&buffer[..length]);
                    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"proof\":\"0000\"}";
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (task, heard)
}

#[tokio::test]
async fn a_stranger_on_the_old_port_learns_no_token() {
    let folder = Folder::new();
    let mut first = Host::start(folder.path(), Revision::V2025_11_25).await;
    let mut second = Host::start(folder.path(), Revision::V2025_11_25).await;
    first.good("tasks_create", task("one")).await;
    assert_eq!(titles(&mut second).await, ["one"]);
    let old = address(folder.path());
    let token = std::fs::read_to_string(folder.path().join("owner.token")).unwrap();
    let port = old["url"].as_str().unwrap().trim_start_matches("http://").to_owned();

    first.kill().await;
    let (listening, heard) = stranger(&port).await;
    // One that knew the platform, and one that finds the dead one's address in the folder.
    std::fs::write(folder.path().join("address"), old.to_string()).unwrap();
    assert_eq!(titles(&mut second).await, ["one"]);
    let mut third = Host::start(folder.path(), Revision::V2026_07_28).await;
    assert_eq!(titles(&mut third).await, ["one"]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    listening.abort();
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    assert!(!heard.contains(token.trim()), "the stranger was told the token");
    assert!(!heard.to_lowercase().contains("authorization"), "the stranger was told a credential: {heard}");
    assert!(!heard.contains("tenant-local") && !heard.contains("tools/call"), "the stranger was told more than a nonce: {heard}");
}

/// While a live process holds the lock, a stranger at the address that the folder names is not believed.
#[tokio::test]
async fn an_address_that_does_not_prove_itself_is_refused() {
    let folder = Folder::new();
    let mut first = Host::start(folder.path(), Revision::V2025_11_25).await;
    first.good("tasks_create", task("one")).await;
    let true_address = std::fs::read(folder.path().join("address")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (listening, heard) = stranger(&port).await;
    let mut lie = address(folder.path());
    lie["url"] = json!(format!("http://{port}"));
    std::fs::write(folder.path().join("address"), lie.to_string()).unwrap();

    let mut second = Host::start(folder.path(), Revision::V2025_11_25).await;
    let told = second.bad("tasks_list", json!({})).await;
    assert!(told.contains("FM-PLATFORM-FOLDER-BUSY"), "{told}");
    let token = std::fs::read_to_string(folder.path().join("owner.token")).unwrap();
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    assert!(heard.contains("/-/prove"), "the stranger was asked for its proof: {heard}");
    assert!(!heard.contains(token.trim()) && !heard.to_lowercase().contains("authorization"), "{heard}");
    listening.abort();

    std::fs::write(folder.path().join("address"), true_address).unwrap();
    assert_eq!(titles(&mut second).await, ["one"], "the server lives on");
}

#[tokio::test]
async fn the_end_of_input_ends_it_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let inner = folder.path();
    let mut command = binary(inner);
    let output = command.stdin(std::process::Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
    assert!(!inner.exists(), "nothing is made before the first call that needs it");

    let mut host = Host::start(inner, Revision::V2025_11_25).await;
    let tools = host.request("tools/list", json!({})).await;
    assert!(tools["result"]["tools"].as_array().is_some_and(|tools| tools.len() > 30), "{tools}");
    assert!(!inner.exists(), "a list needs no platform");
    host.good("tasks_list", json!({})).await;
    assert!(host.end().await.success());
    assert!(!inner.join("address").exists(), "no address stays behind");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_approvals_and_two_uses_by_four_processes_at_once_are_one_use() {
    let platform = StandIn::start(|asked| async move {
        let status = if asked.path == "/tasks/task-1" { "created" } else { "completed" };
        Json(json!({ "taskId": "task-1", "title": "Pay the invoice", "status": status })).into_response()
    })
    .await;
    let folder = Folder::new();
    let settings = [
        ("FLOWMASTER_URL", platform.url.as_str()),
        ("FLOWMASTER_TOKEN", "own"),
        ("FLOWMASTER_TENANT", "tenant-1"),
        ("FLOWMASTER_CONFIRM", "refuse"),
    ];
    let mut one = Host::start_with(folder.path(), Revision::V2026_07_28, None, &settings).await;
    let mut other = Host::start_with(folder.path(), Revision::V2025_11_25, None, &settings).await;
    let confirm = async |arguments: &[&str]| -> Value {
        let mut command = binary(folder.path());
        command.envs(settings).args(["confirm", "--json"]).args(arguments);
        let (output, _) = beside_at_terminal(command, "yes").await;
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    for round in 1..=4 {
        let response = json!({ "id": "task-1", "decision": "approve", "comments": format!("round {round}") });
        let refused = one.call("tasks_respond", response.clone()).await;
        assert!(refused["content"][0]["text"].as_str().unwrap().starts_with("FM-MCP-CONFIRM:"), "{refused}");
        let waiting = confirm(&[]).await;
        let waits = waiting["pending"]
            .as_array()
            .unwrap()
            .iter()
            .find(|call| call["question"].as_str().unwrap().contains(&format!("round {round}")));
        let id = waits.unwrap_or_else(|| panic!("{waiting}"))["id"].as_str().unwrap().to_owned();

        let approved = AtomicBool::new(false);
        let uses = async |host: &mut Host| {
            while !approved.load(Ordering::Relaxed) {
                host.call("tasks_respond", response.clone()).await;
            }
            host.call("tasks_respond", response.clone()).await;
        };
        let approvals = async {
            let of_it = [id.as_str()];
            let both = tokio::join!(confirm(&of_it), confirm(&of_it));
            approved.store(true, Ordering::Relaxed);
            both
        };
        let (approvals, (), ()) = tokio::join!(approvals, uses(&mut one), uses(&mut other));
        assert!(approvals.0["id"] == id.as_str() || approvals.1["id"] == id.as_str(), "{approvals:?}");
        let done = platform.asked().iter().filter(|asked| asked.path == "/tasks/task-1/respond").count();
        assert_eq!(done, round, "one use a round");
    }
}
