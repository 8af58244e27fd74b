//! Calls by 16 connections at once, each of which sends its next when it has its answer; or at a rate, whatever is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use reqwest::{Client, RequestBuilder};
use serde_json::json;

use crate::Failure;
use crate::program::Program;
use crate::request::request;

/// How many calls are under way.
pub const AT_ONCE: usize = 16;

/// What is asked.
#[derive(Clone, Copy)]
pub enum What<'a> {
    /// A task that was not asked for before.
    Read,
    /// The same task as ever.
    SameRead,
    /// A page of tasks.
    Page,
    /// The list of tools.
    Tools,
    /// A task of the platform at this URL, without a server between.
    Direct(&'a str),
}

impl What<'_> {
    /// What an answer holds that is none of an error.
    const fn sign_of_success(self) -> &'static str {
        match self {
            Self::Read | Self::SameRead | Self::Page => "\"structuredContent\"",
            Self::Tools => "\"tools\"",
            Self::Direct(_) => "\"taskId\"",
        }
    }
}

/// Sends calls.
pub struct Load {
    http: Client,
    /// This process, which is a client of the platform itself.
    pub own: Program,
}

impl Load {
    pub fn new() -> Result<Self, Failure> {
        Ok(Self { http: Client::builder().no_proxy().tcp_nodelay(true).build()?, own: Program::own() })
    }

    /// Sends so many calls, numbered from the first, by these tokens in turn; returns how long each took.
    pub async fn send(
        &self,
        server: &Program,
        what: What<'_>,
        first: usize,
        calls: usize,
        tokens: &[String],
    ) -> Result<Vec<Duration>, Failure> {
        self.send_at_once(AT_ONCE, server, what, first, calls, tokens).await
    }

    /// The same with another number of connections.
    pub async fn send_at_once(
        &self,
        at_once: usize,
        server: &Program,
        what: What<'_>,
        first: usize,
        calls: usize,
        tokens: &[String],
    ) -> Result<Vec<Duration>, Failure> {
        let lines = (0..at_once.min(calls)).map(|line| async move {
            let mut times = Vec::with_capacity(calls / at_once + 1);
            for number in (first + line..first + calls).step_by(at_once) {
                times.push(self.call(server, what, number, &tokens[number % tokens.len()]).await?);
            }
            Ok::<_, Failure>(times)
        });
        Ok(try_join_all(lines).await?.concat())
    }

    /// Sends reads at a rate for a time, each when it is due; returns how many, and how long those took that were answered well.
    pub async fn flood(self: Arc<Self>, server: Arc<Program>, a_second: u32, lasts: Duration, token: Arc<str>) -> (usize, Vec<Duration>) {
        let mut due = tokio::time::interval(Duration::from_secs(1) / a_second);
        let (mut calls, mut number) = (tokio::task::JoinSet::new(), 0);
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            due.tick().await;
            let (load, server, token) = (Arc::clone(&self), Arc::clone(&server), Arc::clone(&token));
            calls.spawn(async move { load.call(&server, What::Read, number, &token).await });
            number += 1;
        }
        (number, calls.join_all().await.into_iter().filter_map(Result::ok).collect())
    }

    async fn call(&self, server: &Program, what: What<'_>, number: usize, token: &str) -> Result<Duration, Failure> {
        let request = self.request(server, what, number, token);
        let begun = Instant::now();
        let response = request.send().await?;
        let (status, body) = (response.status(), response.bytes().await?);
        let took = begun.elapsed();
        if !status.is_success() || !std::str::from_utf8(&body)?.contains(what.sign_of_success()) {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(took)
    }

    fn request(&self, server: &Program, what: What<'_>, number: usize, token: &str) -> RequestBuilder {
        let task = if matches!(what, What::SameRead) { "task-same".to_owned() } else { format!("task-{number}") };
        let (method, params) = match what {
            What::Direct(platform) => return self.http.get(format!("{platform}/tasks/{task}")).bearer_auth(token),
            What::Read | What::SameRead => ("tools/call", json!({ "name": "tasks_get", "arguments": { "id": task } })),
            What::Page => ("tools/call", json!({ "name": "tasks_list", "arguments": {} })),
            What::Tools => ("tools/list", json!({})),
        };
        request(&self.http, &server.url, token, number, method, params)
    }
}
