//! Audit & Compliance over HTTP: the chain, what may be erased and removed, reports.

use flowmaster_mcp::platform::{Verdict, verify_trails};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::platform::{TestPlatform, http};

const TENANT: &str = "tenant-123";
const DAY: f64 = 24.0 * 3600.0;

fn row(actor: &str, action: &str, changes: &Value) -> Value {
    json!({ "actor": actor, "action": action, "resourceType": "ledger", "resourceId": "ledger-1", "changes": changes })
}

fn database(platform: &TestPlatform) -> Connection {
    Connection::open(platform.folder.path().join("data/platform.db")).unwrap()
}

fn verdict(platform: &TestPlatform, tenant: &str) -> Verdict {
    let verdicts = verify_trails(&platform.folder.path().join("data")).unwrap();
    verdicts.into_iter().find(|verdict| verdict.tenant == tenant).unwrap()
}

/// What a report says of the chain, by the platform's own clock.
async fn chain(platform: &TestPlatform, token: &str) -> Value {
    platform.post("/reports/compliance", token, json!({ "standard": "gdpr" })).await.ok()["chain"].clone()
}

#[tokio::test]
async fn the_contracts_example_is_kept_found_and_chained() {
    let platform = TestPlatform::start().await;
    let token = platform.signed_in(TENANT, "a@b.c", &["audit:*"]).await;
    let entry = json!({
        "timestamp": "2025-02-07T10:30:00Z",
        "actor": "user-123",
        "action": "task.responded",
        "resourceType": "task",
        "resourceId": "task-111",
        "changes": { "before": { "status": "assigned" }, "after": { "status": "completed" } },
        "tenantId": "tenant-123"
    });
    let made = platform.post("/audit-logs", &token, entry).await;
    assert_eq!(made.status, 201);
    let found = platform.get("/audit-logs?resourceId=task-111&actor=user-123&createdBefore=2025-03-01T00:00:00Z", &token).await.ok();
    assert_eq!(found["items"][0], made.body);
    assert_eq!(found["items"][0]["changes"]["after"]["status"], "completed");
    assert!(found["items"][0]["recordedBy"].as_str().unwrap().starts_with("user-"));
    let verdict = verdict(&platform, TENANT);
    assert!(verdict.verified, "{verdict:?}");
    assert_eq!(verdict.head, made.body["hash"]);
    platform
        .post(
            "/audit-logs",
            &token,
            json!({ "actor": "a", "action": "b", "resourceType": "c", "resourceId": "d", "timestamp": "2999-01-01T00:00:00Z" }),
        )
        .await
        .refused(422, "FM-ACS-FUTURE");
}

#[tokio::test]
async fn pages_join_without_a_gap_and_cursors_belong_to_their_tenant() {
    let platform = TestPlatform::start().await;
    let token = platform.signed_in(TENANT, "a@b.c", &["audit:*"]).await;
    for index in 0..7 {
        platform.post("/audit-logs", &token, row("user-1", "ledger.changed", &json!({ "after": { "index": index } }))).await.ok();
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = platform.get(&format!("/audit-logs?action=ledger.changed&limit=3{cursor}"), &token).await.ok();
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["changes"]["after"]["index"].as_i64().unwrap()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, [6, 5, 4, 3, 2, 1, 0]);
    let other = platform.signed_in("tenant-other", "a@b.c", &["audit:*"]).await;
    assert!(platform.get("/audit-logs?actor=user-1", &other).await.ok()["items"].as_array().unwrap().is_empty());
    let first = platform.get("/audit-logs?limit=1", &token).await.ok();
    let stolen = format!("/audit-logs?cursor={}", first["nextCursor"].as_str().unwrap());
    platform.get(&stolen, &other).await.refused(422, "FM-AGS-CURSOR");
    platform.get("/audit-logs?limit=900", &token).await.refused(422, "FM-ACS-INVALID");
}

#[tokio::test]
async fn nothing_updates_or_removes_a_row_and_forgery_is_found() {
    let platform = TestPlatform::start().await;
    let token = platform.signed_in(TENANT, "a@b.c", &["audit:*"]).await;
    for _ in 0..3 {
        platform.post("/audit-logs", &token, row("user-1", "ledger.changed", &json!({}))).await.ok();
    }
    let sql = database(&platform);
    for statement in [
        "UPDATE audit_log SET actor = 'somebody'",
        "UPDATE audit_log SET actor = NULL, actor_salt = NULL, erased_by = 'erase-1'",
        "UPDATE audit_log SET actor = NULL, actor_salt = NULL, erased_by = 'retention'",
        "UPDATE audit_log SET changes = '{}'",
        "DELETE FROM audit_log",
    ] {
        let refused = sql.execute(statement, []).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
    assert!(verdict(&platform, TENANT).verified);
    // Whoever drops the triggers is found by the chain.
    sql.execute_batch(
        "DROP TRIGGER audit_log_is_never_changed; DROP TRIGGER audit_log_is_never_removed; CREATE TABLE backup AS SELECT * FROM audit_log;",
    )
    .unwrap();
    for (forgery, reason) in [
        ("UPDATE audit_log SET actor = 'somebody' WHERE sequence = 2", "actor is not what was recorded"),
        ("UPDATE audit_log SET action = 'nothing.happened' WHERE sequence = 2", "hash of its content"),
        ("UPDATE audit_log SET actor = NULL, actor_salt = NULL, erased_by = 'erase-1' WHERE sequence = 2", "without a deletion request"),
        ("DELETE FROM audit_log WHERE sequence = 2", "does not follow"),
    ] {
        sql.execute(forgery, []).unwrap();
        let verdict = verdict(&platform, TENANT);
        assert!(verdict.fault.as_deref().unwrap_or_default().contains(reason), "{forgery}: {verdict:?}");
        assert_eq!(chain(&platform, &token).await["verified"], false);
        // Back as it was, so that the next forgery is found for its own sake.
        sql.execute_batch("DELETE FROM audit_log; INSERT INTO audit_log SELECT * FROM backup;").unwrap();
        assert_eq!(chain(&platform, &token).await["verified"], true);
    }
}

#[tokio::test]
async fn a_person_is_erased_after_thirty_days_and_the_chain_still_verifies() {
    let platform = TestPlatform::start().await;
    let token = platform.signed_in(TENANT, "auditor@b.c", &["audit:*", "record:delete"]).await;
    let person = platform.user(TENANT, "jane.doe@b.c", &[], &[]).await;
    platform.post("/audit-logs", &token, row(&person, "ledger.opened", &json!({ "after": { "page": 7 } }))).await.ok();
    platform
        .post("/audit-logs", &token, row("user-2", "ledger.closed", &json!({ "after": { "note": "for jane.doe@b.c only" } })))
        .await
        .ok();
    let request = json!({ "subject": "jane.doe@b.c", "reason": "asked by letter" });
    let filed = platform.delete("/records", &token, Some(request.clone())).await;
    assert_eq!((filed.status, filed.body["status"].as_str()), (202, Some("pending")));
    assert_eq!(platform.delete("/records", &token, Some(request.clone())).await.ok(), filed.body, "asking twice is asking once");

    platform.clock.advance(29.0 * DAY);
    settle().await;
    let token = platform.login(TENANT, "auditor@b.c").await;
    assert_eq!(platform.get("/audit-logs?action=ledger.opened", &token).await.ok()["items"][0]["actor"], json!(person));
    platform.clock.advance(1.1 * DAY);
    let token = platform.login(TENANT, "auditor@b.c").await;
    wait_for(&platform, &token, "records.erased").await;

    let opened = platform.get("/audit-logs?action=ledger.opened", &token).await.ok()["items"][0].clone();
    let pseudonym = opened["actor"].as_str().unwrap().to_owned();
    assert!(pseudonym.starts_with("erased-"), "{opened}");
    assert_eq!(opened["changes"]["after"]["page"], 7, "what was done stays");
    let closed = platform.get("/audit-logs?action=ledger.closed", &token).await.ok()["items"][0].clone();
    assert_eq!(closed["changes"]["after"]["note"], format!("for {pseudonym} only"), "the person goes, and the rest of the text stays");
    assert_eq!(closed["actor"], "user-2");
    let dump: String = database(&platform)
        .prepare(
            "SELECT coalesce(actor, '') || coalesce(recorded_by, '') || coalesce(resource_id, '') || coalesce(changes, '') FROM audit_log",
        )
        .unwrap()
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(!dump.contains("jane.doe") && !dump.contains(&person), "{dump}");
    let chain = chain(&platform, &token).await;
    assert_eq!(chain["verified"], true, "{chain}");
    assert!(chain["erased"].as_u64().unwrap() >= 2, "{chain}");
}

#[tokio::test]
async fn a_legal_hold_keeps_records_until_it_is_released() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let request = json!({ "subject": "user-77", "reason": "r" });
    let hold = platform.post("/legal-holds", &owner, request.clone()).await.ok()["holdId"].as_str().unwrap().to_owned();
    platform.delete("/records", &owner, Some(request.clone())).await.refused(409, "FM-ACS-LEGAL-HOLD");
    assert_eq!(platform.delete(&format!("/legal-holds/{hold}"), &owner, None).await.status, 204);
    platform.delete(&format!("/legal-holds/{hold}"), &owner, None).await.refused(404, "FM-ACS-NO-HOLD");
    platform.delete("/records", &owner, Some(request)).await.ok();
    platform.delete("/records", &owner, Some(json!({ "subject": "system", "reason": "r" }))).await.refused(422, "FM-ACS-SUBJECT");
}

#[tokio::test]
async fn retention_closes_segments_with_a_signature_and_keeps_what_is_critical() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    for index in 0..5 {
        platform.post("/audit-logs", &owner, row("user-1", "ledger.changed", &json!({ "after": { "index": index } }))).await.ok();
    }
    platform.post("/audit-logs", &owner, row("user-1", "contract.signed", &json!({ "after": { "x": 1 } }))).await.ok();
    platform.clock.advance(91.0 * DAY);
    let stripped = "SELECT count(*) FROM audit_log WHERE action = 'ledger.changed' AND changes IS NULL";
    wait_sql(&platform, stripped, 5).await;
    assert_eq!(chain(&platform, &owner).await["verified"], true);
    platform.post("/audit-logs", &owner, row("user-1", "ledger.changed", &json!({}))).await.ok();

    platform.clock.advance(650.0 * DAY);
    wait_sql(&platform, "SELECT count(*) FROM audit_checkpoints", 1).await;
    let left = platform.get("/audit-logs?resourceType=ledger", &owner).await.ok()["items"].clone();
    assert_eq!(left.as_array().unwrap().len(), 2, "{left}");
    assert_eq!(left[1]["action"], "contract.signed");
    let said = chain(&platform, &owner).await;
    assert_eq!((&said["verified"], &said["retired"]), (&json!(true), &json!(5)), "{said}");

    let platform = platform.restart().await;
    let owner = platform.owner();
    platform.post("/audit-logs", &owner, row("user-1", "ledger.changed", &json!({}))).await.ok();
    assert_eq!(chain(&platform, &owner).await["verified"], true);
    platform.clock.advance(6.0 * 365.0 * DAY);
    wait_sql(&platform, "SELECT count(*) FROM audit_log WHERE action = 'contract.signed'", 0).await;
    let said = chain(&platform, &owner).await;
    assert_eq!(said["verified"], true, "{said}");
    // A checkpoint that the folder's key did not sign is not an excuse.
    database(&platform)
        .execute(
            "INSERT INTO audit_checkpoints SELECT tenant_id, last + 1, last + 1, last_hash, last_hash, '[]', created_at, signature
             FROM audit_checkpoints ORDER BY last DESC LIMIT 1",
            [],
        )
        .unwrap();
    assert_eq!(chain(&platform, &owner).await["verified"], false);
}

#[tokio::test]
async fn reports_name_their_evidence() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    platform.post("/roles", &owner, json!({ "name": "auditor", "permissions": ["audit:view"] })).await.ok();
    for (standard, control) in [("gdpr", "Art. 25"), ("soc2", "CC6.3"), ("hipaa", "164.308(a)(3)")] {
        let report = platform.post("/reports/compliance", &owner, json!({ "standard": standard })).await.ok();
        let found = report["controls"].as_array().unwrap().iter().find(|found| found["control"] == control).unwrap();
        assert_eq!((&found["status"], &found["count"]), (&json!("evidence"), &json!(1)), "{report}");
        assert!(found["evidence"][0].as_str().unwrap().starts_with("audit-"));
        assert_eq!(report["chain"]["verified"], true);
    }
    let backwards = json!({ "standard": "gdpr", "from": "2025-02-07T00:00:00Z", "to": "2025-02-06T00:00:00Z" });
    platform.post("/reports/compliance", &owner, backwards).await.refused(422, "FM-ACS-PERIOD");
    platform.post("/reports/compliance", &owner, json!({ "standard": "iso" })).await.refused(422, "FM-ACS-INVALID");
    let open = platform.send(http().get(format!("{}/audit-logs", platform.running.url()))).await;
    open.refused(401, "FM-AAS-UNAUTHENTICATED");
}

async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

async fn wait_for(platform: &TestPlatform, token: &str, action: &str) {
    for _ in 0..100 {
        let found = platform.get(&format!("/audit-logs?action={action}"), token).await.ok();
        if !found["items"].as_array().unwrap().is_empty() {
            return;
        }
        settle().await;
    }
    panic!("{action} did not happen");
}

async fn wait_sql(platform: &TestPlatform, sql: &str, wanted: i64) {
    let connection = database(platform);
    let mut found = -1;
    for _ in 0..100 {
        found = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        if found == wanted {
            return;
        }
        settle().await;
    }
    panic!("{sql}: {found}, not {wanted}");
}

#[tokio::test]
async fn names_that_no_entry_can_have_are_refused_with_those_known() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    platform.post("/entities/customer", &owner, json!({ "data": { "name": "Acme" } })).await.ok();
    let refused = platform.get("/audit-logs?action=entity.insert&resourceType=entities", &owner).await.refused(422, "FM-ACS-UNKNOWN-NAME");
    let details: Vec<&str> = refused["errors"].as_array().unwrap().iter().map(|fault| fault["detail"].as_str().unwrap()).collect();
    assert!(details[0].contains("did you mean `entity.inserted`?") && details[1].contains("Known are entity, "), "{details:?}");
    // What the platform can do, and has not done yet, is known: nothing matched.
    assert!(platform.get("/audit-logs?action=records.erased", &owner).await.ok()["items"].as_array().unwrap().is_empty());
    let said = json!({ "actor": "me", "action": "invoice.checked", "resourceType": "invoice", "resourceId": "7" });
    platform.post("/audit-logs", &owner, said).await.ok();
    for query in ["action=invoice.checked", "resourceType=invoice", "actor=me&action=invoice.checked"] {
        let page = platform.get(&format!("/audit-logs?{query}"), &owner).await.ok();
        assert_eq!(page["items"].as_array().unwrap().len(), 1, "{query}: {page}");
    }
    platform.get("/events/replay?topic=entity.insert", &owner).await.refused(422, "FM-EBS-TOPIC-UNKNOWN");
    platform.get("/events/replay?topic=orders.*", &owner).await.refused(422, "FM-EBS-TOPIC-UNKNOWN");
    platform.get("/events/replay?topic=task.*", &owner).await.ok();
}

#[tokio::test]
async fn a_cursor_serves_the_list_and_the_query_that_gave_it() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    for name in ["a", "b", "c"] {
        platform.post("/entities/customer", &owner, json!({ "data": { "name": name } })).await.ok();
    }
    let lists = [
        "/audit-logs?",
        "/audit-logs?resourceType=entity&",
        "/entities/customer?",
        "/entities/customer?sort=-name&",
        "/events/replay?topic=entity.inserted&",
        "/events/replay?topic=*&",
    ];
    let mut cursors = Vec::new();
    for list in lists {
        let page = platform.get(&format!("{list}limit=1"), &owner).await.ok();
        cursors.push(page["nextCursor"].as_str().unwrap().to_owned());
    }
    for (own, list) in lists.iter().enumerate() {
        for (place, cursor) in cursors.iter().enumerate() {
            let answer = platform.get(&format!("{list}limit=2&cursor={cursor}"), &owner).await;
            if place == own {
                answer.ok();
            } else {
                answer.refused(422, "FM-AGS-CURSOR");
            }
        }
    }
}

/// The control of a report by its name.
async fn control(platform: &TestPlatform, token: &str, standard: &str, name: &str) -> Value {
    let report = platform.post("/reports/compliance", token, json!({ "standard": standard })).await.ok();
    report["controls"].as_array().unwrap().iter().find(|control| control["control"] == name).unwrap().clone()
}

#[tokio::test]
async fn claims_use_no_words_of_the_platform_and_count_as_no_evidence() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let token = platform.signed_in("tenant-local", "a@b.c", &["audit:*"]).await;
    let request = json!({ "name": "gateway", "permissions": ["audit:*"], "tenantId": "tenant-local" });
    let service = platform.post("/service-tokens", &owner, request).await.ok()["token"].as_str().unwrap().to_owned();
    let before = [control(&platform, &owner, "soc2", "CC6.1").await, control(&platform, &owner, "gdpr", "Art. 5(2)").await];
    for by in [&owner, &token, &service] {
        for action in ["user.signed_in", "role.created", "records.erased", " User.Signed_In"] {
            platform.post("/audit-logs", by, row("user-1", action, &json!({}))).await.refused(422, "FM-ACS-ACTION-RESERVED");
        }
    }
    for by in [&owner, &token] {
        platform.post("/audit-logs", by, row("user-1", "mcp.called", &json!({}))).await.refused(422, "FM-ACS-ACTION-RESERVED");
    }
    let entry = platform.post("/audit-logs", &service, row("user-1", "mcp.called", &json!({}))).await.ok();
    assert_eq!(entry["claimed"], true, "a service says it, and it is a claim all the same");
    // The patterns of a report match words that are nobody's, and the word of the contract's own example.
    for action in ["role.faked", "task.responded", "user.signed_in_by_card"] {
        assert_eq!(platform.post("/audit-logs", &token, row("user-1", action, &json!({}))).await.ok()["claimed"], true);
    }
    let after = [control(&platform, &owner, "soc2", "CC6.1").await, control(&platform, &owner, "gdpr", "Art. 5(2)").await];
    assert_eq!(before[0], after[0]);
    assert_eq!(before[1]["count"], after[1]["count"], "only what the platform wrote is counted");
    assert_eq!(after[1]["claimed"], 4);
    assert_eq!(control(&platform, &owner, "soc2", "PI1.4").await["status"], "no_evidence");
    let own = platform.get("/audit-logs?action=user.signed_in", &owner).await.ok();
    assert_eq!(own["items"][0]["claimed"], false, "{own}");
    let refused = database(&platform).execute("UPDATE audit_log SET claimed = 0", []).unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{refused}");
    assert!(verdict(&platform, "tenant-local").verified);
}

#[tokio::test]
async fn a_subject_is_a_known_person_and_never_a_word() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    platform.post("/audit-logs", &owner, row("clerk-7", "ledger.opened", &json!({ "after": { "verb": "assign" } }))).await.ok();
    for word in ["assign", "ledger", "system", "a@b@c", "task-0198c9a0-0000-7000-8000-000000000000"] {
        let request = json!({ "subject": word, "reason": "r" });
        platform.delete("/records", &owner, Some(request)).await.refused(422, "FM-ACS-SUBJECT");
        platform.get(&format!("/records?subject={word}"), &owner).await.refused(422, "FM-ACS-SUBJECT");
    }
    for nobody in ["clerk-77", "nobody@b.c"] {
        let request = json!({ "subject": nobody, "reason": "r" });
        platform.delete("/records", &owner, Some(request)).await.refused(422, "FM-ACS-SUBJECT-UNKNOWN");
        platform.get(&format!("/records?subject={nobody}"), &owner).await.refused(422, "FM-ACS-SUBJECT-UNKNOWN");
    }
    let preview = platform.get("/records?subject=clerk-7", &owner).await.ok();
    assert_eq!((&preview["entries"], &preview["records"], &preview["account"]), (&json!(1), &json!(0), &json!(false)), "{preview}");
    platform.delete("/records", &owner, Some(json!({ "subject": "clerk-7", "reason": "r" }))).await.ok();
}

#[tokio::test]
async fn erasure_reaches_records_tasks_and_events_and_leaves_other_people() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let record = json!({ "data": { "name": "Jo", "email": "jo@b.c", "city": "Bonn" } });
    let record = platform.post("/entities/customer", &owner, record).await.ok()["id"].as_str().unwrap().to_owned();
    let other = json!({ "data": { "name": "Anjo", "email": "anjo@b.c", "note": "knows jo@b.c" } });
    let other = platform.post("/entities/customer", &owner, other).await.ok()["id"].as_str().unwrap().to_owned();
    let task =
        json!({ "title": "Call jo@b.c back", "assignee": "clerk-7", "form": { "fields": [{ "name": "decision", "type": "text" }] } });
    let task = platform.post("/tasks", &owner, task).await.ok()["taskId"].as_str().unwrap().to_owned();
    let answer = json!({ "decision": "approved for JO@b.c" });
    platform.put(&format!("/tasks/{task}/respond"), &owner, answer).await.ok();
    platform.post("/events", &owner, json!({ "topic": "person.met", "event": { "who": "jo@b.c", "where": "Bonn" } })).await.ok();
    let preview = platform.get("/records?subject=jo@b.c", &owner).await.ok();
    assert_eq!(preview["records"], 2, "{preview}");
    assert!(preview["counts"]["tasks"].as_u64().unwrap() >= 1 && preview["counts"]["events"].as_u64().unwrap() >= 1, "{preview}");
    let filed = platform.delete("/records", &owner, Some(json!({ "subject": "jo@b.c", "reason": "r" }))).await.ok();
    // It is due while the platform is down, and is done right after the start.
    platform.clock.advance(31.0 * DAY);
    let platform = platform.restart().await;
    let owner = platform.owner();
    wait_for(&platform, &owner, "records.erased").await;

    let pseudonym = preview["pseudonym"].as_str().unwrap();
    let record = platform.get(&format!("/entities/customer/{record}"), &owner).await.ok();
    assert_eq!(record["data"], json!({ "name": "erased", "email": pseudonym, "city": "erased" }));
    let other = platform.get(&format!("/entities/customer/{other}"), &owner).await.ok();
    assert_eq!(other["data"], json!({ "name": "Anjo", "email": "anjo@b.c", "note": format!("knows {pseudonym}") }));
    let task = platform.get(&format!("/tasks/{task}"), &owner).await.ok();
    assert_eq!(task["title"], format!("Call {pseudonym} back"));
    assert_eq!((&task["status"], &task["response"]["decision"]), (&json!("completed"), &json!(format!("approved for {pseudonym}"))));
    let events = platform.get("/events/replay?topic=person.met", &owner).await.ok();
    assert_eq!(events["items"][0]["data"], json!({ "who": pseudonym, "where": "Bonn" }));
    let found = platform.post("/entities/search", &owner, json!({ "query": "jo@b.c" })).await.ok();
    assert!(!found.to_string().contains("\"jo@b.c\""), "{found}");
    let state = platform.get(&format!("/records/{}", filed["requestId"].as_str().unwrap()), &owner).await.ok();
    assert_eq!(
        (&state["status"], &state["subject"], &state["erased"]["records"]),
        (&json!("done"), &json!(pseudonym), &json!(2)),
        "{state}"
    );
    let chain = chain(&platform, &owner).await;
    assert_eq!((&chain["verified"], &chain["erasures"][0]["erased"]), (&json!(true), &state["erased"]), "{chain}");
}

#[tokio::test]
async fn neither_a_taken_name_nor_another_tenants_fault_stops_an_erasure() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let person = platform.user(TENANT, "jo@b.c", &[], &[]).await;
    platform.user(TENANT, &format!("erased:{person}"), &[], &[]).await;
    let broken = platform.signed_in("tenant-broken", "boss@b.c", &["*"]).await;
    platform.delete("/records", &broken, Some(json!({ "subject": "boss@b.c", "reason": "r" }))).await.ok();
    let auditor = platform.signed_in(TENANT, "auditor@b.c", &["audit:*", "record:delete"]).await;
    platform.delete("/records", &auditor, Some(json!({ "subject": person, "reason": "r" }))).await.ok();
    database(&platform)
        .execute_batch(
            "CREATE TRIGGER fault BEFORE UPDATE ON users WHEN OLD.tenant_id = 'tenant-broken' AND NEW.status = 'erased'
             BEGIN SELECT RAISE(ABORT, 'a fault'); END;",
        )
        .unwrap();
    platform.clock.advance(31.0 * DAY);
    let auditor = platform.login(TENANT, "auditor@b.c").await;
    wait_for(&platform, &auditor, "records.erased").await;
    platform.login_as(TENANT, "jo@b.c", crate::support::platform::PASSWORD).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    assert!(!owner.is_empty());
}

#[tokio::test]
async fn a_report_over_more_rows_than_are_read_at_once_counts_each_and_finds_a_fault_in_any() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let entry = json!({ "actor": "ada", "action": "task.responded", "resourceType": "task", "resourceId": "task-1" });
    for batch in 0..9 {
        let entries: Vec<Value> = (0..250).map(|index| json!({ "id": format!("entry-{batch}-{index}"), "entry": entry })).collect();
        platform.post("/audit-logs/batch", &owner, json!({ "entries": entries })).await.ok();
    }
    platform.post("/roles", &owner, json!({ "name": "auditor", "permissions": ["audit:view"] })).await.ok();
    let tasks = control(&platform, &owner, "soc2", "PI1.4").await;
    assert_eq!((&tasks["status"], &tasks["count"], &tasks["claimed"]), (&json!("no_evidence"), &json!(0), &json!(2_250)), "{tasks}");
    let roles = control(&platform, &owner, "soc2", "CC6.3").await;
    assert_eq!((&roles["count"], &roles["claimed"], roles["evidence"].as_array().unwrap().len()), (&json!(1), &json!(0), 1), "{roles}");
    let said = chain(&platform, &owner).await;
    assert_eq!((&said["verified"], said["rows"].as_u64().unwrap() > 2_250), (&json!(true), true), "{said}");
    let sql = rusqlite::Connection::open(platform.folder.path().join("data/platform.db")).unwrap();
    sql.execute_batch("DROP TRIGGER audit_log_is_never_changed; UPDATE audit_log SET actor = 'eve' WHERE sequence = 2100;").unwrap();
    let said = chain(&platform, &owner).await;
    assert_eq!((&said["verified"], &said["rows"]), (&json!(false), &json!(2_099)), "{said}");
    let tasks = control(&platform, &owner, "soc2", "PI1.4").await;
    assert_eq!(tasks["claimed"], json!(2_250), "what lies behind the fault is counted all the same");
}
