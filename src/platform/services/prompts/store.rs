//! The versions of prompts in the database.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::content::Content;
use crate::api::arguments::quote;
use crate::api::prompts::{Prompt, PromptStatus, Publish, Versions};
use crate::api::{Operation as _, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::http::context::Answer;

/// One stored version.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(super) prompt: String,
    pub(super) ordinal: i64,
    pub(super) version: String,
    pub(super) status: PromptStatus,
    pub(super) name: String,
    pub(super) content: Content,
    /// Size of the content, in bytes.
    pub(super) bytes: usize,
    pub(super) created_at: Timestamp,
    pub(super) published_at: Option<Timestamp>,
}

impl Stored {
    pub(super) fn etag(&self) -> String {
        format!("{}-{}", self.version, self.status)
    }

    pub(super) fn is_published(&self) -> bool {
        self.status == PromptStatus::Published
    }

    pub(super) fn view(self) -> Prompt {
        Prompt {
            prompt_id: self.prompt.into(),
            name: self.name,
            version: self.version,
            status: Some(self.status),
            template: self.content.template,
            variables: self.content.variables,
            tags: self.content.tags,
            blocks: self.content.blocks,
            samples: self.content.samples,
            created_at: Some(self.created_at),
            published_at: self.published_at,
        }
    }

    pub(super) fn answer(self) -> Answer<Prompt> {
        let etag = self.etag();
        Answer::from(self.view()).etag(etag)
    }
}

pub(super) const COLUMNS: &str = "prompt_id, ordinal, version, status, name, content, created_at, published_at";

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Result<Stored>> {
    let content: String = row.get(5)?;
    let parsed = serde_json::from_str(&content);
    let (prompt, ordinal, version, name) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(4)?);
    let status = PromptStatus::from(row.get_ref(3)?.as_str()?);
    let created_at = Timestamp::from_millis(row.get(6)?);
    let published_at = row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis);
    Ok(parsed.map_err(Error::internal).map(|parsed| Stored {
        prompt,
        ordinal,
        version,
        status,
        name,
        content: parsed,
        bytes: content.len(),
        created_at,
        published_at,
    }))
}

/// The latest version of a prompt.
pub(super) fn latest(connection: &Connection, tenant: &str, id: &str) -> Result<Stored> {
    let latest = one(connection, "ORDER BY ordinal DESC LIMIT 1", params![tenant, id])?;
    latest.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-PES-NOT-FOUND", format!("there is no prompt {}", quote(id)))
            .hint("prompts_list shows the prompts and their ids.")
    })
}

/// A version of a prompt, or the latest.
pub(crate) fn find(connection: &Connection, tenant: &str, id: &str, version: Option<&str>) -> Result<Stored> {
    let latest = latest(connection, tenant, id)?;
    let Some(version) = version.filter(|version| *version != latest.version) else { return Ok(latest) };
    one(connection, "AND version = ?3", params![tenant, id, version])?.ok_or_else(|| {
        let message = format!("prompt {id} has no version {}; its latest is {}", quote(version), latest.version);
        Error::new(Kind::NotFound, "FM-PES-VERSION-NOT-FOUND", message).hint(format!("{} lists them.", Versions::SPEC.name))
    })
}

/// A version of a prompt, or the latest published one.
pub(super) fn find_in_use(connection: &Connection, tenant: &str, id: &str, version: Option<&str>) -> Result<Stored> {
    // Versions rise, and only the first is ever a draft: the latest is published if any is.
    let found = find(connection, tenant, id, version)?;
    if version.is_some() || found.is_published() {
        return Ok(found);
    }
    Err(Error::new(Kind::Conflict, "FM-PES-NOT-PUBLISHED", format!("prompt {id} has no published version yet")).hint(format!(
        "Publish it with {}, or name the draft's version, {}.",
        Publish::SPEC.name,
        found.version
    )))
}

/// Whether the tenant has a prompt.
pub(crate) fn exists(connection: &Connection, tenant: &str, id: &str) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM prompts WHERE tenant_id = ?1 AND id = ?2)")?
        .query_row(params![tenant, id], |row| row.get(0))?)
}

/// The name of a published version, or of the latest.
pub(crate) fn published_version(connection: &Connection, tenant: &str, id: &str, version: Option<&str>) -> Result<Option<String>> {
    Ok(connection
        .prepare_cached(
            "SELECT version FROM prompt_versions WHERE tenant_id = ?1 AND prompt_id = ?2 AND (?3 IS NULL OR version = ?3) \
             AND status = 'published' ORDER BY ordinal DESC LIMIT 1",
        )?
        .query_row(params![tenant, id, version], |row| row.get(0))
        .optional()?)
}

fn one(connection: &Connection, which: &str, values: impl rusqlite::Params) -> Result<Option<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM prompt_versions WHERE tenant_id = ?1 AND prompt_id = ?2 {which}");
    connection.prepare_cached(&sql)?.query_row(values, from_row).optional()?.transpose()
}

/// Adds a version; its content is written already.
pub(super) fn insert(tx: &Tx<'_>, stored: &Stored, content: &str) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO prompt_versions (tenant_id, prompt_id, ordinal, version, status, name, content, created_at, created_by, published_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        tx.tenant(),
        stored.prompt,
        stored.ordinal,
        stored.version,
        stored.status.as_str(),
        stored.name,
        content,
        stored.created_at.millis(),
        tx.scope().actor,
        stored.published_at.map(Timestamp::millis)
    ])?;
    Ok(())
}

/// Replaces a draft.
pub(super) fn update(tx: &Tx<'_>, stored: &Stored, content: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE prompt_versions SET version = ?4, status = ?5, content = ?6, published_at = ?7 \
         WHERE tenant_id = ?1 AND prompt_id = ?2 AND ordinal = ?3",
    )?
    .execute(params![
        tx.tenant(),
        stored.prompt,
        stored.ordinal,
        stored.version,
        stored.status.as_str(),
        content,
        stored.published_at.map(Timestamp::millis)
    ])?;
    Ok(())
}
