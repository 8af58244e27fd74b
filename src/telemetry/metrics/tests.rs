//! Figures: what is counted, by which labels, and what bounds them.

use super::*;
use crate::error::Kind;

fn metrics() -> Metrics {
    Metrics::kept(true).unwrap()
}

fn entry(name: &str) -> &'static Entry {
    catalogue().get(name).unwrap()
}

/// The value of a line of the page.
fn value(page: &str, series: &str) -> Option<u64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn an_operation_is_counted_by_service_operation_and_end() {
    let metrics = metrics();
    let tasks = metrics.of(entry("tasks_list"));
    tasks.count_call(None);
    tasks.count_call(Some(Kind::Unavailable));
    metrics.of(entry("tasks_list")).count_call(Some(Kind::Unavailable));
    tasks.refusals.bulkhead.increment(1);
    {
        let _working = Occupied::raise(&tasks.in_flight);
        assert_eq!(value(&metrics.page(), "flowmaster_mcp_calls_in_flight{service=\"human-task\"}"), Some(1));
    }
    let page = metrics.page();
    let of = |name: &str, more: &str| value(&page, &format!("{name}{{service=\"human-task\",operation=\"tasks_list\"{more}}}"));
    assert_eq!(of("flowmaster_mcp_calls_total", ""), Some(1), "{page}");
    assert_eq!(of("flowmaster_mcp_calls_total", ",error_type=\"503\""), Some(2));
    assert_eq!(of("flowmaster_mcp_refusals_total", ",limit=\"bulkhead\""), Some(1));
    assert_eq!(of("flowmaster_mcp_refusals_total", ",limit=\"breaker\""), Some(0));
    assert_eq!(value(&page, "flowmaster_mcp_calls_in_flight{service=\"human-task\"}"), Some(0));
    assert!(!page.contains("entities_get"), "an operation that is not called has no figures");
}

#[test]
fn a_request_is_measured_by_method_tool_and_end() {
    let metrics = metrics();
    metrics.measure(Method::ToolsList).end(Ended::Well);
    let mut call = metrics.measure(Method::ToolsCall);
    call.tool(entry("tasks_get"));
    call.end(Ended::ToolError);
    drop(metrics.measure(Method::ToolsCall));
    metrics.tidy();
    let page = metrics.page();
    let count = |labels: &str| value(&page, &format!("{DURATION}_count{{{labels}}}"));
    assert_eq!(count("mcp_method_name=\"tools/list\""), Some(1), "{page}");
    let tool = "mcp_method_name=\"tools/call\",gen_ai_tool_name=\"tasks_get\",service=\"human-task\",error_type=\"tool_error\"";
    assert_eq!(count(tool), Some(1), "{page}");
    assert_eq!(count("mcp_method_name=\"tools/call\",error_type=\"_OTHER\""), Some(1));
    assert!(page.contains("le=\"0.01\"") && page.contains("le=\"300\"") && page.contains("le=\"+Inf\""), "{page}");
}

#[test]
fn figures_of_very_many_tenants_are_added_up() {
    let metrics = metrics();
    for number in 0..3 * MAX_TENANTS {
        metrics.count_tenant(&format!("tenant-{number}"), number % 2 == 0);
    }
    let page = metrics.page();
    let series = page.lines().filter(|line| line.starts_with("flowmaster_mcp_tenant_calls_total{")).count();
    assert_eq!(series, 2 * (MAX_TENANTS + 1));
    let others = value(&page, "flowmaster_mcp_tenant_calls_total{tenant=\"others\",outcome=\"ok\"}");
    assert_eq!(others, Some(MAX_TENANTS as u64));
}

#[test]
fn without_a_page_or_a_tenant_label_nothing_is_kept() {
    let off = Metrics::default();
    off.of(entry("tasks_list")).count_call(None);
    off.count_tenant("tenant-1", false);
    off.measure(Method::ToolsList).end(Ended::Well);
    assert_eq!(off.page(), "");
    let without = Metrics::kept(false).unwrap();
    without.count_tenant("tenant-1", false);
    assert!(!without.page().contains("tenant-1"));
}

#[test]
fn every_figure_is_described() {
    let metrics = metrics();
    metrics.of(entry("tasks_list")).count_call(None);
    metrics.count_tenant("tenant-1", false);
    metrics.count_http_refusal("FM-MCP-HOST");
    metrics.measure(Method::ToolsList).end(Ended::Well);
    let page = metrics.page();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(FIGURES.iter().any(|(known, _)| *known == name) && page.contains(&format!("# HELP {name} ")), "{name}");
    }
}
