//! Expiry: a worker that sleeps until the next lease runs out and removes its instance.

use std::time::Duration;

use crate::api::Timestamp;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::database::Scope;

use super::store;

/// How many instances are looked up at once.
const BATCH: i64 = 100;
/// How long to wait after the database failed.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Removes instances until the platform stops.
pub(super) async fn run(platform: Platform) {
    loop {
        let next = sweep(&platform).await.unwrap_or_else(|error| {
            tracing::error!(%error, "instances whose lease has run out cannot be removed");
            Some(platform.now().plus_seconds(RETRY_PAUSE.as_secs_f64()))
        });
        let due = async {
            match next {
                Some(moment) => platform.clock().sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = platform.stopping().cancelled() => return,
            () = platform.leases_notify().notified() => {}
            () = due => {}
        }
    }
}

/// Removes what is due and answers when the next lease runs out.
async fn sweep(platform: &Platform) -> Result<Option<Timestamp>> {
    loop {
        let now = platform.now();
        let due: Vec<(String, String)> = platform
            .database()
            .read(move |connection| {
                let sql = "SELECT tenant_id, instance_id FROM service_instances WHERE expires_at <= ? ORDER BY expires_at LIMIT ?";
                let mut statement = connection.prepare_cached(sql)?;
                let rows = statement.query_map((now.millis(), BATCH), |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        if due.is_empty() || platform.stopping().is_cancelled() {
            break;
        }
        for (tenant, id) in due {
            platform.database().write(Scope::system(tenant.into()), move |tx| store::expire(tx, &id)).await?;
        }
    }
    let next: Option<i64> = platform
        .database()
        .read(|connection| Ok(connection.query_row("SELECT min(expires_at) FROM service_instances", [], |row| row.get(0))?))
        .await?;
    Ok(next.map(Timestamp::from_millis))
}
