//! The key by which sessions and quotas are counted: a caller's tenant, subject and kind.

use std::sync::Arc;

use crate::auth::{Caller, CallerKind};

/// The owner of a session or a permit. A clone copies no text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    tenant: Arc<str>,
    subject: Arc<str>,
    kind: CallerKind,
}

impl From<&Caller> for Owner {
    fn from(caller: &Caller) -> Self {
        Self { tenant: caller.tenant.as_str().into(), subject: caller.subject.as_str().into(), kind: caller.kind }
    }
}

impl Owner {
    pub(super) const fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    #[cfg(test)]
    pub(super) fn test(tenant: &str, subject: &str) -> Self {
        Self { tenant: tenant.into(), subject: subject.into(), kind: CallerKind::User }
    }
}
