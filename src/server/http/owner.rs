//! The key by which sessions and quotas are counted: a caller's tenant, subject and kind.

use crate::api::ids::TenantId;
use crate::auth::{Caller, CallerKind};

/// The owner of a session or a permit.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    tenant: TenantId,
    subject: String,
    kind: CallerKind,
}

impl From<&Caller> for Owner {
    fn from(caller: &Caller) -> Self {
        Self { tenant: caller.tenant.clone(), subject: caller.subject.clone(), kind: caller.kind }
    }
}

impl Owner {
    pub(super) const fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    #[cfg(test)]
    pub(super) fn test(tenant: &str, subject: &str) -> Self {
        Self { tenant: tenant.into(), subject: subject.to_owned(), kind: CallerKind::User }
    }
}
