//! The stage of rehearsals: a connection that reads the file and writes nothing but tables of its own.
//!
//! Each table that the engine writes has a temporary one of the same name, which SQL without a schema's name means first.
//! So the engine runs as it is, holds no writer, and what it wrote is gone with the transaction.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Kind, Result};

/// What the engine writes. A table that is missing here cannot be written by a rehearsal.
const TABLES: [&str; 9] =
    ["audit_log", "events", "execution_history", "execution_undo", "executions", "node_work", "task_candidates", "task_history", "tasks"];
/// Most pages of 4 KiB that one rehearsal may write; they are held in memory.
const MAX_PAGES: u32 = 16_384;

/// Opens the file to read, and makes the tables that stand before those of the file.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(128);
    // No key reaches from a temporary table into the file.
    connection
        .execute_batch("PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;")?;
    for table in TABLES {
        let made: Vec<String> = connection
            .prepare(
                "SELECT sql FROM main.sqlite_schema WHERE tbl_name = ?1 AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type DESC",
            )?
            .query_map([table], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for sql in made {
            connection.execute_batch(&temporary(&sql)?)?;
        }
    }
    connection.pragma_update(Some("temp"), "max_page_count", MAX_PAGES)?;
    Ok(connection)
}

/// The statement that makes the same table or index among the temporary ones. SQLite keeps each with one beginning.
fn temporary(sql: &str) -> Result<String> {
    ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "]
        .iter()
        .find_map(|beginning| Some(format!("{beginning}temp.{}", sql.strip_prefix(beginning)?)))
        .ok_or_else(|| Error::internal(format!("cannot be made on the stage: {sql}")))
}

/// What a rehearsal is told whose pages are used up.
pub(super) fn fault(error: Error) -> Error {
    if error.code() != "FM-PLATFORM-DISK-FULL" {
        return error;
    }
    Error::new(Kind::Invalid, "FM-EES-REHEARSAL-SIZE", format!("the rehearsal writes more than {} MiB", MAX_PAGES / 256))
        .hint("Rehearse with shorter lists and smaller variables.")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rusqlite::Connection;

    use super::super::tests::open;
    use super::super::{Scope, Tx};
    use crate::error::Result;

    fn events(connection: &Connection) -> Result<i64> {
        Ok(connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?)
    }

    fn emit(tx: &mut Tx<'_>) -> Result<i64> {
        tx.emit("test.happened", "test", serde_json::json!({}))?;
        events(tx)
    }

    #[tokio::test]
    async fn a_rehearsal_holds_no_writer_and_leaves_nothing() {
        let (database, _folder) = open().await;
        let (release, blocked) = mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let rehearsing = tokio::spawn({
            let database = database.clone();
            async move {
                let work = move |tx: &mut Tx<'_>| {
                    let _ = begun.send(emit(tx)?);
                    let _ = blocked.recv();
                    emit(tx)
                };
                database.rehearse(Scope::system("slow".into()), work).await
            }
        });
        assert_eq!(begins.await.unwrap(), 1);
        assert_eq!(database.write(Scope::system("slow".into()), emit).await.unwrap(), 1);
        assert_eq!(database.rehearse(Scope::system("other".into()), emit).await.unwrap(), 1);
        release.send(()).unwrap();
        assert_eq!(rehearsing.await.unwrap().unwrap(), 2);
        assert_eq!(database.rehearse(Scope::system("slow".into()), emit).await.unwrap(), 1);
        assert_eq!(database.read(events).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_rehearsal_that_writes_too_much_is_told_so() {
        let (database, _folder) = open().await;
        let large = "x".repeat(1 << 20);
        let work = move |tx: &mut Tx<'_>| {
            for _ in 0..65 {
                tx.emit("test.happened", "test", serde_json::json!({ "text": large }))?;
            }
            Ok(())
        };
        let refused = database.rehearse(Scope::system("large".into()), work).await.unwrap_err();
        assert_eq!(refused.code(), "FM-EES-REHEARSAL-SIZE");
        assert_eq!(database.rehearse(Scope::system("large".into()), emit).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_rehearsal_writes_nothing_else() {
        let (database, _folder) = open().await;
        let work = |tx: &mut Tx<'_>| Ok(tx.execute("DELETE FROM processes", [])?);
        assert!(database.rehearse(Scope::system("wrong".into()), work).await.is_err());
    }
}
