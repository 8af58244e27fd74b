//! Key figures: those that every tenant has, and those with a goal that people set. The contract has no way to set one.

use rusqlite::{Connection, OptionalExtension as _, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::dashboards::{OPERATIONS, SYSTEMS};
use super::select::Chosen;
use super::{may, now_from};
use crate::api::analytics::{Aggregation, Kpi, ListKpis, Metric, Selection};
use crate::api::audit::Changes;
use crate::api::{Effect, Operation, Page, Permission, Spec, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::engine::runtime::run::{document, parse};
use crate::platform::http::context::Cx;

/// Most key figures that a tenant sets.
const MAX_PER_TENANT: i64 = 100;
/// A value that differs from the one before by less than this part is flat.
const FLAT: f64 = 0.01;
/// The permission to set one, beyond the contract's.
const DEFINE: &str = "kpi:define";

/// Sets a key figure with its goal; one of the same name is replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Define {
    /// Its name.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// What is measured.
    metric: Metric,
    /// Calculation over the period.
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregation: Option<Aggregation>,
    /// The value it should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
    /// How many days it looks back; seven if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 366))]
    days: Option<u32>,
}

impl Operation for Define {
    type Output = Kpi;
    const SPEC: Spec = Spec::post("kpis_define", "/kpis", Effect::Write).titled("Define a KPI").requires(Permission::KPI_VIEW).answers(201);
}

impl Define {
    fn new(name: &str, metric: Metric, aggregation: Aggregation) -> Self {
        Self { name: name.to_owned(), metric, aggregation: Some(aggregation), target: None, days: None }
    }

    fn chosen(&self, now: Timestamp) -> Result<Chosen> {
        let selection = Selection {
            metric: self.metric.clone(),
            start_time: Some(now_from(now, self.days)),
            end_time: Some(now),
            group_by: None,
            aggregation: self.aggregation.clone(),
        };
        Chosen::read(&selection, now)
    }

    /// The figure now and against the period before.
    fn kpi(self, connection: &Connection, tenant: &str, now: Timestamp) -> Result<Kpi> {
        let chosen = self.chosen(now)?;
        let (value, before) = (chosen.total(connection, tenant)?, chosen.before().total(connection, tenant)?);
        let systems = matches!(self.metric, Metric::AgentLatency | Metric::SyncSuccessRate);
        Ok(Kpi {
            name: self.name,
            value,
            unit: Some(chosen.unit()),
            target: self.target,
            trend: value.zip(before).map(|(value, before)| trend(value, before).to_owned()),
            dashboard_id: Some(if systems { SYSTEMS } else { OPERATIONS }.into()),
            generated_at: Some(now),
        })
    }
}

/// The key figures that every tenant has, of the last seven days.
fn predefined() -> [Define; 6] {
    [
        Define::new("Active users", Metric::ActiveUsers, Aggregation::Count),
        Define::new("Average latency of agents", Metric::AgentLatency, Aggregation::Average),
        Define::new("Average time until a task is answered", Metric::TaskCompletionTime, Aggregation::Average),
        Define::new("Average duration of an execution", Metric::ExecutionDuration, Aggregation::Average),
        Define::new("Executions", Metric::ExecutionCount, Aggregation::Sum),
        Define::new("Syncs that succeeded", Metric::SyncSuccessRate, Aggregation::Average),
    ]
}

pub(super) async fn list(cx: Cx, request: ListKpis) -> Result<Page<Kpi>> {
    let (tenant, now, after) = (cx.tenant(), cx.now(), cx.cursor(&request.page)?);
    let most = request.page.size() + 1;
    let found = cx
        .read(move |connection| {
            let mut all = stored(connection, tenant.as_str())?;
            all.extend(predefined().into_iter().filter(|known| !all.iter().any(|own| own.name == known.name)).collect::<Vec<_>>());
            all.sort_by(|one, other| one.name.cmp(&other.name));
            let later = all.into_iter().filter(|kpi| after.as_ref().is_none_or(|after| kpi.name > *after));
            later.take(most).map(|kpi| kpi.kpi(connection, tenant.as_str(), now)).collect::<Result<Vec<_>>>()
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |kpi| kpi.name.clone()))
}

pub(super) async fn define(cx: Cx, request: Define) -> Result<Kpi> {
    may(&cx, DEFINE)?;
    request.chosen(cx.now())?;
    cx.write(move |tx| {
        let before = replaced(tx, &request)?;
        tx.execute(
            "INSERT OR REPLACE INTO kpis (tenant_id, name, definition, created_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![tx.tenant(), request.name, document(&request)?, tx.scope().actor, tx.now().millis()],
        )?;
        let fields = |kpi: &Define| json!({ "metric": kpi.metric, "aggregation": kpi.aggregation, "target": kpi.target });
        let changes = Changes {
            before: before.as_ref().and_then(|before| fields(before).as_object().cloned()),
            after: fields(&request).as_object().cloned(),
        };
        tx.audit("kpi.defined", "kpi", &request.name, Some(changes))?;
        let (tenant, now) = (tx.tenant().to_owned(), tx.now());
        request.kpi(tx, &tenant, now)
    })
    .await
}

/// The definition that a new one replaces; refused where there is room for no further one.
fn replaced(tx: &Tx<'_>, request: &Define) -> Result<Option<Define>> {
    let before: Option<String> = tx
        .query_row("SELECT definition FROM kpis WHERE tenant_id = ?1 AND name = ?2", (tx.tenant(), &request.name), |row| row.get(0))
        .optional()?;
    if let Some(before) = before {
        return parse(&before).map(Some);
    }
    let count: i64 = tx.query_row("SELECT count(*) FROM kpis WHERE tenant_id = ?1", [tx.tenant()], |row| row.get(0))?;
    if count >= MAX_PER_TENANT {
        let message = format!("there are {MAX_PER_TENANT} key figures already");
        return Err(Error::new(Kind::Conflict, "FM-AS-TOO-MANY", message).hint("Give the name of one to replace it."));
    }
    Ok(None)
}

fn stored(connection: &Connection, tenant: &str) -> Result<Vec<Define>> {
    let mut statement = connection.prepare_cached("SELECT definition FROM kpis WHERE tenant_id = ?1")?;
    let rows = statement.query_map([tenant], |row| row.get::<_, String>(0))?;
    rows.map(|row| parse(&row?)).collect()
}

/// up, down or flat.
fn trend(value: f64, before: f64) -> &'static str {
    if (value - before).abs() <= before.abs() * FLAT {
        "flat"
    } else if value > before {
        "up"
    } else {
        "down"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_beside_nothing_is_up_and_a_hair_is_flat() {
        assert_eq!([trend(5.0, 0.0), trend(0.0, 0.0), trend(100.5, 100.0), trend(90.0, 100.0)], ["up", "flat", "flat", "down"]);
    }
}
