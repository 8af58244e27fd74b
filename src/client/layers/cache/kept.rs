//! An answer that is kept, and how much of each tenant is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::ids::TenantId;
use crate::client::call::Reply;
use crate::error::{Error, Result};

/// An answer, or the failure that those who waited for it share.
pub(super) struct Kept {
    pub(super) weight: u32,
    answer: Result<Reply>,
    read_at: Instant,
    fresh_for: Duration,
    /// Why an older answer is served.
    stale_because: Option<String>,
    /// What it takes of its tenant's share; none where that is full.
    taken: Option<Taken>,
}

impl Kept {
    /// A failure is shared and not kept.
    pub(super) fn failed(error: Error) -> Self {
        let (read_at, fresh_for) = (Instant::now(), Duration::ZERO);
        Self { weight: 1, answer: Err(error), read_at, fresh_for, stale_because: None, taken: None }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.answer.is_ok() && self.read_at.elapsed() < self.fresh_for
    }

    pub(super) fn is_younger_than(&self, age: Duration) -> bool {
        self.answer.is_ok() && self.read_at.elapsed() < self.fresh_for.saturating_add(age)
    }

    /// Whether it is served since its service is away.
    pub(super) const fn is_stale(&self) -> bool {
        self.stale_because.is_some()
    }

    /// Whether it may be of use to anybody later.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.taken.is_some()
    }

    /// The cache lets it go.
    pub(super) fn give_back(&self) {
        if let Some(taken) = &self.taken {
            taken.give_back();
        }
    }

    pub(super) fn etag(&self) -> Option<&str> {
        self.answer.as_ref().ok()?.etag.as_deref()
    }

    /// The answer for one who asks; one that is not the present one says so.
    pub(super) fn reply(&self) -> Result<Reply> {
        let mut reply = self.answer.as_ref().map(Clone::clone).map_err(Error::again)?;
        if let (Some(because), Value::Object(fields)) = (&self.stale_because, &mut reply.body) {
            fields.insert("stale".to_owned(), json!({ "ageSeconds": self.read_at.elapsed().as_secs(), "because": because }));
        }
        Ok(reply)
    }

    /// The same answer, which the platform says is still true.
    pub(super) fn renewed(&self, shares: &Shares, tenant: TenantId, read_at: Instant) -> Self {
        self.again(shares, tenant, read_at, None)
    }

    /// The same answer, as long as its service is away.
    pub(super) fn stale(&self, shares: &Shares, tenant: TenantId, because: &str) -> Self {
        self.again(shares, tenant, self.read_at, Some(because.to_owned()))
    }

    fn again(&self, shares: &Shares, tenant: TenantId, read_at: Instant, stale_because: Option<String>) -> Self {
        match &self.answer {
            Ok(reply) => Self { stale_because, ..shares.keep(tenant, reply.clone(), read_at, self.fresh_for) },
            Err(error) => Self::failed(error.again()),
        }
    }
}

/// The bytes that are kept of each tenant.
#[derive(Clone)]
pub(super) struct Shares(Arc<(u64, Mutex<HashMap<TenantId, u64>>)>);

/// Bytes of a tenant's share. They are given back once: when the cache lets what they are for go, which may be dropped much
/// later, or when it is dropped before it came into the cache.
struct Taken {
    shares: Shares,
    tenant: TenantId,
    bytes: AtomicU64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Taken {
    fn give_back(&self) {
        let given = self.bytes.swap(0, Ordering::Relaxed);
        if given == 0 {
            return;
        }
        let mut tenants = self.shares.0.1.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = tenants.get_mut(&self.tenant) {
            *bytes = bytes.saturating_sub(given);
            if *bytes == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

impl Shares {
    /// Shares of so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new((bytes, Mutex::default())))
    }

    /// An answer to keep; one beyond the tenant's share is not worth it.
    pub(super) fn keep(&self, tenant: TenantId, reply: Reply, read_at: Instant, fresh_for: Duration) -> Kept {
        let weight = u32::try_from(weigh(&reply.body)).unwrap_or(u32::MAX);
        let taken = self.take(tenant, weight.into());
        Kept { weight, answer: Ok(reply), read_at, fresh_for, stale_because: None, taken }
    }

    fn take(&self, tenant: TenantId, weight: u64) -> Option<Taken> {
        let mut tenants = self.0.1.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = tenants.get(&tenant).copied().unwrap_or_default().saturating_add(weight);
        if bytes > self.0.0 {
            return None;
        }
        tenants.insert(tenant.clone(), bytes);
        Some(Taken { shares: self.clone(), tenant, bytes: weight.into() })
    }

    #[cfg(test)]
    pub(super) fn of(&self, tenant: &str) -> u64 {
        self.0.1.lock().unwrap().get(&tenant.into()).copied().unwrap_or_default()
    }
}

/// About how many bytes a value takes in memory.
fn weigh(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
        Value::String(text) => 56 + text.len(),
        Value::Array(items) => 56 + items.iter().map(weigh).sum::<usize>(),
        Value::Object(fields) => 128 + fields.iter().map(|(name, value)| 64 + name.len() + weigh(value)).sum::<usize>(),
    }
}
