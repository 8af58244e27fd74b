//! Records in the database: found, read back, and kept with their words in the search index.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

use super::{links, types};
use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::entities::Entity;
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::full_text;

/// The columns that [`entity_of`] reads, in its order.
pub(super) const COLUMNS: &str = "number, id, type, data, version, created_at, updated_at";

/// Most data of [`newest`], in bytes.
const MAX_READ: usize = 8 * 1024 * 1024;

/// A record with its place in the search index.
pub(super) struct Stored {
    pub(super) number: i64,
    pub(super) entity: Entity,
}

/// A row as a record, its relationships aside.
pub(super) fn entity_of(tenant: &str, row: &Row<'_>) -> Result<Stored> {
    let data: String = row.get(3)?;
    let entity = Entity {
        id: row.get::<_, String>(1)?.into(),
        entity_type: row.get(2)?,
        tenant_id: Some(tenant.into()),
        data: serde_json::from_str(&data).map_err(Error::internal)?,
        created_at: Timestamp::from_millis(row.get(5)?),
        updated_at: Some(Timestamp::from_millis(row.get(6)?)),
        version: row.get::<_, i64>(4)?.unsigned_abs(),
        relationships: Map::new(),
    };
    Ok(Stored { number: row.get(0)?, entity })
}

/// Finds a record of a type.
pub(super) fn find(connection: &Connection, tenant: &str, kind: &str, id: &str) -> Result<Stored> {
    let sql = format!("SELECT {COLUMNS} FROM entities WHERE tenant_id = ? AND id = ?");
    let found =
        connection.prepare_cached(&sql)?.query_row(params![tenant, id], |row| Ok(entity_of(tenant, row))).optional()?.transpose()?;
    match found {
        Some(mut stored) if stored.entity.entity_type == kind => {
            stored.entity.relationships = links::of(connection, tenant, id)?;
            Ok(stored)
        }
        other => {
            let hint = match other {
                Some(stored) => format!("It is of the type `{}`.", stored.entity.entity_type),
                None => "entities_query and entities_search find the ids of records.".to_owned(),
            };
            let message = format!("there is no record {} of the type {}", quote(id), quote(kind));
            Err(Error::new(Kind::NotFound, "FM-IDHS-NOT-FOUND", message).hint(hint))
        }
    }
}

/// The fields of the newest records of a type that must exist, as far as they fit into 8 MiB.
pub(crate) fn newest(connection: &Connection, tenant: &str, kind: &str, most: usize) -> Result<Vec<Map<String, Value>>> {
    types::must_exist(connection, tenant, kind)?;
    let mut statement =
        connection.prepare_cached("SELECT data FROM entities WHERE tenant_id = ? AND type = ? ORDER BY created_at DESC LIMIT ?")?;
    let mut rows = statement.query(params![tenant, kind, i64::try_from(most).unwrap_or(i64::MAX)])?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let data: String = row.get(0)?;
        bytes += data.len();
        if bytes > MAX_READ {
            break;
        }
        records.push(serde_json::from_str(&data).map_err(Error::internal)?);
    }
    Ok(records)
}

/// Adds a record and its words.
pub(super) fn insert(tx: &Tx<'_>, id: &str, kind: &str, data: &Map<String, Value>) -> Result<()> {
    let data = Value::Object(data.clone());
    let now = tx.now().millis();
    tx.prepare_cached("INSERT INTO entities (tenant_id, id, type, data, version, created_at, updated_at) VALUES (?, ?, ?, ?, 1, ?, ?)")?
        .execute(params![tx.tenant(), id, kind, data.to_string(), now, now])?;
    index(tx, tx.last_insert_rowid(), &data)
}

/// Keeps a record's new fields as its next version.
pub(super) fn update(tx: &Tx<'_>, number: i64, data: &Map<String, Value>) -> Result<()> {
    let data = Value::Object(data.clone());
    tx.prepare_cached("UPDATE entities SET data = ?, version = version + 1, updated_at = ? WHERE number = ?")?.execute(params![
        data.to_string(),
        tx.now().millis(),
        number
    ])?;
    unindex(tx, number)?;
    index(tx, number, &data)
}

/// Removes a record, its relations to others and its words.
pub(super) fn delete(tx: &Tx<'_>, id: &str, number: i64) -> Result<()> {
    unindex(tx, number)?;
    tx.prepare_cached("DELETE FROM entity_links WHERE tenant_id = ? AND source = ?")?.execute(params![tx.tenant(), id])?;
    tx.prepare_cached("DELETE FROM entities WHERE number = ?")?.execute([number])?;
    Ok(())
}

/// Reads a record's words again whose fields were changed otherwise, which makes its next version.
pub(crate) fn reindex(tx: &Tx<'_>, number: i64) -> Result<()> {
    let data: String = tx
        .prepare_cached("UPDATE entities SET version = version + 1, updated_at = ?3 WHERE tenant_id = ?1 AND number = ?2 RETURNING data")?
        .query_row(params![tx.tenant(), number, tx.now().millis()], |row| row.get(0))?;
    unindex(tx, number)?;
    index(tx, number, &serde_json::from_str(&data).map_err(Error::internal)?)
}

fn index(tx: &Tx<'_>, number: i64, data: &Value) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO entity_words (rowid, scope, words)
         SELECT number, 't' || hex(tenant_id) || ' k' || hex(type), ?2 FROM entities WHERE number = ?1",
    )?
    .execute(params![number, full_text::words_of(data)])?;
    Ok(())
}

fn unindex(tx: &Tx<'_>, number: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM entity_words WHERE rowid = ?")?.execute([number])?;
    Ok(())
}
