//! The life of a run: queued, begun, put off, and ended once, each with what its job then is.

use rusqlite::params;
use serde_json::{Map, Value, json};

use super::jobs::{self, Stored};
use super::runs::{Run, last};
use crate::api::Timestamp;
use crate::api::audit::Changes;
use crate::api::connectors::JobStatus;
use crate::error::Result;
use crate::platform::database::Tx;

/// Most runs that a job keeps.
const MAX_RUNS: i64 = 100;

/// Queues a run of a job.
pub(super) fn queue(tx: &mut Tx<'_>, job: &Stored, runs_as: &str) -> Result<()> {
    let id = tx.mint("run");
    tx.prepare_cached("INSERT INTO ingest_runs (tenant_id, job_id, id, status, runs_as, due_at) VALUES (?1, ?2, ?3, 'pending', ?4, ?5)")?
        .execute((tx.tenant(), &job.id, &id, runs_as, tx.now().millis()))?;
    tx.prepare_cached(
        "DELETE FROM ingest_runs WHERE tenant_id = ?1 AND job_id = ?2 AND id < (SELECT id FROM ingest_runs \
         WHERE tenant_id = ?1 AND job_id = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
    )?
    .execute(params![tx.tenant(), job.id, MAX_RUNS - 1])?;
    tx.prepare_cached("UPDATE ingest_jobs SET runs = runs + 1 WHERE tenant_id = ?1 AND id = ?2")?.execute((tx.tenant(), &job.id))?;
    jobs::set_status(tx, &job.id, &JobStatus::Pending)?;
    record(tx, "ingest.started", job, Map::from_iter([("runId".to_owned(), json!(id))]))
}

/// Begins a run, or goes on with one that was interrupted; nothing if it was ended meanwhile.
pub(super) fn begin(tx: &mut Tx<'_>, run: &Run) -> Result<Option<(Stored, Run)>> {
    let changed = tx
        .prepare_cached(
            "UPDATE ingest_runs SET status = 'running', attempts = attempts + 1, started_at = coalesce(started_at, ?4) \
             WHERE tenant_id = ?1 AND job_id = ?2 AND id = ?3 AND status IN ('pending', 'running')",
        )?
        .execute((tx.tenant(), &run.job, &run.id, tx.now().millis()))?;
    if changed == 0 {
        return Ok(None);
    }
    jobs::set_status(tx, &run.job, &JobStatus::Running)?;
    let job = jobs::find(tx, tx.tenant(), &run.job)?;
    Ok(last(tx, tx.tenant(), &run.job)?.map(|run| (job, run)))
}

/// Begins the source at its first row: its counts are those of this pass alone.
pub(super) fn restart(tx: &mut Tx<'_>, run: &Run, digest: Option<&str>) -> Result<Option<Run>> {
    tx.prepare_cached(
        "UPDATE ingest_runs SET pass = pass + 1, digest = ?4, position = 0, records_read = 0, written = 0, deleted = 0, dead = 0, \
         keys = 0, bytes_read = 0, checksum = '', high = NULL WHERE tenant_id = ?1 AND job_id = ?2 AND id = ?3 AND status = 'running'",
    )?
    .execute((tx.tenant(), &run.job, &run.id, digest))?;
    tx.prepare_cached("DELETE FROM ingest_dead_letters WHERE tenant_id = ?1 AND job_id = ?2")?.execute((tx.tenant(), &run.job))?;
    Ok(last(tx, tx.tenant(), &run.job)?.filter(|last| last.id == run.id && last.status == "running"))
}

/// Begins a new pass within a run, whose counts go on.
pub(super) fn begin_pass(tx: &mut Tx<'_>, run: &Run) -> Result<Option<Run>> {
    tx.prepare_cached(
        "UPDATE ingest_runs SET pass = pass + 1, keys = 0 WHERE tenant_id = ?1 AND job_id = ?2 AND id = ?3 AND status = 'running'",
    )?
    .execute((tx.tenant(), &run.job, &run.id))?;
    Ok(last(tx, tx.tenant(), &run.job)?.filter(|last| last.id == run.id && last.status == "running"))
}

/// Ends a run that reached the end of its source; the job's watermark moves on.
pub(super) fn complete(tx: &mut Tx<'_>, job: &Stored, run: &Run, reconciled: bool) -> Result<()> {
    if !end(tx, run, &JobStatus::Completed, Some(reconciled), None)? {
        return Ok(());
    }
    tx.prepare_cached("UPDATE ingest_jobs SET watermark = coalesce(?3, watermark) WHERE tenant_id = ?1 AND id = ?2")?.execute((
        tx.tenant(),
        &job.id,
        run.high.as_ref().filter(|_| job.cdc),
    ))?;
    let said = [("reconciled", json!(reconciled)), ("checksum", json!(run.checksum))].map(|(name, value)| (name.to_owned(), value));
    record(tx, "ingest.completed", job, counts(run).into_iter().chain(said).collect())
}

/// Ends a run that cannot go on.
pub(super) fn fail(tx: &mut Tx<'_>, job: &Stored, run: &Run, code: &str, reason: &str) -> Result<()> {
    if !end(tx, run, &JobStatus::Failed, None, Some((code, reason)))? {
        return Ok(());
    }
    let run = last(tx, tx.tenant(), &run.job)?.unwrap_or_default();
    let said = [("code", json!(code)), ("reason", json!(reason))].map(|(name, value)| (name.to_owned(), value));
    record(tx, "ingest.failed", job, counts(&run).into_iter().chain(said).collect())
}

/// Puts a run off whose source cannot be read now.
pub(super) fn put_off(tx: &mut Tx<'_>, run: &Run, until: Timestamp, code: &str, reason: &str) -> Result<()> {
    let changed = tx
        .prepare_cached(
            "UPDATE ingest_runs SET status = 'pending', due_at = ?4, code = ?5, error = ?6 \
             WHERE tenant_id = ?1 AND job_id = ?2 AND id = ?3 AND status = 'running'",
        )?
        .execute(params![tx.tenant(), run.job, run.id, until.millis(), code, reason])?;
    if changed > 0 {
        jobs::set_status(tx, &run.job, &JobStatus::Pending)?;
    }
    Ok(())
}

/// Cancels the active run of a job, its schedule and what its slot is kept for; answers whether there was any of them.
pub(super) fn cancel(tx: &mut Tx<'_>, job: &Stored) -> Result<bool> {
    let active = last(tx, tx.tenant(), &job.id)?.filter(|run| matches!(run.status.as_str(), "pending" | "running"));
    if active.is_none() && job.next_run.is_none() && job.slot.is_none() {
        return Ok(false);
    }
    let run = active.unwrap_or_default();
    if !run.id.is_empty() {
        end(tx, &run, &JobStatus::Cancelled, None, None)?;
    }
    jobs::set_status(tx, &job.id, &JobStatus::Cancelled)?;
    jobs::set_next(tx, &job.id, None)?;
    if job.slot.is_some() {
        jobs::set_slot(tx, &job.id, job.slot.as_deref(), job.slot_table)?;
    }
    record(tx, "ingest.cancelled", job, counts(&run))?;
    Ok(true)
}

/// Ends an active run, once.
fn end(tx: &Tx<'_>, run: &Run, status: &JobStatus, reconciled: Option<bool>, failure: Option<(&str, &str)>) -> Result<bool> {
    let (code, reason) = failure.unzip();
    let changed = tx
        .prepare_cached(
            "UPDATE ingest_runs SET status = ?4, ended_at = ?5, reconciled = ?6, code = ?7, error = ?8 \
             WHERE tenant_id = ?1 AND job_id = ?2 AND id = ?3 AND status IN ('pending', 'running')",
        )?
        .execute(params![tx.tenant(), run.job, run.id, status.as_str(), tx.now().millis(), reconciled, code, reason])?;
    if changed > 0 {
        jobs::set_status(tx, &run.job, status)?;
    }
    Ok(changed > 0)
}

fn counts(run: &Run) -> Map<String, Value> {
    Map::from_iter(
        [
            ("runId", json!(run.id)),
            ("recordsRead", json!(run.records_read)),
            ("recordsWritten", json!(run.written)),
            ("recordsDeleted", json!(run.deleted)),
            ("deadLetters", json!(run.dead)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

/// Event and audit row of what happened to a job. They hold counts, and no value of a row.
pub(super) fn record(tx: &mut Tx<'_>, what: &str, job: &Stored, said: Map<String, Value>) -> Result<()> {
    let mut data = Map::from_iter([("jobId".to_owned(), json!(job.id)), ("entityType".to_owned(), json!(job.entity_type))]);
    data.extend(said.clone());
    tx.emit(what, &job.id, Value::Object(data))?;
    tx.audit(what, "ingest_job", &job.id, Some(Changes { before: None, after: Some(said) }))?;
    Ok(())
}
