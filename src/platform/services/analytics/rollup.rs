//! The rollup: follows the event log by position and adds what it tells to the cells.
//!
//! Cells and position change in one transaction, so an event counts once, whatever is killed when. Other rules for what
//! events tell begin again with the first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::cells::{Cell, Series};
use super::metrics::ACTIVE_USERS;
use super::periods::Level;
use super::samples::{self, Logged, PERSON, TOPICS};
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};
use crate::platform::engine::runtime::run::parse;
use crate::platform::keys::Keys;

/// The version of the rules; a change of what an event tells raises it.
const RULES: i64 = 1;
/// Most events that are added up in one transaction.
const BATCH: i64 = 500;
/// Most events that one look at the log passes over.
const SPAN: i64 = 10_000;
/// How long events gather before they are added up.
const PAUSE: Duration = Duration::from_millis(500);
/// How far the kept position may stay behind where nothing is to be added.
const MAX_BEHIND: i64 = 1_000;

/// What a part of the log adds.
#[derive(Debug, Default)]
struct Addition {
    /// By tenant, metric, dimension, value and hour.
    cells: BTreeMap<(String, &'static str, &'static str, String, i64), Cell>,
    /// By tenant, hour and digest of the person.
    people: BTreeSet<(String, i64, Vec<u8>)>,
    /// The position that the log was read up to.
    position: i64,
    /// Whether the log goes on beyond.
    more: bool,
}

/// Adds up the log until the platform stops.
pub(super) async fn follow(platform: Platform) {
    let mut committed = platform.events_notify();
    let mut position = None;
    while !platform.stopping().is_cancelled() {
        committed.mark_unchanged();
        if let Err(error) = catch_up(&platform, &mut position).await {
            tracing::error!(%error, "the event log cannot be added up");
            position = None;
            committed.mark_changed();
        }
        tokio::select! {
            () = platform.stopping().cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        tokio::select! {
            () = platform.stopping().cancelled() => return,
            Ok(()) = committed.changed() => {}
        }
    }
}

/// Adds up everything up to the end of the log. `reached` is how far it was read, and what of that is kept.
async fn catch_up(platform: &Platform, reached: &mut Option<(i64, i64)>) -> Result<()> {
    loop {
        let (read, kept) = if let Some(reached) = *reached {
            reached
        } else {
            let position = platform.database().write(system(), begin).await?;
            (position, position)
        };
        let keys = platform.clone();
        let addition = platform.database().read(move |connection| look(connection, keys.keys(), read)).await?;
        let (position, more) = (addition.position, addition.more);
        let nothing = addition.cells.is_empty() && addition.people.is_empty();
        if nothing && position - kept < MAX_BEHIND {
            *reached = Some((position, kept));
        } else {
            platform.database().write(system(), move |tx| add(tx, &addition)).await?;
            *reached = Some((position, position));
        }
        if !more || platform.stopping().is_cancelled() {
            return Ok(());
        }
    }
}

/// The rollup writes for every tenant, as the platform.
fn system() -> Scope {
    Scope::system("".into())
}

/// The position that is kept; the first where the rules are others.
fn begin(tx: &mut Tx<'_>) -> Result<i64> {
    let kept: Option<(i64, i64)> =
        tx.query_row("SELECT rules, position FROM metric_progress", [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    if let Some((RULES, position)) = kept {
        return Ok(position);
    }
    tx.execute_batch("DELETE FROM metric_cells; DELETE FROM metric_users;")?;
    tx.execute("INSERT OR REPLACE INTO metric_progress (id, rules, position) VALUES (1, ?1, 0)", [RULES])?;
    Ok(0)
}

/// What the next part of the log adds.
fn look(connection: &Connection, keys: &Keys, after: i64) -> Result<Addition> {
    let head: i64 = connection.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get(0))?;
    let until = head.min(after + SPAN);
    let topics = TOPICS.map(|topic| format!("'{topic}'")).join(", ");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT position, tenant_id, topic, source, time, data FROM events WHERE position > ?1 AND position <= ?2 \
         AND (topic IN ({topics}) OR substr(source, 1, {}) = '{PERSON}') ORDER BY position LIMIT ?3",
        PERSON.len()
    ))?;
    let rows = statement.query_map(params![after, until, BATCH], |row| {
        let data: String = row.get(5)?;
        let event = Logged {
            position: row.get(0)?,
            tenant: row.get(1)?,
            topic: row.get(2)?,
            source: row.get(3)?,
            time: row.get(4)?,
            data: serde_json::Map::new(),
        };
        Ok((event, data))
    })?;
    let mut addition = Addition::default();
    let mut count = 0;
    for row in rows {
        let (event, data) = row?;
        let event = Logged { data: parse(&data)?, ..event };
        addition.position = event.position;
        addition.take(connection, keys, &event)?;
        count += 1;
    }
    if count < BATCH {
        addition.position = until;
    }
    addition.more = addition.position < head;
    Ok(addition)
}

impl Addition {
    /// Takes what an event tells.
    fn take(&mut self, connection: &Connection, keys: &Keys, event: &Logged) -> Result<()> {
        let hour = Level::Hour.begin(event.time);
        for sample in samples::samples(connection, event)? {
            let cell = Cell::of(sample.value);
            let all = ("", String::new());
            for (dimension, value) in std::iter::once(all).chain(sample.dimensions) {
                self.cells.entry((event.tenant.clone(), sample.metric, dimension, value, hour)).or_default().merge(&cell);
            }
        }
        if let Some(person) = samples::person(event) {
            let tag = keys.tag(format!("analytics\0{}\0{person}", event.tenant).as_bytes());
            self.people.insert((event.tenant.clone(), hour, tag.to_vec()));
        }
        Ok(())
    }
}

/// Adds a part of the log to the cells, and keeps how far it goes.
fn add(tx: &mut Tx<'_>, addition: &Addition) -> Result<()> {
    for ((tenant, metric, dimension, value, hour), cell) in &addition.cells {
        cell.store(tx, &Series { tenant, metric, dimension, value }, *hour)?;
    }
    let mut note = tx.prepare_cached("INSERT OR IGNORE INTO metric_users (tenant_id, level, start, user_tag) VALUES (?1, ?2, ?3, ?4)")?;
    for (tenant, hour, tag) in &addition.people {
        let series = Series { tenant, metric: ACTIVE_USERS, dimension: "", value: "" };
        for level in Level::ALL {
            let start = level.begin(*hour);
            // A person counts once in each hour, day and month.
            if note.execute(params![tenant, level.name(), start, tag])? > 0 {
                Cell::of(1.0).store_at(tx, &series, level, start)?;
            }
        }
    }
    tx.prepare_cached("UPDATE metric_progress SET position = ?1")?.execute([addition.position])?;
    Ok(())
}
