//! Places of callers: so many of all, so many of one tenant, so many of one caller, so that nobody takes those of others.

use std::sync::Arc;

use super::quota::{Counted, Place};
use super::sessions::Owner;
use crate::api::ids::TenantId;

/// The part of everything that one tenant may have: four that take all they can leave nobody out.
const PART: usize = 4;

/// Places, or whatever else there is so much of.
pub(super) struct Shares {
    callers: Arc<Counted<Owner>>,
    tenants: Arc<Counted<TenantId>>,
    pub(super) of_tenant: usize,
    pub(super) of_caller: usize,
}

/// A caller's part, until it is dropped.
pub(super) struct Share {
    _of_caller: Place<Owner>,
    _of_tenant: Place<TenantId>,
}

/// Who has as much as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Caller,
    Tenant,
    All,
}

impl Shares {
    pub(super) fn new(all: usize, of_tenant: usize, of_caller: usize) -> Self {
        Self { callers: Counted::new(usize::MAX, of_caller), tenants: Counted::new(all, of_tenant), of_tenant, of_caller }
    }

    /// A tenant has its part of all.
    pub(super) fn parted(all: usize, of_caller: usize) -> Self {
        Self::new(all, (all / PART).max(of_caller), of_caller)
    }

    /// So much more, if it is there.
    pub(super) fn take(&self, caller: &Owner, much: usize) -> Result<Share, Full> {
        let of_caller = self.callers.take(caller.clone(), much).map_err(|_| Full::Caller)?;
        let of_tenant = self.tenants.take(caller.tenant().clone(), much).map_err(|full| match full {
            super::quota::Full::Each => Full::Tenant,
            super::quota::Full::All => Full::All,
        })?;
        Ok(Share { _of_caller: of_caller, _of_tenant: of_tenant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_share_their_tenants_part_and_tenants_all() {
        let shares = Shares::parted(16, 3);
        let take = |tenant: &str, subject: &str, much| shares.take(&Owner::test(tenant, subject), much);
        let anna = take("tenant-1", "anna", 3).unwrap();
        assert_eq!(take("tenant-1", "anna", 1).err(), Some(Full::Caller));
        assert_eq!(take("tenant-1", "bert", 2).err(), Some(Full::Tenant));
        let _bert = take("tenant-1", "bert", 1).unwrap();
        let _others: Vec<_> =
            ["tenant-2", "tenant-3", "tenant-4"].map(|tenant| [1, 3].map(|much| take(tenant, &much.to_string(), much).unwrap())).into();
        assert_eq!(take("tenant-5", "anna", 1).err(), Some(Full::All));
        drop(anna);
        let _more = take("tenant-5", "anna", 3).unwrap();
        assert_eq!(take("tenant-1", "anna", 1).err(), Some(Full::All));
    }
}
