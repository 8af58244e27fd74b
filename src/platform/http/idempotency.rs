//! `Idempotency-Key`: a call that is repeated with its key gets the answer of the first time, for 24 hours.
//!
//! The key is noted in the transaction that carries the call out, so a crash leaves either both or neither. The
//! answer follows; until it has, a repetition is told that the call was carried out.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::OptionalExtension as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Spec;
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::{Mark, Scope};

/// How long an answer is kept.
const KEPT_SECONDS: f64 = 24.0 * 3600.0;
const LONGEST_KEY: usize = 255;

/// The keys of the calls that are under way.
pub(crate) type Running = Arc<Mutex<HashSet<String>>>;

/// The answer that a repetition gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// The status.
    pub(crate) status: u16,
    /// The version.
    pub(crate) etag: Option<String>,
    /// Where what was created can be read.
    pub(crate) location: Option<String>,
    /// The body, if there was one.
    pub(crate) body: Option<Value>,
}

/// What a key leads to.
pub(crate) enum Begun {
    /// The call is carried out now.
    Now(Ticket),
    /// It was, and this was the answer.
    Before(Stored),
}

/// A call under way; its key is free again when this is dropped.
pub(crate) struct Ticket {
    pub(crate) mark: Arc<Mark>,
    running: Running,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.mark.name());
    }
}

/// Frees the key of a call that failed: it can be tried again.
pub(crate) async fn forget(platform: &Platform, ticket: Ticket) -> Result<()> {
    let mark = Arc::clone(&ticket.mark);
    if !mark.is_noted() {
        return Ok(());
    }
    let scope = Scope::system(mark.tenant.clone().into());
    let freed =
        platform
            .database()
            .write(scope, move |tx| {
                tx.prepare_cached("DELETE FROM idempotency WHERE tenant_id = ?1 AND subject = ?2 AND route = ?3 AND key = ?4")?
                    .execute((&mark.tenant, &mark.subject, &mark.route, &mark.key))?;
                Ok(())
            })
            .await;
    drop(ticket);
    freed
}

/// Looks a key up: the call is to be carried out, or its answer is there.
pub(crate) async fn begin(platform: &Platform, caller: &Caller, spec: &Spec, key: &str, digest: String) -> Result<Begun> {
    if key.is_empty() || key.len() > LONGEST_KEY || !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(Error::new(
            Kind::Malformed,
            "FM-AGS-IDEMPOTENCY-KEY",
            format!("the Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters"),
        )
        .hint("Use a random UUID for each call, and the same one for its repetition."));
    }
    let route = format!("{} {}", spec.method.name(), spec.path);
    let mark = Arc::new(Mark::new(caller, route, key, digest));
    let running = platform.running_keys();
    if !running.lock().unwrap_or_else(PoisonError::into_inner).insert(mark.name()) {
        return Err(Error::new(Kind::Conflict, "FM-AGS-IDEMPOTENCY-RUNNING", "the same call with this Idempotency-Key is under way")
            .hint("Repeat it with the same key in a moment.")
            .retry_after(Duration::from_secs(1)));
    }
    let ticket = Ticket { mark: Arc::clone(&mark), running };
    let after = platform.now().plus_seconds(-KEPT_SECONDS).millis();
    let found = platform
        .database()
        .read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT body_digest, answer FROM idempotency
                     WHERE tenant_id = ?1 AND subject = ?2 AND route = ?3 AND key = ?4 AND created_at > ?5",
                )?
                .query_row((&mark.tenant, &mark.subject, &mark.route, &mark.key, after), |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Option<Vec<u8>>>(1)?))
                })
                .optional()?)
        })
        .await?;
    match found {
        None => Ok(Begun::Now(ticket)),
        Some((digest, _)) if digest != ticket.mark.digest => {
            Err(Error::new(Kind::Invalid, "FM-AGS-IDEMPOTENCY-MISMATCH", "this Idempotency-Key was used for a call with other arguments")
                .hint("Use a new key for a new call."))
        }
        Some((_, Some(answer))) => {
            let answer = platform.keys().open("idempotency", &answer)?;
            Ok(Begun::Before(serde_json::from_slice(&answer).map_err(Error::internal)?))
        }
        Some((_, None)) => Err(Error::new(
            Kind::Conflict,
            "FM-AGS-IDEMPOTENCY-ANSWER-LOST",
            "the call with this Idempotency-Key was carried out, but the platform ended before its answer was kept",
        )
        .hint("Read what the call was to change; do not repeat it with another key before that.")),
    }
}

/// Keeps the answer of a call that was carried out, and forgets those that are too old.
pub(crate) async fn keep(platform: &Platform, ticket: Ticket, answer: &Stored) -> Result<()> {
    let plain = serde_json::to_vec(answer).map_err(Error::internal)?;
    let sealed = platform.keys().seal("idempotency", &plain)?;
    let mark = Arc::clone(&ticket.mark);
    let scope = Scope::system(mark.tenant.clone().into());
    let kept = platform
        .database()
        .write(scope, move |tx| {
            let old = tx.now().plus_seconds(-KEPT_SECONDS).millis();
            tx.prepare_cached("DELETE FROM idempotency WHERE created_at <= ?1")?.execute([old])?;
            mark.note(tx)?;
            tx.prepare_cached("UPDATE idempotency SET answer = ?5 WHERE tenant_id = ?1 AND subject = ?2 AND route = ?3 AND key = ?4")?
                .execute((&mark.tenant, &mark.subject, &mark.route, &mark.key, sealed))?;
            Ok(())
        })
        .await;
    drop(ticket);
    kept
}
