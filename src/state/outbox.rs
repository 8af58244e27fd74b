//! The outbox: letters on their way to the platform, fair between tenants and between the callers of a tenant.
//!
//! Every letter waits in its tenant's queue. A claim leases one tenant to one process; a tenant on which the platform fails
//! backs off alone. A letter on which the platform fails twice goes behind the tenant's others, and becomes a dead letter after
//! six attempts if the platform took another letter of that tenant since its first failure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use crate::api::{Timestamp, ids};

/// After how many attempts a letter may be dead.
const DEAD_AFTER_ATTEMPTS: i64 = 6;
/// How many letters of the largest holder are evicted at once.
const EVICTION_BATCH: usize = 64;
/// The longest back-off, however much longer the platform asks to be left alone: it may change its mind.
pub(crate) const MAX_BACKOFF: Duration = Duration::from_mins(1);
/// The most that dead letters take, in bytes: those of one tenant, and those of all.
const MAX_DEAD_OF_TENANT: u64 = 8 * 1024 * 1024;
const MAX_DEAD_OF_ALL: u64 = 64 * 1024 * 1024;

/// A letter to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLetter {
    pub(crate) id: String,
    /// The tenant; empty where the caller is not known.
    pub(crate) tenant: String,
    pub(crate) caller: String,
    /// Whether it is about a read, which loses its room to writes, decisions and refusals.
    pub(crate) is_read: bool,
    /// How many lost letters are counted if this one is lost: more than one where it tells of losses.
    pub(crate) stands_for: u64,
    pub(crate) body: String,
}

/// How much may wait, in bytes: of one tenant, so that its flood leaves room to others, and of all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) of_tenant: u64,
    pub(crate) of_all: u64,
}

impl Room {
    /// Room for whatever an earlier version left.
    pub(crate) const UNBOUNDED: Self = Self { of_tenant: u64::MAX, of_all: u64::MAX };
}

/// A letter that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) id: String,
    pub(crate) body: String,
    /// Whether the platform failed on it before.
    pub(crate) has_failed: bool,
}

/// A dead letter and why it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    /// Its position, for the next page.
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) reason: String,
}

/// One tenant's next letters, leased to one claimant.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) lease: Lease,
    pub(crate) letters: Vec<Letter>,
}

/// The tenant of a claim, and the lease on it.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) tenant: String,
    id: String,
}

/// What came of the letters of a claim.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    pub(crate) delivered: Vec<String>,
    /// Letters that the platform will never take, and why.
    pub(crate) dead: Vec<(String, String)>,
    /// Letters on which the platform failed, and how.
    pub(crate) failed: Vec<(String, String)>,
    /// The first back-off, where not all could be tried; it doubles with each claim that delivers nothing.
    pub(crate) back_off: Option<Duration>,
    /// How long the platform asked to be left alone.
    pub(crate) wanted: Option<Duration>,
}

/// How many letters there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Letters on their way.
    pub waiting: u64,
    /// Those of them of tenants whose letters were not taken at the last attempt.
    pub backing_off: u64,
    /// Dead letters.
    pub dead: u64,
    /// Lost letters that no entry tells of yet.
    pub lost: u64,
}

pub(super) fn append(tx: &Transaction<'_>, letters: &[NewLetter], room: Room) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO outbox (id, tenant, caller, priority, body, bytes, stands_for) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO NOTHING",
    )?;
    for letter in letters {
        // What the indexes take counts too, so that small letters are not free.
        let bytes = letter.body.len() + letter.tenant.len() + letter.caller.len() + 256;
        insert.execute((&letter.id, &letter.tenant, &letter.caller, letter.is_read, &letter.body, bytes, letter.stands_for))?;
    }
    for tenant in letters.iter().map(|letter| letter.tenant.as_str()).collect::<BTreeSet<_>>() {
        while bytes_of(tx, tenant)? > room.of_tenant && evict(tx, tenant)? {}
    }
    while tx.prepare_cached("SELECT bytes FROM outbox_total")?.query_row([], |row| row.get::<_, u64>(0))? > room.of_all {
        let largest: Option<String> = tx
            .prepare_cached("SELECT tenant FROM outbox_tenants ORDER BY bytes DESC LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        match largest {
            Some(tenant) if evict(tx, &tenant)? => {}
            _ => break,
        }
    }
    Ok(())
}

fn bytes_of(tx: &Transaction<'_>, tenant: &str) -> rusqlite::Result<u64> {
    let bytes =
        tx.prepare_cached("SELECT bytes FROM outbox_tenants WHERE tenant = ?1")?.query_row([tenant], |row| row.get(0)).optional()?;
    Ok(bytes.unwrap_or_default())
}

/// Evicts letters of a tenant's largest caller: reads before others, the newest first. False if there are none.
fn evict(tx: &Transaction<'_>, tenant: &str) -> rusqlite::Result<bool> {
    let largest: Option<String> = tx
        .prepare_cached("SELECT caller FROM outbox_callers WHERE tenant = ?1 ORDER BY bytes DESC LIMIT 1")?
        .query_row([tenant], |row| row.get(0))
        .optional()?;
    let Some(caller) = largest else { return Ok(false) };
    let evicted = tx
        .prepare_cached(
            "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE tenant = ?1 AND caller = ?2 AND dead_reason IS NULL
             ORDER BY priority DESC, seq DESC LIMIT ?3) RETURNING stands_for",
        )?
        .query_map((tenant, &caller, EVICTION_BATCH), |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<u64>>>()?;
    count_lost(tx, tenant, evicted.iter().sum())?;
    Ok(!evicted.is_empty())
}

pub(super) fn count_lost(tx: &Transaction<'_>, tenant: &str, count: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO outbox_tenants (tenant, lost) VALUES (?1, ?2) ON CONFLICT (tenant) DO UPDATE SET lost = lost + ?2")?
        .execute((tenant, count))?;
    Ok(())
}

pub(super) fn lost(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    connection
        .prepare_cached("SELECT tenant, lost FROM outbox_tenants WHERE lost > 0")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

pub(super) fn tell_lost(tx: &Transaction<'_>, losses: &[NewLetter], send: bool, room: Room) -> rusqlite::Result<Vec<usize>> {
    let mut told = Vec::new();
    for (place, letter) in losses.iter().enumerate() {
        // Another process may have told of them meanwhile.
        let taken = tx
            .prepare_cached("UPDATE outbox_tenants SET lost = lost - ?2 WHERE tenant = ?1 AND lost >= ?2")?
            .execute((&letter.tenant, letter.stands_for))?;
        if taken > 0 {
            told.push(place);
            if send {
                append(tx, std::slice::from_ref(letter), room)?;
            }
        }
    }
    Ok(told)
}

pub(super) fn next_due(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let due: Option<i64> = connection
        .prepare_cached("SELECT min(max(due, leased_until)) FROM outbox_tenants WHERE entries > 0")?
        .query_row([], |row| row.get(0))?;
    Ok(due.map(Timestamp::from_millis))
}

pub(super) fn renew(tx: &Transaction<'_>, lease: &Lease, time: Duration, now: Timestamp) -> rusqlite::Result<()> {
    let until = now.plus_seconds(time.as_secs_f64()).millis();
    tx.prepare_cached("UPDATE outbox_tenants SET leased_until = ?3 WHERE tenant = ?1 AND lease = ?2")?
        .execute((&lease.tenant, &lease.id, until))
        .map(drop)
}

pub(super) fn is_leased(connection: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM outbox_tenants WHERE entries > 0 AND leased_until > ?1")?.exists([now.millis()])
}

pub(super) fn hasten(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute("UPDATE outbox_tenants SET due = 0 WHERE due > 0", []).map(drop)
}

pub(super) fn claim(tx: &Transaction<'_>, most: usize, lease: Duration, now: Timestamp) -> rusqlite::Result<Option<Claim>> {
    let id = ids::unique();
    let until = now.plus_seconds(lease.as_secs_f64());
    let tenant: Option<String> = tx
        .prepare_cached(
            "UPDATE outbox_tenants SET lease = ?1, leased_until = ?2, served = ?3 WHERE tenant =
             (SELECT tenant FROM outbox_tenants WHERE entries > 0 AND due <= ?3 AND leased_until <= ?3 ORDER BY served LIMIT 1)
             RETURNING tenant",
        )?
        .query_row((&id, until.millis(), now.millis()), |row| row.get(0))
        .optional()?;
    let Some(tenant) = tenant else { return Ok(None) };
    let letters = next_letters(tx, &tenant, most)?;
    Ok(Some(Claim { lease: Lease { tenant, id }, letters }))
}

/// Returns a tenant's next letters: of each caller its share, so that no caller's flood delays another's few.
fn next_letters(tx: &Transaction<'_>, tenant: &str, most: usize) -> rusqlite::Result<Vec<Letter>> {
    // Of more callers than letters in a claim, others come into the next one.
    let callers: Vec<String> = tx
        .prepare_cached("SELECT caller FROM outbox_callers WHERE tenant = ?1 ORDER BY random() LIMIT ?2")?
        .query_map((tenant, most), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let share = most.checked_div(callers.len()).unwrap_or_default().max(1);
    let mut next = tx.prepare_cached(
        "SELECT max(attempts, 1), seq, id, body, attempts > 0 FROM outbox WHERE tenant = ?1 AND caller = ?2 AND dead_reason IS NULL
         ORDER BY max(attempts, 1), priority, seq LIMIT ?3",
    )?;
    let mut letters = BTreeMap::new();
    for caller in callers {
        let read = |row: &Row<'_>| {
            Ok(((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?), Letter { id: row.get(2)?, body: row.get(3)?, has_failed: row.get(4)? }))
        };
        for letter in next.query_map((tenant, &caller, share), read)? {
            let (order, letter) = letter?;
            letters.insert(order, letter);
        }
    }
    Ok(letters.into_values().collect())
}

pub(super) fn settle(tx: &Transaction<'_>, claim: &Claim, settlement: &Settlement, now: Timestamp) -> rusqlite::Result<()> {
    let Settlement { delivered, dead, failed, back_off, wanted } = settlement;
    {
        let mut done = tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?;
        for id in delivered {
            done.execute([id])?;
        }
    }
    if !delivered.is_empty() {
        tx.prepare_cached("UPDATE outbox_tenants SET last_taken = ?2 WHERE tenant = ?1")?.execute((&claim.lease.tenant, now.millis()))?;
    }
    for (id, reason) in dead {
        make_dead(tx, &claim.lease.tenant, id, reason)?;
    }
    for (id, reason) in failed {
        let is_to_blame: Option<bool> = tx
            .prepare_cached(
                "UPDATE outbox SET attempts = attempts + 1, first_failed = coalesce(first_failed, ?2) WHERE id = ?1
                 RETURNING attempts >= ?3 AND first_failed < (SELECT last_taken FROM outbox_tenants WHERE tenant = outbox.tenant)",
            )?
            .query_row((id, now.millis(), DEAD_AFTER_ATTEMPTS), |row| row.get(0))
            .optional()?;
        if is_to_blame == Some(true) {
            make_dead(tx, &claim.lease.tenant, id, reason)?;
        }
    }
    let first = back_off.map_or(0, millis);
    let longest = millis(MAX_BACKOFF);
    let wanted = wanted.map_or(0, millis).min(longest);
    // A claim whose lease ran out has nothing to say about the tenant any more.
    tx.prepare_cached(
        "UPDATE outbox_tenants SET lease = NULL, leased_until = 0,
             pause = iif(?3 = 0, 0, iif(?4, ?3, min(max(pause * 2, ?3), ?5))),
             due = iif(?3 = 0, 0, ?6 + max(?7, iif(?4, ?3, min(max(pause * 2, ?3), ?5))))
         WHERE tenant = ?1 AND lease = ?2",
    )?
    .execute((&claim.lease.tenant, &claim.lease.id, first, !delivered.is_empty(), longest, now.millis(), wanted))?;
    tx.prepare_cached("DELETE FROM outbox_tenants WHERE tenant = ?1 AND entries = 0 AND lost = 0")?.execute([&claim.lease.tenant])?;
    Ok(())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Makes a letter a dead one; where its tenant's dead letters have no room left it is lost, and counted. Where those of all have
/// none, the newest of the tenant that has most are.
fn make_dead(tx: &Transaction<'_>, tenant: &str, id: &str, reason: &str) -> rusqlite::Result<()> {
    let of_tenant: Option<u64> =
        tx.prepare_cached("SELECT bytes FROM outbox_dead_letters WHERE tenant = ?1")?.query_row([tenant], |row| row.get(0)).optional()?;
    if of_tenant.unwrap_or_default() >= MAX_DEAD_OF_TENANT {
        let mut removed = tx.prepare_cached("DELETE FROM outbox WHERE id = ?1 RETURNING stands_for")?;
        if let Some(lost) = removed.query_row([id], |row| row.get(0)).optional()? {
            count_lost(tx, tenant, lost)?;
        }
        return Ok(());
    }
    tx.prepare_cached("UPDATE outbox SET dead_reason = ?2 WHERE id = ?1")?.execute((id, reason))?;
    while tx.prepare_cached("SELECT dead FROM outbox_total")?.query_row([], |row| row.get::<_, u64>(0))? > MAX_DEAD_OF_ALL {
        let largest: Option<String> = tx
            .prepare_cached("SELECT tenant FROM outbox_dead_letters ORDER BY bytes DESC LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        let Some(largest) = largest else { break };
        lose_dead(tx, &largest)?;
    }
    Ok(())
}

/// Removes the newest dead letter of a tenant that has some, and counts it as lost.
fn lose_dead(tx: &Transaction<'_>, tenant: &str) -> rusqlite::Result<()> {
    let lost = tx
        .prepare_cached(
            "DELETE FROM outbox WHERE seq = (SELECT max(seq) FROM outbox WHERE tenant = ?1 AND dead_reason IS NOT NULL)
             RETURNING stands_for",
        )?
        .query_row([tenant], |row| row.get(0))?;
    count_lost(tx, tenant, lost)
}

pub(super) fn bury(tx: &Transaction<'_>, letters: &[(NewLetter, String)]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO outbox (id, tenant, caller, priority, body, bytes, dead_reason, stands_for) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (id) DO NOTHING",
    )?;
    for (letter, reason) in letters {
        let NewLetter { id, tenant, caller, is_read, stands_for, body } = letter;
        insert.execute((id, tenant, caller, is_read, body, body.len(), reason, stands_for))?;
    }
    Ok(())
}

pub(super) fn dead(connection: &Connection, after: i64, most: usize) -> rusqlite::Result<Vec<DeadLetter>> {
    let read = |row: &Row<'_>| Ok(DeadLetter { seq: row.get(0)?, id: row.get(1)?, body: row.get(2)?, reason: row.get(3)? });
    connection
        .prepare_cached("SELECT seq, id, body, dead_reason FROM outbox WHERE dead_reason IS NOT NULL AND seq > ?1 ORDER BY seq LIMIT ?2")?
        .query_map((after, most), read)?
        .collect()
}

pub(super) fn resend(tx: &Transaction<'_>, id: Option<&str>) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE outbox SET dead_reason = NULL, attempts = 0, first_failed = NULL WHERE dead_reason IS NOT NULL AND id = coalesce(?1, id)",
        [id],
    )
}

pub(super) fn backlog(connection: &Connection) -> rusqlite::Result<Backlog> {
    connection.query_row(
        "SELECT coalesce(sum(entries), 0), coalesce(sum(iif(pause > 0, entries, 0)), 0), coalesce(sum(lost), 0),
                (SELECT count(*) FROM outbox WHERE dead_reason IS NOT NULL) FROM outbox_tenants",
        [],
        |row| Ok(Backlog { waiting: row.get(0)?, backing_off: row.get(1)?, lost: row.get(2)?, dead: row.get(3)? }),
    )
}

#[cfg(test)]
mod tests;
