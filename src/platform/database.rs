//! The one SQLite file: a single writer on a thread of its own, a few readers, nothing acknowledged before it is on disk.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;

use include_dir::{Dir, include_dir};
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::clock::Clock;
use super::engine::expressions::budget::Budget;
use super::full_text;
use super::turns::{Turns, stopped};
use crate::api::cloud_event::topic_matches;
use crate::api::ids::{self, TenantId};
use crate::api::{Event, SERVICES, Service, Timestamp, events};
use crate::error::{Error, Kind, Result};
use crate::io::migrations;

mod mark;
mod trail;

pub(crate) use mark::Mark;
pub(crate) use trail::{Link, is_critical};

/// `FMDB`, so that another program's database is told from ours; the first migration writes it.
const APPLICATION_ID: i64 = 0x464D_4442;
/// CEL's parser needs a deep stack; memory is only taken as it is used.
const STACK: usize = 64 * 1024 * 1024;
const READERS: usize = 3;

/// The schema, step by step; a file more in the folder is a step more.
static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/platform/database/migrations");

/// Who writes, for whom, and in the course of which request.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The tenant whose rows are written.
    pub(crate) tenant: TenantId,
    /// Who does it.
    pub(crate) actor: String,
    /// Whose token it is done with.
    pub(crate) recorded_by: String,
    /// The request.
    pub(crate) request_id: Option<String>,
    /// What the events go back to.
    pub(crate) correlation_id: Option<String>,
    /// Notes that a call with an `Idempotency-Key` was carried out.
    pub(crate) mark: Option<Arc<Mark>>,
}

impl Scope {
    /// The platform itself: its workers and timers.
    pub(crate) fn system(tenant: TenantId) -> Self {
        Self { tenant, actor: "system".to_owned(), recorded_by: "system".to_owned(), request_id: None, correlation_id: None, mark: None }
    }
}

/// A transaction of the writer: SQL, events and audit rows that become true together.
pub(crate) struct Tx<'c> {
    connection: &'c Connection,
    now: Timestamp,
    scope: Scope,
    last_event: Option<i64>,
    expressions: Rc<Budget>,
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Tx<'_> {
    /// The moment of the transaction.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// What the expressions that are evaluated in the transaction may cost together: it holds the only writer.
    pub(crate) fn expressions(&self) -> &Rc<Budget> {
        &self.expressions
    }

    /// Who writes.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The tenant, as SQL wants it.
    pub(crate) fn tenant(&self) -> &str {
        self.scope.tenant.as_str()
    }

    /// Mints an id with a prefix.
    pub(crate) fn mint(&self, prefix: &str) -> String {
        ids::mint(prefix, self.now)
    }

    /// Appends an event of the platform to the log; it is delivered after the commit.
    pub(crate) fn emit(&mut self, topic: &str, subject: &str, data: serde_json::Value) -> Result<Event> {
        let source = format!("/services/{}", service_of(topic));
        self.emit_as(&source, topic, Some(subject), self.now, data)
    }

    /// Appends an event of another source, such as a user, and with a time of its own.
    pub(crate) fn emit_as(
        &mut self,
        source: &str,
        topic: &str,
        subject: Option<&str>,
        time: Timestamp,
        data: serde_json::Value,
    ) -> Result<Event> {
        let data = match data {
            serde_json::Value::Object(data) => data,
            other => serde_json::Map::from_iter([("value".to_owned(), other)]),
        };
        let id = self.mint("evt");
        let tenant = self.scope.tenant.clone();
        let sequence: i64 = self
            .prepare_cached("SELECT coalesce(max(sequence), 0) + 1 FROM events WHERE tenant_id = ?1 AND topic = ?2")?
            .query_row((tenant.as_str(), topic), |row| row.get(0))?;
        self.prepare_cached(
            "INSERT INTO events (id, tenant_id, topic, sequence, source, subject, correlation_id, time, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            &id,
            tenant.as_str(),
            topic,
            sequence,
            source,
            subject,
            &self.scope.correlation_id,
            time.millis(),
            serde_json::to_string(&data).map_err(Error::internal)?,
        ))?;
        self.last_event = Some(self.last_insert_rowid());
        Ok(Event {
            specversion: "1.0".to_owned(),
            id: id.into(),
            source: source.to_owned(),
            topic: topic.to_owned(),
            time: Some(time),
            subject: subject.map(str::to_owned),
            tenantid: Some(tenant),
            correlationid: self.scope.correlation_id.clone(),
            sequence: Some(sequence.unsigned_abs()),
            data,
        })
    }
}

/// The service that publishes on a topic of the platform.
fn service_of(topic: &str) -> &'static str {
    let publishes = |service: &&Service| service.topics.iter().any(|pattern| topic_matches(pattern, topic));
    SERVICES.iter().find(publishes).map_or(events::SERVICE.name, |service| service.name)
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The database; clones share it.
#[derive(Clone)]
pub(crate) struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Arc<Turns<Job>>,
    readers: Arc<Turns<Job>>,
    clock: Arc<dyn Clock>,
    events: watch::Sender<i64>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.writer.close();
        self.readers.close();
    }
}

impl Database {
    /// Opens or creates the file. `guard` is held until the writer has closed it; the receiver hears of that.
    pub(crate) async fn open(path: PathBuf, clock: Arc<dyn Clock>, guard: impl Send + 'static) -> Result<(Self, oneshot::Receiver<()>)> {
        let (writer, readers) = (Arc::new(Turns::<Job>::new(1)), Arc::new(Turns::<Job>::new(READERS)));
        let (opened, opening) = oneshot::channel();
        let (closed, closing) = oneshot::channel();
        let (reading, all_read) = mpsc::channel::<()>();
        let (file, jobs) = (path.clone(), Arc::clone(&writer));
        thread::Builder::new()
            .name("platform-writer".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                match open_writer(&file) {
                    Ok((mut connection, last_event)) => {
                        let _ = opened.send(Ok(last_event));
                        while let Some(mut turn) = jobs.next() {
                            if let Some(job) = turn.job() {
                                job(&mut connection);
                            }
                        }
                        // Closing the last connection folds the log into the file: the readers close theirs first.
                        let _ = all_read.recv();
                        drop(connection);
                        drop(guard);
                    }
                    Err(error) => {
                        // The receiver may try again at once, and must find the folder free.
                        drop(guard);
                        let _ = opened.send(Err(error));
                    }
                }
                let _ = closed.send(());
            })
            .map_err(Error::internal)?;
        let last_event = opening.await.map_err(Error::internal)??;
        // What cannot be opened leaves no thread behind that waits for jobs.
        let events = watch::Sender::new(last_event);
        let inner = Arc::new(Inner { writer, readers, clock, events });
        for _ in 0..READERS {
            let (reads, path, reading) = (Arc::clone(&inner.readers), path.clone(), reading.clone());
            thread::Builder::new()
                .name("platform-reader".to_owned())
                .stack_size(STACK)
                .spawn(move || {
                    read_jobs(&path, &reads);
                    drop(reading);
                })
                .map_err(Error::internal)?;
        }
        Ok((Self { inner }, closing))
    }

    /// Runs work in a transaction: committed when it answers, rolled back when it fails or panics.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        scope: Scope,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.transact(scope, true, work).await
    }

    /// Runs work in a transaction that is always rolled back: a trial without consequences.
    pub(crate) async fn rehearse<T: Send + 'static>(
        &self,
        scope: Scope,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.transact(scope, false, work).await
    }

    async fn transact<T: Send + 'static>(
        &self,
        scope: Scope,
        keep: bool,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let tenant = scope.tenant.clone();
        let inner = Arc::downgrade(&self.inner);
        let clock = Arc::clone(&self.inner.clock);
        let job: Job = Box::new(move |connection| {
            let result = catch(|| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let mut tx = Tx {
                    connection: &transaction,
                    now: clock.now(),
                    scope,
                    last_event: None,
                    expressions: Rc::new(Budget::of_transaction()),
                };
                let value = work(&mut tx)?;
                if keep && let Some(mark) = tx.scope.mark.clone() {
                    mark.note(&tx)?;
                }
                let last_event = tx.last_event;
                if keep {
                    transaction.commit()?;
                } else {
                    transaction.rollback()?;
                }
                Ok((value, last_event.filter(|_| keep)))
            });
            let result = result.map(|(value, last_event)| {
                if let (Some(position), Some(inner)) = (last_event, inner.upgrade()) {
                    inner.events.send_replace(position);
                }
                value
            });
            let _ = answer.send(result);
        });
        self.inner.writer.bring(tenant.as_str(), job)?;
        answered.await.map_err(|_| stopped())?
    }

    /// Runs the platform's own work that only reads, on one consistent view of the file.
    pub(crate) async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.read_for("", work).await
    }

    /// Runs work that only reads, when it is the tenant's turn.
    pub(crate) async fn read_for<T: Send + 'static>(
        &self,
        tenant: &str,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = catch(|| {
                let transaction = connection.transaction()?;
                let value = work(&transaction)?;
                transaction.rollback()?;
                Ok(value)
            });
            let _ = answer.send(result);
        });
        self.inner.readers.bring(tenant, job)?;
        answered.await.map_err(|_| stopped())?
    }

    /// Folds the log into the file and empties it: what was overwritten stands in neither any more.
    pub(crate) async fn empty_log(&self) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
            let _ = answer.send(is_busy);
        });
        self.inner.writer.bring("", job)?;
        let is_busy: bool = answered.await.map_err(|_| stopped())??;
        if is_busy { Err(Error::internal("a reader holds the log of the database")) } else { Ok(()) }
    }

    /// The position of the last committed event, and every later one.
    pub(crate) fn events(&self) -> watch::Receiver<i64> {
        self.inner.events.subscribe()
    }
}

fn catch<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // What is half done when a panic unwinds is rolled back by the transaction's drop.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::internal(format!("a transaction panicked: {}", text.unwrap_or("without a word"))))
    })
}

fn read_jobs(path: &Path, jobs: &Arc<Turns<Job>>) {
    let mut connection = None;
    while let Some(mut turn) = jobs.next() {
        // Opened at the first need: most platforms of a short command never read with three hands.
        if connection.is_none() {
            connection = open_reader(path).inspect_err(|error| tracing::error!(%error, "a reader cannot open the database")).ok();
        }
        if let (Some(connection), Some(job)) = (&mut connection, turn.job()) {
            job(connection);
        }
    }
}

pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection
        .execute_batch("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

fn open_writer(path: &Path) -> Result<(Connection, i64)> {
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
    // A step that builds the index again needs the words as they are indexed.
    connection.create_scalar_function("words_of", 1, FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC, |context| {
        let data: String = context.get(0)?;
        Ok(full_text::words_of(&serde_json::from_str(&data).unwrap_or_default()))
    })?;
    migrations::migrate(&mut connection, &steps)?;
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

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => {
                Self::new(Kind::Unavailable, "FM-PLATFORM-DISK-FULL", "the disk of the data folder is full")
                    .hint("Free space, then try again.")
            }
            Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::PermissionDenied) => {
                Self::new(Kind::Unavailable, "FM-PLATFORM-READ-ONLY", "the data folder cannot be written")
                    .hint("Check who owns the data folder and its files.")
                    .caused_by(error)
            }
            _ => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::platform::clock::SystemClock;

    async fn open() -> (Database, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (database, _) = Database::open(folder.path().join("platform.db"), Arc::new(SystemClock), ()).await.unwrap();
        (database, folder)
    }

    #[tokio::test]
    async fn a_flood_of_writes_delays_another_tenant_by_one_turn() {
        let (database, _folder) = open().await;
        let (release, blocked) = mpsc::channel::<()>();
        let order = Arc::new(Mutex::new(Vec::new()));
        let write = |tenant: &'static str, wait: Option<mpsc::Receiver<()>>| {
            let (database, order) = (database.clone(), Arc::clone(&order));
            tokio::spawn(async move {
                let work = move |_: &mut Tx<'_>| {
                    if let Some(wait) = wait {
                        let _ = wait.recv();
                    }
                    order.lock().unwrap().push(tenant);
                    Ok(())
                };
                database.write(Scope::system(tenant.into()), work).await
            })
        };
        let mut writes = vec![write("flood", Some(blocked))];
        writes.extend((0..200).map(|_| write("flood", None)));
        for _ in 0..300 {
            tokio::task::yield_now().await;
        }
        writes.push(write("quiet", None));
        tokio::task::yield_now().await;
        release.send(()).unwrap();
        for write in writes {
            write.await.unwrap().unwrap();
        }
        // The one under way, one more of the flood at most, and then it is the other's turn.
        assert!(order.lock().unwrap().iter().position(|tenant| *tenant == "quiet").unwrap() <= 2);
    }

    #[tokio::test]
    async fn slow_reads_leave_a_reader_to_other_tenants() {
        let (database, _folder) = open().await;
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        let slow: Vec<_> = (0..2 * READERS)
            .map(|_| {
                let (database, blocked) = (database.clone(), Arc::clone(&blocked));
                tokio::spawn(async move { database.read_for("slow", move |_| Ok(blocked.lock().unwrap().recv().is_ok())).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(database.read_for("quick", |_| Ok(7)).await.unwrap(), 7);
        drop(release);
        for read in slow {
            read.await.unwrap().unwrap();
        }
    }
}
