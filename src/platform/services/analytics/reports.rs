//! Reports: the figures of a period beside those of the one before, kept as they were answered.

use rusqlite::{OptionalExtension as _, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::select::{Chosen, Group};
use crate::api::analytics::{GenerateReport, Metric, Report};
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::ids::ReportId;
use crate::api::{Effect, Operation, Permission, Spec};
use crate::error::{Error, Kind, Result};
use crate::platform::engine::runtime::run::{document, parse};
use crate::platform::http::context::{Answer, Cx};

/// Most groups of a report.
const MAX_GROUPS: usize = 1_000;
/// Most reports that a tenant keeps; the oldest goes.
const MAX_KEPT: i64 = 200;

/// Shows a report as it was generated.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Get {
    /// The report.
    id: ReportId,
}

impl Operation for Get {
    type Output = Report;
    const SPEC: Spec = Spec::get("reports_get", "/reports/{id}", Effect::Read).titled("Show a report").requires(Permission::REPORT_VIEW);
}

pub(super) async fn generate(cx: Cx, request: GenerateReport) -> Result<Answer<Report>> {
    let now = cx.now();
    let chosen = Chosen::read(&request.selection, now)?;
    let tenant = cx.tenant();
    let report = cx
        .read(move |connection| {
            let groups = match chosen.group {
                Group::Whole => Vec::new(),
                _ => chosen.groups(connection, tenant.as_str(), None, MAX_GROUPS + 1)?,
            };
            if groups.len() > MAX_GROUPS {
                let message = format!("the report would have more than {MAX_GROUPS} groups");
                return Err(Error::new(Kind::Invalid, "FM-AS-TOO-MANY-GROUPS", message)
                    .field("/groupBy", "range", "makes too many groups of this period")
                    .hint("Take a shorter period or larger groups, such as `day` or `month`."));
            }
            Ok(Report {
                report_id: ReportId::mint(now),
                title: request.title,
                metric: Some(Metric::from(chosen.definition.name)),
                start_time: Some(chosen.start()),
                end_time: Some(chosen.end()),
                group_by: request.selection.group_by,
                unit: Some(chosen.unit()),
                total: chosen.total(connection, tenant.as_str())?,
                previous_total: chosen.before().total(connection, tenant.as_str())?,
                values: groups.into_iter().map(|(_, value)| value).collect(),
                aggregation: Some(chosen.aggregation),
                generated_at: Some(now),
            })
        })
        .await?;
    let report = cx
        .write(move |tx| {
            tx.execute(
                "INSERT INTO analytics_reports (tenant_id, id, report, created_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![tx.tenant(), report.report_id.as_str(), document(&report)?, tx.scope().actor, now.millis()],
            )?;
            tx.execute(
                "DELETE FROM analytics_reports WHERE tenant_id = ?1 AND id < (SELECT id FROM analytics_reports WHERE tenant_id = ?1 \
                 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                params![tx.tenant(), MAX_KEPT - 1],
            )?;
            let after = json!({ "metric": report.metric, "startTime": report.start_time, "endTime": report.end_time });
            let changes = Changes { before: None, after: after.as_object().cloned() };
            tx.audit("report.generated", "report", report.report_id.as_str(), Some(changes))?;
            Ok(report)
        })
        .await?;
    let location = format!("/reports/{}", report.report_id);
    Ok(Answer::from(report).location(location))
}

pub(super) async fn get(cx: Cx, request: Get) -> Result<Report> {
    let tenant = cx.tenant();
    cx.read(move |connection| {
        let found: Option<String> = connection
            .prepare_cached("SELECT report FROM analytics_reports WHERE tenant_id = ?1 AND id = ?2")?
            .query_row((tenant.as_str(), request.id.as_str()), |row| row.get(0))
            .optional()?;
        let found = found.ok_or_else(|| {
            Error::new(Kind::NotFound, "FM-AS-REPORT-NOT-FOUND", format!("there is no report {}", quote(request.id.as_str())))
                .hint("reports_generate makes one; the newest 200 are kept.")
        })?;
        parse(&found)
    })
    .await
}
