//! Scheduling Service (contract, section 21).

use std::time::Duration;

use flowmaster_mcp::api::Timestamp;
use serde_json::{Value, json};

use super::target::{Target, human, id_in, refused};

/// A schedule of a process of the test's own.
async fn schedule(target: &Target, mut more: Value) -> Value {
    more["processId"] = json!(target.publish(json!([human("wait", "manager")])).await);
    target.post("/schedules", more).await.ok()
}

/// A rule that is due once, in so many seconds.
fn once(seconds: f64) -> String {
    let due = Timestamp::now().plus_seconds(seconds).to_string();
    let due: String = due.split('.').next().unwrap().chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
    format!("DTSTART:{due}\nRRULE:FREQ=DAILY;COUNT=1")
}

fn next(schedule: &Value) -> Timestamp {
    schedule["nextRunAt"].as_str().unwrap_or_else(|| panic!("{schedule:#}")).parse().unwrap()
}

/// **Timezone-aware**: the same time of the clock comes at another moment in another zone.
#[tokio::test]
async fn a_time_is_reckoned_in_its_zone() {
    let target = Target::open().await;
    let daily = async |zone: &str| schedule(&target, json!({ "cronExpression": "0 9 * * *", "timezone": zone })).await;
    let (utc, tokyo) = (daily("UTC").await, daily("Asia/Tokyo").await);
    let apart = next(&utc).seconds_since(next(&tokyo)).rem_euclid(86_400.0);
    assert!((apart - 9.0 * 3_600.0).abs() < 1.0, "{apart}");
    let process = utc["processId"].clone();
    for (cron, zone) in [("0 9 * * *", "Mars/Olympus"), ("every day", "UTC"), ("0 25 * * *", "UTC")] {
        refused(&target.post("/schedules", json!({ "processId": process, "cronExpression": cron, "timezone": zone })).await, &[400, 422]);
    }
}

/// **Recurrence rules**: a rule of RFC 5545 is taken as cron is, changed, and removed.
#[tokio::test]
async fn a_recurrence_rule_is_taken_changed_and_removed() {
    let target = Target::open().await;
    let rule = "FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0";
    let weekly = schedule(&target, json!({ "cronExpression": rule, "timezone": "UTC" })).await;
    let path = format!("/schedules/{}", id_in(&weekly, "scheduleId"));
    assert!(next(&weekly).to_string().contains("T09:00:00"), "{weekly:#}");
    let moved = target.put(&path, json!({ "cronExpression": "30 10 * * MON", "timezone": "UTC" })).await.ok();
    assert!(next(&moved).to_string().contains("T10:30:00"), "{moved:#}");
    assert_eq!(target.delete(&path).await.status, 204);
    refused(&target.get(&path).await, &[404]);
}

/// **Missed execution handling**: a time that came while the platform was away is made up for, once.
#[tokio::test]
async fn a_missed_time_is_made_up_for_once() {
    let target = Target::open().await;
    if target.embedded("a real platform is not stopped").is_none() {
        return;
    }
    let process = target.publish(json!([human("wait", "manager")])).await;
    let missed = target.post("/schedules", json!({ "processId": process, "cronExpression": once(1.5), "timezone": "UTC" })).await.ok();
    let due = next(&missed);
    let past_due = async || {
        while Timestamp::now().seconds_since(due) < 0.1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let target = target.stopped_for(past_due).await;
    let path = format!("/schedules/{}", id_in(&missed, "scheduleId"));
    let fired = target.until(&path, |schedule| schedule["lastExecutionId"].is_string()).await;
    assert_eq!(target.events("execution.started", "processId", &process, 1).await.len(), 1, "{fired:#}");
}

/// **High reliability**: a time that is due starts its process by itself, with its variables; one can be started at once as well.
#[tokio::test]
async fn a_time_that_is_due_starts_its_process() {
    let target = Target::open().await;
    let rule = json!({ "cronExpression": once(2.0), "timezone": "UTC", "variables": { "reportType": "daily" } });
    let schedule = schedule(&target, rule).await;
    let path = format!("/schedules/{}", id_in(&schedule, "scheduleId"));
    let fired = target.until(&path, |schedule| schedule["lastExecutionId"].is_string()).await;
    let execution = target.get(&format!("/executions/{}", id_in(&fired, "lastExecutionId"))).await.ok();
    assert_eq!(execution["state"]["variables"]["reportType"], "daily", "{execution:#}");
    assert_eq!(target.post(&format!("{path}/execute"), json!({})).await.status, 202);
    let process = schedule["processId"].as_str().unwrap();
    assert_eq!(target.events("execution.started", "processId", process, 2).await.len(), 2);
}
