//! Refuses a call that the caller's permissions do not cover, and names the permission.
//!
//! It stands before every layer that could answer, so that nobody reads from a cache what they may not ask for.

use futures_util::future::BoxFuture;

use crate::auth::Access;
use crate::client::layer::{Call, Layer, Next, Reply};
use crate::error::Result;

impl Layer for Access {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        match self.check(&call.caller, &call.entry.spec) {
            Ok(()) => next.run(call),
            Err(refused) => Box::pin(std::future::ready(Err(refused))),
        }
    }
}
