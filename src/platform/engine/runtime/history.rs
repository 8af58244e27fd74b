//! The history of an execution: appended to, never changed.

use rusqlite::params;
use serde_json::{Map, Value, json};

use super::run::{document, parse, size_of};
use crate::api::Timestamp;
use crate::api::executions::HistoryEntry;
use crate::error::Result;
use crate::platform::database::Tx;

/// Longest value that is kept as it is, in bytes of JSON.
const MAX_NOTED: usize = 16 * 1024;

/// A value as the history keeps it: of a long one the length.
#[must_use]
pub fn noted(value: &Value) -> Value {
    let length = size_of(value);
    if length > MAX_NOTED { json!({ "bytes": length }) } else { value.clone() }
}

/// Appends what happened.
pub fn append(tx: &Tx<'_>, execution: &str, kind: &str, node: Option<&str>, data: Value) -> Result<()> {
    let data = match data {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    tx.prepare_cached(
        "INSERT INTO execution_history (tenant_id, execution_id, sequence, kind, node_id, at, actor, data) \
         VALUES (?1, ?2, (SELECT coalesce(max(sequence), 0) + 1 FROM execution_history WHERE tenant_id = ?1 AND execution_id = ?2), \
         ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![tx.scope().tenant.as_str(), execution, kind, node, tx.now().millis(), tx.scope().actor, document(&data)?])?;
    Ok(())
}

/// What happened after a place, in order, at most so many entries.
pub fn list(connection: &rusqlite::Connection, tenant: &str, execution: &str, after: u64, most: usize) -> Result<Vec<HistoryEntry>> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, kind, node_id, at, actor, data FROM execution_history \
         WHERE tenant_id = ?1 AND execution_id = ?2 AND sequence > ?3 ORDER BY sequence LIMIT ?4",
    )?;
    let rows = statement.query_map(
        params![tenant, execution, i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(most).unwrap_or(200)],
        |row| {
            let data: String = row.get(5)?;
            Ok((
                HistoryEntry {
                    sequence: row.get::<_, i64>(0)?.unsigned_abs(),
                    kind: row.get(1)?,
                    node_id: row.get(2)?,
                    timestamp: Timestamp::from_millis(row.get(3)?),
                    actor: row.get(4)?,
                    data: Map::new(),
                },
                data,
            ))
        },
    )?;
    rows.map(|row| {
        let (entry, data) = row?;
        Ok(HistoryEntry { data: parse(&data)?, ..entry })
    })
    .collect()
}
