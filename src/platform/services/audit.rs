//! Audit & Compliance Service: the trail, reports, requests to delete personal data, retention.

use rusqlite::types::Value as Sql;

use crate::api::FieldError;
use crate::api::Page;
use crate::api::audit::{AuditEntry, Log, LogBatch, MAX_BATCH, Query, Recorded, SERVICE};
use crate::api::ids::TenantId;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::http::context::{Answer, Cx, within_bytes};
use crate::platform::http::routes::Routes;
use crate::platform::vocabulary::{self, Names};

mod claims;
mod deletion;
mod erasure;
mod holds;
mod report;
mod retention;
mod verify;

pub use verify::{Verdict, verify_trails};

/// What stands where a text was erased.
pub(super) const ERASED: &str = "erased";

pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(log)
        .on(log_batch)
        .on(query)
        .on(report::make)
        .on(deletion::request)
        .on(deletion::preview)
        .on(deletion::get)
        .extend(&SERVICE, holds::create)
        .extend(&SERVICE, holds::release)
}

pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(retention::run(platform.clone()));
    platform.spawn(erasure::run(platform.clone()));
}

async fn log(cx: Cx, claim: Log) -> Result<Answer<AuditEntry>> {
    claims::check(&cx, &claim)?;
    let entry = cx.write(move |tx| tx.audit_claim(claim)).await?;
    Ok(entry.into())
}

/// All in one transaction, each chained to the one before it.
async fn log_batch(cx: Cx, batch: LogBatch) -> Result<Recorded> {
    let count = batch.entries.len();
    if !(1..=MAX_BATCH).contains(&count) {
        let detail = format!("has {count} entries; 1 to {MAX_BATCH} are allowed");
        return Err(Error::new(Kind::Invalid, "FM-ACS-INVALID", "the batch cannot be recorded").field("/entries", "length", detail));
    }
    for (place, entry) in batch.entries.iter().enumerate() {
        claims::check(&cx, &entry.entry).map_err(|error| error.below(&format!("/entries/{place}/entry")))?;
    }
    cx.write(move |tx| {
        let mut recorded = 0;
        for entry in batch.entries {
            recorded += u32::from(tx.audit_claim_once(&entry.id, entry.entry)?.is_some());
        }
        Ok(Recorded { recorded })
    })
    .await
}

/// Newest first, by when it happened.
async fn query(cx: Cx, request: Query) -> Result<Page<AuditEntry>> {
    let tenant = cx.tenant();
    let before = cx.cursor(&request.page)?.map(|text| place_of(&text)).transpose()?;
    let asked = request.page.clone();
    let (entries, page) = cx
        .read(move |connection| {
            check_names(connection, tenant.as_str(), &request)?;
            let mut sql = format!("SELECT {COLUMNS} FROM audit_log WHERE tenant_id = ?");
            let mut values: Vec<Sql> = vec![tenant.as_str().to_owned().into()];
            if let Some((timestamp, sequence)) = before {
                sql.push_str(" AND (timestamp, sequence) < (?, ?)");
                values.extend([timestamp.into(), sequence.into()]);
            }
            let texts = [
                ("actor", request.actor),
                ("action", request.action),
                ("resource_type", request.resource_type),
                ("resource_id", request.resource_id),
            ];
            for (column, wanted) in texts {
                if let Some(wanted) = wanted {
                    sql.extend([" AND ", column, " = ?"]);
                    values.push(wanted.into());
                }
            }
            for (comparison, moment) in [(">", request.created_after), ("<", request.created_before)] {
                if let Some(moment) = moment {
                    sql.extend([" AND timestamp ", comparison, " ?"]);
                    values.push(moment.millis().into());
                }
            }
            sql.push_str(" ORDER BY timestamp DESC, sequence DESC LIMIT ?");
            values.push(i64::try_from(request.page.size() + 1).unwrap_or(i64::MAX).into());
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
                let bytes = row.get_ref(8)?.as_bytes_or_null().ok().flatten().map_or(0, <[u8]>::len);
                Ok((entry(row, &tenant)?, bytes))
            })?;
            within_bytes(rows.map(|row| Ok(row?)), &asked, |(_, bytes)| *bytes)
        })
        .await?;
    let page = cx.page_of(entries, &page, |(entry, _)| format!("{} {}", entry.timestamp.millis(), entry.sequence));
    Ok(Page { items: page.items.into_iter().map(|(entry, _)| entry).collect(), next_cursor: page.next_cursor })
}

/// Where a list goes on: behind an entry's time and place in the chain.
fn place_of(text: &str) -> Result<(i64, i64)> {
    let place = text.split_once(' ').and_then(|(timestamp, sequence)| Some((timestamp.parse().ok()?, sequence.parse().ok()?)));
    place.ok_or_else(|| Error::internal("a cursor without a place"))
}

/// Refuses actions and kinds of things that no entry can have.
fn check_names(connection: &rusqlite::Connection, tenant: &str, request: &Query) -> Result<()> {
    let names = |column, own| Names { table: "audit_log", column, own };
    let mut faults = Vec::new();
    for (pointer, names, wanted) in [
        ("/action", names("action", vocabulary::ACTIONS), &request.action),
        ("/resourceType", names("resource_type", vocabulary::RESOURCE_TYPES), &request.resource_type),
    ] {
        if let Some(wanted) = wanted
            && let Some(detail) = names.unknown(connection, tenant, wanted)?
        {
            faults.push(FieldError::new(pointer, "unknown", detail));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-ACS-UNKNOWN-NAME", "no entry can match: the filter names what is not known").with_fields(faults))
}

const COLUMNS: &str = "id, sequence, timestamp, actor, recorded_by, action, resource_type, resource_id, changes, request_id, hash, claimed";

fn entry(row: &rusqlite::Row<'_>, tenant: &TenantId) -> rusqlite::Result<AuditEntry> {
    let text = |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.unwrap_or_else(|| ERASED.to_owned()));
    let changes: Option<String> = row.get(8)?;
    Ok(AuditEntry {
        id: row.get::<_, String>(0)?.into(),
        sequence: row.get::<_, i64>(1)?.unsigned_abs(),
        timestamp: crate::api::Timestamp::from_millis(row.get(2)?),
        actor: text(3)?,
        recorded_by: text(4)?,
        action: row.get(5)?,
        resource_type: row.get(6)?,
        resource_id: text(7)?,
        changes: changes.filter(|changes| !changes.is_empty()).and_then(|changes| serde_json::from_str(&changes).ok()),
        tenant_id: Some(tenant.clone()),
        request_id: row.get(9)?,
        hash: row.get(10)?,
        claimed: row.get(11)?,
    })
}
