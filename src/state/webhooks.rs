//! Webhook subscriptions of hosts, and the outbox of their deliveries.
//!
//! A claim leases one subscription to one process. Its events are taken over from the platform in one step with the cursor
//! behind them, so none is left out; a letter is removed after it was taken, so a crash repeats it and loses none.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use crate::api::{Timestamp, ids};

/// Dead letters that a subscription keeps, of which the oldest gives way.
const MAX_DEAD: usize = 100;

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) owner: String,
    pub(crate) url: String,
    pub(crate) value: String,
    pub(crate) cursor: String,
    /// None where it has no end.
    pub(crate) expires: Option<Timestamp>,
}

/// How its deliveries stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) attempts: u32,
    pub(crate) failing_since: Option<Timestamp>,
    pub(crate) last_error: Option<String>,
    pub(crate) delivered: Option<Timestamp>,
    pub(crate) dead: u64,
    /// Up to where each event was taken or given up.
    pub(crate) acknowledged: String,
}

/// How many subscriptions there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WebhookBounds {
    pub(crate) per_owner: usize,
    pub(crate) per_tenant: usize,
    pub(crate) all: usize,
}

/// What came of a subscription that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is new.
    New,
    /// It was there, goes on where it is, and is as it was said now.
    Updated,
    /// There are as many as may be.
    Full,
}

/// A delivery on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookLetter {
    pub(crate) id: String,
    pub(crate) body: String,
}

/// A subscription that is leased to one claimant, with its next letters.
#[derive(Debug, Clone)]
pub(crate) struct WebhookClaim {
    pub(crate) webhook: Webhook,
    pub(crate) delivery: Delivery,
    pub(crate) letters: Vec<WebhookLetter>,
    lease: String,
}

/// Dead letters of one subscription that were given up for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadWebhookLetters {
    pub(crate) subscription: String,
    pub(crate) tenant: String,
    pub(crate) url: String,
    pub(crate) reason: String,
    pub(crate) count: u64,
}

/// What came of one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// The receiver took it.
    Taken,
    /// It is given up, for that reason.
    Dead(&'a str),
    /// It is tried again, for that reason.
    Failed(&'a str),
}

/// The verbs of webhooks. Each is one atomic step, also between processes.
pub(crate) trait WebhookStore: Send + Sync {
    /// Keeps a subscription. One that is there already keeps its cursor and its letters, and is tried at once.
    fn keep(&self, webhook: &Webhook, bounds: WebhookBounds, now: Timestamp) -> crate::error::Result<Kept>;
    /// Returns a live subscription of an owner.
    fn find(&self, owner: &str, id: &str, now: Timestamp) -> crate::error::Result<Option<(Webhook, Delivery)>>;
    /// Whether an owner has a live subscription that delivers to an address.
    fn delivers_to(&self, owner: &str, url: &str, now: Timestamp) -> crate::error::Result<bool>;
    /// Ends a subscription of an owner; false where there is none.
    fn end(&self, owner: &str, id: &str) -> crate::error::Result<bool>;
    /// Returns the live subscriptions.
    fn live(&self, now: Timestamp) -> crate::error::Result<Vec<Webhook>>;
    /// Leases the subscription that is due longest, but none of the tenants named, and returns its next letters.
    fn claim_due(&self, busy: &[String], most: usize, lease: Duration, now: Timestamp) -> crate::error::Result<Option<WebhookClaim>>;
    /// Takes events over as letters, each id once, together with the cursor behind them; false where the lease has ended.
    fn take_over(&self, claim: &WebhookClaim, letters: &[WebhookLetter], cursor: &str) -> crate::error::Result<bool>;
    /// Notes what came of a letter; false where the lease has ended.
    fn note(&self, claim: &WebhookClaim, letter: &str, outcome: Outcome<'_>, now: Timestamp) -> crate::error::Result<bool>;
    /// Ends a claim; the subscription is due again at a time.
    fn release(&self, claim: &WebhookClaim, due: Timestamp) -> crate::error::Result<()>;
    /// Ends the subscription of a claim, unless it was renewed meanwhile.
    fn end_claimed(&self, claim: &WebhookClaim) -> crate::error::Result<()>;
    /// Makes subscriptions due that are not failing.
    fn wake(&self, ids: &[String], now: Timestamp) -> crate::error::Result<()>;
    /// When a subscription is due next.
    fn due_next(&self) -> crate::error::Result<Option<Timestamp>>;
    /// Counts the dead letters of live subscriptions.
    fn dead_letters(&self, now: Timestamp) -> crate::error::Result<Vec<DeadWebhookLetters>>;
    /// Has dead letters of a subscription, or of all, sent again before what waits; returns how many.
    fn revive(&self, id: Option<&str>, now: Timestamp) -> crate::error::Result<usize>;
    /// Removes dead letters of a subscription, or of all; returns how many.
    fn drop_dead(&self, id: Option<&str>) -> crate::error::Result<usize>;
}

const COLUMNS: &str =
    "id, tenant, owner, url, value, cursor, expires_at, attempts, failing_since, last_error, delivered_at, dead, acknowledged";
const LIVE: &str = "(expires_at IS NULL OR expires_at > ?1)";

fn read(row: &Row<'_>) -> rusqlite::Result<(Webhook, Delivery)> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
    let webhook = Webhook {
        id: row.get(0)?,
        tenant: row.get(1)?,
        owner: row.get(2)?,
        url: row.get(3)?,
        value: row.get(4)?,
        cursor: row.get(5)?,
        expires: time(6)?,
    };
    let delivery = Delivery {
        attempts: row.get(7)?,
        failing_since: time(8)?,
        last_error: row.get(9)?,
        delivered: time(10)?,
        dead: row.get(11)?,
        acknowledged: row.get(12)?,
    };
    Ok((webhook, delivery))
}

pub(super) fn keep(tx: &Transaction<'_>, webhook: &Webhook, bounds: WebhookBounds, now: Timestamp) -> rusqlite::Result<Kept> {
    tx.prepare_cached("DELETE FROM webhooks WHERE expires_at <= ?1")?.execute([now.millis()])?;
    let expires = webhook.expires.map(Timestamp::millis);
    let updated = tx
        .prepare_cached("UPDATE webhooks SET value = ?3, expires_at = ?4, due = ?5, attempts = 0 WHERE id = ?1 AND owner = ?2")?
        .execute((&webhook.id, &webhook.owner, &webhook.value, expires, now.millis()))?;
    if updated > 0 {
        return Ok(Kept::Updated);
    }
    let count = |sql: &str, of: &[&str]| -> rusqlite::Result<usize> {
        tx.prepare_cached(sql)?.query_row(rusqlite::params_from_iter(of), |row| row.get(0))
    };
    let of_tenant = count("SELECT count(*) FROM webhooks WHERE tenant = ?1", &[&webhook.tenant])?;
    let of_owner = count("SELECT count(*) FROM webhooks WHERE tenant = ?1 AND owner = ?2", &[&webhook.tenant, &webhook.owner])?;
    let all = count("SELECT count(*) FROM webhooks", &[])?;
    if of_owner >= bounds.per_owner || of_tenant >= bounds.per_tenant || all >= bounds.all {
        return Ok(Kept::Full);
    }
    let kept = tx
        .prepare_cached(
            "INSERT INTO webhooks (id, tenant, owner, url, value, cursor, acknowledged, expires_at, due)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
        )?
        .execute((&webhook.id, &webhook.tenant, &webhook.owner, &webhook.url, &webhook.value, &webhook.cursor, expires, now.millis()))?;
    Ok(if kept > 0 { Kept::New } else { Kept::Full })
}

pub(super) fn find(connection: &Connection, owner: &str, id: &str, now: Timestamp) -> rusqlite::Result<Option<(Webhook, Delivery)>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM webhooks WHERE {LIVE} AND owner = ?2 AND id = ?3"))?
        .query_row((now.millis(), owner, id), read)
        .optional()
}

pub(super) fn delivers_to(connection: &Connection, owner: &str, url: &str, now: Timestamp) -> rusqlite::Result<bool> {
    connection.prepare_cached(&format!("SELECT 1 FROM webhooks WHERE {LIVE} AND owner = ?2 AND url = ?3"))?.exists((
        now.millis(),
        owner,
        url,
    ))
}

pub(super) fn end(tx: &Transaction<'_>, owner: &str, id: &str) -> rusqlite::Result<bool> {
    Ok(tx.prepare_cached("DELETE FROM webhooks WHERE owner = ?1 AND id = ?2")?.execute([owner, id])? > 0)
}

pub(super) fn live(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Webhook>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM webhooks WHERE {LIVE}"))?
        .query_map([now.millis()], |row| Ok(read(row)?.0))?
        .collect()
}

pub(super) fn claim_due(
    tx: &Transaction<'_>,
    busy: &[String],
    most: usize,
    lease: Duration,
    now: Timestamp,
) -> rusqlite::Result<Option<WebhookClaim>> {
    let (id, until) = (ids::unique(), now.plus_seconds(lease.as_secs_f64()).millis());
    let busy = serde_json::to_string(busy).unwrap_or_default();
    let claimed = tx
        .prepare_cached(&format!(
            "UPDATE webhooks SET lease = ?2, leased_until = ?3, due = ?3 WHERE id = (SELECT id FROM webhooks WHERE due <= ?1 AND leased_until <= ?1
             AND tenant NOT IN (SELECT value FROM json_each(?4)) ORDER BY due LIMIT 1) RETURNING {COLUMNS}"
        ))?
        .query_row((now.millis(), &id, until, &busy), read)
        .optional()?;
    let Some((webhook, delivery)) = claimed else { return Ok(None) };
    let letters = tx
        .prepare_cached("SELECT id, body FROM webhook_letters WHERE webhook = ?1 AND dead_reason IS NULL ORDER BY seq LIMIT ?2")?
        .query_map((&webhook.id, most), |row| Ok(WebhookLetter { id: row.get(0)?, body: row.get(1)? }))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(WebhookClaim { webhook, delivery, letters, lease: id }))
}

/// Whether a claim still holds its subscription.
fn holds(tx: &Transaction<'_>, claim: &WebhookClaim) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM webhooks WHERE id = ?1 AND lease = ?2")?.exists([&claim.webhook.id, &claim.lease])
}

pub(super) fn take_over(tx: &Transaction<'_>, claim: &WebhookClaim, letters: &[WebhookLetter], cursor: &str) -> rusqlite::Result<bool> {
    if !holds(tx, claim)? {
        return Ok(false);
    }
    let mut insert =
        tx.prepare_cached("INSERT INTO webhook_letters (webhook, id, body) VALUES (?1, ?2, ?3) ON CONFLICT (webhook, id) DO NOTHING")?;
    for letter in letters {
        insert.execute([&claim.webhook.id, &letter.id, &letter.body])?;
    }
    tx.prepare_cached("UPDATE webhooks SET cursor = ?2 WHERE id = ?1")?.execute([&claim.webhook.id, cursor])?;
    acknowledge(tx, &claim.webhook.id)?;
    Ok(true)
}

/// Where no letter waits, the receiver has all that was taken over.
fn acknowledge(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE webhooks SET acknowledged = cursor WHERE id = ?1 AND NOT EXISTS
         (SELECT 1 FROM webhook_letters WHERE webhook = ?1 AND dead_reason IS NULL)",
    )?
    .execute([id])
    .map(drop)
}

pub(super) fn note(
    tx: &Transaction<'_>,
    claim: &WebhookClaim,
    letter: &str,
    outcome: Outcome<'_>,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    if !holds(tx, claim)? {
        return Ok(false);
    }
    let id = &claim.webhook.id;
    match outcome {
        Outcome::Taken => {
            tx.prepare_cached("DELETE FROM webhook_letters WHERE webhook = ?1 AND id = ?2")?.execute([id, letter])?;
            tx.prepare_cached(
                "UPDATE webhooks SET attempts = 0, failing_since = NULL, last_error = NULL, delivered_at = ?2 WHERE id = ?1",
            )?
            .execute((id, now.millis()))?;
        }
        Outcome::Dead(reason) => {
            tx.prepare_cached("UPDATE webhook_letters SET dead_reason = ?3 WHERE webhook = ?1 AND id = ?2")?
                .execute([id, letter, reason])?;
            tx.prepare_cached(
                "DELETE FROM webhook_letters WHERE seq IN (SELECT seq FROM webhook_letters WHERE webhook = ?1 AND dead_reason IS NOT NULL
                 ORDER BY seq DESC LIMIT -1 OFFSET ?2)",
            )?
            .execute((id, MAX_DEAD))?;
            tx.prepare_cached(
                "UPDATE webhooks SET attempts = 0, dead = dead + 1, last_error = ?2, failing_since = coalesce(failing_since, ?3)
                 WHERE id = ?1",
            )?
            .execute((id, reason, now.millis()))?;
        }
        Outcome::Failed(reason) => {
            tx.prepare_cached(
                "UPDATE webhooks SET attempts = attempts + 1, last_error = ?2, failing_since = coalesce(failing_since, ?3) WHERE id = ?1",
            )?
            .execute((id, reason, now.millis()))?;
        }
    }
    acknowledge(tx, id)?;
    Ok(true)
}

pub(super) fn release(tx: &Transaction<'_>, claim: &WebhookClaim, due: Timestamp) -> rusqlite::Result<()> {
    // One that was woken meanwhile, which a claim puts off to its end, is due by then; what fails waits all the same.
    let due_then = "CASE WHEN due < leased_until AND attempts = 0 THEN min(due, ?3) ELSE ?3 END";
    tx.prepare_cached(&format!("UPDATE webhooks SET due = {due_then}, lease = NULL, leased_until = 0 WHERE id = ?1 AND lease = ?2"))?
        .execute((&claim.webhook.id, &claim.lease, due.millis()))
        .map(drop)
}

pub(super) fn end_claimed(tx: &Transaction<'_>, claim: &WebhookClaim) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM webhooks WHERE id = ?1 AND lease = ?2 AND value = ?3")?.execute([
        &claim.webhook.id,
        &claim.lease,
        &claim.webhook.value,
    ])?;
    // One that was renewed is looked at again.
    tx.prepare_cached("UPDATE webhooks SET lease = NULL, leased_until = 0 WHERE id = ?1 AND lease = ?2")?
        .execute([&claim.webhook.id, &claim.lease])
        .map(drop)
}

pub(super) fn wake(tx: &Transaction<'_>, ids: &[String], now: Timestamp) -> rusqlite::Result<()> {
    let mut wake = tx.prepare_cached("UPDATE webhooks SET due = ?2 WHERE id = ?1 AND due > ?2 AND attempts = 0")?;
    ids.iter().try_for_each(|id| wake.execute((id, now.millis())).map(drop))
}

pub(super) fn due_next(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let due: Option<i64> =
        connection.prepare_cached("SELECT min(max(due, leased_until)) FROM webhooks")?.query_row([], |row| row.get(0))?;
    Ok(due.map(Timestamp::from_millis))
}

pub(super) fn dead_letters(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<DeadWebhookLetters>> {
    connection
        .prepare_cached(&format!(
            "SELECT webhooks.id, tenant, url, dead_reason, count(*) FROM webhook_letters JOIN webhooks ON webhooks.id = webhook
             WHERE dead_reason IS NOT NULL AND {LIVE} GROUP BY webhooks.id, dead_reason ORDER BY tenant, webhooks.id, dead_reason"
        ))?
        .query_map([now.millis()], |row| {
            Ok(DeadWebhookLetters {
                subscription: row.get(0)?,
                tenant: row.get(1)?,
                url: row.get(2)?,
                reason: row.get(3)?,
                count: row.get(4)?,
            })
        })?
        .collect()
}

pub(super) fn revive(tx: &Transaction<'_>, id: Option<&str>, now: Timestamp) -> rusqlite::Result<usize> {
    tx.prepare_cached(
        "UPDATE webhooks SET due = min(due, ?2), attempts = 0 WHERE (?1 IS NULL OR id = ?1)
         AND EXISTS (SELECT 1 FROM webhook_letters WHERE webhook = webhooks.id AND dead_reason IS NOT NULL)",
    )?
    .execute((id, now.millis()))?;
    tx.prepare_cached("UPDATE webhook_letters SET dead_reason = NULL WHERE dead_reason IS NOT NULL AND (?1 IS NULL OR webhook = ?1)")?
        .execute([id])
}

pub(super) fn drop_dead(tx: &Transaction<'_>, id: Option<&str>) -> rusqlite::Result<usize> {
    tx.prepare_cached("DELETE FROM webhook_letters WHERE dead_reason IS NOT NULL AND (?1 IS NULL OR webhook = ?1)")?.execute([id])
}

#[cfg(test)]
mod tests;
