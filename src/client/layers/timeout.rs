//! Bounds one attempt.
//!
//! It stands inside retry and breaker, so that a silent instance counts as a failed attempt and not as the call's end.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::error::{Error, Kind, Result};

/// The longest that an attempt may take.
pub(in crate::client) struct Timeout(pub(in crate::client) Duration);

impl Layer for Timeout {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            tokio::time::timeout(self.0, next.run(call)).await.unwrap_or_else(|_| {
                Err(Error::new(Kind::Timeout, "FM-MCP-TIMEOUT", format!("the platform did not answer within {} s", self.0.as_secs_f32())))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::client::layers::scripted::{Scripted, list, user};

    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_in_time_and_a_timely_answer_passes() {
        let (end, began) = (Scripted::slow(Duration::from_secs(31)), Instant::now());
        let late = end.run(Timeout(Duration::from_secs(30)), list(&user("anna", &[]))).await.unwrap_err();
        assert_eq!((late.code(), late.kind(), late.is_transient(), began.elapsed().as_secs()), ("FM-MCP-TIMEOUT", Kind::Timeout, true, 30));
        let end = Scripted::slow(Duration::from_secs(29));
        assert_eq!(end.run(Timeout(Duration::from_secs(30)), list(&user("anna", &[]))).await.unwrap().status, 200);
    }
}
