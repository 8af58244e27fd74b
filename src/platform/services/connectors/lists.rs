//! Lists that the contract lacks: the imports of a tenant, and the rows of one that did not become records.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{jobs, runs};
use crate::api::connectors::{Job, List};
use crate::api::ids::IngestJobId;
use crate::api::{Effect, Operation, Page, PageRequest, Permission, Spec};
use crate::error::Result;
use crate::platform::http::context::Cx;

/// Lists the rows of an import's last run that did not become records, at most 1,000, in the order of the source.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct DeadLetters {
    /// The import.
    id: IngestJobId,
    /// How much to answer.
    #[serde(flatten)]
    page: PageRequest,
}

/// A row that did not become a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetter {
    /// The number of the row in its source, from 1; of the line in JSON lines.
    row_number: u64,
    /// Why, as a code.
    code: String,
    /// Why, in words that complete a sentence about the row.
    reason: String,
    /// The row, up to 4 KiB.
    row: String,
}

impl Operation for DeadLetters {
    type Output = Page<DeadLetter>;
    const SPEC: Spec = Spec::get("ingest_jobs_dead_letters", "/ingest/jobs/{id}/dead-letters", Effect::Read)
        .titled("List the dead letters of an import")
        .requires(Permission::INGEST_VIEW);
}

pub(super) async fn jobs(cx: Cx, request: List) -> Result<Page<Job>> {
    let (tenant, before, most) = (cx.tenant(), cx.cursor(&request.page)?, request.page.size() + 1);
    let found = cx.read(move |connection| jobs::list(connection, tenant.as_str(), before.as_deref(), most)).await?;
    Ok(cx.page_of(found, &request.page, |job| job.job_id.0.clone()))
}

pub(super) async fn dead_letters(cx: Cx, request: DeadLetters) -> Result<Page<DeadLetter>> {
    let (tenant, after, most) = (cx.tenant(), cx.cursor_number(&request.page)?.unwrap_or_default(), request.page.size() + 1);
    let found = cx
        .read(move |connection| {
            jobs::find(connection, tenant.as_str(), request.id.as_str())?;
            runs::dead_letters(connection, tenant.as_str(), request.id.as_str(), after, most)
        })
        .await?;
    let page = cx.page_of(found, &request.page, |letter| letter.place.to_string());
    let show =
        |letter: runs::DeadLetter| DeadLetter { row_number: letter.place, code: letter.code, reason: letter.reason, row: letter.row };
    Ok(Page { items: page.items.into_iter().map(show).collect(), next_cursor: page.next_cursor })
}
