//! The one SQLite file: a single writer on a thread of its own, a few readers, nothing acknowledged before it is on disk.
//!
//! What waits for the writer together is committed together, so that many writes share one turn of the disk.

use std::iter;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;

use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::{oneshot, watch};

use super::clock::Clock;
use super::engine::expressions::budget::Budget;
use super::turns::{Turns, stopped};
use crate::api::cloud_event::topic_matches;
use crate::api::ids::{self, TenantId};
use crate::api::{Event, SERVICES, Service, Timestamp, events};
use crate::error::{Error, Kind, Result};

mod mark;
mod opening;
mod ranges;
mod stage;
mod statements;
mod trail;
mod writer;

pub(crate) use mark::Mark;
pub(crate) use opening::open_reader;
use opening::open_writer;
pub(crate) use ranges::first_of;
pub(crate) use trail::{Link, is_critical};

/// CEL's parser needs a deep stack; memory is only taken as it is used.
const STACK: usize = 64 * 1024 * 1024;
const READERS: usize = 3;
/// Rehearsals at once; a tenant has one of them at most.
const STAGES: usize = 2;

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
    /// The last row of the audit trail, once it is known.
    trail_head: Option<(i64, String)>,
    expressions: Rc<Budget>,
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl<'c> Tx<'c> {
    fn new(connection: &'c Connection, now: Timestamp, scope: Scope, expressions: Budget) -> Self {
        Self { connection, now, scope, last_event: None, trail_head: None, expressions: Rc::new(expressions) }
    }

    /// The moment of the transaction.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// What the expressions that are evaluated in the transaction may cost together: others wait for its thread.
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
        let last: Option<(i64, i64)> = self
            .prepare_cached("SELECT sequence, latest FROM events WHERE tenant_id = ?1 AND topic = ?2 ORDER BY sequence DESC LIMIT 1")?
            .query_row((tenant.as_str(), topic), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (sequence, latest) = last.map_or((1, time.millis()), |(sequence, latest)| (sequence + 1, latest.max(time.millis())));
        self.prepare_cached(
            "INSERT INTO events (id, tenant_id, topic, sequence, source, subject, correlation_id, time, data, latest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
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
            latest,
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
    writer: Arc<Turns<writer::Job>>,
    readers: Arc<Turns<Job>>,
    stages: Arc<Turns<Job>>,
    clock: Arc<dyn Clock>,
    events: watch::Sender<i64>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.writer.close();
        self.readers.close();
        self.stages.close();
    }
}

impl Database {
    /// Opens or creates the file. `guard` is held until the writer has closed it; the receiver hears of that.
    pub(crate) async fn open(path: PathBuf, clock: Arc<dyn Clock>, guard: impl Send + 'static) -> Result<(Self, oneshot::Receiver<()>)> {
        let (readers, stages) = (Arc::new(Turns::<Job>::new(READERS)), Arc::new(Turns::<Job>::new(STAGES)));
        let writer = Arc::new(Turns::<writer::Job>::new(1));
        let (opened, opening) = oneshot::channel();
        let (closed, closing) = oneshot::channel();
        let (reading, all_read) = mpsc::channel::<()>();
        let (file, jobs) = (path.clone(), Arc::clone(&writer));
        thread::Builder::new()
            .name("platform-writer".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                match open_writer(&file) {
                    Ok((connection, last_event)) => {
                        let _ = opened.send(Ok(last_event));
                        writer::run(&connection, &jobs);
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
        let inner = Arc::new(Inner { writer, readers, stages, clock, events });
        let readers = iter::repeat_n(("platform-reader", &inner.readers, open_reader as Opens), READERS);
        let stages = iter::repeat_n(("platform-stage", &inner.stages, stage::open as Opens), STAGES);
        for (name, line, opens) in readers.chain(stages) {
            let (line, path, reading) = (Arc::clone(line), path.clone(), reading.clone());
            thread::Builder::new()
                .name(name.to_owned())
                .stack_size(STACK)
                .spawn(move || {
                    take_turns(&path, &line, opens);
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
        let (answer, answered) = oneshot::channel();
        let tenant = scope.tenant.clone();
        let inner = Arc::downgrade(&self.inner);
        let clock = Arc::clone(&self.inner.clock);
        let job = writer::Job::Together(Box::new(move |connection| {
            let result = connection.map_err(Error::from).and_then(|connection| {
                writer::in_savepoint(connection, || {
                    let mut tx = Tx::new(connection, clock.now(), scope, Budget::of_transaction());
                    let value = work(&mut tx)?;
                    if let Some(mark) = tx.scope.mark.clone() {
                        mark.note(&tx)?;
                    }
                    Ok((value, tx.last_event))
                })
            });
            Box::new(move |committed| {
                let result = result.and_then(|(value, last_event)| {
                    committed?;
                    if let (Some(position), Some(inner)) = (last_event, inner.upgrade()) {
                        inner.events.send_replace(position);
                    }
                    Ok(value)
                });
                let _ = answer.send(result);
            })
        }));
        self.inner.writer.bring(tenant.as_str(), job)?;
        answered.await.map_err(|_| stopped())?
    }

    /// Runs work without consequences, beside the writer: see [`stage`].
    pub(crate) async fn rehearse<T: Send + 'static>(
        &self,
        scope: Scope,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let tenant = scope.tenant.clone();
        let clock = Arc::clone(&self.inner.clock);
        let job: Job = Box::new(move |connection| {
            let result = catch(|| {
                let transaction = connection.transaction()?;
                let value = work(&mut Tx::new(&transaction, clock.now(), scope, Budget::of_rehearsal()))?;
                transaction.rollback()?;
                Ok(value)
            });
            let _ = answer.send(result.map_err(stage::fault));
        });
        self.inner.stages.bring(tenant.as_str(), job)?;
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
        let job = writer::Job::Alone(Box::new(move |connection| {
            let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
            let _ = answer.send(is_busy);
        }));
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

type Opens = fn(&Path) -> Result<Connection>;

fn take_turns(path: &Path, jobs: &Arc<Turns<Job>>, opens: Opens) {
    let mut connection = None;
    while let Some(mut turn) = jobs.next() {
        // Opened at the first need: most platforms of a short command never read with three hands.
        if connection.is_none() {
            connection = opens(path).inspect_err(|error| tracing::error!(%error, "the database cannot be opened once more")).ok();
        }
        if let (Some(connection), Some(job)) = (&mut connection, turn.job()) {
            job(connection);
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => {
                Self::new(Kind::Unavailable, "FM-PLATFORM-DISK-FULL", "the disk of the data folder is full")
                    .hint("Free space, then try again.")
            }
            Some(rusqlite::ErrorCode::OperationAborted) => {
                Self::new(Kind::Unavailable, "FM-PLATFORM-ROLLED-BACK", "the change was undone with another one that could not be written")
                    .hint("Try again.")
                    .caused_by(error)
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

    pub(super) async fn open() -> (Database, tempfile::TempDir) {
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
