//! Bounds one attempt.
//!
//! It stands inside retry and breaker, so that a silent instance counts as a failed attempt and not as the call's end.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::client::layer::{Call, Layer, Next, Reply};
use crate::error::{Error, Kind, Result};

/// The longest that an attempt may take.
pub(in crate::client) struct Timeout(pub(in crate::client) Duration);

impl Layer for Timeout {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            tokio::time::timeout(self.0, next.run(call)).await.unwrap_or_else(|_| {
                Err(Error::new(Kind::Timeout, "FM-MCP-TIMEOUT", format!("the platform did not answer within {} s", self.0.as_secs_f32()))
                    .hint("Whether it was done is unknown: read the object before you try again."))
            })
        })
    }
}
