//! The store in one SQLite file of the data folder, opened at the first verb.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use include_dir::{Dir, include_dir};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::Store;
use super::outbox::{self, Backlog, Claim, DeadLetter, Lease, NewLetter, Room, Settlement};
use super::records::{self, Bounds, Change, Put, Record, RecordKind};
use super::webhooks::{
    self, DeadWebhookLetters, Delivery, Kept, Outcome, Webhook, WebhookBounds, WebhookClaim, WebhookLetter, WebhookStore,
};
use crate::api::Timestamp;
use crate::error::{Error, Kind, Origin, Result};
use crate::io::{migrations, private_files};

/// `FMST`, so that another program's database is told from ours; the first migration writes it.
const APPLICATION_ID: i64 = 0x464D_5354;
/// How long a process waits for another one that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The schema, step by step; a file more in the folder is a step more.
static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/state/migrations");

/// See the module.
pub(super) struct Sqlite {
    /// `None` is a store in memory.
    path: Option<PathBuf>,
    writer: Mutex<Option<Connection>>,
    /// Apart, so that nothing that is only read waits for a write.
    reader: Mutex<Option<Connection>>,
}

/// Whether a data folder has a store, so that nothing is created in one that only is looked at.
pub(crate) fn is_there(data_dir: &Path) -> bool {
    path_in(data_dir).exists()
}

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("state.db")
}

impl Sqlite {
    pub(super) fn new(data_dir: Option<&Path>) -> Self {
        Self { path: data_dir.map(path_in), writer: Mutex::default(), reader: Mutex::default() }
    }

    /// Runs work in one transaction, which no other writer comes between.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        self.with(&self.writer, |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        // In memory there is one connection.
        let connection = if self.path.is_some() { &self.reader } else { &self.writer };
        self.with(connection, |connection| work(connection))
    }

    fn with<T>(&self, connection: &Mutex<Option<Connection>>, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match &mut *connection {
            Some(opened) => opened,
            none => none.insert(self.open()?),
        };
        work(opened).map_err(|error| self.unusable(error))
    }

    fn open(&self) -> Result<Connection> {
        let Some(path) = &self.path else {
            let mut connection = Connection::open_in_memory().map_err(Error::internal)?;
            migrations::migrate(&mut connection, &migrations::steps(&MIGRATIONS)).map_err(Error::internal)?;
            return Ok(connection);
        };
        // In a file that others can write to, another user could have approved a call.
        private_files::open_closed(path).map_err(|error| self.unusable(error))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(|error| self.unusable(error))?;
        let opened = self.prepare(&mut connection, path);
        opened.map(|()| connection)
    }

    fn prepare(&self, connection: &mut Connection, path: &Path) -> Result<()> {
        let unusable = |error| self.unusable(error);
        connection.busy_timeout(BUSY_TIMEOUT).map_err(unusable)?;
        let steps = migrations::steps(&MIGRATIONS);
        let version = migrations::version(connection).map_err(unusable)?;
        let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(unusable)?;
        let is_empty = version == 0 && application == 0;
        if version > steps.len() || !(is_empty || application == APPLICATION_ID) {
            return Err(Error::new(
                Kind::Conflict,
                "FM-MCP-STATE-VERSION",
                format!("{} has schema version {version}; this program reads and writes versions up to {}", path.display(), steps.len()),
            )
            .hint("Use the version of flowmaster-mcp that wrote the folder, or choose another data folder.")
            .of_origin(Origin::Configuration));
        }
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;
                 PRAGMA journal_size_limit = 4194304;",
            )
            .and_then(|()| migrations::migrate(connection, &steps))
            .map_err(unusable)
    }

    fn unusable(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        let path = self.path.as_deref().unwrap_or(Path::new("the memory's store"));
        Error::new(Kind::Internal, "FM-MCP-STATE", format!("{} cannot be used: {error}", path.display()))
            .hint("Nothing was done. Check that the data folder belongs to the user who runs the server, is closed to others (chmod 700), and has room.")
            .caused_by(error)
    }
}

impl Store for Sqlite {
    fn put(&self, kind: RecordKind, record: &Record, bounds: Bounds, now: Timestamp) -> Result<Put> {
        self.write(|tx| records::put(tx, kind, record, bounds, now))
    }

    fn take(&self, kind: RecordKind, owner: &str, id: &str, tag: &str, now: Timestamp) -> Result<Option<Record>> {
        self.write(|tx| records::take(tx, kind, owner, id, tag, now))
    }

    fn amend(&self, kind: RecordKind, owner: &str, id: &str, now: Timestamp, change: &mut Change<'_>) -> Result<bool> {
        self.write(|tx| records::amend(tx, kind, owner, id, now, change))
    }

    fn get(&self, kind: RecordKind, owner: &str, id: &str, now: Timestamp) -> Result<Option<Record>> {
        self.read(|connection| records::get(connection, kind, owner, id, now))
    }

    fn list(&self, kind: RecordKind, owner: &str, now: Timestamp) -> Result<Vec<Record>> {
        self.read(|connection| records::list(connection, kind, owner, now))
    }

    fn append(&self, letters: &[NewLetter], room: Room) -> Result<()> {
        self.write(|tx| outbox::append(tx, letters, room))
    }

    fn claim(&self, most: usize, lease: Duration, now: Timestamp) -> Result<Option<Claim>> {
        // Nothing is written where nothing is due.
        if self.next_due()?.is_none_or(|due| due > now) {
            return Ok(None);
        }
        self.write(|tx| outbox::claim(tx, most, lease, now))
    }

    fn settle(&self, claim: &Claim, settlement: &Settlement, now: Timestamp) -> Result<()> {
        self.write(|tx| outbox::settle(tx, claim, settlement, now))
    }

    fn renew(&self, lease: &Lease, time: Duration, now: Timestamp) -> Result<()> {
        self.write(|tx| outbox::renew(tx, lease, time, now))
    }

    fn is_leased(&self, now: Timestamp) -> Result<bool> {
        self.read(|connection| outbox::is_leased(connection, now))
    }

    fn next_due(&self) -> Result<Option<Timestamp>> {
        self.read(outbox::next_due)
    }

    fn hasten(&self) -> Result<()> {
        self.write(outbox::hasten)
    }

    fn count_lost(&self, lost: &BTreeMap<String, u64>) -> Result<()> {
        self.write(|tx| lost.iter().try_for_each(|(tenant, count)| outbox::count_lost(tx, tenant, *count)))
    }

    fn lost(&self) -> Result<Vec<(String, u64)>> {
        self.read(outbox::lost)
    }

    fn tell_lost(&self, losses: &[NewLetter], send: bool, room: Room) -> Result<Vec<usize>> {
        self.write(|tx| outbox::tell_lost(tx, losses, send, room))
    }

    fn bury(&self, letters: &[(NewLetter, String)]) -> Result<()> {
        self.write(|tx| outbox::bury(tx, letters))
    }

    fn dead(&self, after: i64, most: usize) -> Result<Vec<DeadLetter>> {
        self.read(|connection| outbox::dead(connection, after, most))
    }

    fn resend(&self, id: Option<&str>) -> Result<usize> {
        self.write(|tx| outbox::resend(tx, id))
    }

    fn backlog(&self) -> Result<Backlog> {
        self.read(outbox::backlog)
    }
}

impl WebhookStore for Sqlite {
    fn keep(&self, webhook: &Webhook, bounds: WebhookBounds, now: Timestamp) -> Result<Kept> {
        self.write(|tx| webhooks::keep(tx, webhook, bounds, now))
    }

    fn find(&self, owner: &str, id: &str, now: Timestamp) -> Result<Option<(Webhook, Delivery)>> {
        self.read(|connection| webhooks::find(connection, owner, id, now))
    }

    fn delivers_to(&self, owner: &str, url: &str, now: Timestamp) -> Result<bool> {
        self.read(|connection| webhooks::delivers_to(connection, owner, url, now))
    }

    fn end(&self, owner: &str, id: &str) -> Result<bool> {
        self.write(|tx| webhooks::end(tx, owner, id))
    }

    fn live(&self, now: Timestamp) -> Result<Vec<Webhook>> {
        self.read(|connection| webhooks::live(connection, now))
    }

    fn claim_due(&self, busy: &[String], most: usize, lease: Duration, now: Timestamp) -> Result<Option<WebhookClaim>> {
        // Nothing is written where nothing is due.
        if self.due_next()?.is_none_or(|due| due > now) {
            return Ok(None);
        }
        self.write(|tx| webhooks::claim_due(tx, busy, most, lease, now))
    }

    fn take_over(&self, claim: &WebhookClaim, letters: &[WebhookLetter], cursor: &str) -> Result<bool> {
        self.write(|tx| webhooks::take_over(tx, claim, letters, cursor))
    }

    fn note(&self, claim: &WebhookClaim, letter: &str, outcome: Outcome<'_>, now: Timestamp) -> Result<bool> {
        self.write(|tx| webhooks::note(tx, claim, letter, outcome, now))
    }

    fn release(&self, claim: &WebhookClaim, due: Timestamp) -> Result<()> {
        self.write(|tx| webhooks::release(tx, claim, due))
    }

    fn end_claimed(&self, claim: &WebhookClaim) -> Result<()> {
        self.write(|tx| webhooks::end_claimed(tx, claim))
    }

    fn wake(&self, ids: &[String], now: Timestamp) -> Result<()> {
        self.write(|tx| webhooks::wake(tx, ids, now))
    }

    fn due_next(&self) -> Result<Option<Timestamp>> {
        self.read(webhooks::due_next)
    }

    fn dead_letters(&self, now: Timestamp) -> Result<Vec<DeadWebhookLetters>> {
        self.read(|connection| webhooks::dead_letters(connection, now))
    }

    fn revive(&self, id: Option<&str>, now: Timestamp) -> Result<usize> {
        self.write(|tx| webhooks::revive(tx, id, now))
    }

    fn drop_dead(&self, id: Option<&str>) -> Result<usize> {
        self.write(|tx| webhooks::drop_dead(tx, id))
    }
}
