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

/// Counts and measures over time: how many in total per day, quarter or year, average, median or maximum duration of a
/// process, success of data syncs, active users at the busiest hour.
///
/// Compares last year, summer or months, is throughput rising, how quickly or reliably it goes, between two dates.
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
    const SPEC: Spec = Spec::get("metrics_query", "/metrics", Effect::Read)
        .titled("How many per day, week, month or year, how long on average: counts and durations over time")
        .requires(Permission::METRIC_VIEW);
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

/// Opens one board and shows its charts, graphs, gauges, tiles and widgets: current numbers of the operations, sales,
/// finance, executive or delivery cockpit.
///
/// Also: for the morning meeting or the wall screen of the control room. Want to look at the usual overview, its curves
/// and panels.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetDashboard {
    /// The dashboard.
    pub id: DashboardId,
}

impl Operation for GetDashboard {
    type Output = Dashboard;
    const SPEC: Spec = Spec::get("dashboards_get", "/dashboards/{id}", Effect::Read)
        .titled("Open a dashboard: see today's charts, graphs and current figures of a board or cockpit")
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

/// Writes a report for the director, the supervisory board, investors or a steering committee: compile last week's,
/// month's or quarter's statistics, evaluation or performance numbers under a title.
///
/// Also: such as throughput or completion time, prepared for a presentation, an annual meeting or head office.
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
        .titled("Produce a report on paper: monthly, quarterly or annual statistics, figures and summary")
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

/// Tells how the business is doing against its goals: key indicators, values and headline numbers for the CEO, most
/// important figures at a quick glance, on track or behind plan, lights green or red.
///
/// Also: which yearly targets were met, overall performance.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListKpis {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListKpis {
    type Output = Page<Kpi>;
    const SPEC: Spec = Spec::get("kpis_list", "/kpis", Effect::Read)
        .titled("How are we doing, are we on target: KPIs, key figures, main indicators, goals")
        .requires(Permission::KPI_VIEW);
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

/// Lists the boards one can open, predefined or built by a controlling team: any visual overview with charts for sales,
/// production or warehouse, its name and id.
///
/// Is a dashboard available for something, what choice is there.
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
        .titled("Which dashboards, boards, charts and cockpits exist: an overview")
        .requires(Permission::DASHBOARD_VIEW)
        .extension();
}
