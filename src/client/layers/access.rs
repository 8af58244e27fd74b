//! Refuses a call that the caller's permissions do not cover, and names the permission.
//!
//! It stands before every layer that could answer, so that nobody reads from a cache what they may not ask for.

use futures_util::future::BoxFuture;

use crate::client::layer::{Call, Layer, Next, Reply};
use crate::error::{Error, Kind, Result};

/// Whether permissions are looked at on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// What the token does not permit is refused here.
    #[default]
    Strict,
    /// The platform alone judges: its operator has not mapped the names of its permissions.
    Off,
}

/// See the module.
pub(in crate::client) struct Access {
    filter: Filter,
}

impl Access {
    pub(in crate::client) const fn new(filter: Filter) -> Self {
        Self { filter }
    }
}

impl Layer for Access {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        let refused = match (self.filter, call.entry.spec.permission, &call.caller.permissions) {
            (Filter::Strict, Some(needed), Some(held)) if !held.allow(needed) => Some(needed),
            _ => None,
        };
        match refused {
            None => next.run(call),
            Some(needed) => {
                let message =
                    format!("{} needs the permission {needed}, which {} does not hold", call.entry.spec.name, call.caller.subject);
                Box::pin(std::future::ready(Err(Error::new(Kind::Forbidden, "FM-MCP-FORBIDDEN", message)
                    .hint("Ask an administrator for it, or leave this to somebody who holds it."))))
            }
        }
    }
}
