//! Says how long one attempt waits for the head of its answer, and from one part of it to the next.
//!
//! It stands inside retry and breaker, so that a silent instance counts as a failed attempt and not as the call's end. How
//! long a connection may take to come about is the connector's, and the time in all is the deadline's.

use futures_util::future::BoxFuture;

use crate::client::Timeouts;
use crate::client::call::{Call, Reply, Waits};
use crate::client::layer::{Layer, Next};
use crate::error::Result;

/// A call that cannot be repeated has all the time that is left to answer: there is nothing to give it up for.
pub(in crate::client) struct Timeout(pub(in crate::client) Timeouts);

impl Layer for Timeout {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        call.waits = Waits { first_byte: call.is_repeatable.then_some(self.0.first_byte), idle: Some(self.0.idle) };
        next.run(call)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use futures_util::stream;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::api::{Operation as _, tasks};
    use crate::auth::Caller;
    use crate::client::layers::scripted::{Scripted, call, list, user};
    use crate::client::{CallOptions, Client, Fixed, Settings};
    use crate::error::Kind;

    const TIMEOUTS: Timeouts =
        Timeouts { connect: Duration::from_secs(1), first_byte: Duration::from_millis(100), idle: Duration::from_millis(300) };

    #[tokio::test]
    async fn a_call_that_cannot_be_repeated_may_take_all_of_its_time() {
        let end = Scripted::default();
        let mut repeatable = list(&user("anna", &[]));
        repeatable.is_repeatable = true;
        end.run(Timeout(TIMEOUTS), repeatable).await.unwrap();
        let create = call(&user("anna", &[]), "tasks_create", &json!({ "title": "Check" }), CallOptions::default());
        end.run(Timeout(TIMEOUTS), create).await.unwrap();
        let waits: Vec<_> = end.arrived().iter().map(|call| (call.waits.first_byte, call.waits.idle)).collect();
        assert_eq!(waits, [(Some(TIMEOUTS.first_byte), Some(TIMEOUTS.idle)), (None, Some(TIMEOUTS.idle))]);
    }

    /// Lists tasks on a platform that takes so long for the head and between two parts of its answer.
    async fn listed(head: u64, pause: u64, settings: Settings) -> (Result<()>, Duration) {
        let answer = move || async move {
            tokio::time::sleep(Duration::from_millis(head)).await;
            let parts = ["{\"items\"", ":", "[]", "}"].map(Ok::<_, std::io::Error>);
            Body::from_stream(stream::unfold(parts.into_iter(), move |mut parts| async move {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                Some((parts.next()?, parts))
            }))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Arc::new(Fixed::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap());
        let platform = Router::new().route(tasks::List::SPEC.path, get(answer));
        tokio::spawn(async move { axum::serve(listener, platform).await });
        let began = Instant::now();
        let anna: Arc<Caller> = user("anna", &["*"]);
        let client = Client::builder(origin).settings(settings).build();
        (client.send(&anna, &tasks::List::default()).await.map(drop), began.elapsed())
    }

    #[tokio::test]
    async fn a_silent_head_a_silent_middle_and_the_whole_have_limits_of_their_own() {
        let settings = Settings { timeouts: TIMEOUTS, attempts: 2, deadline: Duration::from_secs(20), ..Settings::default() };
        for (head, pause) in [(10_000, 0), (0, 10_000)] {
            let (late, took) = listed(head, pause, settings.clone()).await;
            let late = late.unwrap_err();
            assert_eq!((late.code(), late.kind(), late.is_transient()), ("FM-MCP-TIMEOUT", Kind::Timeout, true));
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
        // Parts that come in time may take longer together than each of them.
        let (answered, took) = listed(0, 100, settings.clone()).await;
        assert!(answered.is_ok() && took > TIMEOUTS.idle, "{answered:?} {took:?}");
        let short = Settings { deadline: Duration::from_millis(250), ..settings };
        let (late, took) = listed(0, 200, short).await;
        assert_eq!(late.unwrap_err().code(), "FM-MCP-DEADLINE");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}
