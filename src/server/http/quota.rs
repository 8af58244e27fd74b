//! A quota of something countable: so much in all, for one tenant, and for one caller.
//!
//! A tenant or a caller without a permit takes no memory here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::owner::Owner;

/// The part of everything that one tenant may have: four greedy tenants leave nothing out for others, three do.
const TENANT_PART: usize = 4;

/// Bounds in all, per tenant and per caller, and what is in use of them.
pub(super) struct Quota {
    all: usize,
    pub(super) per_tenant: usize,
    pub(super) per_caller: usize,
    used: Arc<Mutex<Used>>,
}

#[derive(Default)]
struct Used {
    all: usize,
    tenants: HashMap<Arc<str>, usize>,
    callers: HashMap<Owner, usize>,
}

/// A caller's part of a quota, released when it is dropped.
pub(super) struct Permit {
    used: Arc<Mutex<Used>>,
    owner: Owner,
    amount: usize,
}

/// The bound that a request for a permit met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Caller,
    Tenant,
    All,
}

impl Quota {
    pub(super) fn new(all: usize, per_tenant: usize, per_caller: usize) -> Self {
        Self { all, per_tenant, per_caller, used: Arc::default() }
    }

    /// Returns a quota of which one tenant may use a quarter.
    pub(super) fn parted(all: usize, per_caller: usize) -> Self {
        Self::new(all, (all / TENANT_PART).max(per_caller), per_caller)
    }

    /// Takes so much for a caller, or says which bound is met.
    pub(super) fn take(&self, owner: &Owner, amount: usize) -> Result<Permit, Full> {
        let mut used = lock(&self.used);
        let Used { all, tenants, callers } = &mut *used;
        let (tenant, caller) = (tenants.entry(Arc::clone(owner.tenant())), callers.entry(owner.clone()));
        for (already, bound, full) in [
            (in_use(&caller), self.per_caller, Full::Caller),
            (in_use(&tenant), self.per_tenant, Full::Tenant),
            (*all, self.all, Full::All),
        ] {
            if already.saturating_add(amount) > bound {
                return Err(full);
            }
        }
        *all += amount;
        *tenant.or_default() += amount;
        *caller.or_default() += amount;
        Ok(Permit { used: Arc::clone(&self.used), owner: owner.clone(), amount })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = lock(&self.used);
        used.all = used.all.saturating_sub(self.amount);
        release(used.tenants.entry(Arc::clone(self.owner.tenant())), self.amount);
        release(used.callers.entry(self.owner.clone()), self.amount);
    }
}

fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_use<K>(place: &Entry<'_, K, usize>) -> usize {
    match place {
        Entry::Occupied(used) => *used.get(),
        Entry::Vacant(_) => 0,
    }
}

fn release<K>(place: Entry<'_, K, usize>, amount: usize) {
    if let Entry::Occupied(mut used) = place {
        let left = used.get().saturating_sub(amount);
        if left == 0 {
            used.remove();
        } else {
            *used.get_mut() = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_is_released_and_nothing_is_kept() {
        let quota = Quota::new(3, 3, 2);
        let (anna, bert) = (Owner::test("tenant-1", "anna"), Owner::test("tenant-1", "bert"));
        let (first, second) = (quota.take(&anna, 1).unwrap(), quota.take(&anna, 1).unwrap());
        assert_eq!(quota.take(&anna, 1).err(), Some(Full::Caller));
        let third = quota.take(&bert, 1).unwrap();
        assert_eq!(quota.take(&bert, 1).err(), Some(Full::Tenant));
        drop(first);
        let again = quota.take(&bert, 1).unwrap();
        drop((second, third, again));
        let used = lock(&quota.used);
        assert!(used.all == 0 && used.tenants.is_empty() && used.callers.is_empty());
    }

    #[test]
    fn callers_share_their_tenants_part_and_tenants_all() {
        let quota = Quota::parted(16, 3);
        let take = |tenant: &str, subject: &str, amount| quota.take(&Owner::test(tenant, subject), amount);
        let anna = take("tenant-1", "anna", 3).unwrap();
        assert_eq!(take("tenant-1", "anna", 1).err(), Some(Full::Caller));
        assert_eq!(take("tenant-1", "bert", 2).err(), Some(Full::Tenant));
        let _bert = take("tenant-1", "bert", 1).unwrap();
        let _others: Vec<_> = ["tenant-2", "tenant-3", "tenant-4"]
            .map(|tenant| [1, 3].map(|amount| take(tenant, &amount.to_string(), amount).unwrap()))
            .into();
        assert_eq!(take("tenant-5", "anna", 1).err(), Some(Full::All));
        drop(anna);
        let _more = take("tenant-5", "anna", 3).unwrap();
        assert_eq!(take("tenant-1", "anna", 1).err(), Some(Full::All));
    }
}
