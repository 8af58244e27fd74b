//! The mark of a call with an `Idempotency-Key`: a row in the transaction that carries the call out.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Tx;
use crate::auth::Caller;
use crate::error::Result;

/// One call with its key.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) tenant: String,
    pub(crate) subject: String,
    pub(crate) route: String,
    pub(crate) key: String,
    pub(crate) digest: String,
    noted: AtomicBool,
}

impl Mark {
    /// Makes the mark of a caller's call of a route.
    pub(crate) fn new(caller: &Caller, route: String, key: &str, digest: String) -> Self {
        let (tenant, subject) = (caller.tenant.to_string(), caller.subject.clone());
        Self { tenant, subject, route, key: key.to_owned(), digest, noted: AtomicBool::new(false) }
    }

    /// Returns the key under which a call under way is known.
    pub(crate) fn name(&self) -> String {
        [self.tenant.as_str(), &self.subject, &self.route, &self.key].join("\0")
    }

    /// Whether a transaction noted the call.
    pub(crate) fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    /// Notes in the call's first transaction that it was carried out.
    pub(crate) fn note(&self, tx: &Tx<'_>) -> Result<()> {
        if self.noted.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        tx.prepare_cached(
            "INSERT OR REPLACE INTO idempotency (tenant_id, subject, route, key, body_digest, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((&self.tenant, &self.subject, &self.route, &self.key, &self.digest, tx.now().millis()))?;
        Ok(())
    }
}
