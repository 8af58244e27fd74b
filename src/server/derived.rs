//! Lists for a platform that has none: made of what event replay and the audit log name, each thing read as it is now.
//!
//! The log only names things. What is true of them is read one by one with the caller's own rights, so a forged event gives
//! nothing away. All of it is bounded, and the answer says where it comes from and how far it reaches.

mod executions;
mod log;
mod processes;

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::answer::{redact, truncate};
use super::request::Request;
use super::{App, typed};
use crate::api::{self, Entry, Operation, Timestamp};
use crate::auth::Caller;
use crate::client::Reply;
use crate::error::{Error, Kind, Result};
use crate::telemetry::TraceContext;
use log::Log;

/// Things that are read in one call.
const MAX_READ: usize = 100;
/// Things that are read at once.
const AT_ONCE: usize = 8;

/// Who asks, and in which trace.
#[derive(Clone)]
struct Asking<'a> {
    app: &'a App,
    caller: &'a Arc<Caller>,
    trace: TraceContext,
}

/// Items that were found, and how far they reach.
struct Found<T> {
    items: Vec<T>,
    /// The earliest time that was looked at.
    since: Timestamp,
    /// Whether there may be more in that time.
    is_partial: bool,
}

impl App {
    /// Whether an operation's answer is made here, since the platform does not have it, as far as is known.
    pub(super) fn derives(&self, entry: &Entry) -> bool {
        entry.spec.is_derivable && !self.has(entry)
    }
}

impl Request {
    /// Makes the answer of an operation that the platform does not have.
    pub(super) async fn derive(&self, entry: &'static Entry, arguments: Map<String, Value>, trace: TraceContext) -> Result<Reply> {
        if arguments.contains_key("cursor") {
            return Err(Error::new(
                Kind::Invalid,
                "FM-MCP-ARGUMENTS",
                "this platform has no such list, and what stands for it has one page",
            )
            .field("/cursor", "unknown", "is not taken here")
            .hint("Leave it out, and narrow the list by its other arguments."));
        }
        let asking = Asking { app: &self.app, caller: &self.caller, trace };
        let arguments = Value::Object(arguments);
        let mut body = match entry.spec.name {
            name if name == api::processes::List::SPEC.name => answer(processes::list(asking, typed(arguments)?).await?)?,
            name if name == api::executions::List::SPEC.name => answer(executions::list(asking, typed(arguments)?).await?)?,
            name => return Err(Error::internal(format!("{name} is not made of anything"))),
        };
        let withheld = redact::redact(&mut body);
        truncate::fit(&mut body, &entry.shape.output, self.app.settings.answer_limit, withheld);
        Ok(Reply { status: 200, etag: None, body })
    }
}

/// The items as a page that says where they come from.
fn answer<T: serde::Serialize>(found: Found<T>) -> Result<Value> {
    let items = serde_json::to_value(found.items).map_err(Error::internal)?;
    let from = [api::events::Replay::SPEC.name, api::audit::Query::SPEC.name];
    Ok(json!({ "items": items, "derived": { "from": from, "since": found.since, "partial": found.is_partial } }))
}

impl<'a> Asking<'a> {
    async fn read<O: Operation>(&self, request: &O) -> Result<O::Output> {
        self.app.read_as(self.caller, request, self.trace.clone()).await
    }

    fn log(&self) -> Log<'a> {
        Log::new(self.clone())
    }
}

/// The first things that are wanted, in the order in which they were named, and whether all were looked at.
async fn first<T>(things: impl Stream<Item = Result<Option<T>>>, named: usize, most: usize) -> Result<(Vec<T>, bool)> {
    let (mut found, mut read) = (Vec::new(), 0);
    let mut things = std::pin::pin!(things);
    while found.len() < most
        && let Some(thing) = things.next().await
    {
        read += 1;
        found.extend(thing?);
    }
    Ok((found, read == named))
}

/// Reads things a few at once, so many at most. What is not there, or not the caller's, is none.
fn each<'f, T, F>(ids: Vec<String>, read: impl Fn(String) -> F + 'f) -> impl Stream<Item = Result<Option<T>>> + 'f
where
    T: 'f,
    F: Future<Output = Result<Option<T>>> + 'f,
{
    let read = move |id| {
        let reading = read(id);
        async move {
            match reading.await {
                Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => Ok(None),
                read => read,
            }
        }
    };
    stream::iter(ids.into_iter().take(MAX_READ)).map(read).buffered(AT_ONCE)
}
