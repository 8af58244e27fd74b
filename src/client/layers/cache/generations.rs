//! Numbers that rise with a tenant's writes to a service, so that what was read before is not found after.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::api::cloud_event::topic_matches;
use crate::api::ids::TenantId;
use crate::api::{Entry, Event, SERVICES};

/// Counters; tenants and services share them by their hash, which evicts too much at times and never too little.
const COUNTERS: usize = 8_192;

/// The counters.
pub(super) struct Generations {
    hasher: RandomState,
    counters: Box<[AtomicU64]>,
}

impl Default for Generations {
    fn default() -> Self {
        Self { hasher: RandomState::new(), counters: std::iter::repeat_with(AtomicU64::default).take(COUNTERS).collect() }
    }
}

/// A write; when it ends, by whatever, the generations rise.
pub(super) struct Evicting<'a>(Vec<&'a AtomicU64>);

impl Evicting<'_> {
    /// The write did not happen: the generations stay.
    pub(super) fn spare(mut self) {
        self.0.clear();
    }
}

impl Drop for Evicting<'_> {
    fn drop(&mut self) {
        for counter in &self.0 {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Generations {
    /// The generation of a tenant's reads of a service.
    pub(super) fn of(&self, tenant: &TenantId, service_index: usize) -> u64 {
        self.counter(tenant, service_index).load(Ordering::SeqCst)
    }

    /// A write begins: of its own service, and of those whose operations it evicts.
    pub(super) fn evicting(&self, tenant: &TenantId, entry: &Entry) -> Evicting<'_> {
        let is_evicted = |name: &str| entry.spec.evicts.iter().any(|prefix| name.starts_with(prefix));
        let services = SERVICES.iter().enumerate().filter(|(index, service)| {
            *index == entry.service_index || service.operations.iter().any(|operation| is_evicted(operation.spec.name))
        });
        Evicting(services.map(|(index, _)| self.counter(tenant, index)).collect())
    }

    /// What an event of a tenant may have changed is another generation: the services that publish on its topic, and those
    /// with resources that it tells of.
    pub(super) fn evict_told(&self, tenant: &TenantId, event: &Event) {
        let tells = |topic: &str| topic_matches(topic, &event.topic);
        for (index, service) in SERVICES.iter().enumerate() {
            let mut changes = service.resources.iter().flat_map(|resource| resource.changes);
            if service.topics.iter().any(|topic| tells(topic)) || changes.any(|change| tells(change.topic)) {
                self.counter(tenant, index).fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Everything of a tenant is another generation.
    pub(super) fn evict_all(&self, tenant: &TenantId) {
        for index in 0..SERVICES.len() {
            self.counter(tenant, index).fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counter(&self, tenant: &TenantId, service_index: usize) -> &AtomicU64 {
        let hash = self.hasher.hash_one((tenant, service_index));
        // The upper bits fit every usize.
        &self.counters[usize::try_from(hash >> 40).unwrap_or_default() % self.counters.len()]
    }
}
