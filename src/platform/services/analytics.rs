//! Analytics Service: metrics over time, dashboards, reports and KPIs (contract, section 22). `rollup` adds up the event log.

mod cells;
mod dashboards;
mod kpis;
mod metrics;
mod periods;
mod reports;
mod rollup;
mod samples;
mod select;

use self::select::{Chosen, Group};
use crate::api::analytics::{MetricValue, QueryMetrics, SERVICE};
use crate::api::{Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::http::context::Cx;
use crate::platform::http::routes::Routes;

/// How many days a chart or key figure looks back that does not say so.
const DEFAULT_DAYS: u32 = 7;

/// The operations of the service.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(query)
        .on(dashboards::get)
        .on(reports::generate)
        .on(kpis::list)
        .extend(&SERVICE, dashboards::create)
        .on(dashboards::list)
        .extend(&SERVICE, dashboards::delete)
        .extend(&SERVICE, reports::get)
        .extend(&SERVICE, kpis::define)
}

/// Starts the worker that adds up the event log.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(rollup::follow(platform.clone()));
}

async fn query(cx: Cx, request: QueryMetrics) -> Result<Page<MetricValue>> {
    let chosen = Chosen::read(&request.selection, cx.now())?;
    let after = cx.cursor(&request.page)?;
    let (tenant, most, whole) = (cx.tenant(), request.page.size() + 1, chosen.group == Group::Whole);
    let groups = cx.read(move |connection| chosen.groups(connection, tenant.as_str(), after.as_deref(), most)).await?;
    if whole {
        return Ok(Page::only(groups.into_iter().map(|(_, value)| value).collect()));
    }
    let page = cx.page_of(groups, &request.page, |(key, _)| key.clone());
    Ok(Page { items: page.items.into_iter().map(|(_, value)| value).collect(), next_cursor: page.next_cursor })
}

/// The begin of the last so many days.
fn now_from(now: Timestamp, days: Option<u32>) -> Timestamp {
    now.plus_seconds(-24.0 * 3600.0 * f64::from(days.unwrap_or(DEFAULT_DAYS)))
}

/// Refuses a caller without a permission of an operation beyond the contract.
fn may(cx: &Cx, needed: &str) -> Result<()> {
    if cx.caller.permissions.as_ref().is_some_and(|held| held.covers(needed)) {
        return Ok(());
    }
    Err(Error::new(Kind::Forbidden, "FM-AAS-FORBIDDEN", format!("this takes the permission {needed}"))
        .hint("Ask an administrator for a role that grants it."))
}
