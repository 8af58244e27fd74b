//! Data Connector Service (contract, section 11).

use serde_json::{Value, json};

use super::target::{Target, id_in, items, refused, says};

fn import(target: &Target, kind: &str, source_type: &str, config: &Value) -> Value {
    json!({
        "sourceType": source_type, "sourceConfig": config, "destination": "internal-data-hub", "entityType": target.word(kind),
    })
}

/// Creates a job, and answers its path.
async fn create(target: &Target, job: Value) -> String {
    format!("/ingest/jobs/{}", id_in(&target.post("/ingest/jobs", job).await.ok(), "jobId"))
}

/// Starts a job, waits for its end, and answers what it read, wrote and gave up.
async fn run(target: &Target, job: &str) -> (u64, u64, u64) {
    let runs = target.get(&format!("{job}/stats")).await.ok()["runs"].as_u64().unwrap_or_default();
    assert_eq!(target.put(&format!("{job}/start"), json!({})).await.status, 202);
    target.until(job, |job| job["status"] == "completed").await;
    let stats = target.until(&format!("{job}/stats"), |stats| stats["runs"].as_u64() > Some(runs)).await;
    let count = |name: &str| stats[name].as_u64().unwrap();
    (count("recordsRead"), count("recordsWritten"), count("deadLetters"))
}

/// **Batch & streaming**: a file is imported at once, or by a schedule again and again.
#[tokio::test]
async fn a_file_is_imported_at_once_or_by_schedule() {
    let target = Target::open().await;
    let mut request = import(&target, "customer", "csv", &json!({ "content": "id,name\n1,Acme\n2,Globex\n" }));
    let job = create(&target, request.clone()).await;
    assert_eq!(run(&target, &job).await, (2, 2, 0));
    let found = target.get(&format!("/entities/{}", target.word("customer"))).await.ok();
    assert_eq!(items(&found).len(), 2);
    request["schedule"] = json!("0 0 * * *");
    let nightly = create(&target, request.clone()).await;
    assert!(target.get(&nightly).await.ok()["nextRunAt"].is_string());
    target.put(&format!("{nightly}/cancel"), json!({})).await.ok();
    assert_eq!(target.get(&nightly).await.ok().get("nextRunAt"), None);
    request["schedule"] = json!("every night");
    refused(&target.post("/ingest/jobs", request).await, &[400, 422]);
}

/// **CDC support**: a second run reads what has changed alone.
#[tokio::test]
async fn a_second_run_reads_changes_alone() {
    let target = Target::open().await;
    let rows = "{\"id\":1,\"at\":5}\n{\"id\":2,\"at\":12}";
    let mut request = import(&target, "reading", "jsonl", &json!({ "content": rows, "watermarkColumn": "at" }));
    request["cdcEnabled"] = json!(true);
    let job = create(&target, request).await;
    assert_eq!(run(&target, &job).await, (2, 2, 0));
    assert_eq!(run(&target, &job).await, (0, 0, 0));
}

/// **Data integrity**: the counts are reconciled, the same rows have the same checksum, and a second import adds no record.
#[tokio::test]
async fn counts_are_reconciled_and_a_second_import_adds_none() {
    let target = Target::open().await;
    let job = create(&target, import(&target, "part", "csv", &json!({ "content": "id,name\n1,Bolt\n2,Nut\n" }))).await;
    run(&target, &job).await;
    let first = target.get(&format!("{job}/stats")).await.ok();
    run(&target, &job).await;
    let second = target.get(&format!("{job}/stats")).await.ok();
    assert_eq!((&first["reconciled"], &second["reconciled"], &first["checksum"]), (&json!(true), &json!(true), &second["checksum"]));
    assert_eq!(items(&target.get(&format!("/entities/{}", target.word("part"))).await.ok()).len(), 2);
}

/// **Retry logic**: a source that is away is asked again; a row that does not fit is a dead letter and stops nothing.
#[tokio::test]
async fn a_source_is_asked_again_and_bad_rows_are_dead_letters() {
    let target = Target::open().await;
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let answer = move |_| {
        let is_down = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        let row = json!({ "id": 1, "name": "Acme" });
        std::future::ready(says(if is_down { 503 } else { 200 }, row))
    };
    let Some(files) = target.outside(answer).await else { return };
    let config = json!({ "url": format!("{}/rows", files.url) });
    let job = create(&target, import(&target, "customer", "jsonl", &config)).await;
    assert_eq!(run(&target, &job).await, (1, 1, 0));
    assert!(files.asked().len() >= 2, "it was asked again");
    let tried = target.post("/ingest/test-connection", json!({ "sourceType": "jsonl", "sourceConfig": config })).await.ok();
    assert_eq!(tried["connected"], true);
    target.post("/entities", json!({ "entityType": target.word("ragged") })).await.ok();
    let ragged = create(&target, import(&target, "ragged", "csv", &json!({ "content": "id,name\n1,Acme\n2\n3,Globex\n" }))).await;
    assert_eq!(run(&target, &ragged).await, (3, 2, 1));
}
