//! The end of the stack: one pooled HTTP client, bounded answers, and answers in the contract's names.

mod conceal;
pub(crate) mod connector;
mod event_stream;
pub(crate) mod problem;
pub(in crate::client) mod websocket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderValue};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::call::{Call, Reply};
use super::layer::Transport;
use super::layers::rate_limit::Limits;
use super::origin::Origin;
use crate::api::{Entry, Method, wire};
use crate::error::{self, Error, Kind, Result};
use crate::io::numbers::quote_inexact;
use crate::io::outbound::{self, Unread};
use conceal::Secrets;
use connector::Connector;

/// The code of a platform that was not reached, or whose connection broke.
pub(super) const UNREACHABLE: &str = "FM-MCP-UNREACHABLE";
/// The code of a platform that was silent for too long.
pub(super) const TIMEOUT: &str = "FM-MCP-TIMEOUT";

/// What is accepted of most operations.
const ACCEPT_WHOLE: HeaderValue = HeaderValue::from_static("application/json, application/problem+json");
/// What is accepted where the answer may arrive while it is written.
const ACCEPT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream, application/json;q=0.9, application/problem+json");

/// Sends requests.
pub(super) struct Http {
    reach: Connector,
    answer_limit: usize,
    limits: Arc<Limits>,
}

impl Http {
    pub(super) fn new(origin: Arc<dyn Origin>, answer_limit: usize, connect: Duration, limits: Arc<Limits>) -> Self {
        Self { reach: Connector::within(origin, connect), answer_limit, limits }
    }

    async fn exchange(&self, call: Call) -> Result<Reply> {
        let secrets = Secrets::of(&call);
        let located = call.located.ok_or_else(|| Error::internal("a call reached HTTP without an address"))?;
        let method = match call.request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut request = self
            .reach
            .client(&located)?
            .request(method, format!("{}{}", located.base, call.request.path))
            .headers(call.headers)
            .header(ACCEPT, if call.options.tokens.is_some() { ACCEPT_STREAM } else { ACCEPT_WHOLE });
        if !call.request.query.is_empty() {
            request = request.query(&call.request.query);
        }
        if let Some(body) = &call.request.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let waits = call.waits;
        let sending = request.send();
        let response = match waits.first_byte {
            Some(wait) => timeout(wait, sending).await.map_err(|_| silent(wait))?,
            None => sending.await,
        };
        let response = response.map_err(|error| unreachable(error, &located.base))?;
        let status = response.status().as_u16();
        self.limits.learn(call.entry, &call.caller.tenant, response.headers());
        let etag = response.headers().get(ETAG).and_then(|etag: &HeaderValue| etag.to_str().ok()).map(str::to_owned);
        let of_failure = (!(200..300).contains(&status)).then(|| response.headers().clone());
        if let Some(tokens) = call.options.tokens.filter(|_| of_failure.is_none() && event_stream::is_one(&response)) {
            let idle = waits.idle.unwrap_or(Duration::MAX);
            let reading = event_stream::Reading { tokens, secrets: &secrets, largest: self.answer_limit, idle };
            let broken = |error: Option<_>| error.map_or_else(|| silent(idle), |error| unreachable(error, &located.base));
            let body = reading.read(response, broken).await?;
            return reply(call.entry, status, etag, body);
        }
        let body = secrets.conceal(self.read(response, &located.base, waits.idle).await?);
        if let Some(headers) = of_failure {
            return Err(problem::decode(status, &headers, &body, |text| secrets.conceal_text(text).into_owned()));
        }
        let body = if body.is_empty() && call.entry.spec.names_route {
            Value::Object(Map::new())
        } else if body.is_empty() && (status == 204 || call.entry.spec.success == 204) {
            Value::Object(Map::from_iter([("done".to_owned(), call.entry.spec.title.into())]))
        } else if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&quote_inexact(&body)).map_err(|error| {
                Error::new(Kind::BadAnswer, "FM-MCP-ANSWER", format!("the platform answered {status} with something that is not JSON"))
                    .of_origin(error::Origin::Platform)
                    .caused_by(error)
            })?
        };
        reply(call.entry, status, etag, body)
    }

    async fn read(&self, response: reqwest::Response, base: &str, idle: Option<Duration>) -> Result<Bytes> {
        let broken = |error: Option<reqwest::Error>| match (error, idle) {
            (Some(error), _) => unreachable(error, base),
            (None, idle) => silent(idle.unwrap_or_default()),
        };
        let read = match idle {
            Some(idle) => outbound::read_lively(response, self.answer_limit, idle).await.map_err(|unread| unread.map(broken)),
            None => outbound::read_bounded(response, self.answer_limit).await.map_err(|unread| unread.map(|error| broken(Some(error)))),
        };
        read.map_err(|unread| match unread {
            Unread::TooLarge => Error::new(
                Kind::BadAnswer,
                "FM-MCP-ANSWER-TOO-LARGE",
                format!("the platform's answer is larger than {} MiB", self.answer_limit >> 20),
            )
            .of_origin(error::Origin::Platform)
            .hint("Ask for less: a smaller limit, or a narrower filter."),
            Unread::Broken(error) => error,
        })
    }
}

impl Transport for Http {
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(self.exchange(call))
    }
}

/// An answer in the contract's names, held to its schema.
fn reply(entry: &Entry, status: u16, etag: Option<String>, mut body: Value) -> Result<Reply> {
    if entry.spec.names_route {
        body = beside_status(status, body);
    }
    wire::normalise(&entry.spec, &entry.shape.answer, &mut body);
    if let Some(fault) = entry.mismatch(&body) {
        let message = format!("the platform answered {status} with something else than {} answers", entry.spec.name);
        return Err(Error::new(Kind::BadAnswer, "FM-MCP-ANSWER", message).of_origin(error::Origin::Platform).field(
            fault.pointer,
            fault.code,
            fault.detail,
        ));
    }
    Ok(Reply { status, etag, body })
}

/// The answer of a route that no operation has: nothing is known of it, so it stands as an object beside its status.
fn beside_status(status: u16, body: Value) -> Value {
    let body = match body {
        body @ Value::Object(_) => body,
        items @ Value::Array(_) => json!({ "items": items }),
        value => json!({ "value": value }),
    };
    json!({ "status": status, "body": body })
}

fn unreachable(error: reqwest::Error, base: &str) -> Error {
    // The URL of the error would repeat ids and queries of the call.
    let error = error.without_url();
    let unsent = error.is_connect();
    let message =
        if unsent { format!("FlowMaster at {base} cannot be reached") } else { format!("the connection to FlowMaster at {base} broke") };
    let error = Error::new(Kind::Unavailable, UNREACHABLE, message)
        .hint("Check FLOWMASTER_URL and that the platform runs: `flowmaster-mcp doctor`.")
        .caused_by(error);
    if unsent { error.unsent() } else { error }
}

fn silent(within: Duration) -> Error {
    Error::new(Kind::Timeout, TIMEOUT, format!("the platform did not answer within {} s", within.as_secs_f32()))
}
