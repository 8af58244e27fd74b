//! Lists that the contract lacks: the schedules of a tenant, and what became of each time of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::store;
use crate::api::ids::{ExecutionId, ScheduleId};
use crate::api::schedules::{List, Schedule};
use crate::api::{Effect, Operation, Page, PageRequest, Permission, Spec, Timestamp};
use crate::error::Result;
use crate::platform::http::context::Cx;

/// Lists what became of a schedule's times, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Runs {
    /// The schedule.
    id: ScheduleId,
    /// How much to answer.
    #[serde(flatten)]
    page: PageRequest,
}

/// A time of a schedule that was dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fired {
    /// The row.
    #[serde(rename = "fireId")]
    id: String,
    /// The time that was set; absent for a run out of turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    planned_at: Option<Timestamp>,
    /// When it was dealt with.
    #[serde(rename = "firedAt")]
    at: Timestamp,
    /// started, failed or skipped.
    status: String,
    /// The earlier times that it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
    /// The execution that it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_id: Option<ExecutionId>,
    /// Why it started none: the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Why it started none, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Operation for Runs {
    type Output = Page<Fired>;
    const SPEC: Spec = Spec::get("schedules_runs", "/schedules/{id}/runs", Effect::Read)
        .titled("List the runs of a schedule")
        .requires(Permission::SCHEDULE_VIEW);
}

pub(super) async fn schedules(cx: Cx, request: List) -> Result<Page<Schedule>> {
    let (tenant, before, most) = (cx.tenant(), cx.cursor(&request.page)?, request.page.size() + 1);
    let found = cx
        .read(move |connection| {
            let schedules = store::list(connection, tenant.as_str(), before.as_deref(), most)?;
            let shown = schedules.into_iter().map(|schedule| {
                let failure = store::last_failure(connection, tenant.as_str(), &schedule.id)?;
                Ok(schedule.view(failure))
            });
            shown.collect::<Result<Vec<_>>>()
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |schedule| schedule.schedule_id.0.clone()))
}

pub(super) async fn runs(cx: Cx, request: Runs) -> Result<Page<Fired>> {
    let (tenant, before, most) = (cx.tenant(), cx.cursor(&request.page)?, request.page.size() + 1);
    let fires = cx
        .read(move |connection| {
            store::find(connection, tenant.as_str(), request.id.as_str())?;
            store::fires(connection, tenant.as_str(), request.id.as_str(), before.as_deref(), most)
        })
        .await?;
    let page = cx.page_of(fires, &request.page, |fire| fire.id.clone());
    let items = page.items.into_iter().map(|fire| Fired {
        id: fire.id,
        planned_at: fire.planned,
        at: fire.fired,
        status: fire.status,
        missed: Some(fire.missed).filter(|missed| *missed > 0),
        execution_id: fire.execution.map(Into::into),
        code: fire.code,
        message: fire.message,
    });
    Ok(Page { items: items.collect(), next_cursor: page.next_cursor })
}
