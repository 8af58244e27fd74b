//! Analytics Service (contract, section 22).

use reqwest::Method;
use serde_json::{Value, json};

use super::target::{Target, id_in, items, refused};
use crate::support::platform::Reply;

/// A process that was started so often.
async fn started(target: &Target, times: usize) -> String {
    let process = target.publish(json!([{ "id": "one", "type": "script", "config": { "expression": "1" } }])).await;
    for _ in 0..times {
        target.start(&process, json!({})).await;
    }
    process
}

const COUNTED: &str = "/metrics?metric=process.execution_count&groupBy=process_id&aggregation=sum&limit=200";

fn value_of(page: &Value, group: &str) -> Option<f64> {
    items(page).iter().find(|item| item["group"] == group)?["value"].as_f64()
}

/// **Near real-time**: what has happened is counted soon, by what it happened to.
#[tokio::test]
async fn what_happened_is_counted_soon() {
    let target = Target::open().await;
    let process = started(&target, 3).await;
    target.until(COUNTED, |page| value_of(page, &process) == Some(3.0)).await;
    let kpis = target.get("/kpis").await.ok();
    assert!(!items(&kpis).is_empty(), "{kpis:#}");
}

/// **Tenant isolation**: another tenant does not see it.
#[tokio::test]
async fn another_tenant_does_not_see_it() {
    let target = Target::open().await;
    let process = started(&target, 1).await;
    target.until(COUNTED, |page| value_of(page, &process).is_some()).await;
    let Some(stranger) = target.stranger().await else { return };
    let theirs = Reply::to(target.request_as(&stranger, Method::GET, COUNTED)).await.ok();
    assert_eq!(value_of(&theirs, &process), None);
}

/// **Aggregation**: by hours, days and months, as a sum and otherwise; what cannot be measured is refused.
#[tokio::test]
async fn values_are_grouped_by_hours_days_and_months() {
    let target = Target::open().await;
    let process = started(&target, 2).await;
    target.until(COUNTED, |page| value_of(page, &process) == Some(2.0)).await;
    for group in ["hour", "day", "month"] {
        let page = target.get(&format!("/metrics?metric=process.execution_count&groupBy={group}&aggregation=sum")).await.ok();
        let sum: f64 = items(&page).iter().filter_map(|item| item["value"].as_f64()).sum();
        assert!(sum >= 2.0, "{group}: {page:#}");
    }
    let longest = target.get("/metrics?metric=process.avg_duration&aggregation=max").await.ok();
    assert!(items(&longest)[0]["value"].as_f64().is_some(), "{longest:#}");
    for wrong in ["metric=weather", "metric=process.execution_count&groupBy=colour", "aggregation=sum"] {
        refused(&target.get(&format!("/metrics?{wrong}")).await, &[400, 422]);
    }
}

/// **Dashboards**: there are some from the start, and a report is made of the same values.
#[tokio::test]
async fn there_are_dashboards_and_reports() {
    let target = Target::open().await;
    let process = started(&target, 2).await;
    target.until(COUNTED, |page| value_of(page, &process) == Some(2.0)).await;
    let kpis = target.get("/kpis").await.ok();
    let Some(dashboard) = items(&kpis).iter().find_map(|kpi| kpi["dashboardId"].as_str()) else { panic!("{kpis:#}") };
    let shown = target.get(&format!("/dashboards/{dashboard}")).await.ok();
    assert!(!shown["widgets"].as_array().unwrap().is_empty(), "{shown:#}");
    let report = json!({ "title": target.named("Executions"), "metric": "process.execution_count", "groupBy": "process_id" });
    let report = target.post("/reports", report).await.ok();
    id_in(&report, "reportId");
    let values = report["values"].as_array().unwrap();
    assert!(values.iter().any(|value| value["group"] == process && value["value"] == 2.0), "{report:#}");
}
