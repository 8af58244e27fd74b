//! Documents in the database: files by their digest, documents with their words, and bounds for a tenant.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value};

use super::embedding;
use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::documents::Document;
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;

/// Most documents of a tenant.
const MAX_DOCUMENTS: i64 = 20_000;
/// Most bytes of a tenant's files.
const MAX_STORED: i64 = 4 * 1024 * 1024 * 1024;

/// What is kept of a document beside its file.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    pub(super) number: i64,
    pub(super) id: String,
    pub(super) digest: String,
    pub(super) kind: String,
    /// Confidence in the type, where it was predicted.
    pub(super) certainty: Option<f64>,
    pub(super) text: String,
    pub(super) extracted: Map<String, Value>,
    pub(super) confidence: Option<f64>,
    pub(super) metadata: Map<String, Value>,
    pub(super) embedding: Vec<f32>,
    pub(super) created_at: i64,
}

const COLUMNS: &str = "number, id, digest, type, certainty, text, extracted, confidence, metadata, embedding, created_at";

fn stored_of(row: &Row<'_>) -> rusqlite::Result<Result<Stored>> {
    let (extracted, metadata): (String, String) = (row.get(6)?, row.get(8)?);
    let embedding: Vec<u8> = row.get(9)?;
    let stored = Stored {
        number: row.get(0)?,
        id: row.get(1)?,
        digest: row.get(2)?,
        kind: row.get(3)?,
        certainty: row.get(4)?,
        text: row.get(5)?,
        confidence: row.get(7)?,
        embedding: embedding::of_bytes(&embedding),
        created_at: row.get(10)?,
        ..Stored::default()
    };
    let object = |text: &str| serde_json::from_str(text).map_err(Error::internal);
    Ok(object(&extracted).and_then(|extracted| Ok(Stored { extracted, metadata: object(&metadata)?, ..stored })))
}

impl Stored {
    /// The document as answers show it, without its vector.
    pub(super) fn view(self) -> Document {
        Document {
            document_id: self.id.into(),
            kind: Some(self.kind),
            extracted_data: self.extracted,
            not_found: Vec::new(),
            embedding: Vec::new(),
            confidence: self.confidence,
            metadata: self.metadata,
            created_at: Some(Timestamp::from_millis(self.created_at)),
        }
    }
}

/// Keeps a file and its document; `words` are its text and metadata as the index reads them.
pub(super) fn insert(tx: &mut Tx<'_>, document: &mut Stored, file: &[u8], words: &str) -> Result<()> {
    check_room(tx, file.len())?;
    document.id = tx.mint("doc");
    document.created_at = tx.now().millis();
    let size = i64::try_from(file.len()).map_err(Error::internal)?;
    tx.prepare_cached("INSERT OR IGNORE INTO document_blobs (tenant_id, digest, size, content) VALUES (?, ?, ?, ?)")?.execute(params![
        tx.tenant(),
        document.digest,
        size,
        file
    ])?;
    tx.prepare_cached(
        "INSERT INTO documents (tenant_id, id, digest, type, certainty, text, extracted, confidence, metadata, embedding, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        tx.tenant(),
        document.id,
        document.digest,
        document.kind,
        document.certainty,
        document.text,
        json_of(&document.extracted),
        document.confidence,
        json_of(&document.metadata),
        embedding::to_bytes(&document.embedding),
        document.created_at,
    ])?;
    document.number = tx.last_insert_rowid();
    index(tx, document.number, words)
}

/// Keeps what was read out of a document since; `words` where its text is new.
pub(super) fn update(tx: &Tx<'_>, document: &Stored, words: Option<&str>) -> Result<()> {
    tx.prepare_cached(
        "UPDATE documents SET type = ?, certainty = ?, text = ?, extracted = ?, confidence = ?, metadata = ?, embedding = ?
         WHERE tenant_id = ? AND number = ?",
    )?
    .execute(params![
        document.kind,
        document.certainty,
        document.text,
        json_of(&document.extracted),
        document.confidence,
        json_of(&document.metadata),
        embedding::to_bytes(&document.embedding),
        tx.tenant(),
        document.number,
    ])?;
    let Some(words) = words else { return Ok(()) };
    tx.prepare_cached("DELETE FROM document_words WHERE rowid = ?")?.execute([document.number])?;
    index(tx, document.number, words)
}

fn index(tx: &Tx<'_>, number: i64, words: &str) -> Result<()> {
    tx.prepare_cached("INSERT INTO document_words (rowid, words) VALUES (?, ?)")?.execute(params![number, words])?;
    Ok(())
}

fn check_room(tx: &Tx<'_>, size: usize) -> Result<()> {
    let documents: i64 =
        tx.prepare_cached("SELECT count(*) FROM documents WHERE tenant_id = ?")?.query_row([tx.tenant()], |row| row.get(0))?;
    let bytes: i64 = tx
        .prepare_cached("SELECT coalesce(sum(size), 0) FROM document_blobs WHERE tenant_id = ?")?
        .query_row([tx.tenant()], |row| row.get(0))?;
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    if documents < MAX_DOCUMENTS && bytes.saturating_add(size) <= MAX_STORED {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, "FM-DOC-FULL", "the tenant's documents fill their room: 20,000 documents or 4 GiB of files")
        .hint("Use a FlowMaster platform with more room, by FLOWMASTER_URL."))
}

/// Finds a document of the tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Stored> {
    let sql = format!("SELECT {COLUMNS} FROM documents WHERE tenant_id = ? AND id = ?");
    connection.prepare_cached(&sql)?.query_row(params![tenant, id], stored_of).optional()?.unwrap_or_else(|| {
        Err(Error::new(Kind::NotFound, "FM-DOC-NOT-FOUND", format!("there is no document {}", quote(id)))
            .hint("documents_search finds documents by their content and shows their ids."))
    })
}

/// Finds a document by its place in the search index.
pub(super) fn find_by_number(connection: &Connection, tenant: &str, number: i64) -> Result<Stored> {
    let sql = format!("SELECT {COLUMNS} FROM documents WHERE tenant_id = ? AND number = ?");
    connection.prepare_cached(&sql)?.query_row(params![tenant, number], stored_of)?
}

/// The file of a document.
pub(super) fn file_of(connection: &Connection, tenant: &str, digest: &str) -> Result<Arc<[u8]>> {
    let content: Vec<u8> = connection
        .prepare_cached("SELECT content FROM document_blobs WHERE tenant_id = ? AND digest = ?")?
        .query_row(params![tenant, digest], |row| row.get(0))?;
    Ok(content.into())
}

/// Removes what is in a file; other documents of the same file have the same text.
pub(super) fn empty_file(tx: &Tx<'_>, digest: &str) -> Result<()> {
    tx.prepare_cached("UPDATE document_blobs SET content = x'', size = 0 WHERE tenant_id = ? AND digest = ?")?
        .execute((tx.tenant(), digest))?;
    Ok(())
}

fn json_of(fields: &Map<String, Value>) -> String {
    Value::Object(fields.clone()).to_string()
}
