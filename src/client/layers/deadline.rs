//! Bounds a call as a whole, all its attempts and waits included.
//!
//! It stands outside retry, so that a call ends when it must, however many attempts are left.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::client::layer::{Call, Layer, Next, Reply};
use crate::error::{Error, Kind, Result};

/// The longest that any call may take; a call may ask for less.
pub(in crate::client) struct Deadline(pub(in crate::client) Duration);

impl Layer for Deadline {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        let limit = call.options.deadline.map_or(self.0, |asked| asked.min(self.0));
        Box::pin(async move {
            tokio::time::timeout(limit, next.run(call)).await.unwrap_or_else(|_| {
                Err(Error::new(Kind::Timeout, "FM-MCP-DEADLINE", format!("there was no answer within {} s", limit.as_secs_f32()))
                    .hint("Whether it was done is unknown: read the object before you try again."))
            })
        })
    }
}
