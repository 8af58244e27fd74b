//! Bounds a call as a whole, all its attempts and waits included.
//!
//! It stands outside retry, so that a call ends when it must, however many attempts are left. The budget is set once, and
//! the layers below read what is left of it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::error::{Error, Kind, Result};

/// The longest that any call may take; a call may ask for less.
pub(in crate::client) struct Deadline(pub(in crate::client) Duration);

impl Layer for Deadline {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        let limit = call.options.deadline.map_or(self.0, |asked| asked.min(self.0));
        Box::pin(async move {
            let deadline = Instant::now() + limit;
            call.deadline = Some(deadline);
            tokio::time::timeout_at(deadline, next.run(call)).await.unwrap_or_else(|_| {
                Err(Error::new(Kind::Timeout, "FM-MCP-DEADLINE", format!("there was no answer within {} s", limit.as_secs_f32())))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::call::CallOptions;
    use crate::client::layers::scripted::{Scripted, call, user};

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_the_shorter_of_both_limits() {
        for (asked, ends_after) in [(None, 60), (Some(5), 5), (Some(600), 60)] {
            let (end, began) = (Scripted::slow(Duration::from_hours(1)), Instant::now());
            let options = CallOptions { deadline: asked.map(Duration::from_secs), ..CallOptions::default() };
            let late =
                end.run(Deadline(Duration::from_mins(1)), call(&user("anna", &[]), "tasks_list", &json!({}), options)).await.unwrap_err();
            assert_eq!((late.code(), late.kind(), began.elapsed().as_secs()), ("FM-MCP-DEADLINE", Kind::Timeout, ends_after));
        }
    }
}
