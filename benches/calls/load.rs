//! Calls by 16 connections at once, each of which sends its next when it has its answer.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::Failure;
use crate::program::Program;

/// How many calls are under way.
pub const AT_ONCE: usize = 16;
const REVISION: &str = "2026-07-28";

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
        let lines = (0..AT_ONCE.min(calls)).map(|line| async move {
            let mut times = Vec::with_capacity(calls / AT_ONCE + 1);
            for number in (first + line..first + calls).step_by(AT_ONCE) {
                let request = self.request(server, what, number, &tokens[number % tokens.len()]);
                let begun = Instant::now();
                let response = request.send().await?;
                let (status, body) = (response.status(), response.bytes().await?);
                times.push(begun.elapsed());
                if !status.is_success() || !std::str::from_utf8(&body)?.contains(what.sign_of_success()) {
                    return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
                }
            }
            Ok::<_, Failure>(times)
        });
        Ok(try_join_all(lines).await?.concat())
    }

    fn request(&self, server: &Program, what: What<'_>, number: usize, token: &str) -> RequestBuilder {
        let task = if matches!(what, What::SameRead) { "task-same".to_owned() } else { format!("task-{number}") };
        let (method, mut params) = match what {
            What::Direct(platform) => return self.http.get(format!("{platform}/tasks/{task}")).bearer_auth(token),
            What::Read | What::SameRead => ("tools/call", json!({ "name": "tasks_get", "arguments": { "id": task } })),
            What::Page => ("tools/call", json!({ "name": "tasks_list", "arguments": {} })),
            What::Tools => ("tools/list", json!({})),
        };
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let request = self.http.post(format!("{}/mcp", server.url)).bearer_auth(token).header("mcp-protocol-version", REVISION);
        let request = match params.get("name").and_then(Value::as_str) {
            Some(name) => request.header("mcp-name", name),
            None => request,
        };
        request
            .header("mcp-method", method)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": params }).to_string())
    }
}
