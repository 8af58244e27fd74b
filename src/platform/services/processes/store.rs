//! The versions of processes in the database.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::processes::{Process, ProcessStatus};
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::platform::database::Tx;
use crate::platform::engine::definition::Definition;
use crate::platform::engine::runtime::run::{document, parse};
use crate::platform::full_text;
use crate::platform::http::context::Answer;

/// One stored version.
pub(super) struct Stored {
    pub(super) process: String,
    pub(super) ordinal: i64,
    pub(super) version: String,
    pub(super) status: ProcessStatus,
    pub(super) name: String,
    pub(super) definition: Definition,
    pub(super) metadata: Map<String, Value>,
    pub(super) revision: i64,
    pub(super) created_at: Timestamp,
    pub(super) published_at: Option<Timestamp>,
}

impl Stored {
    pub(super) fn etag(&self) -> String {
        format!("{}-{}", self.version, self.revision)
    }

    pub(super) fn view(&self) -> Process {
        let mut metadata = self.metadata.clone();
        metadata.insert("nodes".to_owned(), json!(self.definition.nodes.len()));
        metadata.insert("variables".to_owned(), json!(self.definition.variables.len()));
        Process {
            id: self.process.clone().into(),
            name: self.name.clone(),
            version: self.version.clone(),
            status: self.status.clone(),
            created_at: self.created_at,
            published_at: self.published_at,
            metadata,
        }
    }

    pub(super) fn answer(&self) -> Answer<Process> {
        Answer::from(self.view()).etag(self.etag())
    }

    pub(super) fn is_draft(&self) -> bool {
        self.status == ProcessStatus::Draft
    }
}

pub(super) const COLUMNS: &str = "process_id, ordinal, version, status, name, definition, metadata, revision, created_at, published_at";

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Result<Stored>> {
    let (definition, metadata): (String, String) = (row.get(5)?, row.get(6)?);
    let stored = Stored {
        process: row.get(0)?,
        ordinal: row.get(1)?,
        version: row.get(2)?,
        status: ProcessStatus::from(row.get_ref(3)?.as_str()?),
        name: row.get(4)?,
        definition: Definition::default(),
        metadata: Map::new(),
        revision: row.get(7)?,
        created_at: Timestamp::from_millis(row.get(8)?),
        published_at: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_millis),
    };
    Ok(parse(&definition).and_then(|definition| Ok(Stored { definition, metadata: parse(&metadata)?, ..stored })))
}

/// The latest version of a process.
pub(super) fn latest(connection: &Connection, tenant: &str, id: &str) -> Result<Stored> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM process_versions WHERE tenant_id = ?1 AND process_id = ?2 ORDER BY ordinal DESC LIMIT 1"
        ))?
        .query_row(params![tenant, id], from_row)
        .optional()?
        .ok_or_else(|| {
            Error::new(Kind::NotFound, "FM-PDS-NOT-FOUND", format!("there is no process {}", quote(id)))
                .hint("processes_list finds processes by name and shows their ids.")
        })?
}

/// A version of a process, or the latest.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str, version: Option<&str>) -> Result<Stored> {
    let latest = latest(connection, tenant, id)?;
    let Some(version) = version.filter(|version| *version != latest.version) else { return Ok(latest) };
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM process_versions WHERE tenant_id = ?1 AND process_id = ?2 AND version = ?3"))?
        .query_row(params![tenant, id, version], from_row)
        .optional()?
        .ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "FM-PDS-VERSION-NOT-FOUND",
                format!("process {id} has no version {}; its latest is {}", quote(version), latest.version),
            )
            .hint("processes_versions lists them.")
        })?
}

pub(super) fn has_published(connection: &Tx<'_>, process: &str) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM process_versions WHERE tenant_id = ?1 AND process_id = ?2 AND status = 'published')")?
        .query_row(params![connection.tenant(), process], |row| row.get(0))?)
}

pub(super) fn insert(tx: &Tx<'_>, stored: &Stored) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO process_versions (tenant_id, process_id, ordinal, version, status, name, definition, metadata, revision, created_at, created_by) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        tx.tenant(),
        stored.process,
        stored.ordinal,
        stored.version,
        stored.status.as_str(),
        stored.name,
        document(&stored.definition)?,
        document(&stored.metadata)?,
        stored.revision,
        stored.created_at.millis(),
        tx.scope().actor
    ])?;
    show(tx, stored)
}

pub(super) fn store(tx: &Tx<'_>, stored: &Stored) -> Result<()> {
    tx.prepare_cached(
        "UPDATE process_versions SET version = ?4, status = ?5, name = ?6, definition = ?7, metadata = ?8, revision = ?9, published_at = ?10 \
         WHERE tenant_id = ?1 AND process_id = ?2 AND ordinal = ?3",
    )?
    .execute(params![
        tx.tenant(),
        stored.process,
        stored.ordinal,
        stored.version,
        stored.status.as_str(),
        stored.name,
        document(&stored.definition)?,
        document(&stored.metadata)?,
        stored.revision,
        stored.published_at.map(Timestamp::millis)
    ])?;
    show(tx, stored)
}

/// Has lists show this version of its process, unless they show a later one.
fn show(tx: &Tx<'_>, stored: &Stored) -> Result<()> {
    let number: Option<i64> = tx
        .prepare_cached(
            "INSERT INTO process_list (tenant_id, process_id, ordinal, status, name) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (tenant_id, process_id) DO UPDATE SET ordinal = excluded.ordinal, status = excluded.status, name = excluded.name
             WHERE excluded.ordinal >= process_list.ordinal
             RETURNING number",
        )?
        .query_row(params![tx.tenant(), stored.process, stored.ordinal, stored.status.as_str(), stored.name], |row| row.get(0))
        .optional()?;
    number.map_or(Ok(()), |number| index(tx, number, stored.status.as_str(), &stored.name))
}

/// Indexes the words of a listed process again, after its name was changed by erasure.
pub(crate) fn reindex(tx: &Tx<'_>, number: i64) -> Result<()> {
    let (status, name): (String, String) = tx
        .prepare_cached("SELECT status, name FROM process_list WHERE number = ?")?
        .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
    index(tx, number, &status, &name)
}

fn index(tx: &Tx<'_>, number: i64, status: &str, name: &str) -> Result<()> {
    tx.prepare_cached("DELETE FROM process_words WHERE rowid = ?")?.execute([number])?;
    let scope = format!("{} {status}", hex(tx.tenant().as_bytes()));
    let words = full_text::words_of(&name.into());
    tx.prepare_cached("INSERT INTO process_words (rowid, scope, words) VALUES (?, ?, ?)")?.execute(params![number, scope, words])?;
    Ok(())
}
