//! Dashboards: those that every tenant has, and those that people made. The contract has no way to make one.

use rusqlite::{Connection, OptionalExtension as _, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::select::Chosen;
use super::{may, now_from};
use crate::api::analytics::{Aggregation, Dashboard, DashboardSummary, GetDashboard, ListDashboards, Metric, Selection, Widget};
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::ids::DashboardId;
use crate::api::{Done, Effect, Operation, Page, Permission, Spec, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::engine::runtime::run::{document, parse};
use crate::platform::http::context::{Answer, Cx};

/// The dashboard of what people and processes do.
pub(super) const OPERATIONS: &str = "dash-operations";
/// The dashboard of agents and integrations.
pub(super) const SYSTEMS: &str = "dash-systems";
/// Most dashboards that a tenant makes.
const MAX_PER_TENANT: i64 = 100;
/// Most values of a widget.
const MAX_VALUES: usize = 200;
/// The permission to make and remove one, beyond the contract's.
const CREATE: &str = "dashboard:create";

/// A chart as it is defined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chart {
    /// Its title.
    #[schemars(length(min = 1, max = 200))]
    title: String,
    /// What is measured.
    metric: Metric,
    /// Calculation within a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregation: Option<Aggregation>,
    /// `hour`, `day`, `month`, or a dimension such as `process_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    group_by: Option<String>,
    /// How many days it looks back; seven if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 366))]
    days: Option<u32>,
}

impl Chart {
    fn new(title: &str, metric: Metric, aggregation: Aggregation, group_by: &str) -> Self {
        Self { title: title.to_owned(), metric, aggregation: Some(aggregation), group_by: Some(group_by.to_owned()), days: None }
    }

    fn chosen(&self, now: Timestamp) -> Result<Chosen> {
        let selection = Selection {
            metric: self.metric.clone(),
            start_time: Some(now_from(now, self.days)),
            end_time: Some(now),
            group_by: self.group_by.clone(),
            aggregation: self.aggregation.clone(),
        };
        Chosen::read(&selection, now)
    }

    fn widget(&self, connection: &Connection, tenant: &str, now: Timestamp) -> Result<Widget> {
        let chosen = self.chosen(now)?;
        let values = chosen.groups(connection, tenant, None, MAX_VALUES)?.into_iter().map(|(_, value)| value).collect();
        Ok(Widget { title: self.title.clone(), metric: Some(self.metric.clone()), aggregation: Some(chosen.aggregation), values })
    }
}

/// The dashboards that every tenant has.
fn predefined() -> [(&'static str, &'static str, Vec<Chart>); 2] {
    let operations = vec![
        Chart::new("Executions a day", Metric::ExecutionCount, Aggregation::Sum, "day"),
        Chart::new("Executions by process", Metric::ExecutionCount, Aggregation::Sum, "process_id"),
        Chart::new("Duration of executions, 95th percentile", Metric::ExecutionDuration, Aggregation::P95, "day"),
        Chart::new("Time until tasks are answered", Metric::TaskCompletionTime, Aggregation::Average, "day"),
        Chart::new("Active users a day", Metric::ActiveUsers, Aggregation::Count, "day"),
    ];
    let systems = vec![
        Chart::new("Latency of agents, 95th percentile", Metric::AgentLatency, Aggregation::P95, "day"),
        Chart::new("Latency by agent", Metric::AgentLatency, Aggregation::Average, "agent_id"),
        Chart::new("Syncs that succeeded", Metric::SyncSuccessRate, Aggregation::Average, "day"),
        Chart::new("Syncs that succeeded, by integration", Metric::SyncSuccessRate, Aggregation::Average, "integration_id"),
    ];
    [(OPERATIONS, "Operations", operations), (SYSTEMS, "Agents and integrations", systems)]
}

/// Makes a dashboard.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Create {
    /// Its name.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// Its charts.
    #[schemars(length(min = 1, max = 20))]
    widgets: Vec<Chart>,
}

impl Operation for Create {
    type Output = DashboardSummary;
    const SPEC: Spec = Spec::post("dashboards_create", "/dashboards", Effect::Write)
        .titled("Create a dashboard")
        .requires(Permission::DASHBOARD_VIEW)
        .answers(201);
}

/// Deletes a dashboard that somebody made.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Delete {
    /// The dashboard.
    id: DashboardId,
}

impl Operation for Delete {
    type Output = Done;
    const SPEC: Spec = Spec::delete("dashboards_delete", "/dashboards/{id}", Effect::Destroy)
        .titled("Delete a dashboard")
        .requires(Permission::DASHBOARD_VIEW);
}

pub(super) async fn get(cx: Cx, request: GetDashboard) -> Result<Dashboard> {
    let (tenant, now) = (cx.tenant(), cx.now());
    cx.read(move |connection| {
        let (name, charts) = find(connection, tenant.as_str(), request.id.as_str())?;
        let widgets = charts.iter().map(|chart| chart.widget(connection, tenant.as_str(), now)).collect::<Result<_>>()?;
        Ok(Dashboard { dashboard_id: request.id, name, widgets, generated_at: Some(now) })
    })
    .await
}

pub(super) async fn create(cx: Cx, request: Create) -> Result<Answer<DashboardSummary>> {
    may(&cx, CREATE)?;
    for chart in &request.widgets {
        chart.chosen(cx.now())?;
    }
    let made = cx
        .write(move |tx| {
            let count: i64 = tx.query_row("SELECT count(*) FROM dashboards WHERE tenant_id = ?1", [tx.tenant()], |row| row.get(0))?;
            if count >= MAX_PER_TENANT {
                let message = format!("there are {MAX_PER_TENANT} dashboards already");
                return Err(Error::new(Kind::Conflict, "FM-AS-TOO-MANY", message).hint("Delete one that is not needed any more."));
            }
            let id = tx.mint("dash");
            tx.execute(
                "INSERT INTO dashboards (tenant_id, id, name, widgets, created_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![tx.tenant(), id, request.name, document(&request.widgets)?, tx.scope().actor, tx.now().millis()],
            )?;
            let after = json!({ "name": request.name, "widgets": request.widgets.len() });
            tx.audit("dashboard.created", "dashboard", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
            Ok(DashboardSummary { dashboard_id: id.into(), name: request.name, predefined: false, created_at: Some(tx.now()) })
        })
        .await?;
    let location = format!("/dashboards/{}", made.dashboard_id);
    Ok(Answer::from(made).location(location))
}

pub(super) async fn delete(cx: Cx, request: Delete) -> Result<Done> {
    may(&cx, CREATE)?;
    cx.write(move |tx| {
        let id = request.id.as_str();
        if predefined().iter().any(|(known, ..)| *known == id) {
            return Err(Error::new(Kind::Conflict, "FM-AS-PREDEFINED", "every tenant has this dashboard; it cannot be deleted"));
        }
        let (name, _) = find(tx, tx.tenant(), id)?;
        tx.execute("DELETE FROM dashboards WHERE tenant_id = ?1 AND id = ?2", (tx.tenant(), id))?;
        let before = json!({ "name": name });
        tx.audit("dashboard.deleted", "dashboard", id, Some(Changes { before: before.as_object().cloned(), after: None }))?;
        Ok(Done::default())
    })
    .await
}

pub(super) async fn list(cx: Cx, request: ListDashboards) -> Result<Page<DashboardSummary>> {
    let (tenant, after, most) = (cx.tenant(), cx.cursor(&request.page)?, request.page.size() + 1);
    let found = cx
        .read(move |connection| {
            // The predefined ones come first, on the first page.
            let first = predefined().map(|(id, name, _)| DashboardSummary {
                dashboard_id: id.into(),
                name: name.to_owned(),
                predefined: true,
                created_at: None,
            });
            let place = after.as_deref().map(|after| first.iter().position(|listed| listed.dashboard_id.as_str() == after));
            let (skipped, from) = match place {
                None => (0, String::new()),
                Some(Some(place)) => (place + 1, String::new()),
                Some(None) => (first.len(), after.unwrap_or_default()),
            };
            let mut listed: Vec<DashboardSummary> = first.into_iter().skip(skipped).collect();
            let mut statement = connection
                .prepare_cached("SELECT id, name, created_at FROM dashboards WHERE tenant_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3")?;
            let rows = statement.query_map(params![tenant.as_str(), from, i64::try_from(most).unwrap_or_default()], |row| {
                Ok(DashboardSummary {
                    dashboard_id: row.get::<_, String>(0)?.into(),
                    name: row.get(1)?,
                    predefined: false,
                    created_at: Some(Timestamp::from_millis(row.get(2)?)),
                })
            })?;
            for row in rows {
                listed.push(row?);
            }
            Ok(listed)
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |dashboard| dashboard.dashboard_id.0.clone()))
}

/// The name and the charts of a dashboard.
fn find(connection: &Connection, tenant: &str, id: &str) -> Result<(String, Vec<Chart>)> {
    if let Some((_, name, charts)) = predefined().into_iter().find(|(known, ..)| *known == id) {
        return Ok((name.to_owned(), charts));
    }
    let found: Option<(String, String)> = connection
        .prepare_cached("SELECT name, widgets FROM dashboards WHERE tenant_id = ?1 AND id = ?2")?
        .query_row((tenant, id), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (name, charts) = found.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-AS-DASHBOARD-NOT-FOUND", format!("there is no dashboard {}", quote(id)))
            .hint("kpis_list names dashboards that there are.")
    })?;
    Ok((name, parse(&charts)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_predefined_chart_can_be_read() {
        let now = Timestamp::from_millis(0);
        for (id, _, charts) in predefined() {
            assert!(!charts.is_empty(), "{id}");
            for chart in charts {
                chart.chosen(now).unwrap();
            }
        }
    }
}
