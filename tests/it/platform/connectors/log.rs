//! Tables that are followed by the log of their database, from a server of the test's own.

use reqwest::Method;
use serde_json::{Value, json};

use super::database::job;
use super::killed::Program;
use super::{counts, create, data, records, run, start, until_is};
use crate::support::platform::TestPlatform;
use crate::support::postgres::{PASSWORD, Postgres};

/// An import that follows a table.
fn follow(server: &Postgres, table: &str, kind: &str) -> Value {
    let mut request = job(server, json!({ "table": table, "cdcMode": "logical" }));
    request["cdcEnabled"] = json!(true);
    request["entityType"] = json!(kind);
    request
}

/// Read, written, deleted and dead.
fn all_counts(stats: &Value) -> (u64, u64, u64, u64) {
    let (read, written, dead) = counts(stats);
    (read, written, stats["recordsDeleted"].as_u64().unwrap(), dead)
}

fn slots(server: &Postgres) -> String {
    server.sql("SELECT count(*) FROM pg_replication_slots")
}

async fn fails(bench: &TestPlatform, job: &str, code: &str) {
    start(bench, job).await;
    until_is(bench, job, "failed").await;
    let shown = bench.get(job, &bench.owner()).await.ok();
    assert!(shown["error"].as_str().unwrap().starts_with(&format!("{code}: ")), "{code}: {}", shown["error"]);
}

#[tokio::test]
async fn inserts_updates_and_deletions_are_read_of_the_log() {
    let Some(server) = Postgres::start_with_log() else { return };
    let bench = TestPlatform::start().await;
    server.sql(
        "CREATE SCHEMA \"Sales\"; CREATE TYPE mood AS ENUM ('sad', 'it''s');
         CREATE TABLE \"Sales\".\"cust\"\"omers\" (\"i D\" int PRIMARY KEY, \"na\"\"me\" text, tags text[], at timestamptz, blob bytea,
            more jsonb, amount numeric, feels mood, bits bit(3), large text);
         ALTER TABLE \"Sales\".\"cust\"\"omers\" ALTER large SET STORAGE EXTERNAL; CREATE TABLE other (id int PRIMARY KEY);
         INSERT INTO \"Sales\".\"cust\"\"omers\" VALUES (1, 'Acme'), (2, 'Globex'), (3, 'Initech');
         INSERT INTO \"Sales\".\"cust\"\"omers\" (\"i D\", large) VALUES (4, repeat('x', 9000))",
    );
    let mut request = follow(&server, "Sales.cust\"omers", "customer");
    request["keyField"] = json!("i D");
    let job = create(&bench, request).await;
    let first = run(&bench, &job).await;
    assert_eq!((all_counts(&first), &first["reconciled"]), ((4, 4, 0, 0), &json!(true)));
    let shown = bench.get(&job, &bench.owner()).await.ok();
    assert!(shown["replicationSlot"].as_str().unwrap().starts_with("flowmaster_"), "{shown:#}");
    let before = records(&bench, "customer").await;

    server.sql(
        "UPDATE \"Sales\".\"cust\"\"omers\" SET \"na\"\"me\" = 'a''b \"i D\"[integer]:9 new-tuple: \\ ä
next', tags = '{a,\"b c\",NULL}', at = '2026-01-01T10:00:00.5Z', blob = '\\xdead', more = '{\"a\": [\"it''s\"]}',
            amount = 12345678901234567890.5, feels = 'it''s', bits = B'101' WHERE \"i D\" = 1",
    );
    server.sql("UPDATE \"Sales\".\"cust\"\"omers\" SET feels = 'sad' WHERE \"i D\" = 4");
    server.sql("UPDATE \"Sales\".\"cust\"\"omers\" SET \"i D\" = 20 WHERE \"i D\" = 2; INSERT INTO other VALUES (1), (2)");
    server.sql("DELETE FROM \"Sales\".\"cust\"\"omers\" WHERE \"i D\" = 3; INSERT INTO \"Sales\".\"cust\"\"omers\" VALUES (5, NULL)");
    server.sql("INSERT INTO \"Sales\".\"cust\"\"omers\" VALUES (6); DELETE FROM \"Sales\".\"cust\"\"omers\" WHERE \"i D\" = 6");
    server.sql("BEGIN; INSERT INTO \"Sales\".\"cust\"\"omers\" VALUES (7); ROLLBACK");
    let second = run(&bench, &job).await;
    assert_eq!((all_counts(&second), &second["reconciled"]), ((6, 4, 2, 0), &json!(true)), "{second:#}");
    assert_ne!(second["watermark"], first["watermark"]);
    let slot = &second["replicationSlot"];
    assert_eq!((&slot["walStatus"], slot["lagBytes"].is_u64(), &slot["error"]), (&json!("reserved"), true, &Value::Null), "{slot:#}");
    let after = records(&bench, "customer").await;
    let of = |records: &[Value], id: u64| records.iter().find(|record| record["data"]["i D"] == id).cloned().unwrap();
    assert_eq!(after.len(), 4);
    let first_row = of(&after, 1);
    assert_eq!(
        first_row["data"],
        json!({
            "i D": 1, "na\"me": "a'b \"i D\"[integer]:9 new-tuple: \\ ä\nnext", "tags": ["a", "b c", null],
            "at": "2026-01-01T10:00:00.5+00:00", "blob": "\\xdead", "more": { "a": ["it's"] }, "amount": "12345678901234567890.5",
            "feels": "it's", "bits": "101", "large": null,
        })
    );
    assert_eq!(of(&before, 1)["id"], first_row["id"], "a change keeps its record");
    assert_eq!((of(&after, 4)["data"]["large"].as_str().unwrap().len(), &of(&after, 4)["data"]["feels"]), (9_000, &json!("sad")));
    assert_eq!((&of(&after, 20)["data"]["na\"me"], &of(&after, 5)["data"]["na\"me"]), (&json!("Globex"), &Value::Null));
    let deleted = bench.get("/events/replay?topic=entity.deleted", &bench.owner()).await.ok();
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);

    // What is not of the table moves the slot all the same, or its log would be kept.
    server.sql("INSERT INTO other SELECT generate_series(10, 6000)");
    let third = run(&bench, &job).await;
    assert_eq!(all_counts(&third), (0, 0, 0, 0));
    assert_eq!(server.sql("SELECT confirmed_flush_lsn > pg_current_wal_lsn() - 100000 FROM pg_replication_slots"), "t");

    server.sql("TRUNCATE other, \"Sales\".\"cust\"\"omers\"; INSERT INTO \"Sales\".\"cust\"\"omers\" VALUES (1, 'Acme again')");
    let emptied = run(&bench, &job).await;
    assert_eq!((all_counts(&emptied), &emptied["reconciled"]), ((4, 1, 3, 0), &json!(true)), "{emptied:#}");
    assert_eq!(of(&records(&bench, "customer").await, 1)["id"], first_row["id"]);

    let cancelled = bench.put(&format!("{job}/cancel"), &bench.owner(), json!({})).await.ok();
    assert_eq!((&cancelled["status"], &cancelled["replicationSlot"], slots(&server)), (&json!("cancelled"), &Value::Null, "0".to_owned()));
    bench.put(&format!("{job}/cancel"), &bench.owner(), json!({})).await.refused(409, "FM-DCS-NOT-RUNNING");
    server.sql("DELETE FROM \"Sales\".\"cust\"\"omers\"; INSERT INTO \"Sales\".\"cust\"\"omers\" VALUES (8, 'new')");
    let again = run(&bench, &job).await;
    assert_eq!((all_counts(&again), slots(&server)), ((2, 1, 1, 0), "1".to_owned()), "{again:#}");
}

#[tokio::test]
async fn changes_that_were_kept_and_not_confirmed_come_again() {
    let Some(server) = Postgres::start_with_log() else { return };
    let bench = TestPlatform::start().await;
    server.sql(&format!(
        "CREATE TABLE orders (id int PRIMARY KEY, total int); INSERT INTO orders SELECT g, g FROM generate_series(1, 20) g;
         CREATE ROLE reader LOGIN REPLICATION PASSWORD '{PASSWORD}'; GRANT SELECT ON orders TO reader;
         REVOKE EXECUTE ON FUNCTION pg_replication_slot_advance(name, pg_lsn) FROM PUBLIC"
    ));
    let mut request = follow(&server, "orders", "order");
    request["credentials"]["username"] = json!("reader");
    let job = create(&bench, request).await;
    assert_eq!(all_counts(&run(&bench, &job).await), (20, 20, 0, 0));
    server.sql("UPDATE orders SET total = 100 WHERE id <= 3; DELETE FROM orders WHERE id > 15");
    // The rows are kept, and then the slot does not advance: as after a kill between the two.
    fails(&bench, &job, "FM-DCS-REPLICATION-PRIVILEGE").await;
    let kept = records(&bench, "order").await;
    assert_eq!(kept.len(), 15);
    server.sql("GRANT EXECUTE ON FUNCTION pg_replication_slot_advance(name, pg_lsn) TO reader; UPDATE orders SET total = 7 WHERE id = 9");
    let again = run(&bench, &job).await;
    assert_eq!((all_counts(&again), &again["reconciled"]), ((4, 4, 0, 0), &json!(true)), "what is gone already is not deleted twice");
    let after = records(&bench, "order").await;
    for (one, other) in kept.iter().zip(&after).filter(|(one, _)| one["data"]["id"] != 9) {
        assert_eq!(one, other, "what comes again changes nothing");
    }
    assert_eq!(after.iter().find(|record| record["data"]["id"] == 9).unwrap()["data"]["total"], 7);
    assert_eq!(all_counts(&run(&bench, &job).await), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_table_that_cannot_be_followed_says_why() {
    let Some(server) = Postgres::start_with_log() else { return };
    let bench = TestPlatform::start().await;
    server.sql(&format!(
        "CREATE TABLE plain (id int PRIMARY KEY, code text UNIQUE); CREATE TABLE keyless (id int, v text); CREATE VIEW seen AS SELECT * FROM plain;
         CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); INSERT INTO plain VALUES (1, 'a'), (2, 'b'); INSERT INTO keyless VALUES (1);
         CREATE ROLE weak LOGIN PASSWORD '{PASSWORD}'; GRANT SELECT ON plain TO weak"
    ));
    for (table, change, code) in [
        ("seen", json!({}), "FM-DCS-CONFIG"),
        ("parts", json!({}), "FM-DCS-CONFIG"),
        ("nothing", json!({}), "FM-DCS-CONFIG"),
        ("keyless", json!({}), "FM-DCS-REPLICA-IDENTITY"),
        ("plain", json!({ "keyField": "code" }), "FM-DCS-REPLICA-IDENTITY"),
        ("plain", json!({ "keyField": "number" }), "FM-DCS-KEY"),
        ("plain", json!({ "credentials": { "username": "weak", "password": PASSWORD } }), "FM-DCS-REPLICATION-PRIVILEGE"),
    ] {
        let mut request = follow(&server, table, "attempt");
        request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let attempt = create(&bench, request).await;
        fails(&bench, &attempt, code).await;
    }
    assert_eq!(slots(&server), "0");

    // With the whole row as its identity, a table without a primary key can be followed, a row without a key aside.
    server.sql("ALTER TABLE keyless REPLICA IDENTITY FULL");
    let keyless = create(&bench, follow(&server, "keyless", "loose")).await;
    assert_eq!(all_counts(&run(&bench, &keyless).await), (1, 1, 0, 0));
    server.sql("INSERT INTO keyless VALUES (2, 'x'), (NULL, 'y'); DELETE FROM keyless WHERE id = 1");
    assert_eq!(all_counts(&run(&bench, &keyless).await), (3, 1, 1, 1));
    assert_eq!(data(&bench, "loose").await, [json!({ "id": 2, "v": "x" })]);

    // A slot that somebody drops is said once; then all is read again, and what is gone meanwhile is deleted.
    let lost = create(&bench, follow(&server, "plain", "plain")).await;
    assert_eq!(all_counts(&run(&bench, &lost).await), (2, 2, 0, 0));
    let slot = bench.get(&lost, &bench.owner()).await.ok()["replicationSlot"].as_str().unwrap().to_owned();
    server.sql(&format!("SELECT pg_drop_replication_slot('{slot}'); DELETE FROM plain WHERE id = 1"));
    fails(&bench, &lost, "FM-DCS-SLOT-LOST").await;
    assert_eq!(all_counts(&run(&bench, &lost).await), (2, 1, 1, 0));
    // So are changes that something else took out of the slot.
    server.sql("INSERT INTO plain VALUES (3, 'c')");
    server.sql(&format!("SELECT count(*) FROM pg_logical_slot_get_changes('{slot}', NULL, NULL)"));
    fails(&bench, &lost, "FM-DCS-SLOT-LOST").await;
    assert_eq!(all_counts(&run(&bench, &lost).await), (2, 2, 0, 0));
    // A table of the same name is not the same table.
    server.sql("ALTER TABLE plain RENAME TO old; CREATE TABLE plain (id text PRIMARY KEY); INSERT INTO plain VALUES ('z')");
    assert_eq!(all_counts(&run(&bench, &lost).await), (3, 1, 2, 0));
    assert_eq!(data(&bench, "plain").await, [json!({ "id": "z" })]);

    server.sql("SELECT pg_create_logical_replication_slot('s' || g, 'test_decoding') FROM generate_series(1, 8) g");
    let one_more = create(&bench, follow(&server, "old", "old")).await;
    fails(&bench, &one_more, "FM-DCS-SLOT-LIMIT").await;

    // A source that cannot be reached keeps its slot, and a cancel says so.
    server.stop();
    let shown = bench.get(&format!("{lost}/stats"), &bench.owner()).await.ok();
    assert!(shown["replicationSlot"]["error"].as_str().unwrap().contains("FM-DCS-SOURCE-UNAVAILABLE"), "{shown:#}");
    let cancelled = bench.put(&format!("{lost}/cancel"), &bench.owner(), json!({})).await.ok();
    assert!(cancelled["error"].as_str().unwrap().starts_with("FM-DCS-SLOT-KEPT: "), "{cancelled:#}");
    assert_eq!(cancelled["status"], "cancelled");
}

#[tokio::test]
async fn a_database_without_changes_in_its_log_is_refused() {
    let Some(server) = Postgres::start() else { return };
    let bench = TestPlatform::start().await;
    server.sql("CREATE TABLE plain (id int PRIMARY KEY)");
    let request = follow(&server, "plain", "plain");
    let mut test = json!({});
    for name in ["sourceType", "sourceConfig", "credentials"] {
        test[name] = request[name].clone();
    }
    let tried = bench.post("/ingest/test-connection", &bench.owner(), test).await.ok();
    assert!(tried["error"].as_str().unwrap().starts_with("FM-DCS-WAL-LEVEL"), "{tried:#}");
    let job = create(&bench, request).await;
    fails(&bench, &job, "FM-DCS-WAL-LEVEL").await;
}

#[tokio::test]
async fn two_tenants_follow_one_table_each_by_itself() {
    let Some(server) = Postgres::start_with_log() else { return };
    let bench = TestPlatform::start().await;
    server.sql("CREATE TABLE items (id int PRIMARY KEY, n int); INSERT INTO items VALUES (1, 1), (2, 1), (3, 1)");
    let own = create(&bench, follow(&server, "items", "item")).await;
    run(&bench, &own).await;
    let other = bench.signed_in("tenant-2", "amy", &["ingest:*", "entity:*"]).await;
    let weak = bench.signed_in("tenant-2", "bob", &["ingest:*", "entity:insert", "entity:update"]).await;
    bench.post("/ingest/jobs", &weak, follow(&server, "items", "item")).await.refused(403, "FM-DCS-FORBIDDEN");
    let theirs = bench.post("/ingest/jobs", &other, follow(&server, "items", "item")).await.ok();
    let theirs = format!("/ingest/jobs/{}", theirs["jobId"].as_str().unwrap());
    bench.put(&format!("{theirs}/start"), &weak, json!({})).await.refused(403, "FM-DCS-FORBIDDEN");
    let run_theirs = async || {
        bench.put(&format!("{theirs}/start"), &other, json!({})).await.ok();
        for _ in 0..3_000 {
            if bench.get(&theirs, &other).await.ok()["status"] == "completed" {
                return bench.get(&format!("{theirs}/stats"), &other).await.ok();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it comes to no end: {:#}", bench.get(&theirs, &other).await.ok());
    };
    assert_eq!(all_counts(&run_theirs().await), (3, 3, 0, 0));
    assert_eq!(slots(&server), "2");

    // A record that another one names stays, and its row is a dead letter.
    let records = records(&bench, "item").await;
    let named = records[0]["id"].clone();
    bench.post("/entities/note", &bench.owner(), json!({ "data": {}, "relationships": { "about": named } })).await.ok();
    server.sql("DELETE FROM items WHERE id IN (1, 2); UPDATE items SET n = 2 WHERE id = 3");
    let stats = run(&bench, &own).await;
    assert_eq!((all_counts(&stats), &stats["reconciled"]), ((3, 1, 1, 1), &json!(true)), "{stats:#}");
    let dead = bench.get(&format!("{own}/dead-letters"), &bench.owner()).await.ok();
    assert_eq!((&dead["items"][0]["code"], &dead["items"][0]["row"]), (&json!("referenced"), &json!("{\"id\" : 1}")), "{dead:#}");
    assert_eq!(data(&bench, "item").await, [json!({ "id": 1, "n": 1 }), json!({ "id": 3, "n": 2 })]);
    let page = bench.get("/entities/item", &other).await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 3, "the other tenant's import has not run yet");
    assert_eq!(all_counts(&run_theirs().await), (3, 1, 2, 0));

    // Only one of them is cancelled.
    bench.put(&format!("{theirs}/cancel"), &bench.owner(), json!({})).await.refused(404, "FM-DCS-NOT-FOUND");
    bench.put(&format!("{theirs}/cancel"), &other, json!({})).await.ok();
    assert_eq!(slots(&server), "1");
    server.sql("INSERT INTO items VALUES (4, 4)");
    assert_eq!(all_counts(&run(&bench, &own).await), (1, 1, 0, 0));
    server.sql("TRUNCATE items; INSERT INTO items VALUES (5, 5)");
    let emptied = run(&bench, &own).await;
    assert_eq!((all_counts(&emptied), &emptied["reconciled"]), ((4, 1, 2, 1), &json!(true)), "{emptied:#}");
}

#[tokio::test]
async fn a_program_that_is_killed_loses_no_change() {
    let Some(server) = Postgres::start_with_log() else { return };
    server.sql("CREATE TABLE rows (id int PRIMARY KEY, n int NOT NULL); INSERT INTO rows SELECT g, 0 FROM generate_series(1, 3000) g");
    let home = tempfile::tempdir().unwrap();
    let mut program = Program::start(home.path()).await;
    let job = program.call(Method::POST, "/ingest/jobs", Some(follow(&server, "rows", "row"))).await;
    let job = job["jobId"].as_str().unwrap();
    let path = format!("/ingest/jobs/{job}/start");
    program.call(Method::PUT, &path, Some(json!({}))).await;
    program.until(job, |stats| stats["recordsRead"].as_u64().unwrap() >= 600).await;
    program.child.kill().await.unwrap();
    program = Program::start(home.path()).await;
    program.until(job, |stats| stats["status"] == "completed").await;

    for part in 0..4 {
        server.sql(&format!(
            "UPDATE rows SET n = n + {part} + 1 WHERE id % 4 = {part}; INSERT INTO rows SELECT g, 9 FROM generate_series({0}1, {0}9) g",
            900_000 + part
        ));
        server.sql(&format!(
            "DELETE FROM rows WHERE id % 40 = {part}; UPDATE rows SET id = id + 10000 WHERE id % 50 = {part} AND id < 10000"
        ));
    }
    // More than one look at the log takes in.
    for _ in 0..3 {
        server.sql("UPDATE rows SET n = n + 1");
    }
    program.call(Method::PUT, &path, Some(json!({}))).await;
    for rows in [1, 1_200, 2_400] {
        let stats = program.until(job, |stats| stats["status"] == "completed" || stats["recordsRead"].as_u64().unwrap() >= rows).await;
        program.child.kill().await.unwrap();
        program = Program::start(home.path()).await;
        assert_eq!(stats["runs"], 2);
    }
    let stats = program.until(job, |stats| stats["status"] == "completed").await;
    assert_eq!(stats["reconciled"], true, "{stats:#}");
    let mut found: Vec<String> = program.records("row").await.iter().map(|data| format!("{}|{}", data["id"], data["n"])).collect();
    found.sort();
    let mut expected: Vec<String> = server.sql("SELECT id, n FROM rows").lines().map(str::to_owned).collect();
    expected.sort();
    assert_eq!(found, expected);
}
