//! Carrying out requests to delete personal data: everything that is kept of a person, kind by kind, in small transactions.
//!
//! The step, the last row and the counts of a request are in the database and move on in the transaction that erases, so a
//! request goes on where a killed process left it. A request that fails holds up no other.

pub(super) mod person;
pub(super) mod places;

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Map, Value, json};

use super::holds;
use crate::api::Timestamp;
use crate::api::audit::Changes;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};
use crate::platform::keys::Keys;
use crate::platform::services::auth;
use person::Person;
use places::{Hit, PLACES};

/// How many rows one transaction changes.
const BATCH_ROWS: usize = 25;
/// How many requests are looked up at once.
const REQUESTS: usize = 100;
/// How often it is looked after requests that are held or failed, in seconds.
const INTERVAL: f64 = 600.0;

/// How many rows were erased, or would be, by kind.
pub(super) type Counts = BTreeMap<String, u64>;

/// Carries out what is due from the start on, as long as the platform runs.
pub(super) async fn run(platform: Platform) {
    empty_log(&platform).await;
    while !platform.stopping().is_cancelled() {
        let next = match carry_out_due(&platform).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "requests to delete personal data cannot be looked up; it is tried again in ten minutes");
                None
            }
        };
        let latest = platform.now().plus_seconds(INTERVAL);
        let next = next.filter(|next| *next > platform.now()).map_or(latest, |next| next.min(latest));
        let clock = Arc::clone(platform.clock());
        tokio::select! {
            () = platform.stopping().cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
    }
}

/// A request that is due.
struct Due {
    id: String,
    tenant: String,
}

/// Carries out all requests that are due, and answers when the next one is.
async fn carry_out_due(platform: &Platform) -> Result<Option<Timestamp>> {
    let now = platform.now();
    let mut after = String::new();
    loop {
        let from = after.clone();
        let due: Vec<Due> = platform
            .database()
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT id, tenant_id FROM audit_deletions WHERE status IN ('pending', 'held', 'erasing') AND due_at <= ?1 AND id > ?2
                     ORDER BY id LIMIT ?3",
                )?;
                let rows = statement.query_map((now.millis(), from, REQUESTS), |row| Ok(Due { id: row.get(0)?, tenant: row.get(1)? }))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        let Some(last) = due.last() else { break };
        after.clone_from(&last.id);
        for request in due {
            let id = request.id.clone();
            if let Err(error) = carry_out(platform, request).await {
                tracing::error!(%error, request = id, "a request to delete personal data failed; it is tried again in ten minutes");
            }
            if platform.stopping().is_cancelled() {
                return Ok(None);
            }
        }
    }
    platform
        .database()
        .read(move |connection| {
            let next: Option<i64> = connection
                .prepare_cached("SELECT min(due_at) FROM audit_deletions WHERE status = 'pending' AND due_at > ?1")?
                .query_row([now.millis()], |row| row.get(0))?;
            Ok(next.map(Timestamp::from_millis))
        })
        .await
}

/// Where a request is.
struct Progress {
    person: Person,
    step: usize,
    place: Option<Vec<Sql>>,
}

async fn carry_out(platform: &Platform, request: Due) -> Result<()> {
    let scope = || Scope::system(request.tenant.as_str().into());
    let (own, id) = (platform.clone(), request.id.clone());
    let Some(Progress { person, mut step, mut place }) = platform.database().write(scope(), move |tx| begin(tx, own.keys(), &id)).await?
    else {
        return Ok(());
    };
    let person = Arc::new(person);
    while let Some(kind) = PLACES.get(step) {
        if platform.stopping().is_cancelled() {
            return Ok(());
        }
        let (tenant, whose, after) = (request.tenant.clone(), Arc::clone(&person), place.clone());
        let mut seen = platform.database().read(move |connection| kind.look(connection, &tenant, &whose, after.as_deref())).await?;
        let next = if seen.last.is_some() { (step, seen.last.take()) } else { (step + 1, None) };
        while !seen.hits.is_empty() {
            let batch: Vec<Hit> = seen.hits.drain(..seen.hits.len().min(BATCH_ROWS)).collect();
            let (own, id, whose) = (platform.clone(), request.id.clone(), Arc::clone(&person));
            let goes_on = platform.database().write(scope(), move |tx| erase(tx, &own, &id, &whose, kind, &batch)).await?;
            if !goes_on {
                return Ok(());
            }
        }
        (step, place) = next;
        let (id, at) = (request.id.clone(), place.clone());
        platform.database().write(scope(), move |tx| move_on(tx, &id, step, at.as_deref())).await?;
    }
    let id = request.id.clone();
    platform.database().write(scope(), move |tx| end(tx, &id)).await?;
    empty_log(platform).await;
    Ok(())
}

/// Takes what was erased out of the database's log. Where that cannot be done now, it is at the next start.
async fn empty_log(platform: &Platform) {
    if let Err(error) = platform.database().empty_log().await {
        tracing::warn!(%error, "what was erased stays in the database's log until the next start");
    }
}

/// Begins a request, or goes on with it: the account goes first, so that nothing new comes of the person.
fn begin(tx: &mut Tx<'_>, keys: &Keys, id: &str) -> Result<Option<Progress>> {
    let row = tx
        .prepare_cached(
            "SELECT subject, names, pseudonym, step, place FROM audit_deletions
             WHERE tenant_id = ?1 AND id = ?2 AND status IN ('pending', 'held', 'erasing')",
        )?
        .query_row((tx.tenant(), id), |row| {
            let read: (Option<String>, Option<String>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((read, row.get::<_, usize>(3)?, row.get::<_, Option<String>>(4)?))
        })
        .optional()?;
    let Some(((Some(subject), names, pseudonym), step, place)) = row else { return Ok(None) };
    let person = match (names, pseudonym) {
        (Some(names), Some(pseudonym)) => Person::kept(&names, pseudonym)?,
        // A request of before subjects were checked may name anything: a word is nobody's name then.
        _ => Person::find(tx, keys, tx.tenant(), &subject).or_else(|_| Person::kept("[]", keys.pseudonym(tx.tenant(), &subject)))?,
    };
    if holds::on_any(tx, &person.names)? {
        tx.prepare_cached("UPDATE audit_deletions SET status = 'held' WHERE id = ?1")?.execute([id])?;
        return Ok(None);
    }
    let names = serde_json::to_string(&person.names).map_err(Error::internal)?;
    tx.prepare_cached("UPDATE audit_deletions SET status = 'erasing', names = ?2, pseudonym = ?3 WHERE id = ?1")?.execute((
        id,
        names,
        &person.pseudonym,
    ))?;
    let mut accounts = 0;
    for name in &person.names {
        accounts += auth::erase_user(tx, name)?;
        tx.prepare_cached("DELETE FROM idempotency WHERE tenant_id = ?1 AND subject = ?2")?.execute((tx.tenant(), name))?;
        tx.prepare_cached("UPDATE audit_deletions SET requested_by = ?3 WHERE tenant_id = ?1 AND requested_by = ?2")?.execute((
            tx.tenant(),
            name,
            &person.pseudonym,
        ))?;
        tx.prepare_cached(
            "UPDATE audit_holds SET subject = ?3 WHERE tenant_id = ?1 AND lower(subject) = lower(?2) AND released_at IS NOT NULL",
        )?
        .execute((tx.tenant(), name, &person.pseudonym))?;
    }
    add(tx, id, "accounts", accounts)?;
    let place = place.map(|place| values_of(&place)).transpose()?;
    Ok(Some(Progress { person, step, place }))
}

/// Erases some rows; false if a legal hold came meanwhile.
fn erase(tx: &mut Tx<'_>, platform: &Platform, id: &str, person: &Person, kind: &places::Place, hits: &[Hit]) -> Result<bool> {
    if holds::on_any(tx, &person.names)? {
        tx.prepare_cached("UPDATE audit_deletions SET status = 'held' WHERE id = ?1")?.execute([id])?;
        return Ok(false);
    }
    let mut erased = 0;
    for hit in hits {
        erased += u64::from(kind.erase(tx, platform, id, person, hit)?);
    }
    kind.settle(tx, hits)?;
    add(tx, id, kind.kind, erased)?;
    Ok(true)
}

fn add(tx: &Tx<'_>, id: &str, kind: &str, more: u64) -> Result<()> {
    if more == 0 {
        return Ok(());
    }
    let mut counts = counts_of(tx, id)?;
    *counts.entry(kind.to_owned()).or_default() += more;
    let counts = serde_json::to_string(&counts).map_err(Error::internal)?;
    tx.prepare_cached("UPDATE audit_deletions SET counts = ?2 WHERE id = ?1")?.execute((id, counts))?;
    Ok(())
}

fn counts_of(connection: &Connection, id: &str) -> Result<Counts> {
    let counts: String =
        connection.prepare_cached("SELECT counts FROM audit_deletions WHERE id = ?1")?.query_row([id], |row| row.get(0))?;
    serde_json::from_str(&counts).map_err(Error::internal)
}

fn move_on(tx: &Tx<'_>, id: &str, step: usize, place: Option<&[Sql]>) -> Result<()> {
    let place = place.map(|place| {
        let values = place.iter().map(|value| match value {
            Sql::Integer(number) => json!(number),
            Sql::Text(text) => json!(text),
            _ => Value::Null,
        });
        Value::Array(values.collect()).to_string()
    });
    tx.prepare_cached("UPDATE audit_deletions SET step = ?2, place = ?3 WHERE id = ?1")?.execute((id, step, place))?;
    Ok(())
}

fn values_of(place: &str) -> Result<Vec<Sql>> {
    let values: Vec<Value> = serde_json::from_str(place).map_err(Error::internal)?;
    Ok(values
        .into_iter()
        .map(|value| value.as_i64().map_or_else(|| value.as_str().unwrap_or_default().to_owned().into(), Sql::Integer))
        .collect())
}

/// The request is done: the trail says what was erased, and the names of the person are gone.
fn end(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let counts = counts_of(tx, id)?;
    let pseudonym: Option<String> =
        tx.prepare_cached("SELECT pseudonym FROM audit_deletions WHERE id = ?1")?.query_row([id], |row| row.get(0))?;
    tx.prepare_cached(
        "UPDATE audit_deletions SET status = 'done', subject = NULL, reason = NULL, names = NULL, place = NULL, completed_at = ?2 WHERE id = ?1",
    )?
    .execute((id, tx.now().millis()))?;
    let after = Map::from_iter([("pseudonym".to_owned(), json!(pseudonym)), ("erased".to_owned(), json!(counts))]);
    tx.audit("records.erased", "deletion_request", id, Some(Changes { before: None, after: Some(after) }))?;
    Ok(())
}

/// The folder key's signature of a text that a pseudonym stands in.
pub(super) fn signature(keys: &Keys, tenant: &str, sequence: i64, column: &str, text: &str) -> String {
    keys.sign(signed(tenant, sequence, column, text).as_bytes())
}

/// Whether a text of a row was put there in the course of a deletion request.
pub(super) fn is_signed(keys: &Keys, tenant: &str, sequence: i64, column: &str, text: &str, signature: &str) -> bool {
    keys.verify(signed(tenant, sequence, column, text).as_bytes(), signature)
}

fn signed(tenant: &str, sequence: i64, column: &str, text: &str) -> String {
    json!(["flowmaster/audit/erasure", tenant, sequence, column, text]).to_string()
}
