//! Opening the file: its version, its settings, and the steps from an older schema to the present one.

use std::path::Path;

use include_dir::{Dir, include_dir};
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::statements;
use crate::error::{Error, Kind, Result};
use crate::io::migrations;
use crate::platform::{declared_fields, full_text};

/// `FMDB`, so that another program's database is told from ours; the first migration writes it.
const APPLICATION_ID: i64 = 0x464D_4442;
/// What the write-ahead log keeps of the disk when it is empty.
const MAX_LOG_BYTES: i64 = 64 * 1024 * 1024;

/// The schema, step by step; a file more in the folder is a step more.
static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/platform/database/migrations");

/// A connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection
        .execute_batch("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;")?;
    statements::tell(&mut connection, path)?;
    Ok(connection)
}

/// The writer's connection, and the position of the last event.
pub(super) fn open_writer(path: &Path) -> Result<(Connection, i64)> {
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.set_prepared_statement_cache_capacity(256);
    let steps = migrations::steps(&MIGRATIONS);
    check_version(&connection, path, steps.len())?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000;
         PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON;",
    )?;
    // A log that grew beside a long read shrinks again once it is folded into the file.
    connection.pragma_update(None, "journal_size_limit", MAX_LOG_BYTES)?;
    // A step that builds the index again needs the words as they are indexed.
    connection.create_scalar_function("words_of", 1, FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC, |context| {
        let data: String = context.get(0)?;
        Ok(full_text::words_of(&serde_json::from_str(&data).unwrap_or_default()))
    })?;
    // So does one that begins to keep the values of declared fields, as a list of their paths.
    connection.create_scalar_function(
        "declared_fields",
        1,
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
        |context| {
            let schema: String = context.get(0)?;
            Ok(Value::from(declared_fields::kept(&serde_json::from_str(&schema).unwrap_or_default())).to_string())
        },
    )?;
    migrations::migrate(&mut connection, &steps)?;
    // What the planner knows of each index: read from a sample, and only where a table grew much since the last time.
    connection.execute_batch("PRAGMA analysis_limit = 400; PRAGMA optimize = 0x10002;")?;
    statements::tell(&mut connection, path)?;
    let last_event = connection.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get(0))?;
    Ok((connection, last_event))
}

/// Refuses a file that another program or a newer version wrote, before anything in it is touched.
fn check_version(connection: &Connection, path: &Path, newest: usize) -> Result<()> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (version, application) = match (number("PRAGMA user_version"), number("PRAGMA application_id")) {
        (Ok(version), Ok(application)) => (version, application),
        (Err(error), _) | (_, Err(error)) => {
            return Err(Error::new(
                Kind::Conflict,
                "FM-PLATFORM-SCHEMA-UNREADABLE",
                format!("{} is not an SQLite database", path.display()),
            )
            .hint("Choose another data folder, or move the file away.")
            .caused_by(error));
        }
    };
    if application != APPLICATION_ID && (version != 0 || number("SELECT count(*) FROM sqlite_master")? != 0) {
        return Err(Error::new(Kind::Conflict, "FM-PLATFORM-SCHEMA-FOREIGN", format!("{} was written by another program", path.display()))
            .hint("Choose another data folder, or move the file away."));
    }
    if usize::try_from(version).is_ok_and(|version| version <= newest) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        "FM-PLATFORM-SCHEMA-VERSION",
        format!("{} has schema version {version}; this program reads and writes versions up to {newest}", path.display()),
    )
    .hint("Use the version of flowmaster-mcp that wrote the folder, or choose another data folder."))
}
