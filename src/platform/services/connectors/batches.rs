//! A batch in its transaction: records, dead letters, position and counts become true together.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value};

use super::jobs::{self, Stored};
use super::rows::{Kept, Ready, Reason};
use super::runs::{Run, last};
use crate::error::{Kind, Result};
use crate::platform::database::Tx;
use crate::platform::services::entities;

/// Most dead letters that a job keeps; all are counted.
const MAX_DEAD: u64 = 1_000;

/// How many keys are looked at in one step, to see whether their rows are gone.
const SWEPT_AT_ONCE: i64 = 500;

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
            Kept::Gone { place, key, text } => match remove_record(tx, job, &mut run, key)? {
                Removed::Gone => {}
                Removed::Unknown => run.records_read -= 1,
                Removed::Stays(reason) => keep_dead(tx, &mut run, *place, &reason, text)?,
            },
            Kept::Dead { place, key, reason, text } => {
                if let Some(key) = key {
                    run.keys += u64::from(keep_key(tx, job, &stamp, key)?);
                }
                keep_dead(tx, &mut run, *place, reason, text)?;
            }
        }
    }
    // Records that were removed since have places of their own.
    run.position = run.position.max(ready.position);
    run.bytes_read += ready.bytes;
    run.checksum.clone_from(&ready.checksum);
    run.high.clone_from(&ready.high);
    keep_progress(tx, &run)?;
    if ready.high.is_some() {
        jobs::follow_to(tx, &job.id, ready.high.as_deref())?;
    }
    Ok(Progress::Kept(Box::new(run)))
}

/// Removes the records of some keys that this pass through all rows did not bring, after a key, and answers the last key.
/// Records that another import brought last are that import's.
pub(super) fn sweep(tx: &mut Tx<'_>, job: &Stored, run: &Run, after: &str) -> Result<(Progress, Option<String>)> {
    let Some(mut run) = last(tx, tx.tenant(), &run.job)?.filter(|last| last.id == run.id && last.status == "running") else {
        return Ok((Progress::Ended, None));
    };
    let keys: Vec<(String, String)> = tx
        .prepare_cached(
            "SELECT key, seen FROM ingest_keys WHERE tenant_id = ?1 AND entity_type = ?2 AND key_field = ?3 AND key > ?4 \
             ORDER BY key LIMIT ?5",
        )?
        .query_map(params![tx.tenant(), job.entity_type, job.key_field, after, SWEPT_AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let stamp = run.stamp();
    for (key, _) in keys.iter().filter(|(_, seen)| *seen != stamp && run.is_of_job(seen)).cloned().collect::<Vec<_>>() {
        match remove_record(tx, job, &mut run, &key)? {
            Removed::Unknown => {}
            Removed::Gone => run.records_read += 1,
            Removed::Stays(reason) => {
                run.records_read += 1;
                run.position += 1;
                let place = run.position;
                keep_dead(tx, &mut run, place, &reason, &key)?;
            }
        }
    }
    keep_progress(tx, &run)?;
    Ok((Progress::Kept(Box::new(run)), keys.into_iter().last().map(|(key, _)| key)))
}

fn keep_progress(tx: &Tx<'_>, run: &Run) -> Result<()> {
    tx.prepare_cached(
        "UPDATE ingest_runs SET attempts = 0, position = ?4, records_read = ?5, written = ?6, dead = ?7, keys = ?8, bytes_read = ?9, \
         checksum = ?10, high = ?11, deleted = ?12 WHERE tenant_id = ?1 AND job_id = ?2 AND id = ?3",
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
        run.high,
        run.deleted
    ])?;
    Ok(())
}

fn keep_dead(tx: &Tx<'_>, run: &mut Run, place: u64, reason: &Reason, text: &str) -> Result<()> {
    run.dead += 1;
    if run.dead <= MAX_DEAD {
        tx.prepare_cached(
            "INSERT OR REPLACE INTO ingest_dead_letters (tenant_id, job_id, place, code, reason, row) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![tx.tenant(), run.job, place, reason.code, reason.text, text])?;
    }
    Ok(())
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

/// Marks the key of a row that is there and cannot be kept: its record stays as it is. Answers whether it is new to this pass.
fn keep_key(tx: &Tx<'_>, job: &Stored, stamp: &str, key: &str) -> Result<bool> {
    let changed = tx
        .prepare_cached(
            "UPDATE ingest_keys SET seen = ?5 \
             WHERE tenant_id = ?1 AND entity_type = ?2 AND key_field = ?3 AND key = ?4 AND seen <> ?5 \
             AND EXISTS (SELECT 1 FROM entities WHERE entities.tenant_id = ?1 AND entities.id = entity_id)",
        )?
        .execute((tx.tenant(), &job.entity_type, &job.key_field, key, stamp))?;
    Ok(changed > 0)
}

/// What became of a record whose row is gone.
enum Removed {
    Gone,
    /// This import did not bring it, or it is gone already.
    Unknown,
    Stays(Reason),
}

/// Removes the record of a key that this import brought last.
fn remove_record(tx: &mut Tx<'_>, job: &Stored, run: &mut Run, key: &str) -> Result<Removed> {
    let place = (tx.tenant().to_owned(), &job.entity_type, &job.key_field, key);
    let known: Option<(String, String)> = tx
        .prepare_cached(
            "SELECT entity_id, seen FROM ingest_keys WHERE tenant_id = ?1 AND entity_type = ?2 AND key_field = ?3 AND key = ?4",
        )?
        .query_row((&place.0, place.1, place.2, place.3), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, seen)) = known.filter(|(_, seen)| run.is_of_job(seen)) else { return Ok(Removed::Unknown) };
    let removed = match entities::remove_imported(tx, &job.entity_type, &id) {
        Ok(true) => Removed::Gone,
        Ok(false) => Removed::Unknown,
        Err(error) if error.kind() == Kind::Conflict => {
            return Ok(Removed::Stays(Reason::new(
                "referenced",
                format!("is gone from the source; its record stays: {}", error.message()),
            )));
        }
        Err(error) => return Err(error),
    };
    tx.prepare_cached("DELETE FROM ingest_keys WHERE tenant_id = ?1 AND entity_type = ?2 AND key_field = ?3 AND key = ?4")?
        .execute((&place.0, place.1, place.2, place.3))?;
    if let Removed::Gone = removed {
        run.deleted += 1;
        run.keys = run.keys.saturating_sub(u64::from(seen == run.stamp()));
    }
    Ok(removed)
}

/// Whether the data hub holds as many records as the run brought keys, and what became of each row is counted.
pub(super) fn reconcile(connection: &Connection, job: &Stored, run: &Run) -> Result<bool> {
    let held: u64 = connection
        .prepare_cached(
            "SELECT count(*) FROM ingest_keys JOIN entities ON entities.tenant_id = ingest_keys.tenant_id AND entities.id = entity_id \
             WHERE ingest_keys.tenant_id = ?1 AND entity_type = ?2 AND key_field = ?3 AND seen = ?4",
        )?
        .query_row((&job.tenant, &job.entity_type, &job.key_field, run.stamp()), |row| row.get(0))?;
    Ok(held == run.keys && run.records_read == run.written + run.deleted + run.dead)
}
