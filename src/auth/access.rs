//! Whether a caller's permissions cover an operation, under the names that the platform gives them.

use std::sync::Arc;

use super::Caller;
use crate::api::permission::Names;
use crate::api::{Permission, Spec};
use crate::error::{Error, Kind, Result};

/// Whether permissions are looked at on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// What the token does not permit is neither listed nor called.
    #[default]
    Strict,
    /// The platform alone judges: its operator has not mapped the names of its permissions.
    Off,
}

/// How permissions are judged. A clone shares the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    filter: Filter,
    names: Arc<Names>,
}

impl Access {
    /// Permissions under a platform's names.
    #[must_use]
    pub fn new(filter: Filter, names: Names) -> Self {
        Self { filter, names: Arc::new(names) }
    }

    /// Whether permissions are looked at on this side.
    #[must_use]
    pub const fn filter(&self) -> Filter {
        self.filter
    }

    /// What the platform calls a permission.
    #[must_use]
    pub fn name_of(&self, permission: Permission) -> &str {
        self.names.of(permission)
    }

    /// Whether a caller may see and call an operation, as far as this side can tell.
    #[must_use]
    pub fn allows(&self, caller: &Caller, spec: &Spec) -> bool {
        match (self.filter, &caller.permissions, spec.permission) {
            (Filter::Strict, Some(held), Some(needed)) => held.covers(self.name_of(needed)),
            _ => true,
        }
    }

    /// Refuses a call that the caller's permissions do not cover.
    ///
    /// # Errors
    /// `FM-MCP-FORBIDDEN`, which names the permission.
    pub fn check(&self, caller: &Caller, spec: &Spec) -> Result<()> {
        match spec.permission {
            Some(needed) if !self.allows(caller, spec) => Err(Error::new(
                Kind::Forbidden,
                "FM-MCP-FORBIDDEN",
                format!("{} needs the permission {}, which {} does not hold", spec.name, self.name_of(needed), caller.subject),
            )
            .hint("Ask an administrator for it, or leave this to somebody who holds it.")),
            _ => Ok(()),
        }
    }
}
