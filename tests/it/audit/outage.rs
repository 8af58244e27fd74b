//! Rows of the record in an outage: they wait where there is room, and none is set aside for it.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::response::IntoResponse as _;

use http::StatusCode;
use serde_json::{Value, json};

use crate::audit::backlog;
use crate::audit::queues::{Trouble, called, platform, recording, server, taken};
use crate::support::standin::{StandIn, becomes};

/// An entry of a size, as the first release wrote it.
fn entry(index: usize, tenant: &str, size: usize) -> Value {
    json!({
        "id": format!("row-{index:04}"), "at": "2026-01-01T00:00:00Z", "action": "mcp.called", "tenant": tenant, "subject": "one",
        "kind": "user", "resourceType": "tool", "resource": "tasks_list", "decision": "allowed", "outcome": "ok",
        "argumentsBody": "x".repeat(size),
    })
}

/// What a process of the first release left that ended in an outage: entries of a size.
fn left_behind(data: &Path, entries: usize, size: usize, tenant: impl Fn(usize) -> String) {
    let folder = data.join("audit");
    std::fs::create_dir_all(&folder).unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join("spool-0.jsonl")).unwrap());
    file.write_all(b"{\"sent\":\"00000000000000000032\"}\n").unwrap();
    for index in 0..entries {
        writeln!(file, "{}", entry(index, &tenant(index), size)).unwrap();
    }
    file.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_makes_no_dead_letter_however_much_waits() {
    let trouble = Trouble::default();
    for tenant in ["tenant-1", "tenant-2"] {
        trouble.begin(tenant, StatusCode::UNAUTHORIZED);
    }
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    left_behind(data.path(), 220, 200 * 1024, |_| "tenant-1".to_owned());
    let served = server(&platform, data.path()).await;
    called(&served, "two", "tasks_list").await;
    let tried =
        |tenant| platform.asked().iter().filter(|asked| asked.path == "/audit-logs" && asked.header("x-tenant-id") == tenant).count();
    becomes(|| tried("tenant-1") > 2 && tried("tenant-2") > 2).await.unwrap();
    becomes(|| backlog(data.path()).waiting == 221).await.unwrap();
    let now = backlog(data.path());
    assert_eq!((now.dead, now.lost), (0, 0), "{now:?}");
    assert!(!data.path().join("audit/spool-0.jsonl").exists(), "what the earlier release left is read in once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooding_caller_costs_no_other_tenant_an_entry() {
    let platform = StandIn::start(|asked| async move {
        if asked.path == "/audit-logs" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Json(json!({ "items": [] })).into_response()
    })
    .await;
    let (data, file) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = file.path().join("entries.jsonl");
    let served = Arc::new(recording(&platform, data.path(), Some(file.clone())).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..16)
        .map(|_| {
            let (served, is_over) = (Arc::clone(&served), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    called(&served, "one", "tasks_list").await;
                }
            })
        })
        .collect();
    for _ in 0..60 {
        called(&served, "two", "executions_get").await;
    }
    let arrived = becomes(|| taken(&platform, "tenant-2", &[]).len() == 60).await;
    is_over.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.await.unwrap();
    }
    assert!(arrived.is_ok(), "{} of 60 arrived while the flood went on", taken(&platform, "tenant-2", &[]).len());
    assert!(backlog(data.path()).waiting > 0, "the flood was more than the platform takes");
    let lost = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(!lost.lines().any(|line| line.contains("mcp.lost") && line.contains("tenant-2")), "none of tenant-2 is lost");
}

#[tokio::test]
async fn entries_without_room_among_dead_letters_are_counted_as_lost() {
    let trouble = Trouble::default();
    trouble.begin("tenant-1", StatusCode::FORBIDDEN);
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    std::fs::create_dir(data.path().join("audit")).unwrap();
    let mut full = std::io::BufWriter::new(std::fs::File::create(data.path().join("audit/undelivered.jsonl")).unwrap());
    for index in 0..65 {
        let entry = entry(index, "tenant-1", 1024 * 1024);
        writeln!(full, "{}", json!({ "reason": "HTTP-403: no", "row": entry })).unwrap();
    }
    drop(full);
    let file = data.path().join("entries.jsonl");
    let served = recording(&platform, data.path(), Some(file.clone())).await;
    called(&served, "one", "tasks_list").await;
    becomes(|| !taken(&platform, "tenant-1", &[]).is_empty()).await.unwrap();
    let lost = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries.filter(|entry| entry["action"] == "mcp.lost").collect::<Vec<_>>()
    };
    // A lost entry is told of with the next one that is kept.
    for _ in 0..100 {
        called(&served, "two", "tasks_list").await;
        if !lost().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(lost().first().map(|entry| (entry["tenant"].clone(), entry["count"].clone())), Some((json!("tenant-1"), json!(1))));
    assert_eq!(backlog(data.path()).dead, 65);
}

/// All entries of the outbox and of the losses, each lost one by the count that stands for it.
#[cfg(unix)]
fn accounted(data: &Path) -> (i64, i64) {
    let store = rusqlite::Connection::open(data.join("state.db")).unwrap();
    let number = |sql: &str| store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let kept = number("SELECT count(*) FROM outbox WHERE body NOT LIKE '%mcp.lost%'");
    let told = number("SELECT coalesce(sum(stands_for), 0) FROM outbox WHERE body LIKE '%mcp.lost%'");
    let mut lost = told + number("SELECT coalesce(sum(lost), 0) FROM outbox_tenants WHERE tenant = 'tenant-1'");
    for file in std::fs::read_dir(data.join("audit")).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let counts = text.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
        lost += counts.and_then(|counts| counts["tenant-1"].as_i64()).unwrap_or_default();
    }
    (kept, lost)
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_a_full_outbox_loses_nothing_uncounted() {
    use crate::support::program::{Host, Revision};

    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    left_behind(data, 340, 200 * 1024, |_| "tenant-1".to_owned());
    let settings = [
        ("FLOWMASTER_URL", "http://127.0.0.1:9"),
        ("FLOWMASTER_TOKEN", "own"),
        ("FLOWMASTER_SERVICE_TOKEN", "account"),
        ("FLOWMASTER_TENANT", "tenant-1"),
    ];
    let mut host = Host::start_with(data, Revision::V2026_07_28, None, &settings).await;
    host.call("tasks_get", json!({ "id": "" })).await;
    becomes(|| !data.join("audit/spool-0.jsonl").exists()).await.unwrap();
    for _ in 0..39 {
        host.call("tasks_get", json!({ "id": "" })).await;
    }
    host.terminate().await;
    let (kept, lost) = accounted(data);
    assert_eq!(kept + lost, 380, "{kept} kept, {lost} counted as lost");
    assert!(lost > 0, "the outbox was full");

    // The next start tells, in an entry and in the log.
    let mut host = Host::start_with(data, Revision::V2026_07_28, None, &settings).await;
    host.call("tasks_get", json!({ "id": "" })).await;
    host.terminate().await;
    let store = rusqlite::Connection::open(data.join("state.db")).unwrap();
    let told: i64 =
        store.query_row("SELECT coalesce(sum(stands_for), 0) FROM outbox WHERE body LIKE '%mcp.lost%'", [], |row| row.get(0)).unwrap();
    assert!(told >= lost, "{told} of {lost} are told of");
}

#[tokio::test]
async fn a_call_of_a_tool_without_a_name_is_a_row_that_the_platform_takes() {
    let (platform, data) = (platform(&Trouble::default()).await, tempfile::tempdir().unwrap());
    let served = server(&platform, data.path()).await;
    served.modern("one", "tools/call", &json!({ "name": "", "arguments": {} })).send().await.unwrap();
    becomes(|| taken(&platform, "tenant-1", &[]).len() == 1).await.unwrap();
    let row = platform.asked().into_iter().find(|asked| asked.path == "/audit-logs").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&row.body).unwrap()["resourceId"], "-");
}

#[tokio::test]
async fn a_hundred_refused_tenants_do_not_hold_up_one_that_is_served() {
    let trouble = Trouble::default();
    let refused = |index: usize| format!("refused-{index:03}");
    (0..101).for_each(|index| trouble.begin(&refused(index), StatusCode::UNAUTHORIZED));
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    left_behind(data.path(), 101, 10, refused);
    let served = server(&platform, data.path()).await;
    called(&served, "two", "tasks_list").await;
    becomes(|| taken(&platform, "tenant-2", &[]).len() == 1).await.unwrap();
    becomes(|| backlog(data.path()).waiting == 101 && backlog(data.path()).backing_off > 90).await.unwrap();
    let now = backlog(data.path());
    assert_eq!((now.waiting, now.dead, now.lost), (101, 0, 0), "{now:?}");
}
