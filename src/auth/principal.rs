//! Whom a connection speaks for: always the same caller, or a login that renews itself.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Caller;
use crate::error::Result;

/// Knows who calls on a connection, asked before every request.
pub trait Principal: Send + Sync {
    /// The caller as of now, with a credential that is good for a while.
    fn caller(&self) -> BoxFuture<'_, Result<Arc<Caller>>>;

    /// Whether a later caller may have other rights than an earlier one.
    fn renews(&self) -> bool {
        false
    }

    /// A caller whose credential the platform just refused; the same one if nothing better can be had.
    fn renewed(&self, refused: Arc<Caller>) -> BoxFuture<'_, Result<Arc<Caller>>> {
        Box::pin(std::future::ready(Ok(refused)))
    }
}

impl Principal for Arc<Caller> {
    fn caller(&self) -> BoxFuture<'_, Result<Arc<Caller>>> {
        Box::pin(std::future::ready(Ok(Self::clone(self))))
    }
}
