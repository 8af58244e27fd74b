//! Rows of the record in an outage: they wait where there is room, and none is set aside for it.

use std::io::Write as _;
use std::path::Path;

use flowmaster_mcp::server::audit::{Waiting, waiting};
use http::StatusCode;
use serde_json::{Value, json};

use crate::audit::queues::{Trouble, called, platform, recording, server, taken};
use crate::support::standin::becomes;

/// What a process left behind that died in an outage: rows of a size.
fn left_behind(data: &Path, rows: usize, size: usize, tenant: impl Fn(usize) -> String) {
    let folder = data.join("audit");
    std::fs::create_dir_all(&folder).unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join("spool-0.jsonl")).unwrap());
    file.write_all(b"{\"sent\":\"00000000000000000032\"}\n").unwrap();
    let body = "x".repeat(size);
    for index in 0..rows {
        let row = json!({
            "id": format!("row-{index:04}"), "at": "2026-01-01T00:00:00Z", "action": "mcp.called", "tenant": tenant(index), "subject": "one",
            "kind": "user", "resourceType": "tool", "resource": "tasks_list", "decision": "allowed", "outcome": "ok", "argumentsBody": body,
        });
        serde_json::to_writer(&mut file, &row).unwrap();
        file.write_all(b"\n").unwrap();
    }
    file.flush().unwrap();
}

/// How many bytes wait apart.
fn parked(data: &Path) -> u64 {
    let entries = std::fs::read_dir(data.join("audit")).unwrap().map(|entry| entry.unwrap());
    entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with("parked-")).map(|entry| entry.metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_sets_nothing_aside_however_much_waits() {
    let trouble = Trouble::default();
    for tenant in ["tenant-1", "tenant-2"] {
        trouble.begin(tenant, StatusCode::UNAUTHORIZED);
    }
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    left_behind(data.path(), 220, 200 * 1024, |_| "tenant-1".to_owned());
    let served = server(&platform, data.path()).await;
    called(&served, "two", "tasks_list").await;
    becomes(|| parked(data.path()) > 38 * 1024 * 1024).await.unwrap();
    // The line stands: it goes on to try somebody behind, and no row leaves it.
    let tried =
        |tenant| platform.asked().iter().filter(|asked| asked.path == "/audit-logs" && asked.header("x-tenant-id") == tenant).count();
    let before = tried("tenant-2");
    becomes(|| tried("tenant-2") > before + 1).await.unwrap();
    let now = waiting(data.path());
    assert_eq!((now.rows, now.undelivered), (221, 0), "{now:?}");
    assert!(now.parked < 220, "some wait in the line: {now:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_for_which_there_is_no_room_are_set_aside_only_while_others_are_served() {
    let trouble = Trouble::default();
    trouble.begin("tenant-1", StatusCode::UNAUTHORIZED);
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    left_behind(data.path(), 204, 200 * 1024, |_| "tenant-1".to_owned());
    let served = server(&platform, data.path()).await;
    called(&served, "two", "tasks_list").await;
    // The pauses have grown while so much was moved.
    let is_through = || !data.path().join("audit/spool-0.jsonl").exists();
    assert!(becomes(is_through).await.is_ok() || becomes(is_through).await.is_ok());
    becomes(|| !taken(&platform, "tenant-2", &[]).is_empty()).await.unwrap();
    let now = waiting(data.path());
    assert!(now.undelivered > 0 && now.parked == now.rows && now.rows + now.undelivered == 204, "{now:?}");
    assert_eq!(taken(&platform, "tenant-2", &[]).len(), 1);
}

#[tokio::test]
async fn rows_that_cannot_be_set_aside_are_counted_as_lost() {
    let trouble = Trouble::default();
    trouble.begin("tenant-1", StatusCode::FORBIDDEN);
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    std::fs::create_dir(data.path().join("audit")).unwrap();
    let full = std::fs::File::create(data.path().join("audit/undelivered.jsonl")).unwrap();
    full.set_len(64 * 1024 * 1024 + 1).unwrap();
    let file = data.path().join("rows.jsonl");
    let served = recording(&platform, data.path(), Some(file.clone())).await;
    called(&served, "one", "tasks_list").await;
    becomes(|| !taken(&platform, "tenant-1", &[]).is_empty()).await.unwrap();
    let lost = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.filter(|row| row["action"] == "mcp.lost").collect::<Vec<_>>()
    };
    // A lost row is told with the next one that is kept.
    for _ in 0..100 {
        called(&served, "two", "tasks_list").await;
        if !lost().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(lost().first().map(|row| row["count"].clone()), Some(json!(1)));
    assert_eq!(full.metadata().unwrap().len(), 64 * 1024 * 1024 + 1);
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
async fn more_tenants_than_may_wait_apart_do_not_hold_up_those_that_are_served() {
    let trouble = Trouble::default();
    let refused = |index: usize| format!("refused-{index:03}");
    (0..101).for_each(|index| trouble.begin(&refused(index), StatusCode::UNAUTHORIZED));
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    left_behind(data.path(), 101, 10, refused);
    let served = server(&platform, data.path()).await;
    called(&served, "two", "tasks_list").await;
    let expected = Waiting { rows: 100, parked: 100, undelivered: 1 };
    assert!(becomes(|| waiting(data.path()) == expected).await.is_ok(), "{:?}", waiting(data.path()));
    assert_eq!(taken(&platform, "tenant-2", &[]).len(), 1);
}
