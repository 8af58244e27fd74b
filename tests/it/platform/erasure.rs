//! A person who asks to be forgotten: what every table holds of them before and after, what stays, and what a kill changes.

mod killed;
mod traces;

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use crate::support::platform::TestPlatform;
use traces::{ADDRESS, Traces};

const DAY: f64 = 24.0 * 3600.0;

/// The columns of the platform's file in which one of these names stands, in whatever case.
fn holding(data: &Path, names: &[&str]) -> BTreeSet<String> {
    let connection = Connection::open(data.join("platform.db")).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let mut found = BTreeSet::new();
    for table in texts("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name") {
        for column in texts(&format!("SELECT name FROM pragma_table_info('{table}')")) {
            // Tables of the word index have columns that only the index itself reads.
            let Ok(mut statement) = connection.prepare(&format!("SELECT \"{column}\" FROM \"{table}\"")) else { continue };
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let bytes = match row.get_ref(0).unwrap() {
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_ascii_lowercase(),
                    _ => continue,
                };
                if names.iter().any(|name| stands_in(&bytes, name)) {
                    found.insert(format!("{table}.{column}"));
                }
            }
        }
    }
    found
}

fn stands_in(bytes: &[u8], name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    bytes.windows(name.len()).any(|part| part == name.as_bytes())
}

/// The files of the data folder, at any depth, in which one of these names stands.
fn files_holding(folder: &Path, names: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_holding(&path, names));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap().to_ascii_lowercase();
        if names.iter().any(|name| stands_in(&bytes, name)) {
            found.insert(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

/// Waits until a request is done, and answers it.
async fn done(platform: &TestPlatform, token: &str, request: &str) -> Value {
    for _ in 0..1_000 {
        let state = platform.get(&format!("/records/{request}"), token).await.ok();
        if state["status"] == "done" {
            return state;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the request comes to no end");
}

#[tokio::test]
async fn an_erased_person_is_in_no_table_and_in_no_file() {
    let platform = TestPlatform::start().await;
    let traces = Traces::leave(&platform).await;
    let data = platform.folder.path().join("data");
    let names = [ADDRESS, traces.person.as_str()];
    let before = holding(&data, &names);
    for column in [
        "agent_calls.subject",
        "agents.created_by",
        "audit_log.actor",
        "audit_log.changes",
        "companies.approval_chains",
        "conversation_messages.body",
        "conversation_messages.recipient",
        "conversations.participant",
        "dashboards.created_by",
        "dataset_lines.line",
        "datasets.created_by",
        "documents.metadata",
        "documents.text",
        "entities.data",
        "events.data",
        "execution_history.actor",
        "executions.initiator",
        "executions.state",
        "feedback.notes",
        "feedback.submitted_by",
        "ingest_dead_letters.row",
        "ingest_jobs.content",
        "ingest_jobs.runs_as",
        "ingest_keys.key",
        "integration_calls.actor",
        "integration_calls.path",
        "kpis.created_by",
        "notifications.email",
        "notifications.variables",
        "process_versions.created_by",
        "prompts.created_by",
        "schedules.runs_as",
        "schedules.variables",
        "subscriptions.created_by",
        "task_history.actor",
        "tasks.assignee",
        "tasks.response",
        "users.username",
    ] {
        assert!(before.contains(column), "the person was in {column}: {before:?}");
    }
    assert!(files_holding(&data, &names).iter().any(|file| Path::new(file).extension().is_some_and(|end| end == "eml")));

    let auditor = traces.auditor(&platform).await;
    let preview = platform.get(&format!("/records?subject={ADDRESS}"), &auditor).await.ok();
    let request = json!({ "subject": ADDRESS, "reason": "asked by letter" });
    let request = platform.delete("/records", &auditor, Some(request)).await.ok()["requestId"].as_str().unwrap().to_owned();
    platform.clock.advance(31.0 * DAY);
    let auditor = traces.auditor(&platform).await;
    let state = done(&platform, &auditor, &request).await;

    // The account's row keeps its id, so that nobody else is ever given it.
    assert_eq!(holding(&data, &names), BTreeSet::from(["users.id".to_owned(), "users.username".to_owned()]));
    assert_eq!(holding(&data, &[ADDRESS]), BTreeSet::new());
    let mut counted = preview["counts"].clone();
    counted["accounts"] = json!(1);
    assert_eq!(state["erased"], counted, "what was counted beforehand is what was erased");
    traces.decisions_stand(&platform, &auditor, preview["pseudonym"].as_str().unwrap()).await;

    let TestPlatform { running, folder, .. } = platform;
    running.shutdown().await;
    assert_eq!(files_holding(folder.path(), &[ADDRESS]), BTreeSet::new(), "nor is the person in what the file no longer uses");
}

#[tokio::test]
async fn the_erasure_of_one_person_leaves_another_of_almost_the_same_name() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let others = ["a.jo@b.c", "jo@b.co", "jo@b.c.uk", "ajo@b.c"];
    for address in others.iter().chain(&["jo@b.c"]) {
        let record = json!({ "data": { "email": address, "name": format!("The one of {address}") } });
        platform.post("/entities/customer", &owner, record).await.ok();
    }
    let request = platform.delete("/records", &owner, Some(json!({ "subject": "jo@b.c", "reason": "r" }))).await.ok();
    platform.clock.advance(31.0 * DAY);
    done(&platform, &platform.owner(), request["requestId"].as_str().unwrap()).await;
    let left = platform.get("/entities/customer?limit=200", &platform.owner()).await.ok();
    let mut left: Vec<&str> = left["items"].as_array().unwrap().iter().map(|record| record["data"]["email"].as_str().unwrap()).collect();
    left.retain(|address| !address.starts_with("erased-"));
    left.sort_unstable();
    let mut others = others.to_vec();
    others.sort_unstable();
    assert_eq!(left, others);
}
