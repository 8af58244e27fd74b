//! Analytics over HTTP: what happened on the platform comes back as metrics, dashboards, reports and key figures.

use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::executions::{decide, human, publish, start};
use crate::platform::schedules::move_to;
use crate::support::platform::TestPlatform;

/// A platform whose clock stands at a moment.
async fn platform_at(moment: &str) -> TestPlatform {
    let bench = TestPlatform::start().await;
    move_to(&bench, moment);
    bench
}

/// A process that waits for a person.
async fn process(bench: &TestPlatform) -> String {
    publish(bench, json!([human("node-1")]), json!([])).await
}

/// Starts an execution and has its task answered after some seconds.
async fn run(bench: &TestPlatform, process: &str, seconds: f64, decision: &str) {
    let execution = start(bench, process, json!({})).await;
    bench.clock.advance(seconds);
    decide(bench, &execution, decision).await;
}

/// A token of a service that publishes on the contract's topics.
async fn service(bench: &TestPlatform) -> String {
    let request = json!({ "name": "probe", "permissions": ["event:publish"], "expiresIn": 30_000_000 });
    bench.post("/service-tokens", &bench.owner(), request).await.ok()["token"].as_str().unwrap().to_owned()
}

async fn emit(bench: &TestPlatform, token: &str, topic: &str, event: Value, timestamp: &str) {
    bench.post("/events", token, json!({ "topic": topic, "event": event, "timestamp": timestamp })).await.ok();
}

async fn query(bench: &TestPlatform, query: &str) -> Value {
    bench.get(&format!("/metrics?{query}"), &bench.owner()).await.ok()
}

/// The groups and values of a page.
fn values(page: &Value) -> Vec<(&str, Option<f64>)> {
    let value = |item: &Value| item["value"].as_f64();
    page["items"].as_array().unwrap().iter().map(|item| (item["group"].as_str().unwrap_or("-"), value(item))).collect()
}

/// Queries until the answer is as it should be: the event log is added up in the background.
async fn until(bench: &TestPlatform, asked: &str, expected: &[(&str, Option<f64>)]) -> Value {
    let mut page = Value::Null;
    for _ in 0..500 {
        page = query(bench, asked).await;
        if values(&page) == expected {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{asked}: {page:#}, not {expected:?}");
}

#[tokio::test]
async fn the_contracts_query_counts_executions_by_process() {
    let bench = platform_at("2083-02-03T10:15:00Z").await;
    let (one, other) = (process(&bench).await, process(&bench).await);
    for process in [&one, &one, &other] {
        start(&bench, process, json!({})).await;
    }
    let asked =
        "metric=process.execution_count&startTime=2083-02-01T00:00:00Z&endTime=2083-02-07T23:59:59Z&groupBy=process_id&aggregation=sum";
    let page = until(&bench, asked, &[(&one, Some(2.0)), (&other, Some(1.0))]).await;
    assert_eq!(page["items"][0], json!({ "metric": "process.execution_count", "group": one, "value": 2.0, "unit": "count" }));
    assert_eq!(values(&query(&bench, "metric=process.execution_count").await), [("-", Some(3.0))]);
    let earlier = "metric=process.execution_count&endTime=2083-02-03T10:00:00Z";
    assert_eq!(values(&query(&bench, earlier).await), [("-", Some(0.0))]);
    assert_eq!(values(&query(&bench, &format!("{earlier}&groupBy=process_id")).await), []);
}

#[tokio::test]
async fn durations_are_aggregated_as_asked() {
    let bench = platform_at("2083-02-03T10:00:00Z").await;
    let process = process(&bench).await;
    for seconds in [10.0, 20.0, 60.0] {
        run(&bench, &process, seconds, if seconds > 30.0 { "reject" } else { "approve" }).await;
    }
    until(&bench, "metric=process.avg_duration&aggregation=count", &[("-", Some(3.0))]).await;
    for (aggregation, expected) in [("avg", 30.0), ("sum", 90.0), ("min", 10.0), ("max", 60.0)] {
        let page = query(&bench, &format!("metric=process.avg_duration&aggregation={aggregation}")).await;
        assert_eq!((values(&page), &page["items"][0]["unit"]), (vec![("-", Some(expected))], &json!("seconds")), "{aggregation}");
    }
    for (aggregation, exact) in [("p50", 20.0), ("p99", 60.0)] {
        let page = query(&bench, &format!("metric=process.avg_duration&aggregation={aggregation}")).await;
        let found = page["items"][0]["value"].as_f64().unwrap();
        assert!((found - exact).abs() <= exact * 0.01, "{aggregation}: {found}");
    }
    assert_eq!(values(&query(&bench, "metric=process.avg_duration&groupBy=status").await), [("completed", Some(30.0))]);
    let decisions = "metric=task.avg_completion_time&groupBy=decision";
    assert_eq!(values(&query(&bench, decisions).await), [("approve", Some(15.0)), ("reject", Some(60.0))]);
    let by_process = "metric=task.avg_completion_time&groupBy=process_id&aggregation=count";
    let page = query(&bench, by_process).await;
    assert_eq!((values(&page), &page["items"][0]["unit"]), (vec![(process.as_str(), Some(3.0))], &json!("count")));
    assert_eq!(values(&query(&bench, "metric=agent.response_latency").await), [("-", None)], "nothing was measured");
}

#[tokio::test]
async fn values_are_grouped_by_hours_days_and_months() {
    let bench = platform_at("2083-03-10T00:00:00Z").await;
    let token = service(&bench).await;
    for (timestamp, seconds) in [
        ("2083-01-31T23:30:00Z", 1),
        ("2083-02-01T00:00:00Z", 2),
        ("2083-02-01T00:59:59Z", 4),
        ("2083-02-01T12:00:00Z", 6),
        ("2083-03-09T08:00:00Z", 9),
    ] {
        emit(&bench, &token, "agent.invoked", json!({ "agentId": "agent-1", "duration": seconds }), timestamp).await;
    }
    let asked = |from: &str, to: &str, group: &str| {
        format!("metric=agent.response_latency&aggregation=sum&startTime={from}&endTime={to}&groupBy={group}")
    };
    let months = asked("2083-01-01T00:00:00Z", "2083-03-10T00:00:00Z", "month");
    until(
        &bench,
        &months,
        &[("2083-01-01T00:00:00.000Z", Some(1.0)), ("2083-02-01T00:00:00.000Z", Some(12.0)), ("2083-03-01T00:00:00.000Z", Some(9.0))],
    )
    .await;
    let hours = asked("2083-01-31T00:00:00Z", "2083-02-02T00:00:00Z", "hour");
    let expected =
        [("2083-01-31T23:00:00.000Z", Some(1.0)), ("2083-02-01T00:00:00.000Z", Some(6.0)), ("2083-02-01T12:00:00.000Z", Some(6.0))];
    assert_eq!(values(&query(&bench, &hours).await), expected);
    // A day that lies in the period by a part counts by that part.
    let days = asked("2083-02-01T01:00:00Z", "2083-03-09T08:00:01Z", "day");
    let expected = [("2083-02-01T00:00:00.000Z", Some(6.0)), ("2083-03-09T00:00:00.000Z", Some(9.0))];
    assert_eq!(values(&query(&bench, &days).await), expected);

    let first = query(&bench, &format!("{hours}&limit=2")).await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = query(&bench, &format!("{hours}&limit=2&cursor={cursor}")).await;
    assert_eq!((values(&first).len(), values(&second)), (2, vec![("2083-02-01T12:00:00.000Z", Some(6.0))]));
    assert_eq!(second["nextCursor"], Value::Null);
    bench.get(&format!("/metrics?{days}&limit=2&cursor={cursor}"), &bench.owner()).await.refused(422, "FM-AGS-CURSOR");
}

#[tokio::test]
async fn syncs_and_people_are_counted() {
    let bench = platform_at("2083-02-03T10:00:00Z").await;
    let token = service(&bench).await;
    for (integration, status) in [("int-1", "completed"), ("int-1", "completed"), ("int-1", "failed"), ("int-2", "failed")] {
        let event = json!({ "integrationId": integration, "status": status });
        emit(&bench, &token, "integration.synced", event, "2083-02-03T09:00:00Z").await;
    }
    let asked = "metric=integration.sync_success_rate";
    let page = until(&bench, asked, &[("-", Some(50.0))]).await;
    assert_eq!(page["items"][0]["unit"], "percent");
    let by_integration = query(&bench, &format!("{asked}&groupBy=integration_id")).await;
    let rates = values(&by_integration);
    assert!((rates[0].1.unwrap() - 200.0 / 3.0).abs() < 1e-9 && rates[1] == ("int-2", Some(0.0)), "{rates:?}");

    // Two people, one of them in two hours; the service is not a person.
    let pat = bench.signed_in("tenant-local", "pat", &["event:publish"]).await;
    for token in [&pat, &bench.owner()] {
        bench.post("/events", token, json!({ "topic": "order.opened", "event": {} })).await.ok();
    }
    bench.clock.advance(3600.0);
    bench.post("/events", &bench.owner(), json!({ "topic": "order.opened", "event": {} })).await.ok();
    let users = "metric=tenant.active_users&endTime=2083-02-03T12:00:00Z";
    let hours = [("2083-02-03T10:00:00.000Z", Some(2.0)), ("2083-02-03T11:00:00.000Z", Some(1.0))];
    until(&bench, &format!("{users}&groupBy=hour"), &hours).await;
    assert_eq!(values(&query(&bench, users).await), [("-", Some(2.0))], "each counts once");
    assert_eq!(values(&query(&bench, &format!("{users}&groupBy=day")).await), [("2083-02-03T00:00:00.000Z", Some(2.0))]);
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_with_what_can() {
    let bench = platform_at("2083-02-03T10:00:00Z").await;
    for (asked, code, told) in [
        ("metric=process.executioncount", "FM-AS-INVALID", "did you mean process.execution_count"),
        ("metric=weather", "FM-AS-INVALID", "allowed are process.execution_count"),
        ("metric=process.avg_duration&groupBy=processId", "FM-AS-DIMENSION", "did you mean process_id"),
        ("metric=process.avg_duration&groupBy=colour", "FM-AS-DIMENSION", "allowed are hour, day, month, process_id, status"),
        ("metric=tenant.active_users&groupBy=process_id", "FM-AS-DIMENSION", "allowed are hour, day, month"),
        ("metric=process.execution_count&aggregation=p95", "FM-AS-AGGREGATION", "allowed are sum, count"),
        ("metric=process.execution_count&aggregation=median", "FM-AS-INVALID", "allowed are sum"),
        ("metric=process.execution_count&startTime=yesterday", "FM-AS-INVALID", ""),
        ("metric=process.execution_count&startTime=2083-02-03T10:00:00Z&endTime=2083-02-03T10:00:00Z", "FM-AS-PERIOD", "later"),
        ("metric=process.execution_count&startTime=2010-01-01T00:00:00Z&endTime=2083-01-01T00:00:00Z", "FM-AS-PERIOD", "ten years"),
        ("aggregation=sum", "FM-AS-INVALID", "missing"),
    ] {
        let refused = bench.get(&format!("/metrics?{asked}"), &bench.owner()).await.refused(422, code);
        let detail = refused["errors"][0]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(told), "{asked}: {refused:#}");
    }
    let report = json!({ "metric": "process.avg_duration", "groupBy": "process" });
    bench.post("/reports", &bench.owner(), report).await.refused(422, "FM-AS-DIMENSION");
    let viewer = bench.signed_in("tenant-local", "viv", &["kpi:view"]).await;
    bench.get("/metrics?metric=process.execution_count", &viewer).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn the_rollup_survives_a_restart_and_can_be_rebuilt() {
    let bench = platform_at("2083-02-03T10:00:00Z").await;
    let process = process(&bench).await;
    for seconds in [10.0, 30.0] {
        run(&bench, &process, seconds, "approve").await;
    }
    let asked = "metric=process.avg_duration&groupBy=process_id";
    until(&bench, asked, &[(&process, Some(20.0))]).await;
    let mut bench = bench.restart().await;
    assert_eq!(values(&query(&bench, asked).await), [(process.as_str(), Some(20.0))]);
    run(&bench, &process, 80.0, "approve").await;
    until(&bench, asked, &[(&process, Some(40.0))]).await;

    // As a file of other rules would be: everything is added up again, and once.
    let TestPlatform { running, folder, .. } = bench;
    running.shutdown().await;
    let database = rusqlite::Connection::open(folder.path().join("data/platform.db")).unwrap();
    database.execute_batch("UPDATE metric_progress SET rules = 0; UPDATE metric_cells SET sum = 1, count = 7;").unwrap();
    drop(database);
    bench = TestPlatform::start_in(folder).await;
    move_to(&bench, "2083-02-03T11:00:00Z");
    until(&bench, asked, &[(&process, Some(40.0))]).await;
    assert_eq!(values(&query(&bench, "metric=task.avg_completion_time&aggregation=count").await), [("-", Some(3.0))]);
}

#[tokio::test]
async fn dashboards_are_predefined_and_made() {
    let bench = platform_at("2083-02-03T10:00:00Z").await;
    let owner = bench.owner();
    let process = process(&bench).await;
    run(&bench, &process, 30.0, "approve").await;
    until(&bench, "metric=process.avg_duration", &[("-", Some(30.0))]).await;
    let shown = bench.get("/dashboards/dash-operations", &owner).await.ok();
    assert_eq!((&shown["name"], &shown["generatedAt"]), (&json!("Operations"), &json!("2083-02-03T10:00:30.000Z")));
    let widget = &shown["widgets"][0];
    assert_eq!((&widget["metric"], &widget["values"][0]["value"]), (&json!("process.execution_count"), &json!(1.0)));

    let charts = json!([{ "title": "Longest run", "metric": "process.avg_duration", "aggregation": "max", "days": 30 }]);
    let made = bench.post("/dashboards", &owner, json!({ "name": "Ours", "widgets": charts })).await;
    assert_eq!(made.status, 201);
    let path = format!("/dashboards/{}", made.body["dashboardId"].as_str().unwrap());
    assert_eq!(made.headers["location"], path);
    assert_eq!(bench.get(&path, &owner).await.ok()["widgets"][0]["values"][0]["value"], 30.0);
    let wrong = json!({ "name": "Wrong", "widgets": [{ "title": "x", "metric": "process.avg_duration", "groupBy": "colour" }] });
    bench.post("/dashboards", &owner, wrong).await.refused(422, "FM-AS-DIMENSION");

    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = bench.get(&format!("/dashboards?limit=1{cursor}"), &owner).await.ok();
        names.push(page["items"][0]["name"].as_str().unwrap().to_owned());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(names, ["Operations", "Agents and integrations", "Ours"]);

    let stranger = bench.signed_in("tenant-other", "sam", &["*"]).await;
    bench.get(&path, &stranger).await.refused(404, "FM-AS-DASHBOARD-NOT-FOUND");
    bench.delete(&path, &stranger, None).await.refused(404, "FM-AS-DASHBOARD-NOT-FOUND");
    let theirs = bench.get("/dashboards/dash-operations", &stranger).await.ok();
    assert_eq!(theirs["widgets"][0]["values"], json!([]), "metrics stay within their tenant");
    let viewer = bench.signed_in("tenant-local", "viv", &["dashboard:view"]).await;
    bench.delete(&path, &viewer, None).await.refused(403, "FM-AAS-FORBIDDEN");
    bench.delete("/dashboards/dash-operations", &owner, None).await.refused(409, "FM-AS-PREDEFINED");
    assert_eq!(bench.delete(&path, &owner, None).await.status, 204);
    bench.get(&path, &owner).await.refused(404, "FM-AS-DASHBOARD-NOT-FOUND");
}

#[tokio::test]
async fn key_figures_have_goals_and_trends() {
    let bench = platform_at("2083-02-03T10:00:00Z").await;
    let owner = bench.owner();
    let process = process(&bench).await;
    run(&bench, &process, 10.0, "approve").await;
    move_to(&bench, "2083-02-12T10:00:00Z");
    run(&bench, &process, 30.0, "approve").await;
    until(&bench, "metric=process.avg_duration", &[("-", Some(30.0))]).await;
    let goal = json!({ "name": "Executions", "metric": "process.execution_count", "target": 5 });
    assert_eq!(bench.post("/kpis", &owner, goal).await.ok()["target"], 5.0);
    let page = bench.get("/kpis", &owner).await.ok();
    let kpi = |name: &str| page["items"].as_array().unwrap().iter().find(|kpi| kpi["name"] == name).cloned().unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), 6, "one of the same name takes the place of a predefined one");
    let duration = kpi("Average duration of an execution");
    assert_eq!((&duration["value"], &duration["trend"], &duration["unit"]), (&json!(30.0), &json!("up"), &json!("seconds")));
    let executions = kpi("Executions");
    assert_eq!((&executions["value"], &executions["trend"], &executions["target"]), (&json!(1.0), &json!("flat"), &json!(5.0)));
    let syncs = kpi("Syncs that succeeded");
    assert_eq!((syncs.get("value"), syncs.get("trend")), (None, None), "nothing was measured");
    bench.get(&format!("/dashboards/{}", executions["dashboardId"].as_str().unwrap()), &owner).await.ok();

    let first = bench.get("/kpis?limit=4", &owner).await.ok();
    let rest = bench.get(&format!("/kpis?limit=4&cursor={}", first["nextCursor"].as_str().unwrap()), &owner).await.ok();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["nextCursor"]), (2, &Value::Null));
    let wrong = json!({ "name": "x", "metric": "process.execution_count", "aggregation": "p99" });
    bench.post("/kpis", &owner, wrong).await.refused(422, "FM-AS-AGGREGATION");
    let viewer = bench.signed_in("tenant-local", "viv", &["kpi:view"]).await;
    bench.post("/kpis", &viewer, json!({ "name": "x", "metric": "process.execution_count" })).await.refused(403, "FM-AAS-FORBIDDEN");
    let stranger = bench.signed_in("tenant-other", "sam", &["*"]).await;
    let theirs = bench.get("/kpis", &stranger).await.ok();
    assert!(theirs["items"].as_array().unwrap().iter().all(|kpi| kpi.get("target").is_none()));
}

#[tokio::test]
async fn a_report_compares_with_the_period_before_and_is_kept() {
    let bench = platform_at("2083-02-03T10:00:00Z").await;
    let owner = bench.owner();
    let process = process(&bench).await;
    run(&bench, &process, 10.0, "approve").await;
    move_to(&bench, "2083-02-04T10:00:00Z");
    run(&bench, &process, 30.0, "approve").await;
    run(&bench, &process, 50.0, "approve").await;
    until(&bench, "metric=process.avg_duration&aggregation=count", &[("-", Some(3.0))]).await;
    let request = json!({
        "title": "Thursday", "metric": "process.avg_duration", "startTime": "2083-02-04T00:00:00Z",
        "endTime": "2083-02-04T23:59:59Z", "groupBy": "process_id",
    });
    let answer = bench.post("/reports", &owner, request).await;
    assert_eq!(answer.status, 201);
    let report = answer.body;
    assert_eq!((&report["total"], &report["previousTotal"]), (&json!(40.0), &json!(10.0)));
    assert_eq!((&report["startTime"], &report["endTime"]), (&json!("2083-02-04T00:00:00.000Z"), &json!("2083-02-05T00:00:00.000Z")));
    assert_eq!(report["values"][0], json!({ "metric": "process.avg_duration", "group": process, "value": 40.0, "unit": "seconds" }));
    assert_eq!((&report["aggregation"], &report["unit"], &report["title"]), (&json!("avg"), &json!("seconds"), &json!("Thursday")));
    let path = answer.headers["location"].to_str().unwrap().to_owned();
    run(&bench, &process, 1_000.0, "approve").await;
    let bench = bench.restart().await;
    assert_eq!(bench.get(&path, &bench.owner()).await.ok(), report, "a report does not change");
    let stranger = bench.signed_in("tenant-other", "sam", &["*"]).await;
    bench.get(&path, &stranger).await.refused(404, "FM-AS-REPORT-NOT-FOUND");
    let trail = bench.get("/audit-logs?action=report.generated", &bench.owner()).await.ok();
    assert_eq!(trail["items"][0]["resourceId"], report["reportId"]);
}
