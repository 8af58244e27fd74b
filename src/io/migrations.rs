//! Stepwise migrations of an SQLite file: the SQL files of a folder in their order, each in a transaction of its own.
//!
//! `PRAGMA user_version` counts the steps that a file has. A step that fails leaves the file as it was before that step.

use include_dir::Dir;
use rusqlite::{Connection, TransactionBehavior};

/// Returns the steps of a folder, in the order of their names.
pub(crate) fn steps(folder: &'static Dir<'static>) -> Vec<&'static str> {
    let mut files: Vec<_> = folder.files().collect();
    files.sort_unstable_by_key(|file| file.path());
    files.into_iter().filter_map(include_dir::File::contents_utf8).collect()
}

/// Returns how many steps a file has.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings a file forward to the last step. Several processes may do so at once; each step is applied once.
pub(crate) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    if version(connection)? >= steps.len() {
        return Ok(());
    }
    // A step may rebuild a table that others refer to, so references are checked when the step is done.
    let enforced: bool = connection.query_row("PRAGMA foreign_keys", [], |row| row.get(0))?;
    connection.pragma_update(None, "foreign_keys", false)?;
    let migrated = apply(connection, steps);
    connection.pragma_update(None, "foreign_keys", enforced)?;
    migrated
}

fn apply(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = version(&transaction)?;
        let Some(step) = steps.get(version) else { return Ok(()) };
        transaction.execute_batch(step)?;
        if transaction.prepare("PRAGMA foreign_key_check")?.exists([])? {
            return Err(rusqlite::Error::ToSqlConversionFailure("the migration leaves a reference to nothing".into()));
        }
        transaction.pragma_update(None, "user_version", version + 1)?;
        transaction.commit()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY) STRICT; INSERT INTO a VALUES (1);";
    const SECOND: &str = "ALTER TABLE a ADD COLUMN name TEXT; UPDATE a SET name = 'one';";

    fn tables(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn steps_are_applied_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST]).unwrap();
        assert_eq!(version(&connection).unwrap(), 1);
        for _ in 0..2 {
            migrate(&mut connection, &[FIRST, SECOND]).unwrap();
        }
        assert_eq!(version(&connection).unwrap(), 2);
        let name: String = connection.query_row("SELECT name FROM a WHERE id = 1", [], |row| row.get(0)).unwrap();
        assert_eq!(name, "one");
    }

    #[test]
    fn a_step_that_fails_halfway_leaves_the_file_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = "CREATE TABLE b (id INTEGER) STRICT; DELETE FROM a; INSERT INTO nothing VALUES (1);";
        assert!(migrate(&mut connection, &[FIRST, broken, SECOND]).is_err());
        assert_eq!((version(&connection).unwrap(), tables(&connection)), (1, 1));
        let rows: i64 = connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "what the step did before its fault is undone");
    }

    #[test]
    fn a_step_that_breaks_a_reference_is_undone() {
        let mut connection = Connection::open_in_memory().unwrap();
        let refers = "CREATE TABLE b (a INTEGER REFERENCES a (id)) STRICT; INSERT INTO b VALUES (1);";
        let dangling = "DELETE FROM a;";
        assert!(migrate(&mut connection, &[FIRST, refers, dangling]).is_err());
        assert_eq!(version(&connection).unwrap(), 2);
        let rows: i64 = connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }
}
