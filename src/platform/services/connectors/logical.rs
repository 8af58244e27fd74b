//! A PostgreSQL table whose changes are read from the database's log, by a replication slot (`slot`).
//!
//! The log says which rows changed, and the table what they are now: a row that is not there any more is a deletion. So the
//! values are read in one way, and it does not matter whether a change is read twice. The slot advances only when the rows
//! are kept, so a kill loses nothing. Where the log does not tell the rows, all of the table is read, and what is not in it
//! is gone. The first run creates the slot and then reads the whole table.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::error::Elapsed;
use tokio_postgres::IsolationLevel;

use super::files::MAX_ROWS;
use super::jobs::{self, Stored};
use super::postgres::{self, Session, fault, hand_over, within};
use super::query::{MAX_ROW, identifier, literal};
use super::rows::{Batch, Reason, Row, Whole};
use super::runs;
use super::slot::{self, Look, Slot, Table};
use super::source::Postgres;
use crate::api::connectors::ReplicationSlot;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};

/// How long statistics wait for a source, and a cancel for the end of a run.
const STATE_TIMEOUT: Duration = Duration::from_secs(3);
const DROP_TIMEOUT: Duration = Duration::from_secs(10);
const DROP_PAUSE: Duration = Duration::from_millis(100);

/// A table that is ready to be followed.
pub(super) struct Follow {
    session: Session,
    slot: Slot,
    table: Table,
    written: String,
    key_field: String,
    /// Where the slot stands, if all of the table is still to be read.
    pub(super) first: Option<String>,
    /// The position of the run.
    pub(super) position: u64,
}

/// The slot of an import.
fn slot_of(platform: &Platform, job: &Stored) -> Slot {
    Slot::of(platform.keys().id(), &job.tenant, &job.id)
}

/// Connects to the source, and creates the slot if the import has none; nothing if the import was cancelled meanwhile. A slot
/// that has lost changes is given up: the next run reads the whole table.
pub(super) async fn prepare(
    platform: &Platform,
    job: &Stored,
    source: &Postgres,
    credentials: &Map<String, Value>,
) -> Result<Option<Follow>> {
    let session = Session::open(platform, source, credentials).await?;
    let Some(written) = source.query.written_table().map(str::to_owned) else {
        return Err(Error::new(Kind::Invalid, "FM-DCS-CDC-MODE", "the log of a database is followed for a table alone"));
    };
    let table = Table::find(&session.client, &written, &job.key_field).await?;
    let slot = slot_of(platform, job);
    let mut confirmed = slot.confirmed(&session.client).await?;
    if let Some(watermark) = &job.watermark
        && let Some(why) = slot::lost_since(watermark, confirmed.as_deref())
    {
        set_slot(platform, job, None).await?;
        slot.drop(&session.client).await?;
        return Err(slot::lost(why));
    }
    let is_first = job.watermark.is_none() || job.slot_table != Some(table.oid);
    if is_first {
        // Known before it is there, so that no slot is forgotten.
        if !set_slot(platform, job, Some((slot.0.clone(), table.oid))).await? {
            return Ok(None);
        }
        if confirmed.is_none() {
            slot.drop(&session.client).await?;
            confirmed = Some(slot.create(&session.client).await?);
            // A cancel meanwhile found no slot to drop.
            if !is_running(platform, job).await? {
                slot.drop(&session.client).await?;
                return Ok(None);
            }
        }
    }
    let first = confirmed.filter(|_| is_first);
    Ok(Some(Follow { session, slot, table, written, key_field: job.key_field.clone(), first, position: 0 }))
}

/// Reads what has changed since the last run, or all rows, and hands them over.
pub(super) async fn read(mut follow: Follow, batches: mpsc::Sender<Result<Batch>>) {
    let read = match follow.first.take() {
        Some(high) => follow.whole(&batches, Some(high)).await.map(drop),
        None => follow.changes(&batches).await,
    };
    if let Err(error) = read {
        let _ = batches.send(Err(error)).await;
    }
}

impl Follow {
    /// Reads what the log holds by now, some transactions at a time.
    async fn changes(&mut self, batches: &mpsc::Sender<Result<Batch>>) -> Result<()> {
        let sql = "SELECT pg_current_wal_flush_lsn()::text";
        let now: String = within(self.session.client.query_one(sql, &[])).await?.try_get(0).map_err(fault)?;
        loop {
            let look = self.slot.peek(&mut self.session.client, &self.table, &now).await?;
            look.settle(&self.session.client).await?;
            let is_wanted = match look.untold {
                Some(why) => {
                    tracing::info!(slot = self.slot.0, why, "the whole table of an import is read");
                    let begins = Batch { position: self.position, whole: Some(Whole::Begins), ..Batch::default() };
                    batches.send(Ok(begins)).await.is_ok() && self.whole(batches, None).await?
                }
                None => self.changed(batches, &look).await?,
            };
            if !is_wanted {
                return Ok(());
            }
            let is_last = look.end.is_none();
            let end = look.end.unwrap_or_else(|| now.clone());
            // Once all before it is kept, the log is not needed up to here.
            let (sender, kept) = oneshot::channel();
            let done = Batch { position: self.position, high: Some(end.clone()), kept: Some(sender), ..Batch::default() };
            if batches.send(Ok(done)).await.is_err() {
                return Ok(());
            }
            let Ok(position) = kept.await else { return Ok(()) };
            self.position = position;
            self.slot.advance(&self.session.client, &end).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Hands over what the rows of some keys are now; answers whether more is wanted.
    async fn changed(&mut self, batches: &mpsc::Sender<Result<Batch>>, look: &Look) -> Result<bool> {
        let mut batch = Batch { position: self.position, ..Batch::default() };
        for line in &look.without_key {
            batch.position += 1;
            let reason = Reason::new("key", format!("has nothing as `{}`, which identifies a row", self.key_field));
            batch.rows.push(Row::new(batch.position, line.as_bytes(), Err(reason)));
        }
        if !look.keys.is_empty() {
            let (key, name) = (identifier(&self.key_field), literal(&self.key_field));
            let read = format!(
                "SELECT CASE WHEN q.{key} IS NOT NULL THEN row_to_json(q)::text END AS t, json_build_object({name}, v.k)::text AS k \
                 FROM (SELECT u.k::{} AS k FROM unnest($1::text[]) AS u (k)) AS v LEFT JOIN {} AS q ON q.{key} = v.k OFFSET 0",
                self.table.cast, self.written
            );
            let transaction = within(self.session.client.build_transaction().read_only(true).start()).await?;
            if !hand_over(&transaction, &bounded(&read), &[&look.keys], u64::MAX, batches, &mut batch).await? {
                return Ok(false);
            }
        }
        self.position = batch.position;
        Ok(batch.rows.is_empty() || batches.send(Ok(batch)).await.is_ok())
    }

    /// Hands over all rows of the table in one view of it; answers whether more is wanted.
    async fn whole(&mut self, batches: &mpsc::Sender<Result<Batch>>, high: Option<String>) -> Result<bool> {
        let view = self.session.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let transaction = within(view.start()).await?;
        let read = format!(
            "SELECT row_to_json(q)::text AS t, json_build_object({}, q.{})::text AS k FROM {} AS q OFFSET 0",
            literal(&self.key_field),
            identifier(&self.key_field),
            self.written
        );
        let mut batch = Batch { position: self.position, high, ..Batch::default() };
        let most = self.position.saturating_add(MAX_ROWS);
        if !hand_over(&transaction, &bounded(&read), &[], most, batches, &mut batch).await? {
            return Ok(false);
        }
        self.position = batch.position;
        Ok(batches.send(Ok(Batch { whole: Some(Whole::Ends), ..batch })).await.is_ok())
    }
}

/// Reads rows with their sizes; one beyond the bound has no text.
fn bounded(read: &str) -> String {
    format!("SELECT CASE WHEN octet_length(r.t) <= {MAX_ROW} THEN r.t END, octet_length(r.t), r.k FROM ({read}) AS r")
}

/// What the source says of an import's slot now.
pub(super) async fn state(platform: &Platform, name: &str, source: &Postgres, credentials: &Map<String, Value>) -> ReplicationSlot {
    let slot = Slot(name.to_owned());
    let asking = async {
        let session = Session::open(platform, source, credentials).await?;
        slot.state(&session.client).await
    };
    let untold = |error: String| ReplicationSlot { name: name.to_owned(), lag_bytes: None, wal_status: None, error: Some(error) };
    match tokio::time::timeout(STATE_TIMEOUT, asking).await {
        Ok(Ok(state)) => state,
        Ok(Err(error)) => untold(error.to_string()),
        Err(_) => untold("the database did not answer in time".to_owned()),
    }
}

/// Drops the slot of an import that is cancelled, as soon as its run is at its end.
pub(super) async fn release(platform: &Platform, job: &Stored, source: &Postgres, credentials: &Map<String, Value>) -> Result<()> {
    let slot = slot_of(platform, job);
    let dropping = async {
        let session = Session::open(platform, source, credentials).await?;
        drop_unused(&slot, &session).await?;
        set_slot(platform, job, None).await?;
        // A run that was just about to create it has done so by now, or sees that it is not to.
        drop_unused(&slot, &session).await
    };
    let late = |_: Elapsed| slot::in_use("a run is not at its end yet");
    tokio::time::timeout(DROP_TIMEOUT, dropping).await.map_err(late)?
}

async fn drop_unused(slot: &Slot, session: &Session) -> Result<()> {
    loop {
        match slot.drop(&session.client).await {
            Err(error) if error.code() == "FM-DCS-SLOT-IN-USE" => tokio::time::sleep(DROP_PAUSE).await,
            dropped => return dropped,
        }
    }
}

/// The columns of the table, which prove that it can be followed as far as it is known.
pub(super) async fn columns(platform: &Platform, source: &Postgres, credentials: &Map<String, Value>) -> Result<Vec<String>> {
    let session = Session::open(platform, source, credentials).await?;
    slot::check_log(&session.client).await?;
    postgres::columns(platform, source, credentials).await
}

/// Keeps which slot an import has, and the table that it is for; a slot, only while the import runs. Answers whether it does.
async fn set_slot(platform: &Platform, job: &Stored, slot: Option<(String, u32)>) -> Result<bool> {
    let scope = Scope { correlation_id: Some(job.id.clone()), ..Scope::system(job.tenant.as_str().into()) };
    let id = job.id.clone();
    let work = move |tx: &mut Tx<'_>| {
        let is_right = slot.is_none() || runs::is_active(tx, tx.tenant(), &id)?;
        if is_right {
            let (slot, table) = slot.unzip();
            jobs::set_slot(tx, &id, slot.as_deref(), table)?;
        }
        Ok(is_right)
    };
    platform.database().write(scope, work).await
}

async fn is_running(platform: &Platform, job: &Stored) -> Result<bool> {
    let (tenant, id) = (job.tenant.clone(), job.id.clone());
    platform.database().read(move |connection| runs::is_active(connection, &tenant, &id)).await
}
