//! Records of before as keys: a field that is declared for a type with records is read from them some at a time, and the keys
//! of a field that is not declared any more are removed so, too. New and changed records are keys by the database's triggers.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};

/// How many records one transaction reads, and how many keys it removes.
const PORTION: i64 = 500;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Works until the platform stops.
pub(super) async fn run(platform: Platform) {
    loop {
        let pause = match step(&platform).await {
            Ok(true) => Some(Duration::ZERO),
            Ok(false) => None,
            Err(error) => {
                tracing::error!(%error, "declared fields cannot be read from the records that there are");
                Some(RETRY_PAUSE)
            }
        };
        let next = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => platform.entity_fields_notify().notified().await,
            }
        };
        tokio::select! {
            biased;
            () = platform.stopping().cancelled() => return,
            () = next => {}
        }
    }
}

/// Does one portion; false if there is nothing to do.
async fn step(platform: &Platform) -> Result<bool> {
    let sql = "SELECT id, tenant_id, state FROM entity_fields WHERE state <> 'ready' ORDER BY id LIMIT 1";
    let next = platform.database().read(move |connection| {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?));
        Ok(connection.prepare_cached(sql)?.query_row([], read).optional()?)
    });
    let Some((field, tenant, state)) = next.await? else { return Ok(false) };
    let work = move |tx: &mut Tx<'_>| if state == "filling" { fill(tx, field) } else { clear(tx, field) };
    platform.database().write(Scope::system(tenant.into()), work).await?;
    Ok(true)
}

/// Reads the next records of a field's type.
fn fill(tx: &mut Tx<'_>, field: i64) -> Result<()> {
    let behind = "FROM entities JOIN entity_fields USING (tenant_id, type)
                  WHERE entity_fields.id = ?1 AND state = 'filling' AND (created_at, number) < (before_at, before_number)
                  ORDER BY created_at DESC, number DESC LIMIT ?2";
    tx.prepare_cached(&format!(
        "INSERT OR IGNORE INTO entity_keys (value, field, class, number)
         SELECT CASE WHEN v IS NULL THEN 0 WHEN is_long THEN '' ELSE v END, ?1,
             CASE WHEN v IS NULL THEN 0 WHEN typeof(v) <> 'text' THEN 1 WHEN is_long THEN 3 ELSE 2 END, number
         FROM (SELECT number, v, typeof(v) = 'text' AND octet_length(v) > 200 AS is_long
               FROM (SELECT number, json_extract(data, path) AS v {behind}))"
    ))?
    .execute((field, PORTION))?;
    let last: Option<(i64, i64)> = tx
        .prepare_cached(&format!("SELECT created_at, number {behind} OFFSET ?3"))?
        .query_row((field, 1, PORTION - 1), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match last {
        Some((at, number)) => tx.execute(
            "UPDATE entity_fields SET before_at = ?2, before_number = ?3 WHERE id = ?1 AND state = 'filling'",
            params![field, at, number],
        )?,
        None => tx.execute("UPDATE entity_fields SET state = 'ready' WHERE id = ?1 AND state = 'filling'", [field])?,
    };
    Ok(())
}

/// Removes some keys of a field that is not kept any more, and the field with the last of them.
fn clear(tx: &mut Tx<'_>, field: i64) -> Result<()> {
    let removed = tx.execute(
        "DELETE FROM entity_keys WHERE (value, field, class, number) IN
             (SELECT value, field, class, number FROM entity_keys WHERE field = ?1 ORDER BY field, class, value, number LIMIT ?2)",
        (field, PORTION),
    )?;
    if i64::try_from(removed).is_ok_and(|removed| removed < PORTION) {
        tx.execute("DELETE FROM entity_fields WHERE id = ?1", [field])?;
    }
    Ok(())
}
