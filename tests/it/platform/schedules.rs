//! Scheduling over HTTP: times in zones, what was missed, rights, failures, restarts.

use std::time::Duration;

use flowmaster_mcp::api::Timestamp;
use serde_json::{Value, json};

use crate::platform::executions::{human, publish};
use crate::support::platform::TestPlatform;

/// A Monday in UTC, just before nine o'clock in New York.
const MONDAY: &str = "2083-02-01T13:59:50Z";

/// A platform whose clock stands at a moment, and a process that waits for a person.
async fn platform_at(moment: &str) -> (TestPlatform, String) {
    let bench = TestPlatform::start().await;
    move_to(&bench, moment);
    let process = publish(&bench, json!([human("node-1")]), json!([])).await;
    (bench, process)
}

/// Moves the clock on to a moment.
pub fn move_to(bench: &TestPlatform, moment: &str) {
    use flowmaster_mcp::platform::Clock as _;
    let moment: Timestamp = moment.parse().unwrap();
    bench.clock.advance(moment.seconds_since(bench.clock.now()));
}

async fn schedule(bench: &TestPlatform, body: Value) -> Value {
    bench.post("/schedules", &bench.owner(), body).await.ok()
}

fn id_of(schedule: &Value) -> &str {
    schedule["scheduleId"].as_str().unwrap()
}

async fn read(bench: &TestPlatform, schedule: &Value) -> Value {
    bench.get(&format!("/schedules/{}", id_of(schedule)), &bench.owner()).await.ok()
}

/// What became of a schedule's times, oldest first.
async fn runs(bench: &TestPlatform, schedule: &Value) -> Vec<Value> {
    let page = bench.get(&format!("/schedules/{}/runs?limit=200", id_of(schedule)), &bench.owner()).await.ok();
    page["items"].as_array().unwrap().iter().rev().cloned().collect()
}

/// Waits until a schedule is next due at a time, which is when everything before it was dealt with.
async fn until_due(bench: &TestPlatform, schedule: &Value, next: &str) {
    for _ in 0..1_000 {
        if read(bench, schedule).await["nextRunAt"] == next {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not due at {next}: {:#}", read(bench, schedule).await);
}

fn outcomes(runs: &[Value]) -> Vec<(&str, &str)> {
    runs.iter().map(|run| (run["plannedAt"].as_str().unwrap_or("-"), run["status"].as_str().unwrap())).collect()
}

async fn executions(bench: &TestPlatform) -> usize {
    bench.get("/executions?limit=200", &bench.owner()).await.ok()["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_contracts_schedule_starts_its_process_on_time() {
    let (bench, process) = platform_at(MONDAY).await;
    let request = json!({
        "processId": process, "cronExpression": "0 9 * * MON-FRI", "timezone": "America/New_York",
        "variables": { "reportType": "daily", "recipients": ["manager@company.com"] },
    });
    let created = bench.post("/schedules", &bench.owner(), request).await;
    assert_eq!((created.status, created.headers["etag"].to_str().unwrap()), (201, "\"1\""));
    assert_eq!(created.headers["location"], format!("/schedules/{}", id_of(&created.body)));
    let schedule = created.body;
    assert_eq!((&schedule["nextRunAt"], &schedule["misfirePolicy"]), (&json!("2083-02-01T14:00:00.000Z"), &json!("once")));
    assert_eq!(executions(&bench).await, 0);

    bench.clock.advance(10.0);
    until_due(&bench, &schedule, "2083-02-02T14:00:00.000Z").await;
    let shown = read(&bench, &schedule).await;
    let execution = bench.get(&format!("/executions/{}", shown["lastExecutionId"].as_str().unwrap()), &bench.owner()).await.ok();
    assert_eq!((&execution["status"], &execution["initiator"]), (&json!("waiting"), &json!("user-owner")));
    assert_eq!(execution["state"]["variables"]["reportType"], "daily");
    assert_eq!((&shown["lastRunAt"], &shown["lastFailure"]), (&json!("2083-02-01T14:00:00.000Z"), &Value::Null));
    let fired = bench.get("/events/replay?topic=schedule.started", &bench.owner()).await.ok();
    assert_eq!(fired["items"][0]["data"]["executionId"], shown["lastExecutionId"]);
    let started = bench.get("/events/replay?topic=execution.started", &bench.owner()).await.ok();
    assert_eq!(started["items"][0]["correlationid"], schedule["scheduleId"], "the execution goes back to its schedule");
    let trail = bench.get("/audit-logs?action=schedule.started", &bench.owner()).await.ok();
    assert_eq!(trail["items"][0]["resourceId"], schedule["scheduleId"]);
}

#[tokio::test]
async fn a_rule_fires_in_its_zone_over_the_change_of_clocks() {
    let (bench, process) = platform_at("2083-03-13T12:00:00Z").await;
    let rule = "FREQ=DAILY;BYHOUR=9";
    let daily = schedule(&bench, json!({ "processId": process, "cronExpression": rule, "timezone": "America/New_York" })).await;
    assert_eq!(daily["nextRunAt"], "2083-03-13T14:00:00.000Z");
    move_to(&bench, "2083-03-13T14:00:00Z");
    until_due(&bench, &daily, "2083-03-14T13:00:00.000Z").await;
    move_to(&bench, "2083-03-14T13:00:00Z");
    until_due(&bench, &daily, "2083-03-15T13:00:00.000Z").await;
    assert_eq!(executions(&bench).await, 2);
}

#[tokio::test]
async fn a_rule_that_has_ended_is_due_no_more() {
    let (bench, process) = platform_at(MONDAY).await;
    let rule = "DTSTART:20830201T140000\nRRULE:FREQ=DAILY;COUNT=1";
    let once = schedule(&bench, json!({ "processId": process, "cronExpression": rule })).await;
    assert_eq!(once["nextRunAt"], "2083-02-01T14:00:00.000Z");
    bench.clock.advance(30.0);
    for _ in 0..1_000 {
        if read(&bench, &once).await.get("nextRunAt").is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(outcomes(&runs(&bench, &once).await), [("2083-02-01T14:00:00.000Z", "started")]);
    assert_eq!(read(&bench, &once).await.get("nextRunAt"), None);
}

#[tokio::test]
async fn missed_times_are_dealt_with_as_the_policy_says() {
    let (mut bench, process) = platform_at("2083-02-01T10:30:00Z").await;
    let mut schedules = Vec::new();
    for policy in ["skip", "once", "all"] {
        let request = json!({ "processId": process, "cronExpression": "0 * * * *", "misfirePolicy": policy });
        schedules.push(schedule(&bench, request).await);
    }
    bench.clock.advance(3.0 * 3600.0);
    bench = bench.restart().await;
    for schedule in &schedules {
        until_due(&bench, schedule, "2083-02-01T14:00:00.000Z").await;
    }
    let hour = |hour: u32| format!("2083-02-01T{hour}:00:00.000Z");
    let (skip, once, all) = (runs(&bench, &schedules[0]).await, runs(&bench, &schedules[1]).await, runs(&bench, &schedules[2]).await);
    assert_eq!((outcomes(&skip), &skip[0]["missed"]), (vec![(&*hour(13), "skipped")], &json!(2)));
    assert_eq!((outcomes(&once), &once[0]["missed"]), (vec![(&*hour(13), "started")], &json!(2)));
    assert_eq!(outcomes(&all), [(&*hour(11), "started"), (&*hour(12), "started"), (&*hour(13), "started")]);
    assert_eq!(executions(&bench).await, 4);
    bench = bench.restart().await;
    assert_eq!(executions(&bench).await, 4, "nothing is made up for twice");
}

#[tokio::test]
async fn a_time_fires_once_though_the_clock_is_set_back() {
    let (bench, process) = platform_at(MONDAY).await;
    let created = schedule(&bench, json!({ "processId": process, "cronExpression": "0 14 * * *" })).await;
    bench.clock.advance(10.0);
    until_due(&bench, &created, "2083-02-02T14:00:00.000Z").await;
    bench.clock.advance(-10.0);
    // The same times in other words are searched anew.
    let path = format!("/schedules/{}", id_of(&created));
    let again = bench.put(&path, &bench.owner(), json!({ "cronExpression": "00 14 * * *" })).await.ok();
    assert_eq!(again["nextRunAt"], "2083-02-01T14:00:00.000Z");
    bench.clock.advance(10.0);
    until_due(&bench, &created, "2083-02-02T14:00:00.000Z").await;
    assert_eq!((outcomes(&runs(&bench, &created).await).len(), executions(&bench).await), (1, 1));
}

#[tokio::test]
async fn what_is_no_schedule_is_refused() {
    let (bench, process) = platform_at(MONDAY).await;
    let good = json!({ "processId": process, "cronExpression": "0 9 * * *" });
    let with = |name: &str, value: Value| {
        let mut request = good.clone();
        request[name] = value;
        request
    };
    for (request, status, code, pointer) in [
        (with("cronExpression", json!("soon")), 422, "FM-SS-EXPRESSION", "/cronExpression"),
        (with("cronExpression", json!("0 9 * *")), 422, "FM-SS-EXPRESSION", "/cronExpression"),
        (with("cronExpression", json!("0 25 * * *")), 422, "FM-SS-EXPRESSION", "/cronExpression"),
        (with("cronExpression", json!("FREQ=SOMETIMES")), 422, "FM-SS-EXPRESSION", "/cronExpression"),
        (with("cronExpression", json!("FREQ=WEEKLY;BYDAY=1MO")), 422, "FM-SS-EXPRESSION", "/cronExpression"),
        (with("cronExpression", json!("FREQ=DAILY;COUNT=3")), 422, "FM-SS-EXPRESSION", "/cronExpression"),
        (with("cronExpression", json!("0 0 30 2 *")), 422, "FM-SS-NEVER", "/cronExpression"),
        (with("cronExpression", json!("")), 422, "FM-SS-INVALID", "/cronExpression"),
        (with("timezone", json!("Mars/Olympus")), 422, "FM-SS-TIMEZONE", "/timezone"),
        (with("timezone", json!("GMT+2")), 422, "FM-SS-TIMEZONE", "/timezone"),
        (with("misfirePolicy", json!("twice")), 422, "FM-SS-INVALID", "/misfirePolicy"),
        (with("every", json!("day")), 422, "FM-SS-INVALID", "/every"),
        (json!({ "processId": process }), 422, "FM-SS-INVALID", "/cronExpression"),
        (with("processId", json!("proc-none")), 404, "FM-EES-PROCESS-NOT-FOUND", ""),
    ] {
        let refused = bench.post("/schedules", &bench.owner(), request.clone()).await.refused(status, code);
        let pointers: Vec<&str> =
            refused["errors"].as_array().into_iter().flatten().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert!(pointer.is_empty() || pointers == [pointer], "{request}: {refused:#}");
    }
    assert_eq!(bench.get("/schedules", &bench.owner()).await.ok()["items"], json!([]));
}

#[tokio::test]
async fn a_near_time_zone_is_suggested() {
    let (bench, process) = platform_at(MONDAY).await;
    let request = json!({ "processId": process, "cronExpression": "@daily", "timezone": "America/NewYork" });
    let refused = bench.post("/schedules", &bench.owner(), request).await.refused(422, "FM-SS-TIMEZONE");
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("America/New_York"), "{refused:#}");
}

#[tokio::test]
async fn a_process_that_could_not_start_is_refused() {
    let (bench, _) = platform_at(MONDAY).await;
    let owner = bench.owner();
    let design = json!({
        "name": "Report", "nodes": [human("node-1")], "variables": [{ "name": "day", "type": "string", "required": true }],
    });
    let process = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
    let request = json!({ "processId": process, "cronExpression": "@daily", "variables": { "day": "MON" } });
    bench.post("/schedules", &owner, request.clone()).await.refused(409, "FM-EES-NOT-PUBLISHED");
    bench.post(&format!("/processes/{process}/publish"), &owner, json!({})).await.ok();
    let created = schedule(&bench, request).await;
    let path = format!("/schedules/{}", id_of(&created));
    let refused = bench.put(&path, &owner, json!({ "variables": { "day": 5 } })).await.refused(422, "FM-EES-VARIABLES");
    assert_eq!(refused["errors"][0]["pointer"], "/variables/day");
}

#[tokio::test]
async fn a_change_counts_from_now_and_keeps_the_rest() {
    let (bench, process) = platform_at(MONDAY).await;
    let owner = bench.owner();
    let created = schedule(&bench, json!({ "processId": process, "cronExpression": "0 15 * * *", "variables": { "a": 1 } })).await;
    let path = format!("/schedules/{}", id_of(&created));
    let moved = bench.put(&path, &owner, json!({ "cronExpression": "0 14 * * *" })).await;
    assert_eq!(moved.headers["etag"], "\"2\"");
    let moved = moved.ok();
    assert_eq!((&moved["nextRunAt"], &moved["variables"]), (&json!("2083-02-01T14:00:00.000Z"), &json!({ "a": 1 })));
    let renewed = bench.put(&path, &owner, json!({ "variables": { "b": 2 }, "misfirePolicy": "all" })).await.ok();
    assert_eq!((&renewed["nextRunAt"], &renewed["variables"]), (&moved["nextRunAt"], &json!({ "b": 2 })));
    let stale = bench.request("PUT".parse().unwrap(), &path, &owner).header("if-match", "\"2\"").json(&json!({ "timezone": "UTC" }));
    bench.send(stale).await.refused(412, "FM-AGS-CHANGED");
    bench.put(&path, &owner, json!({})).await.refused(422, "FM-SS-NOTHING-TO-CHANGE");
    bench.put(&path, &owner, json!({ "timezone": "Nowhere" })).await.refused(422, "FM-SS-TIMEZONE");
    bench.clock.advance(10.0);
    until_due(&bench, &created, "2083-02-02T14:00:00.000Z").await;
    assert_eq!(outcomes(&runs(&bench, &created).await), [("2083-02-01T14:00:00.000Z", "started")]);
}

#[tokio::test]
async fn a_run_out_of_turn_leaves_the_times_as_they_are() {
    let (bench, process) = platform_at(MONDAY).await;
    let created = schedule(&bench, json!({ "processId": process, "cronExpression": "0 15 * * *", "variables": { "n": 7 } })).await;
    let path = format!("/schedules/{}", id_of(&created));
    for _ in 0..2 {
        let run = bench.post(&format!("{path}/execute"), &bench.owner(), json!({})).await;
        assert_eq!((run.status, &run.body["scheduleId"], &run.body["status"]), (202, &created["scheduleId"], &json!("waiting")));
    }
    let shown = read(&bench, &created).await;
    assert_eq!((&shown["nextRunAt"], &shown["lastRunAt"]), (&created["nextRunAt"], &json!("2083-02-01T13:59:50.000Z")));
    assert_eq!(outcomes(&runs(&bench, &created).await), [("-", "started"), ("-", "started")]);
    assert_eq!(bench.delete(&path, &bench.owner(), None).await.status, 204);
    for gone in [bench.get(&path, &bench.owner()).await, bench.post(&format!("{path}/execute"), &bench.owner(), json!({})).await] {
        gone.refused(404, "FM-SS-NOT-FOUND");
    }
    bench.delete(&path, &bench.owner(), None).await.refused(404, "FM-SS-NOT-FOUND");
    move_to(&bench, "2083-02-02T16:00:00Z");
    assert_eq!(executions(&bench).await, 2);
}

#[tokio::test]
async fn a_lost_right_fails_the_run_and_spares_the_others() {
    let (bench, process) = platform_at(MONDAY).await;
    let owner = bench.owner();
    let planner = json!({ "name": "planner", "permissions": ["schedule:*", "execution:start"] });
    let role = bench.post("/roles", &owner, planner).await.ok()["roleId"].as_str().unwrap().to_owned();
    bench.user("tenant-local", "pat", &["planner"], &[]).await;
    let pat = bench.login("tenant-local", "pat").await;
    let request = json!({ "processId": process, "cronExpression": "*/5 * * * *" });
    let theirs = bench.post("/schedules", &pat, request.clone()).await.ok();
    let ours = schedule(&bench, request).await;
    bench.clock.advance(10.0);
    until_due(&bench, &theirs, "2083-02-01T14:05:00.000Z").await;
    assert_eq!(read(&bench, &theirs).await["lastFailure"], Value::Null);

    bench.put(&format!("/roles/{role}/permissions"), &owner, json!({ "permissions": ["schedule:*"] })).await.ok();
    bench.clock.advance(300.0);
    until_due(&bench, &theirs, "2083-02-01T14:10:00.000Z").await;
    until_due(&bench, &ours, "2083-02-01T14:10:00.000Z").await;
    let failure = &read(&bench, &theirs).await["lastFailure"];
    assert_eq!((&failure["code"], &failure["plannedAt"]), (&json!("FM-SS-START-FORBIDDEN"), &json!("2083-02-01T14:05:00.000Z")));
    assert_eq!(outcomes(&runs(&bench, &theirs).await).last(), Some(&("2083-02-01T14:05:00.000Z", "failed")));
    assert_eq!(executions(&bench).await, 3, "theirs once, ours twice");
    bench.post("/schedules", &pat, json!({ "processId": process, "cronExpression": "@daily" })).await.refused(403, "FM-SS-START-FORBIDDEN");
    bench.put(&format!("/schedules/{}", id_of(&theirs)), &pat, json!({ "timezone": "UTC" })).await.refused(403, "FM-SS-START-FORBIDDEN");

    // Whoever changes it, it runs for.
    bench.put(&format!("/schedules/{}", id_of(&theirs)), &owner, json!({ "variables": {} })).await.ok();
    bench.clock.advance(300.0);
    until_due(&bench, &theirs, "2083-02-01T14:15:00.000Z").await;
    assert_eq!(read(&bench, &theirs).await["lastFailure"], Value::Null);
}

#[tokio::test]
async fn a_process_that_is_gone_fails_the_run_with_the_reason() {
    let (bench, process) = platform_at(MONDAY).await;
    let created = schedule(&bench, json!({ "processId": process, "cronExpression": "0 14 * * *" })).await;
    // No route removes a process, so the file is what it would be after one had.
    let TestPlatform { running, folder, .. } = bench;
    running.shutdown().await;
    let database = rusqlite::Connection::open(folder.path().join("data/platform.db")).unwrap();
    database.execute_batch("DELETE FROM process_versions; DELETE FROM processes;").unwrap();
    drop(database);
    let bench = TestPlatform::start_in(folder).await;
    move_to(&bench, "2083-02-01T14:00:10Z");
    until_due(&bench, &created, "2083-02-02T14:00:00.000Z").await;
    let failure = &read(&bench, &created).await["lastFailure"];
    assert_eq!((&failure["code"], executions(&bench).await), (&json!("FM-EES-PROCESS-NOT-FOUND"), 0));
    assert!(failure["message"].as_str().unwrap().contains(&process), "{failure}");
    let failed = bench.get("/events/replay?topic=schedule.failed", &bench.owner()).await.ok();
    assert_eq!(failed["items"][0]["data"]["code"], "FM-EES-PROCESS-NOT-FOUND");
}

#[tokio::test]
async fn a_start_that_may_still_succeed_is_tried_again() {
    let (bench, process) = platform_at(MONDAY).await;
    let created = schedule(&bench, json!({ "processId": process, "cronExpression": "0 14 * * *" })).await;
    // The definition cannot be read: a fault of the platform, which may pass.
    let TestPlatform { running, folder, .. } = bench;
    running.shutdown().await;
    let path = folder.path().join("data/platform.db");
    let change = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    change(
        "CREATE TABLE kept AS SELECT * FROM process_versions; DELETE FROM process_versions;
            INSERT INTO process_versions SELECT * FROM kept; DROP TABLE kept;
            CREATE TRIGGER broken BEFORE INSERT ON executions BEGIN SELECT RAISE(ABORT, 'not now'); END;",
    );
    let bench = TestPlatform::start_in(folder).await;
    move_to(&bench, "2083-02-01T14:00:10Z");
    for wait in [5.0, 10.0] {
        let mut rounds = 0;
        while attempts(&path, id_of(&created)) < if wait < 6.0 { 1 } else { 2 } {
            rounds += 1;
            assert!(rounds < 1_000, "no attempt was noted");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(read(&bench, &created).await["nextRunAt"], "2083-02-01T14:00:00.000Z", "it is not given up");
        if wait > 6.0 {
            rusqlite::Connection::open(&path).unwrap().execute_batch("DROP TRIGGER broken").unwrap();
        }
        bench.clock.advance(wait);
    }
    until_due(&bench, &created, "2083-02-02T14:00:00.000Z").await;
    assert_eq!(outcomes(&runs(&bench, &created).await), [("2083-02-01T14:00:00.000Z", "started")]);
}

fn attempts(path: &std::path::Path, schedule: &str) -> u32 {
    let database = rusqlite::Connection::open(path).unwrap();
    database.query_row("SELECT attempts FROM schedules WHERE id = ?", [schedule], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn schedules_stay_within_their_tenant_and_page() {
    let (bench, process) = platform_at(MONDAY).await;
    for hour in 1..=3 {
        schedule(&bench, json!({ "processId": process, "cronExpression": format!("0 {hour} * * *") })).await;
    }
    let first = bench.get("/schedules?limit=2", &bench.owner()).await.ok();
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = bench.get(&format!("/schedules?limit=2&cursor={cursor}"), &bench.owner()).await.ok();
    let listed = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|schedule| schedule["cronExpression"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!([listed(&first), listed(&second)].concat(), ["0 3 * * *", "0 2 * * *", "0 1 * * *"]);

    let stranger = bench.signed_in("tenant-other", "sam", &["*"]).await;
    let path = format!("/schedules/{}", first["items"][0]["scheduleId"].as_str().unwrap());
    bench.get(&path, &stranger).await.refused(404, "FM-SS-NOT-FOUND");
    bench.get(&format!("{path}/runs"), &stranger).await.refused(404, "FM-SS-NOT-FOUND");
    bench.put(&path, &stranger, json!({ "timezone": "UTC" })).await.refused(404, "FM-SS-NOT-FOUND");
    bench.delete(&path, &stranger, None).await.refused(404, "FM-SS-NOT-FOUND");
    bench.post(&format!("{path}/execute"), &stranger, json!({})).await.refused(404, "FM-SS-NOT-FOUND");
    let request = json!({ "processId": process, "cronExpression": "@daily" });
    bench.post("/schedules", &stranger, request).await.refused(404, "FM-EES-PROCESS-NOT-FOUND");
    assert_eq!(bench.get("/schedules", &stranger).await.ok()["items"], json!([]));
    let viewer = bench.signed_in("tenant-local", "viv", &["schedule:view"]).await;
    bench.get(&path, &viewer).await.ok();
    bench.delete(&path, &viewer, None).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn a_clock_before_1970_or_one_that_jumps_breaks_nothing() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let nodes = json!([{ "id": "wait", "type": "timer", "config": { "seconds": 60 } }, { "id": "after", "type": "script", "config": { "expression": "1", "output": "x" } }]);
    // To 1905, ahead, and back.
    for jump in [-120.0, 250.0, -200.0, 100.0] {
        bench.clock.advance(jump * 365.0 * 86_400.0);
        let process = bench.post("/processes/designs", &owner, json!({ "name": "Any time", "nodes": nodes })).await.ok();
        let process = process["id"].as_str().unwrap();
        bench.post(&format!("/processes/{process}/publish"), &owner, json!({})).await.ok();
        let started = bench.post("/executions", &owner, json!({ "processId": process })).await.ok();
        assert_eq!(started["status"], "waiting", "{started:#}");
        bench.post("/tasks", &owner, json!({ "title": "Any time", "sla": { "hoursToComplete": 1 } })).await.ok();
        // Cron has no times in some of these years, and says so.
        let cron = bench.post("/schedules", &owner, json!({ "processId": process, "cronExpression": "0 0 * * *" })).await;
        assert!(cron.status == 201 || cron.code() == "FM-SS-NEVER", "{}", cron.body);
        bench.get("/tasks?sla=breached", &owner).await.ok();
    }
    let rows = bench.get("/audit-logs?limit=200", &owner).await.ok();
    assert!(rows["items"].as_array().unwrap().len() >= 16, "{rows:#}");
}
