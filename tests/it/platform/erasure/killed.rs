//! The real program, killed in the middle of an erasure, goes on with it at the next start.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::holding;
use crate::support::child::ChildPlatform;
use crate::support::platform::TestPlatform;

/// How many records are about the person: many transactions of the erasure.
const RECORDS: u64 = 3_000;

/// Looks at the request in the file until it is as it should be.
async fn until(data: &Path, holds: impl Fn(&str, u64) -> bool) -> Value {
    let connection = Connection::open(data.join("platform.db")).unwrap();
    for _ in 0..60_000 {
        let (status, counts): (String, String) =
            connection.query_row("SELECT status, counts FROM audit_deletions", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let counts: Value = serde_json::from_str(&counts).unwrap();
        if holds(&status, counts["records"].as_u64().unwrap_or_default()) {
            return counts;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the erasure comes to no end");
}

#[tokio::test]
async fn an_erasure_that_is_killed_goes_on_at_the_next_start_and_ends() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let rows: Vec<String> = (0..RECORDS).map(|row| json!({ "id": row, "note": "for jo@b.c" }).to_string()).collect();
    let job = json!({
        "sourceType": "jsonl", "sourceConfig": { "content": rows.join("\n") }, "destination": "internal-data-hub", "entityType": "note",
    });
    let job = platform.post("/ingest/jobs", &owner, job).await.ok()["jobId"].as_str().unwrap().to_owned();
    platform.put(&format!("/ingest/jobs/{job}/start"), &owner, json!({})).await.ok();
    while platform.get(&format!("/ingest/jobs/{job}"), &owner).await.ok()["status"] != "completed" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    platform.delete("/records", &owner, Some(json!({ "subject": "jo@b.c", "reason": "r" }))).await.ok();
    let preview = platform.get("/records?subject=jo@b.c", &owner).await.ok();
    assert_eq!(preview["records"], RECORDS, "{preview}");
    let TestPlatform { running, folder, .. } = platform;
    running.shutdown().await;

    let data = folder.path().join("data");
    // The program goes by the system's time, so the notice is over by another way.
    Connection::open(data.join("platform.db")).unwrap().execute("UPDATE audit_deletions SET due_at = 0", []).unwrap();
    for share in [1, RECORDS / 3, RECORDS / 2] {
        let program = ChildPlatform::start(folder.path()).await;
        let erased = until(&data, |_, records| records >= share).await;
        program.kill().await;
        assert!(erased["records"].as_u64().unwrap() < RECORDS, "it was killed before it was done: {erased}");
        assert!(holding(&data, &["jo@b.c"]).contains("entities.data"), "half of it is left");
    }
    let program = ChildPlatform::start(folder.path()).await;
    let erased = until(&data, |status, _| status == "done").await;
    assert_eq!(erased, preview["counts"], "no row was counted twice, and none was left out");
    program.kill().await;
    assert_eq!(holding(&data, &["jo@b.c"]), BTreeSet::new());
}
