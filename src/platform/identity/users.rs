//! Users as they are stored: found by id and by name.

use rusqlite::{Connection, OptionalExtension as _};

use crate::error::Result;

/// A user as stored.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) permissions: Vec<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) password_hash: String,
}

const COLUMNS: &str = "id, username, permissions, roles, password_hash";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let list = |column: usize| {
        let text: String = row.get(column)?;
        serde_json::from_str(&text)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into()))
    };
    Ok(Row { id: row.get(0)?, username: row.get(1)?, permissions: list(2)?, roles: list(3)?, password_hash: row.get(4)? })
}

/// The active user of an id.
pub(crate) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Option<Row>> {
    Ok(connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE tenant_id = ?1 AND id = ?2 AND status = 'active'"))?
        .query_row((tenant, id), read)
        .optional()?)
}

/// The active user of a name.
pub(crate) fn find_by_name(connection: &Connection, tenant: &str, username: &str) -> Result<Option<Row>> {
    Ok(connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE tenant_id = ?1 AND username = ?2 AND status = 'active'"))?
        .query_row((tenant, normal(username)), read)
        .optional()?)
}

/// A name as it is stored and looked for.
pub(crate) fn normal(username: &str) -> String {
    username.trim().to_lowercase()
}
