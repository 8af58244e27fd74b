//! Runs of imports as the database keeps them, and the dead letters of a job's last run.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::api::Timestamp;
use crate::error::{Error, Result};

const COLUMNS: &str = "tenant_id, job_id, id, status, runs_as, attempts, pass, digest, position, records_read, written, dead, keys, \
    bytes_read, checksum, high, reconciled, code, error, started_at, ended_at, deleted";

/// A run as stored.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) tenant: String,
    pub(super) job: String,
    pub(super) id: String,
    pub(super) status: String,
    pub(super) runs_as: String,
    pub(super) attempts: u32,
    pub(super) pass: u32,
    pub(super) digest: Option<String>,
    pub(super) position: u64,
    pub(super) records_read: u64,
    pub(super) written: u64,
    pub(super) dead: u64,
    pub(super) keys: u64,
    pub(super) bytes_read: u64,
    pub(super) checksum: String,
    pub(super) high: Option<String>,
    pub(super) reconciled: Option<bool>,
    pub(super) code: Option<String>,
    pub(super) error: Option<String>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    pub(super) deleted: u64,
}

impl Run {
    /// What a key is marked with that this run brought, in this pass through the source.
    pub(super) fn stamp(&self) -> String {
        format!("{}/{}/{}", self.job, self.id, self.pass)
    }

    /// Whether a mark is of this run's job.
    pub(super) fn is_of_job(&self, stamp: &str) -> bool {
        stamp.strip_prefix(&self.job).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Run> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
    Ok(Run {
        tenant: row.get(0)?,
        job: row.get(1)?,
        id: row.get(2)?,
        status: row.get(3)?,
        runs_as: row.get(4)?,
        attempts: row.get(5)?,
        pass: row.get(6)?,
        digest: row.get(7)?,
        position: row.get(8)?,
        records_read: row.get(9)?,
        written: row.get(10)?,
        dead: row.get(11)?,
        keys: row.get(12)?,
        bytes_read: row.get(13)?,
        checksum: row.get(14)?,
        high: row.get(15)?,
        reconciled: row.get(16)?,
        code: row.get(17)?,
        error: row.get(18)?,
        started: time(19)?,
        ended: time(20)?,
        deleted: row.get(21)?,
    })
}

/// The last run of a job.
pub(super) fn last(connection: &Connection, tenant: &str, job: &str) -> Result<Option<Run>> {
    let sql = format!("SELECT {COLUMNS} FROM ingest_runs WHERE tenant_id = ?1 AND job_id = ?2 ORDER BY id DESC LIMIT 1");
    Ok(connection.prepare_cached(&sql)?.query_row((tenant, job), from_row).optional()?)
}

/// A run that is queued or was interrupted, by the id of its job in the queue: the import's and its own.
pub(super) fn queued(connection: &Connection, tenant: &str, id: &str) -> Result<Option<Run>> {
    let Some((job, id)) = id.split_once('/') else { return Ok(None) };
    let sql =
        format!("SELECT {COLUMNS} FROM ingest_runs WHERE tenant_id = ?1 AND job_id = ?2 AND id = ?3 AND status IN ('pending', 'running')");
    Ok(connection.prepare_cached(&sql)?.query_row((tenant, job, id), from_row).optional()?)
}

/// Whether a run of a job is pending or under way.
pub(super) fn is_active(connection: &Connection, tenant: &str, job: &str) -> Result<bool> {
    Ok(last(connection, tenant, job)?.is_some_and(|run| matches!(run.status.as_str(), "pending" | "running")))
}

/// A row that did not become a record.
#[derive(Debug, Clone)]
pub(super) struct DeadLetter {
    pub(super) place: u64,
    pub(super) code: String,
    pub(super) reason: String,
    pub(super) row: String,
}

/// Dead letters of a job's last run in the order of their rows, after a place.
pub(super) fn dead_letters(connection: &Connection, tenant: &str, job: &str, after: i64, most: usize) -> Result<Vec<DeadLetter>> {
    let mut statement = connection.prepare_cached(
        "SELECT place, code, reason, row FROM ingest_dead_letters WHERE tenant_id = ?1 AND job_id = ?2 AND place > ?3 \
         ORDER BY place LIMIT ?4",
    )?;
    let letter = |row: &Row<'_>| Ok(DeadLetter { place: row.get(0)?, code: row.get(1)?, reason: row.get(2)?, row: row.get(3)? });
    let rows = statement.query_map(params![tenant, job, after, i64::try_from(most).unwrap_or_default()], letter)?;
    rows.collect::<rusqlite::Result<_>>().map_err(Error::from)
}
