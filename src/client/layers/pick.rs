//! Chooses the instance of the service that an attempt goes to, where there are several places.
//!
//! It stands inside retry, so that a second attempt may go to another instance, and before the breaker, which knows each.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::client::call::{Call, Reply};
use crate::client::discovery::Finder;
use crate::client::layer::{Layer, Next};
use crate::error::Result;

/// See the module.
pub(in crate::client) struct Pick(pub(in crate::client) Arc<Finder>);

impl Layer for Pick {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            let Some(instance) = self.0.find(call.entry.service, &call.caller).await? else { return next.run(call).await };
            call.instance = Some(Arc::clone(instance.name()));
            call.located = Some(instance.located().clone());
            next.run(call).await
        })
    }
}
