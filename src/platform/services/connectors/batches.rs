//! A batch in its transaction: records, dead letters, position and counts become true together.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value};

use super::jobs::Stored;
use super::rows::{Kept, Ready};
use super::runs::{Run, last};
use crate::error::Result;
use crate::platform::database::Tx;
use crate::platform::services::entities;

/// Most dead letters that a job keeps; all are counted.
const MAX_DEAD: u64 = 1_000;

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Progress {
    /// It is kept.
    Kept(Box<Run>),
    /// The type's schema is another by now: the batch must be checked again.
    SchemaChanged(Option<Value>),
    /// The run was cancelled.
    Ended,
}

/// Keeps a batch: records, dead letters, position and counts become true together.
pub(super) fn keep(tx: &mut Tx<'_>, job: &Stored, run: &Run, ready: &Ready, schema: Option<&Value>) -> Result<Progress> {
    let Some(mut run) = last(tx, tx.tenant(), &run.job)?.filter(|last| last.id == run.id && last.status == "running") else {
        return Ok(Progress::Ended);
    };
    let current = entities::type_for_import(tx, &job.entity_type)?;
    if current.as_ref() != schema {
        return Ok(Progress::SchemaChanged(current));
    }
    let stamp = run.stamp();
    for row in &ready.rows {
        run.records_read += 1;
        match row {
            Kept::Record { key, data } => {
                run.written += 1;
                run.keys += u64::from(keep_record(tx, job, &stamp, key, data)?);
            }
            Kept::Dead { place, reason, text } => {
                run.dead += 1;
                if run.dead <= MAX_DEAD {
                    tx.prepare_cached(
                        "INSERT OR REPLACE INTO ingest_dead_letters (tenant_id, job_id, place, code, reason, row) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![tx.tenant(), job.id, place, reason.code, reason.text, text])?;
                }
            }
        }
    }
    run.position = ready.position;
    run.bytes_read += ready.bytes;
    run.checksum.clone_from(&ready.checksum);
    run.high.clone_from(&ready.high);
    tx.prepare_cached(
        "UPDATE ingest_runs SET attempts = 0, position = ?4, records_read = ?5, written = ?6, dead = ?7, keys = ?8, bytes_read = ?9, \
         checksum = ?10, high = ?11 WHERE tenant_id = ?1 AND job_id = ?2 AND id = ?3",
    )?
    .execute(params![
        tx.tenant(),
        run.job,
        run.id,
        run.position,
        run.records_read,
        run.written,
        run.dead,
        run.keys,
        run.bytes_read,
        run.checksum,
        run.high
    ])?;
    Ok(Progress::Kept(Box::new(run)))
}

/// Adds or changes the record of a key; answers whether the key is new to this pass.
fn keep_record(tx: &mut Tx<'_>, job: &Stored, stamp: &str, key: &str, data: &Map<String, Value>) -> Result<bool> {
    let known: Option<(String, String)> = tx
        .prepare_cached(
            "SELECT entity_id, seen FROM ingest_keys WHERE tenant_id = ?1 AND entity_type = ?2 AND key_field = ?3 AND key = ?4",
        )?
        .query_row((tx.tenant(), &job.entity_type, &job.key_field, key), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let id = entities::put_imported(tx, &job.entity_type, known.as_ref().map(|(id, _)| id.as_str()), data)?;
    tx.prepare_cached(
        "INSERT OR REPLACE INTO ingest_keys (tenant_id, entity_type, key_field, key, entity_id, seen) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((tx.tenant(), &job.entity_type, &job.key_field, key, id, stamp))?;
    Ok(known.is_none_or(|(_, seen)| seen != stamp))
}

/// Whether the data hub holds as many records as the run brought keys, and each row was either written or is a dead letter.
pub(super) fn reconcile(connection: &Connection, job: &Stored, run: &Run) -> Result<bool> {
    let held: u64 = connection
        .prepare_cached(
            "SELECT count(*) FROM ingest_keys JOIN entities ON entities.tenant_id = ingest_keys.tenant_id AND entities.id = entity_id \
             WHERE ingest_keys.tenant_id = ?1 AND entity_type = ?2 AND key_field = ?3 AND seen = ?4",
        )?
        .query_row((&job.tenant, &job.entity_type, &job.key_field, run.stamp()), |row| row.get(0))?;
    Ok(held == run.keys && run.records_read == run.written + run.dead)
}
