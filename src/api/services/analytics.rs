//! Analytics Service: metrics, dashboards, reports and KPIs (contract, section 22).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::ids::{DashboardId, ReportId};
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Analytics Service.
pub const SERVICE: Service = Service::new("analytics", "analytics", "AS", "Metrics over time, dashboards, reports and KPIs.")
    .layer(Layer::Support)
    .operations(operations![QueryMetrics, GetDashboard, GenerateReport, ListKpis, ListDashboards])
    .finder("`dashboards_list` shows the dashboards and their ids; `kpis_list` names the dashboard that shows each KPI (dashboardId).")
    .ids(&[Id::of("dashboardId", "dashboard").listed(Lister::new("dashboards_list", &[], "dashboardId"))])
    .resources(&[Resource::new(
        "dashboards/{id}",
        "dashboards_get",
        "dashboard",
        "Dashboard",
        "The charts of a dashboard with their present values, each with its metric and unit.",
    )
    .takes(&[("id", "dashboard")])])
    .shown(&["name", "generatedAt"]);

open_enum! {
    /// The metrics of the platform.
    Metric {
        /// Number of executions.
        ExecutionCount = "process.execution_count",
        /// Average duration of an execution, in seconds.
        ExecutionDuration = "process.avg_duration",
        /// Average time until a task is answered, in seconds.
        TaskCompletionTime = "task.avg_completion_time",
        /// Latency of an agent's answer, in seconds.
        AgentLatency = "agent.response_latency",
        /// Share of data syncs that succeeded, in percent.
        SyncSuccessRate = "integration.sync_success_rate",
        /// Number of users active at the same time.
        ActiveUsers = "tenant.active_users",
    }
}

open_enum! {
    /// The ways to make one value of many.
    Aggregation {
        /// Their total.
        Sum = "sum",
        /// Their mean.
        Average = "avg",
        /// The least.
        Minimum = "min",
        /// The greatest.
        Maximum = "max",
        /// How many there are.
        Count = "count",
        /// The median.
        P50 = "p50",
        /// The 95th percentile.
        P95 = "p95",
        /// The 99th percentile.
        P99 = "p99",
    }
}

/// What is measured, when, and how it is put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// What is measured.
    pub metric: Metric,
    /// Begin; seven days before the end if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// End; now if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// `hour`, `day`, `month`, or a dimension such as `process_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub group_by: Option<String>,
    /// Calculation within a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
}

/// A value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricValue {
    /// What was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The group: a process id, or the begin of an hour, day or month; absent for the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The value; absent where nothing was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// count, seconds or percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// Counts and measures over time (metrics): numbers, rates and average durations.
///
/// How many cases or tasks did people finish per day, week or month, how long does a process or approval take since
/// January, what success had the sync in February or May, how do active users compare with last year, and how many
/// executions are there per hour?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct QueryMetrics {
    /// What is measured, and when.
    #[serde(flatten)]
    pub selection: Selection,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for QueryMetrics {
    type Output = Page<MetricValue>;
    const SPEC: Spec =
        Spec::get("metrics_query", "/metrics", Effect::Read).titled("Counts and durations over time").requires(Permission::METRIC_VIEW);
}

/// A dashboard with its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    /// The dashboard.
    pub dashboard_id: DashboardId,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its charts.
    #[serde(default)]
    pub widgets: Vec<Widget>,
    /// When the data was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<Timestamp>,
}

/// One chart of a dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Widget {
    /// Its title.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// What is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// Calculation within a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// Its values.
    #[serde(default)]
    pub values: Vec<MetricValue>,
}

/// Opens one dashboard or board (dash-…) with what it shows today.
///
/// Pull up the sales cockpit, put the management or operations overview as charts and graphs on the screen, or bring
/// its numbers to the wallboard.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetDashboard {
    /// The dashboard.
    pub id: DashboardId,
}

impl Operation for GetDashboard {
    type Output = Dashboard;
    const SPEC: Spec = Spec::get("dashboards_get", "/dashboards/{id}", Effect::Read)
        .titled("One dashboard with its charts and figures")
        .requires(Permission::DASHBOARD_VIEW);
}

/// A report on a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The report.
    pub report_id: ReportId,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// Begin of the period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// End of the period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// The dimension of its groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// Calculation within a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// count, seconds or percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The value of the whole period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// The value of the period before, of the same length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_total: Option<f64>,
    /// The values of the groups.
    #[serde(default)]
    pub values: Vec<MetricValue>,
    /// When it was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<Timestamp>,
}

/// Writes a report of figures over a period.
///
/// Draw up the yearly or annual statistics for the board as a PDF, produce the weekly or quarterly workload by
/// department, prepare a summary of March for the boss or a meeting, build an evaluation of AI usage this quarter, or
/// export it to Excel or CSV.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GenerateReport {
    /// The report's title.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub title: Option<String>,
    /// What is measured, and when.
    #[serde(flatten)]
    pub selection: Selection,
}

impl Operation for GenerateReport {
    type Output = Report;
    const SPEC: Spec = Spec::post("reports_generate", "/reports", Effect::Read)
        .titled("A monthly or quarterly report of performance")
        .requires(Permission::REPORT_VIEW)
        .answers(201)
        .repeatable();
}

/// A key figure of the business.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kpi {
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its value now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// count, seconds or percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The value it should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// up, down or flat, against the period before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trend: Option<String>,
    /// The dashboard that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboard_id: Option<DashboardId>,
    /// When it was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<Timestamp>,
}

/// Lists our key figures against their targets (KPIs).
///
/// Do we reach or meet our goals this quarter or month, which KPI is on track, and what are the main or headline values
/// and numbers overall?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListKpis {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListKpis {
    type Output = Page<Kpi>;
    const SPEC: Spec =
        Spec::get("kpis_list", "/kpis", Effect::Read).titled("Key indicators: are we on target").requires(Permission::KPI_VIEW);
}

/// A dashboard in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DashboardSummary {
    /// The dashboard.
    pub dashboard_id: DashboardId,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether every tenant has it.
    #[serde(default)]
    pub predefined: bool,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// Lists the dashboards, boards and cockpits that exist.
///
/// How many are there for sales, which charts and screens are available, and what do they give as an overview?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListDashboards {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListDashboards {
    type Output = Page<DashboardSummary>;
    const SPEC: Spec = Spec::get("dashboards_list", "/dashboards", Effect::Read)
        .titled("All dashboards that one can open")
        .requires(Permission::DASHBOARD_VIEW)
        .extension();
}
