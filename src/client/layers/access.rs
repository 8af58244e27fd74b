//! Refuses a call that the caller's permissions do not cover, and names the permission.
//!
//! It stands before every layer that could answer, so that no caller reads from a cache what it may not ask for.

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::BoxFuture;

use crate::auth::Access;
use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::error::Result;

/// How permissions are judged at present. A clone is the same judge.
#[derive(Clone)]
pub(in crate::client) struct Judge(Arc<RwLock<Access>>);

impl Judge {
    pub(in crate::client) fn new(access: Access) -> Self {
        Self(Arc::new(RwLock::new(access)))
    }

    pub(in crate::client) fn access(&self) -> Access {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::client) fn replace(&self, access: Access) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = access;
    }
}

impl Layer for Judge {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        match self.access().check(&call.caller, &call.entry.spec) {
            Ok(()) => next.run(call),
            Err(refused) => Box::pin(std::future::ready(Err(refused))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::permission::Names;
    use crate::auth::Filter;
    use crate::client::layers::scripted::{Scripted, list, user};

    #[tokio::test]
    async fn a_call_that_permissions_do_not_cover_is_not_sent() {
        let end = Scripted::default();
        let judge = Judge::new(Access::new(Filter::Strict, Names::default()));
        let refused = end.run(judge.clone(), list(&user("anna", &["process:view"]))).await.unwrap_err();
        assert!(refused.code() == "FM-MCP-FORBIDDEN" && refused.to_string().contains("task:view"), "{refused}");
        assert!(end.arrived().is_empty());
        end.run(judge.clone(), list(&user("anna", &["task:view"]))).await.unwrap();
        judge.replace(Access::new(Filter::Off, Names::default()));
        end.run(judge, list(&user("anna", &[]))).await.unwrap();
        assert_eq!(end.arrived().len(), 2);
    }
}
