//! The only writer: it takes jobs in turn, and commits those that wait at the same time in one transaction.
//!
//! Each job runs in a savepoint, so that one that fails undoes nothing of the others. No job is told that it is done before
//! the transaction is on disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ffi};

use super::catch;
use crate::error::Result;
use crate::platform::turns::Turns;

/// Most jobs of one transaction.
const MAX_TOGETHER: usize = 64;
/// How long the first job of a transaction waits for others at most.
const MAX_TOGETHER_TIME: Duration = Duration::from_millis(5);

/// Tells the caller of a job how it ended.
pub(super) type Done = Box<dyn FnOnce(rusqlite::Result<()>)>;

/// Work within a transaction that may hold other work too; where that cannot begin, it hears why.
type Work = Box<dyn FnOnce(rusqlite::Result<&Connection>) -> Done + Send>;

/// A job of the writer.
pub(super) enum Job {
    /// Work that is committed together with what waits behind it.
    Together(Work),
    /// Work outside of any transaction.
    Alone(Box<dyn FnOnce(&Connection) + Send>),
}

/// Takes jobs until the line is closed and empty.
pub(super) fn run(connection: &Connection, jobs: &Arc<Turns<Job>>) {
    let mut next = None;
    while let Some(job) = next.take().or_else(|| jobs.next().and_then(|mut turn| turn.job())) {
        match job {
            Job::Alone(work) => work(connection),
            Job::Together(work) => next = together(connection, jobs, work),
        }
    }
}

/// Runs a job and those that wait behind it in one transaction. Returns the job that cannot be one of them.
fn together(connection: &Connection, jobs: &Arc<Turns<Job>>, first: Work) -> Option<Job> {
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        first(Err(error))(Ok(()));
        return None;
    }
    let begun = Instant::now();
    let mut done = vec![first(Ok(connection))];
    let mut next = None;
    // An error of the disk ends the transaction by itself.
    while done.len() < MAX_TOGETHER && begun.elapsed() < MAX_TOGETHER_TIME && !connection.is_autocommit() {
        match jobs.try_next().and_then(|mut turn| turn.job()) {
            Some(Job::Together(work)) => done.push(work(Ok(connection))),
            other => {
                next = other;
                break;
            }
        }
    }
    let committed = if connection.is_autocommit() { Err(rolled_back()) } else { connection.execute_batch("COMMIT") };
    if committed.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    for tell in done {
        tell(committed.as_ref().map(drop).map_err(same));
    }
    next
}

/// Runs work that leaves nothing behind where it fails.
pub(super) fn in_savepoint<T>(connection: &Connection, work: impl FnOnce() -> Result<T>) -> Result<T> {
    connection.execute_batch("SAVEPOINT job")?;
    let result = catch(work);
    let ended = connection.execute_batch(if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" });
    let value = result?;
    ended?;
    Ok(value)
}

fn rolled_back() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK), None)
}

/// The same error once more, for each job that it befell.
fn same(error: &rusqlite::Error) -> rusqlite::Error {
    let code = error.sqlite_error().copied().unwrap_or_else(|| ffi::Error::new(ffi::SQLITE_ERROR));
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}
