//! The Data Connector Service over HTTP: files, schedules, cancels, restarts, and what is refused.

#[cfg(unix)]
mod database;
mod killed;
#[cfg(unix)]
mod log;

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::platform::schedules::move_to;
use crate::support::platform::TestPlatform;

/// A job that imports a text of a format into a type.
fn inline(source_type: &str, content: &str, kind: &str) -> Value {
    json!({
        "sourceType": source_type, "sourceConfig": { "content": content }, "destination": "internal-data-hub", "entityType": kind,
    })
}

/// Creates a job, and answers its path.
async fn create(bench: &TestPlatform, job: Value) -> String {
    let created = bench.post("/ingest/jobs", &bench.owner(), job).await;
    let place = created.headers.get("location").map(|place| place.to_str().unwrap().to_owned());
    let id = created.ok()["jobId"].as_str().unwrap().to_owned();
    assert_eq!(place, Some(format!("/ingest/jobs/{id}")));
    format!("/ingest/jobs/{id}")
}

async fn start(bench: &TestPlatform, job: &str) {
    let started = bench.put(&format!("{job}/start"), &bench.owner(), json!({})).await;
    assert_eq!((started.status, &started.body["status"]), (202, &json!("pending")), "{:#}", started.body);
}

/// Waits until a job's shown state fulfils a condition.
async fn until(bench: &TestPlatform, job: &str, what: &str, holds: impl Fn(&Value, &Value) -> bool) -> Value {
    for _ in 0..3_000 {
        let shown = bench.get(job, &bench.owner()).await.ok();
        let stats = bench.get(&format!("{job}/stats"), &bench.owner()).await.ok();
        if holds(&shown, &stats) {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not {what}: {:#}", bench.get(job, &bench.owner()).await.ok());
}

/// Waits for a state, and answers the statistics.
async fn until_is(bench: &TestPlatform, job: &str, status: &str) -> Value {
    until(bench, job, status, |shown, _| shown["status"] == status).await
}

/// Starts a job, waits for its end, and answers the statistics.
async fn run(bench: &TestPlatform, job: &str) -> Value {
    start(bench, job).await;
    until_is(bench, job, "completed").await
}

/// Read, written and dead.
fn counts(stats: &Value) -> (u64, u64, u64) {
    let count = |name: &str| stats[name].as_u64().unwrap();
    (count("recordsRead"), count("recordsWritten"), count("deadLetters"))
}

/// The records of a type, all of them, by their id field.
async fn records(bench: &TestPlatform, kind: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = bench.get(&format!("/entities/{kind}?limit=200{cursor}"), &bench.owner()).await.ok();
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    found.sort_by_key(|record| record["data"]["id"].to_string());
    found
}

async fn data(bench: &TestPlatform, kind: &str) -> Vec<Value> {
    records(bench, kind).await.into_iter().map(|record| record["data"].clone()).collect()
}

/// Many lines, each with an id.
fn lines(count: usize) -> String {
    (1..=count).fold(String::new(), |text, id| text + &format!("{{\"id\":{id}}}\n"))
}

/// Serves a text on loopback, after failures.
async fn file_server(failures: usize, text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rows", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let answer = move || {
        let is_up = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= failures;
        std::future::ready(if is_up { (StatusCode::OK, text) } else { (StatusCode::SERVICE_UNAVAILABLE, "") })
    };
    let app = Router::new().route("/rows", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn ragged_rows_of_csv_are_dead_letters_and_none_is_lost() {
    let bench = TestPlatform::start().await;
    let content = "id,name,city\n1,\"Acme, Inc\",Paris\n2,short\n3,a,b,c\n,none,Rome\n5,Globex,\n";
    let job = create(&bench, inline("csv", content, "customer")).await;
    assert_eq!(bench.get(&job, &bench.owner()).await.ok()["status"], "created");
    let stats = run(&bench, &job).await;
    assert_eq!((counts(&stats), &stats["reconciled"], &stats["runs"]), ((5, 2, 3), &json!(true), &json!(1)));
    assert_eq!(stats["checksum"].as_str().unwrap().len(), 64);
    let expected = [json!({ "id": "1", "name": "Acme, Inc", "city": "Paris" }), json!({ "id": "5", "name": "Globex", "city": "" })];
    assert_eq!(data(&bench, "customer").await, expected);
    let first = bench.get(&format!("{job}/dead-letters?limit=2"), &bench.owner()).await.ok();
    let rest = format!("{job}/dead-letters?limit=2&cursor={}", first["nextCursor"].as_str().unwrap());
    let rest = bench.get(&rest, &bench.owner()).await.ok();
    let letters: Vec<&Value> = [&first, &rest].into_iter().flat_map(|page| page["items"].as_array().unwrap()).collect();
    let said: Vec<_> = letters.iter().map(|letter| (letter["rowNumber"].as_u64().unwrap(), letter["code"].as_str().unwrap())).collect();
    assert_eq!(said, [(2, "columns"), (3, "columns"), (4, "key")]);
    assert_eq!((&letters[0]["row"], &letters[0]["reason"]), (&json!("2,short"), &json!("has 2 fields; the header has 3")));
    for topic in ["ingest.created", "ingest.started", "ingest.completed"] {
        let events = bench.get(&format!("/events/replay?topic={topic}"), &bench.owner()).await.ok();
        assert_eq!((events["items"].as_array().unwrap().len(), &events["items"][0]["source"]), (1, &json!("/services/data-connector")));
        let trail = bench.get(&format!("/audit-logs?action={topic}"), &bench.owner()).await.ok();
        assert_eq!(trail["items"][0]["resourceType"], "ingest_job");
    }
    let inserted = bench.get("/events/replay?topic=entity.inserted", &bench.owner()).await.ok();
    assert_eq!(inserted["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_import_that_runs_again_changes_its_records_and_adds_none() {
    let bench = TestPlatform::start().await;
    let job = create(&bench, inline("jsonl", "{\"id\":1,\"name\":\"A\"}\n{\"id\":2,\"name\":\"B\"}", "customer")).await;
    let sum = run(&bench, &job).await["checksum"].clone();
    let before = records(&bench, "customer").await;
    let path = format!("/entities/customer/{}", before[0]["id"].as_str().unwrap());
    bench.put(&path, &bench.owner(), json!({ "data": { "name": "changed by hand", "note": "stays" } })).await.ok();
    let again = run(&bench, &job).await;
    assert_eq!((counts(&again), &again["checksum"], &again["reconciled"]), ((2, 2, 0), &sum, &json!(true)));
    let after = records(&bench, "customer").await;
    assert_eq!(after[0]["data"], json!({ "id": 1, "name": "A", "note": "stays" }));
    assert_eq!((&after[0]["id"], &after[0]["version"]), (&before[0]["id"], &json!(3)));
    assert_eq!((after.len(), &after[1]), (2, &before[1]), "a row that says the same changes nothing");
    bench.delete(&path, &bench.owner(), None).await.ok();
    run(&bench, &job).await;
    assert_eq!(data(&bench, "customer").await[0], json!({ "id": 1, "name": "A" }), "a record that was deleted comes back");
}

#[tokio::test]
async fn rows_are_held_to_the_schema_of_their_type() {
    let bench = TestPlatform::start().await;
    let schema = json!({
        "type": "object", "required": ["id", "age"], "additionalProperties": false,
        "properties": { "id": { "type": "string" }, "age": { "type": "integer", "minimum": 0 }, "open": { "type": "boolean" } },
    });
    bench.post("/entities", &bench.owner(), json!({ "entityType": "person", "schema": schema })).await.ok();
    let content = "id;age;open\n1;5;true\n2;-5;true\n3;five;\n4;;false\n5;7;\n";
    let mut request = inline("csv", content, "person");
    request["sourceConfig"]["delimiter"] = json!(";");
    let job = create(&bench, request).await;
    assert_eq!(counts(&run(&bench, &job).await), (5, 2, 3));
    assert_eq!(data(&bench, "person").await, [json!({ "id": "1", "age": 5, "open": true }), json!({ "id": "5", "age": 7 })]);
    let letters = bench.get(&format!("{job}/dead-letters"), &bench.owner()).await.ok();
    let first = &letters["items"][0];
    assert_eq!((&first["code"], first["reason"].as_str().unwrap().starts_with("/data/age ")), (&json!("schema"), true), "{first}");
}

#[tokio::test]
async fn a_cancel_takes_effect_between_batches_and_keeps_rows() {
    let bench = TestPlatform::start().await;
    let job = create(&bench, inline("jsonl", &lines(15_000), "reading")).await;
    start(&bench, &job).await;
    bench.put(&format!("{job}/start"), &bench.owner(), json!({})).await.refused(409, "FM-DCS-RUNNING");
    until(&bench, &job, "under way", |shown, stats| shown["status"] == "running" && stats["recordsRead"] != 0).await;
    let cancelled = bench.put(&format!("{job}/cancel"), &bench.owner(), json!({})).await.ok();
    assert_eq!(cancelled["status"], "cancelled");
    let stats = bench.get(&format!("{job}/stats"), &bench.owner()).await.ok();
    let written = counts(&stats).1;
    assert!(written > 0 && written < 15_000 && written.is_multiple_of(500), "{stats:#}");
    bench.put(&format!("{job}/cancel"), &bench.owner(), json!({})).await.refused(409, "FM-DCS-NOT-RUNNING");
    assert_eq!(records(&bench, "reading").await.len() as u64, written, "no batch comes after the cancel");
}

#[tokio::test]
async fn a_run_that_a_restart_interrupts_goes_on_without_loss_or_doubles() {
    let mut bench = TestPlatform::start().await;
    let content = lines(4_000) + "no row\n" + &lines(500).replace("{\"id\":", "{\"id\":1000");
    let job = create(&bench, inline("jsonl", &content, "reading")).await;
    start(&bench, &job).await;
    until(&bench, &job, "under way", |_, stats| stats["recordsRead"] != 0).await;
    bench = bench.restart().await;
    let stats = until_is(&bench, &job, "completed").await;
    assert_eq!((counts(&stats), &stats["reconciled"], &stats["runs"]), ((4_501, 4_500, 1), &json!(true), &json!(1)));
    let records = records(&bench, "reading").await;
    assert_eq!(records.len(), 4_500);
    assert!(records.iter().all(|record| record["version"] == 1), "no row is written twice");
    let inserted = bench.get("/events/replay?topic=ingest.completed", &bench.owner()).await.ok();
    assert_eq!(inserted["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_schedule_runs_on_time_until_it_is_cancelled() {
    let bench = TestPlatform::start().await;
    move_to(&bench, "2083-02-01T23:59:50Z");
    let mut request = inline("csv", "id\n1\n", "customer");
    request["schedule"] = json!("0 0 * * *");
    let job = create(&bench, request).await;
    assert_eq!(bench.get(&job, &bench.owner()).await.ok()["nextRunAt"], "2083-02-02T00:00:00.000Z");
    bench.clock.advance(10.0);
    let stats = until_is(&bench, &job, "completed").await;
    assert_eq!((counts(&stats), &stats["lastRunAt"]), ((1, 1, 0), &json!("2083-02-02T00:00:00.000Z")));
    let cancelled = bench.put(&format!("{job}/cancel"), &bench.owner(), json!({})).await.ok();
    assert_eq!((&cancelled["status"], cancelled.get("nextRunAt")), (&json!("cancelled"), None));
    bench.clock.advance(86_400.0);
    start(&bench, &job).await;
    assert_eq!(until_is(&bench, &job, "completed").await["runs"], 2, "no run came while it was cancelled");
    assert_eq!(bench.get(&job, &bench.owner()).await.ok()["nextRunAt"], "2083-02-04T00:00:00.000Z", "a start goes on with the schedule");
}

#[tokio::test]
async fn a_file_at_an_address_is_fetched_again_after_a_failure() {
    let bench = TestPlatform::start().await;
    let url = file_server(2, "id,name\n1,A\n").await;
    let request = json!({ "sourceType": "csv", "sourceConfig": { "url": url }, "destination": "internal-data-hub", "entityType": "x" });
    let job = create(&bench, request).await;
    start(&bench, &job).await;
    let failed = |shown: &Value, _: &Value| shown["error"].as_str().is_some_and(|error| error.starts_with("FM-DCS-SOURCE-UNAVAILABLE"));
    until(&bench, &job, "put off", failed).await;
    assert_eq!(bench.get(&job, &bench.owner()).await.ok()["status"], "pending");
    for _ in 0..200 {
        bench.clock.advance(60.0);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if bench.get(&job, &bench.owner()).await.ok()["status"] == "completed" {
            break;
        }
    }
    assert_eq!(counts(&until_is(&bench, &job, "completed").await), (1, 1, 0));
    assert_eq!(bench.get(&job, &bench.owner()).await.ok().get("error"), None);
}

#[tokio::test]
async fn a_source_that_is_never_there_fails_in_the_end() {
    let bench = TestPlatform::start().await;
    let url = file_server(1_000, "").await;
    let request = json!({ "sourceType": "jsonl", "sourceConfig": { "url": url }, "destination": "internal-data-hub", "entityType": "x" });
    let job = create(&bench, request).await;
    start(&bench, &job).await;
    for _ in 0..500 {
        bench.clock.advance(300.0);
        tokio::time::sleep(Duration::from_millis(10)).await;
        if bench.get(&job, &bench.owner()).await.ok()["status"] == "failed" {
            break;
        }
    }
    until_is(&bench, &job, "failed").await;
    let failed = bench.get("/events/replay?topic=ingest.failed", &bench.owner()).await.ok();
    assert_eq!(failed["items"][0]["data"]["code"], "FM-DCS-SOURCE-UNAVAILABLE");
}

#[tokio::test]
async fn only_rows_above_the_watermark_are_read_of_a_file() {
    let bench = TestPlatform::start().await;
    let mut request = inline("jsonl", "{\"id\":1,\"at\":5}\n{\"id\":2,\"at\":12}\n{\"id\":3,\"at\":7}", "reading");
    request["cdcEnabled"] = json!(true);
    request["sourceConfig"]["watermarkColumn"] = json!("at");
    let job = create(&bench, request).await;
    let first = run(&bench, &job).await;
    assert_eq!((counts(&first), &first["watermark"]), ((3, 3, 0), &json!("12")));
    let second = run(&bench, &job).await;
    assert_eq!((counts(&second), &second["watermark"], &second["runs"]), ((0, 0, 0), &json!("12"), &json!(2)));
}

#[tokio::test]
async fn what_cannot_be_imported_is_refused_with_its_code() {
    let bench = TestPlatform::start().await;
    let own = format!("{}/openapi.json", bench.running.url());
    let with = |change: Value| {
        let mut request = inline("csv", "id\n1\n", "customer");
        for (name, value) in change.as_object().unwrap() {
            if value.is_null() {
                request.as_object_mut().unwrap().shift_remove(name);
            } else {
                request[name] = value.clone();
            }
        }
        request
    };
    let postgres = |config: Value| with(json!({ "sourceType": "postgresql", "sourceConfig": config }));
    for (request, code, pointer) in [
        (with(json!({ "sourceType": "mysql" })), "FM-DCS-CONNECTOR-UNSUPPORTED", "/sourceType"),
        (with(json!({ "sourceType": "s3" })), "FM-DCS-CONNECTOR-UNSUPPORTED", "/sourceType"),
        (with(json!({ "sourceType": "mongodb" })), "FM-DCS-CONNECTOR-UNSUPPORTED", "/sourceType"),
        (with(json!({ "sourceType": "parquet" })), "FM-DCS-CONNECTOR-UNSUPPORTED", "/sourceType"),
        (with(json!({ "destination": "warehouse" })), "FM-DCS-DESTINATION", "/destination"),
        (with(json!({ "entityType": "Not A Type" })), "FM-IDHS-TYPE-NAME", "/entityType"),
        (with(json!({ "entityType": null })), "FM-DCS-ENTITY-TYPE", "/entityType"),
        (with(json!({ "schedule": "every night" })), "FM-DCS-SCHEDULE", "/schedule"),
        (with(json!({ "schedule": "0 0 31 2 *" })), "FM-DCS-SCHEDULE", "/schedule"),
        (with(json!({ "sourceConfig": {} })), "FM-DCS-CONFIG", "/sourceConfig/content"),
        (with(json!({ "sourceConfig": { "path": "/etc/passwd" } })), "FM-DCS-PATH", "/sourceConfig/path"),
        (with(json!({ "sourceConfig": { "url": own } })), "FM-DCS-HOST", "/sourceConfig/url"),
        (with(json!({ "sourceConfig": { "url": "http://192.0.2.1/x" } })), "FM-DCS-HOST", "/sourceConfig/url"),
        (with(json!({ "sourceConfig": { "url": "file:///etc/passwd" } })), "FM-DCS-HOST", "/sourceConfig/url"),
        (with(json!({ "credentials": { "token": 5 } })), "FM-DCS-CONFIG", "/credentials/token"),
        (postgres(json!({ "host": "192.0.2.1", "database": "d", "table": "t" })), "FM-DCS-HOST", "/sourceConfig/host"),
        (postgres(json!({ "host": "127.0.0.1", "database": "d", "api_key": "x" })), "FM-DCS-CONFIG", "/sourceConfig/api_key"),
        (
            postgres(json!({ "host": "127.0.0.1", "port": bench.running.address().port(), "database": "d", "table": "t" })),
            "FM-DCS-HOST",
            "/sourceConfig/host",
        ),
    ] {
        let problem = bench.post("/ingest/jobs", &bench.owner(), request).await.refused(422, code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    for path in ["/ingest/jobs/ingest-0", "/ingest/jobs/ingest-0/stats", "/ingest/jobs/ingest-0/dead-letters"] {
        bench.get(path, &bench.owner()).await.refused(404, "FM-DCS-NOT-FOUND");
    }
    for verb in ["start", "cancel"] {
        bench.put(&format!("/ingest/jobs/ingest-0/{verb}"), &bench.owner(), json!({})).await.refused(404, "FM-DCS-NOT-FOUND");
    }
}

#[tokio::test]
async fn a_file_without_a_usable_header_fails_before_a_row_is_kept() {
    let bench = TestPlatform::start().await;
    let job = create(&bench, inline("csv", "name,name\n1,2\n", "customer")).await;
    start(&bench, &job).await;
    until_is(&bench, &job, "failed").await;
    let shown = bench.get(&job, &bench.owner()).await.ok();
    assert!(shown["error"].as_str().unwrap().starts_with("FM-DCS-HEADER: "), "{shown:#}");
    bench.get("/entities/customer", &bench.owner()).await.refused(404, "FM-IDHS-TYPE-NOT-FOUND");
}

#[tokio::test]
async fn another_tenant_sees_no_import_and_fills_its_own_records() {
    let bench = TestPlatform::start().await;
    let job = create(&bench, inline("csv", "id\n1\n", "customer")).await;
    run(&bench, &job).await;
    let other = bench.signed_in("tenant-2", "amy", &["ingest:*", "entity:*"]).await;
    bench.get(&job, &other).await.refused(404, "FM-DCS-NOT-FOUND");
    bench.get(&format!("{job}/stats"), &other).await.refused(404, "FM-DCS-NOT-FOUND");
    bench.get(&format!("{job}/dead-letters"), &other).await.refused(404, "FM-DCS-NOT-FOUND");
    bench.put(&format!("{job}/start"), &other, json!({})).await.refused(404, "FM-DCS-NOT-FOUND");
    bench.put(&format!("{job}/cancel"), &other, json!({})).await.refused(404, "FM-DCS-NOT-FOUND");
    assert_eq!(bench.get("/ingest/jobs", &other).await.ok()["items"], json!([]));
    assert_eq!(bench.get("/ingest/jobs", &bench.owner()).await.ok()["items"].as_array().unwrap().len(), 1);
    let created = bench.post("/ingest/jobs", &other, inline("csv", "id,theirs\n1,yes\n", "customer")).await.ok();
    let theirs = format!("/ingest/jobs/{}", created["jobId"].as_str().unwrap());
    bench.put(&format!("{theirs}/start"), &other, json!({})).await.ok();
    for _ in 0..1_000 {
        if bench.get(&theirs, &other).await.ok()["status"] == "completed" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let page = bench.get("/entities/customer", &other).await.ok();
    assert_eq!(page["items"][0]["data"], json!({ "id": "1", "theirs": "yes" }));
    assert_eq!(data(&bench, "customer").await, [json!({ "id": "1" })]);
}

#[tokio::test]
async fn an_import_gives_no_right_to_write_records() {
    let bench = TestPlatform::start().await;
    let weak = bench.signed_in("tenant-1", "bob", &["ingest:*", "entity:view"]).await;
    bench.post("/ingest/jobs", &weak, inline("csv", "id\n1\n", "customer")).await.refused(403, "FM-DCS-FORBIDDEN");
    let strong = bench.signed_in("tenant-1", "eve", &["ingest:*", "entity:*"]).await;
    let created = bench.post("/ingest/jobs", &strong, inline("csv", "id\n1\n", "customer")).await.ok();
    let path = format!("/ingest/jobs/{}/start", created["jobId"].as_str().unwrap());
    bench.put(&path, &weak, json!({})).await.refused(403, "FM-DCS-FORBIDDEN");
}

#[tokio::test]
async fn credentials_are_kept_sealed_and_never_shown() {
    let bench = TestPlatform::start().await;
    let secret = "a-password-that-nobody-sees";
    let mut request = inline("csv", "id\n1\n", "customer");
    request["credentials"] = json!({ "username": "reader", "password": secret });
    let job = create(&bench, request).await;
    let shown = bench.get(&job, &bench.owner()).await.ok();
    assert_eq!(shown["credentialsSet"], json!(["username", "password"]));
    assert_eq!(shown["sourceConfig"]["contentBytes"], 5);
    run(&bench, &job).await;
    let mut said = vec![shown.to_string()];
    for path in ["/events/replay?topic=ingest.created", "/audit-logs?resourceType=ingest_job", "/ingest/jobs"] {
        said.push(bench.get(path, &bench.owner()).await.ok().to_string());
    }
    assert!(said.iter().all(|text| !text.contains(secret)));
    let folder = bench.folder.path().join("data");
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_source_is_tried_without_being_kept() {
    let bench = TestPlatform::start().await;
    let test = |source_type: &'static str, config: Value| {
        let bench = &bench;
        async move { bench.post("/ingest/test-connection", &bench.owner(), json!({ "sourceType": source_type, "sourceConfig": config })).await }
    };
    let csv = test("csv", json!({ "content": "id,name\n1,A\n" })).await.ok();
    assert_eq!((&csv["connected"], &csv["columns"]), (&json!(true), &json!(["id", "name"])));
    let lines = test("jsonl", json!({ "contentBase64": "eyJhIjoxfQp7ImIiOjJ9" })).await.ok();
    assert_eq!(lines["columns"], json!(["a", "b"]));
    let gone = test("csv", json!({ "url": file_server(1_000, "").await })).await.ok();
    assert_eq!(gone["connected"], false);
    assert!(gone["error"].as_str().unwrap().contains("503"), "{gone:#}");
    test("avro", json!({})).await.refused(422, "FM-DCS-CONNECTOR-UNSUPPORTED");
    test("csv", json!({ "url": "http://192.0.2.1/" })).await.refused(422, "FM-DCS-HOST");
    assert_eq!(bench.get("/ingest/jobs", &bench.owner()).await.ok()["items"], json!([]));
}
