//! Retention: details for 90 days, rows for two years, critical rows for seven.
//!
//! Rows are removed from the front of the chain only: their segment is closed by a signed checkpoint, which names the
//! rows that stay, and from which the rest of the chain is verified on.

use rusqlite::OptionalExtension as _;
use serde_json::json;

use crate::api::Timestamp;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::platform::database::{Link, Scope, Tx};
use crate::platform::keys::Keys;

const DAY: f64 = 24.0 * 3600.0;
/// How long the details of a row are kept, in seconds.
pub(super) const DETAIL_SECONDS: f64 = 90.0 * DAY;
const ROW_SECONDS: f64 = 2.0 * 365.0 * DAY;
const CRITICAL_SECONDS: f64 = 7.0 * 365.0 * DAY;
/// How often it is looked after, in seconds.
const INTERVAL: f64 = 3600.0;

/// A closed segment of a tenant's chain.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    pub(super) tenant: String,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) first_previous_hash: String,
    pub(super) last_hash: String,
    /// Rows that stay: place, hash, and until when.
    pub(super) kept: Vec<(i64, String, i64)>,
    pub(super) created_at: i64,
    pub(super) signature: String,
}

impl Checkpoint {
    fn text(&self) -> String {
        json!([
            "flowmaster/audit/checkpoint",
            self.tenant,
            self.first,
            self.last,
            self.first_previous_hash,
            self.last_hash,
            self.kept,
            self.created_at,
        ])
        .to_string()
    }

    /// Whether the folder's key signed it.
    pub(super) fn is_signed_by(&self, keys: &Keys) -> bool {
        keys.verify(self.text().as_bytes(), &self.signature)
    }
}

/// Looks after the trail as long as the platform runs.
pub(super) async fn run(platform: Platform) {
    loop {
        if let Err(error) = look_after(&platform).await {
            tracing::error!(%error, "retention of the audit trail failed; it is tried again in an hour");
        }
        let next = platform.now().plus_seconds(INTERVAL);
        tokio::select! {
            () = platform.stopping().cancelled() => return,
            () = platform.clock().sleep_until(next) => {}
        }
    }
}

async fn look_after(platform: &Platform) -> Result<()> {
    let tenants: Vec<String> = platform
        .database()
        .read(|connection| {
            // One step in the index for each tenant, since it is asked at every start.
            let mut statement = connection.prepare(
                "WITH RECURSIVE tenants (name) AS (
                     SELECT min(tenant_id) FROM audit_log
                     UNION ALL SELECT (SELECT min(tenant_id) FROM audit_log WHERE tenant_id > name) FROM tenants WHERE name IS NOT NULL
                 ) SELECT name FROM tenants WHERE name IS NOT NULL",
            )?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
        .await?;
    for tenant in tenants {
        let signing = platform.clone();
        let done = platform
            .database()
            .write(Scope::system(tenant.into()), move |tx| {
                drop_details(tx)?;
                close_segment(tx, signing.keys())?;
                drop_critical(tx)
            })
            .await;
        // Another tenant's trail is looked after all the same.
        if let Err(error) = done {
            tracing::error!(%error, "retention of a tenant's audit trail failed; it is tried again in an hour");
        }
    }
    Ok(())
}

fn drop_details(tx: &Tx<'_>) -> Result<()> {
    tx.prepare_cached(
        "UPDATE audit_log INDEXED BY audit_log_details SET changes = NULL, changes_salt = NULL, erased_by = coalesce(erased_by, 'retention')
         WHERE tenant_id = ?1 AND recorded_at <= ?2 AND critical = 0 AND (changes_salt IS NOT NULL OR changes IS NOT NULL)",
    )?
    .execute((tx.tenant(), before(tx, DETAIL_SECONDS)))?;
    Ok(())
}

fn close_segment(tx: &mut Tx<'_>, keys: &Keys) -> Result<()> {
    let tenant = tx.tenant().to_owned();
    let anchor = Checkpoint::all(tx, &tenant)?.pop();
    // Once a day is enough: each closing is itself a row.
    if anchor.as_ref().is_some_and(|anchor| anchor.created_at > before(tx, DAY)) {
        return Ok(());
    }
    let (first, first_previous_hash) = match &anchor {
        Some(anchor) => (anchor.last + 1, anchor.last_hash.clone()),
        None => (1, Link::genesis(&tenant)),
    };
    // A row that carries a later time than its successor ends the segment, so that nothing young goes with the old.
    let last: Option<(i64, String)> = tx
        .prepare_cached(
            "SELECT sequence, hash FROM audit_log WHERE tenant_id = ?1 AND sequence >= ?2 AND sequence < coalesce(
                 (SELECT min(sequence) FROM audit_log WHERE tenant_id = ?1 AND sequence >= ?2 AND recorded_at > ?3), ?4)
             ORDER BY sequence DESC LIMIT 1",
        )?
        .query_row((&tenant, first, before(tx, ROW_SECONDS), i64::MAX), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((last, last_hash)) = last else { return Ok(()) };
    let kept: Vec<(i64, String, i64)> = tx
        .prepare_cached(
            "SELECT sequence, hash, recorded_at FROM audit_log WHERE tenant_id = ?1 AND sequence BETWEEN ?2 AND ?3 AND critical = 1
             ORDER BY sequence",
        )?
        .query_map((&tenant, first, last), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .map(|row| row.map(|(sequence, hash, at): (i64, String, i64)| (sequence, hash, later(at, CRITICAL_SECONDS))))
        .collect::<Result<_, _>>()?;
    let mut checkpoint =
        Checkpoint { tenant, first, last, first_previous_hash, last_hash, kept, created_at: tx.now().millis(), signature: String::new() };
    checkpoint.signature = keys.sign(checkpoint.text().as_bytes());
    tx.prepare_cached(
        "INSERT INTO audit_checkpoints (tenant_id, first, last, first_previous_hash, last_hash, kept, created_at, signature)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute((
        &checkpoint.tenant,
        checkpoint.first,
        checkpoint.last,
        &checkpoint.first_previous_hash,
        &checkpoint.last_hash,
        serde_json::to_string(&checkpoint.kept).map_err(Error::internal)?,
        checkpoint.created_at,
        &checkpoint.signature,
    ))?;
    tx.prepare_cached("DELETE FROM audit_log WHERE tenant_id = ?1 AND sequence BETWEEN ?2 AND ?3 AND critical = 0")?.execute((
        &checkpoint.tenant,
        first,
        last,
    ))?;
    tx.audit("audit.segment_closed", "audit_segment", &format!("{first}-{last}"), None)?;
    Ok(())
}

/// Critical rows go when their time is over, once their segment is closed.
fn drop_critical(tx: &Tx<'_>) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM audit_log WHERE tenant_id = ?1 AND critical = 1 AND recorded_at <= ?2
             AND sequence <= (SELECT coalesce(max(last), 0) FROM audit_checkpoints WHERE tenant_id = ?1)",
    )?
    .execute((tx.tenant(), before(tx, CRITICAL_SECONDS)))?;
    Ok(())
}

fn before(tx: &Tx<'_>, seconds: f64) -> i64 {
    tx.now().plus_seconds(-seconds).millis()
}

fn later(at: i64, seconds: f64) -> i64 {
    Timestamp::from_millis(at).plus_seconds(seconds).millis()
}
