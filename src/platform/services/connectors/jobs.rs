//! Imports as the database keeps them, and as callers see them: with what their last run did.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value};

use super::runs::{self, Run};
use super::source::{self, Source};
use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::connectors::{Job, JobStats, JobStatus, SourceType};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::engine::runtime::run::{document, parse};
use crate::platform::keys::Keys;

const COLUMNS: &str = "id, tenant_id, source_type, config, credential_names, destination, entity_type, key_field, schedule, cdc, \
    status, runs_as, watermark, created_at, next_run_at, content IS NOT NULL, runs, slot, slot_table";

/// An import as stored, its file and its credentials aside.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) tenant: String,
    pub(super) source_type: SourceType,
    pub(super) config: Map<String, Value>,
    pub(super) credential_names: Vec<String>,
    pub(super) destination: String,
    pub(super) entity_type: String,
    pub(super) key_field: String,
    pub(super) schedule: Option<String>,
    pub(super) cdc: bool,
    pub(super) status: JobStatus,
    pub(super) runs_as: String,
    pub(super) watermark: Option<String>,
    pub(super) created: Timestamp,
    pub(super) next_run: Option<Timestamp>,
    pub(super) has_content: bool,
    /// How many runs there were.
    pub(super) runs: u64,
    /// The replication slot at the source.
    pub(super) slot: Option<String>,
    /// The table that the slot is followed for.
    pub(super) slot_table: Option<u32>,
}

impl Stored {
    /// The source that the configuration says.
    pub(super) fn source(&self) -> Result<Source> {
        source::of(&self.source_type, &self.config, self.cdc, self.has_content)
    }

    /// The import as callers see it.
    pub(super) fn view(self, last: Option<Run>) -> Job {
        Job {
            job_id: self.id.into(),
            status: Some(self.status),
            source_type: Some(self.source_type),
            source_config: self.config,
            credentials_set: self.credential_names,
            destination: Some(self.destination),
            entity_type: Some(self.entity_type),
            key_field: Some(self.key_field),
            schedule: self.schedule,
            cdc_enabled: Some(self.cdc),
            created_at: Some(self.created),
            started_at: last.as_ref().and_then(|run| run.started),
            completed_at: last.as_ref().and_then(|run| run.ended),
            next_run_at: self.next_run,
            error: last.and_then(|run| Some(format!("{}: {}", run.code?, run.error?))),
            replication_slot: self.slot,
        }
    }

    /// What the runs did.
    pub(super) fn stats(self, last: Option<Run>) -> JobStats {
        let run = last.unwrap_or_default();
        JobStats {
            job_id: self.id.into(),
            status: Some(self.status),
            runs: self.runs,
            records_read: run.records_read,
            records_written: run.written,
            records_deleted: run.deleted,
            dead_letters: run.dead,
            bytes_read: run.started.map(|_| run.bytes_read),
            duration: run.started.and_then(|started| Some(run.ended?.seconds_since(started))),
            watermark: self.watermark,
            checksum: Some(run.checksum).filter(|sum| !sum.is_empty()),
            reconciled: run.reconciled,
            last_run_at: run.started,
            replication_slot: None,
        }
    }
}

fn from_row(row: &Row<'_>) -> Result<Stored> {
    Ok(Stored {
        id: row.get(0)?,
        tenant: row.get(1)?,
        source_type: row.get::<_, String>(2)?.as_str().into(),
        config: parse(&row.get::<_, String>(3)?)?,
        credential_names: parse(&row.get::<_, String>(4)?)?,
        destination: row.get(5)?,
        entity_type: row.get(6)?,
        key_field: row.get(7)?,
        schedule: row.get(8)?,
        cdc: row.get(9)?,
        status: row.get::<_, String>(10)?.as_str().into(),
        runs_as: row.get(11)?,
        watermark: row.get(12)?,
        created: Timestamp::from_millis(row.get(13)?),
        next_run: row.get::<_, Option<i64>>(14)?.map(Timestamp::from_millis),
        has_content: row.get(15)?,
        runs: row.get(16)?,
        slot: row.get(17)?,
        slot_table: row.get(18)?,
    })
}

/// The import of an id.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Stored> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM ingest_jobs WHERE tenant_id = ?1 AND id = ?2"))?
        .query_row((tenant, id), |row| Ok(from_row(row)))
        .optional()?
        .unwrap_or_else(|| {
            Err(Error::new(Kind::NotFound, "FM-DCS-NOT-FOUND", format!("there is no import {}", quote(id)))
                .hint("ingest_jobs_list shows the imports and their ids."))
        })
}

/// An import with its last run, as callers see it.
pub(super) fn show(connection: &Connection, tenant: &str, id: &str) -> Result<Job> {
    let last = runs::last(connection, tenant, id)?;
    Ok(find(connection, tenant, id)?.view(last))
}

/// Imports newest first, after a place in their list.
pub(super) fn list(connection: &Connection, tenant: &str, before: Option<&str>, most: usize) -> Result<Vec<Job>> {
    let sql = format!("SELECT {COLUMNS} FROM ingest_jobs WHERE tenant_id = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![tenant, before, i64::try_from(most).unwrap_or_default()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let job = from_row(row)?;
        let last = runs::last(connection, tenant, &job.id)?;
        found.push(job.view(last));
    }
    Ok(found)
}

/// Imports of all tenants whose scheduled time has come.
pub(super) fn due(connection: &Connection, now: Timestamp, most: usize) -> Result<Vec<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM ingest_jobs WHERE next_run_at <= ?1 ORDER BY next_run_at, tenant_id, id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![now.millis(), i64::try_from(most).unwrap_or_default()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(from_row(row)?);
    }
    Ok(found)
}

pub(super) fn count(connection: &Connection, tenant: &str) -> Result<i64> {
    Ok(connection.query_row("SELECT count(*) FROM ingest_jobs WHERE tenant_id = ?1", [tenant], |row| row.get(0))?)
}

/// Keeps a new import with its file and its sealed credentials.
pub(super) fn insert(tx: &Tx<'_>, job: &Stored, content: Option<&[u8]>, credentials: Option<&[u8]>) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO ingest_jobs (tenant_id, id, source_type, config, content, credentials, credential_names, destination, entity_type, \
         key_field, schedule, cdc, status, runs_as, created_at, next_run_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        tx.tenant(),
        job.id,
        job.source_type.as_str(),
        document(&job.config)?,
        content,
        credentials,
        document(&job.credential_names)?,
        job.destination,
        job.entity_type,
        job.key_field,
        job.schedule,
        job.cdc,
        job.status.as_str(),
        job.runs_as,
        job.created.millis(),
        job.next_run.map(Timestamp::millis),
    ])?;
    Ok(())
}

/// Sets where an import stands.
pub(super) fn set_status(tx: &Tx<'_>, id: &str, status: &JobStatus) -> Result<()> {
    tx.prepare_cached("UPDATE ingest_jobs SET status = ?3 WHERE tenant_id = ?1 AND id = ?2")?.execute((
        tx.tenant(),
        id,
        status.as_str(),
    ))?;
    Ok(())
}

/// Sets when an import is due next.
pub(super) fn set_next(tx: &Tx<'_>, id: &str, next: Option<Timestamp>) -> Result<()> {
    tx.prepare_cached("UPDATE ingest_jobs SET next_run_at = ?3 WHERE tenant_id = ?1 AND id = ?2")?.execute((
        tx.tenant(),
        id,
        next.map(Timestamp::millis),
    ))?;
    Ok(())
}

/// Sets which replication slot an import has at its source. What it brought so far counts no more: all is read once more.
pub(super) fn set_slot(tx: &Tx<'_>, id: &str, slot: Option<&str>, table: Option<u32>) -> Result<()> {
    tx.prepare_cached("UPDATE ingest_jobs SET slot = ?3, slot_table = ?4, watermark = NULL WHERE tenant_id = ?1 AND id = ?2")?
        .execute((tx.tenant(), id, slot, table))?;
    Ok(())
}

/// Moves the watermark of an import that follows a log, whose slot may stand there from now on. While the whole table is read
/// for the first time there is none to move.
pub(super) fn follow_to(tx: &Tx<'_>, id: &str, place: Option<&str>) -> Result<()> {
    let sql = "UPDATE ingest_jobs SET watermark = ?3 WHERE tenant_id = ?1 AND id = ?2 AND slot IS NOT NULL AND watermark IS NOT NULL";
    tx.prepare_cached(sql)?.execute((tx.tenant(), id, place))?;
    Ok(())
}

/// The file that came with an import.
pub(super) fn content(connection: &Connection, tenant: &str, id: &str) -> Result<Vec<u8>> {
    let sql = "SELECT content FROM ingest_jobs WHERE tenant_id = ?1 AND id = ?2";
    Ok(connection.prepare_cached(sql)?.query_row((tenant, id), |row| row.get::<_, Option<Vec<u8>>>(0))?.unwrap_or_default())
}

/// Credentials as they are stored.
pub(super) fn seal(keys: &Keys, tenant: &str, id: &str, credentials: &Map<String, Value>) -> Result<Vec<u8>> {
    keys.seal(&purpose(tenant, id), document(credentials)?.as_bytes())
}

/// The credentials of an import; none if it has none.
pub(super) fn credentials(connection: &Connection, keys: &Keys, tenant: &str, id: &str) -> Result<Map<String, Value>> {
    let sql = "SELECT credentials FROM ingest_jobs WHERE tenant_id = ?1 AND id = ?2";
    let sealed: Option<Vec<u8>> = connection.prepare_cached(sql)?.query_row((tenant, id), |row| row.get(0))?;
    let Some(sealed) = sealed else { return Ok(Map::new()) };
    serde_json::from_slice(&keys.open(&purpose(tenant, id), &sealed)?).map_err(Error::internal)
}

/// Binds sealed credentials to their import.
fn purpose(tenant: &str, id: &str) -> String {
    format!("ingest-credentials\0{tenant}\0{id}")
}
