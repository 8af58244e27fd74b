//! Tools that wait: made of reads and events, since the contract has no route for them.
//!
//! A wait is an event plus a read every few seconds. Whether something has come is read with the caller's own rights; an
//! event only says when to read. So a wait is right without events, too, and an event of another gives nothing away.

mod events;
mod executions;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::request::Request;
use super::{App, answer, typed};
use crate::api::events::Subscribe;
use crate::api::operation::{MAX_WAIT_SECONDS, WAIT_SECONDS};
use crate::api::{self, Entry, Event, Operation, catalogue};
use crate::auth::Caller;
use crate::client::Reply;
use crate::client::events::Follower;
use crate::error::{Error, Kind, Result};
use crate::telemetry::TraceContext;

/// How long a wait lasts that names no time.
const DEFAULT_WAIT: Duration = Duration::from_secs(50);

/// One wait.
pub(super) struct Waiting<'a> {
    app: &'a App,
    caller: &'a Arc<Caller>,
    context: &'a RequestContext<RoleServer>,
    trace: TraceContext,
    follower: Follower,
    deadline: Instant,
    told: u32,
}

/// Takes out of a call's arguments how long it waits for what it begins, in seconds.
pub(super) fn asked(entry: &Entry, arguments: &mut Map<String, Value>) -> Result<Option<u64>> {
    if entry.spec.waits.is_none() {
        return Ok(None);
    }
    let Some(given) = arguments.remove(WAIT_SECONDS).filter(|given| !given.is_null()) else { return Ok(None) };
    let seconds = given.as_u64().or_else(|| given.as_str()?.parse().ok());
    match seconds.filter(|seconds| (1..=MAX_WAIT_SECONDS).contains(seconds)) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(Error::new(Kind::Invalid, "FM-MCP-ARGUMENTS", format!("the arguments of {} are not right", entry.spec.name))
            .field(format!("/{WAIT_SECONDS}"), "range", format!("must be 1 to {MAX_WAIT_SECONDS}"))
            .hint("Correct the fields named and call again.")),
    }
}

impl Request {
    /// Waits for what a call began, and answers it as it is then. What was begun stays so, whatever comes of the wait.
    pub(super) async fn wait_for_begun(
        &self,
        entry: &'static Entry,
        begun: Reply,
        seconds: u64,
        context: &RequestContext<RoleServer>,
        trace: TraceContext,
    ) -> Reply {
        let waited = self.wait_for(entry, &begun.body, seconds, context, trace).await;
        let body = merged(begun.body, waited);
        Reply { body, ..begun }
    }

    async fn wait_for(
        &self,
        entry: &'static Entry,
        begun: &Value,
        seconds: u64,
        context: &RequestContext<RoleServer>,
        trace: TraceContext,
    ) -> Result<Map<String, Value>> {
        let (waits, arguments) = self.wait_of(entry, begun, seconds)?;
        typed(self.wait(waits, arguments, context, trace).await?.body)
    }

    /// The composite that waits for what a call began, and its arguments.
    pub(super) fn wait_of(&self, entry: &Entry, begun: &Value, seconds: u64) -> Result<(&'static Entry, Map<String, Value>)> {
        let waits = super::operation(entry.spec.waits.unwrap_or_default())?;
        self.app.authorise(&self.caller, waits)?;
        let id = begun.get("executionId").cloned().unwrap_or_default();
        Ok((waits, Map::from_iter([("id".to_owned(), id), ("timeoutSeconds".to_owned(), seconds.into())])))
    }

    /// Runs a composite tool, and fits its answer into the bytes that a model gets.
    pub(super) async fn wait(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        context: &RequestContext<RoleServer>,
        trace: TraceContext,
    ) -> Result<Reply> {
        let seconds = arguments.get("timeoutSeconds").and_then(Value::as_u64);
        let subscribe = catalogue().get(Subscribe::SPEC.name);
        // Where the operator denies subscriptions, a wait is made of reads alone.
        let may_follow = subscribe.is_some_and(|subscribe| self.app.asks_nobody(&self.caller, subscribe));
        let follower = if may_follow { self.app.hub.follow(&self.caller) } else { Follower::without_events() };
        let deadline = Instant::now() + seconds.map_or(DEFAULT_WAIT, Duration::from_secs);
        let (app, caller) = (&*self.app, &self.caller);
        self.run_wait(entry, arguments, Waiting { app, caller, context, trace, follower, deadline, told: 0 }).await
    }

    /// Runs a composite tool as a wait without time: it reads once.
    pub(super) async fn look(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        context: &RequestContext<RoleServer>,
        trace: TraceContext,
    ) -> Result<Reply> {
        let (app, caller, follower) = (&*self.app, &self.caller, Follower::without_events());
        let waiting = Waiting { app, caller, context, trace, follower, deadline: Instant::now(), told: 0 };
        self.run_wait(entry, arguments, waiting).await
    }

    async fn run_wait(&self, entry: &'static Entry, arguments: Map<String, Value>, waiting: Waiting<'_>) -> Result<Reply> {
        let arguments = Value::Object(arguments);
        let mut body = match entry.spec.name {
            name if name == api::executions::Wait::SPEC.name => value(executions::wait(waiting, typed(arguments)?).await?)?,
            name if name == api::tasks::Wait::SPEC.name => value(tasks::wait(waiting, typed(arguments)?).await?)?,
            name if name == api::events::Wait::SPEC.name => value(events::wait(waiting, typed(arguments)?).await?)?,
            name => return Err(Error::internal(format!("{name} is not made of anything"))),
        };
        let withheld = answer::redact::redact(&mut body);
        answer::truncate::fit(&mut body, &entry.shape.output, self.app.settings.answer_limit, withheld);
        Ok(Reply { status: 200, etag: None, body })
    }
}

impl Waiting<'_> {
    /// Reads the present state, as the caller would by the operation's own tool.
    async fn read<O: Operation>(&self, request: &O) -> Result<O::Output> {
        self.app.read_as(self.caller, request, self.trace.clone()).await
    }

    /// Waits until it is worth reading again; false when the time is up.
    async fn goes_on(&mut self, concerns: impl Fn(&Event) -> bool) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        self.follower.wait(concerns, self.deadline).await;
        true
    }

    /// Tells a host that wants to know how far it is.
    async fn tell(&mut self, message: String) {
        let Some(token) = self.context.meta.get_progress_token() else { return };
        self.told = self.told.saturating_add(1);
        let progress = ProgressNotificationParam::new(token, f64::from(self.told)).with_message(message);
        if let Err(error) = self.context.peer.notify_progress(progress).await {
            tracing::debug!(%error, "a host did not hear of a wait's progress");
        }
    }
}

/// What a call began, as it is after a wait for it. A wait that failed does not make the call fail.
pub(super) fn merged(begun: Value, waited: Result<Map<String, Value>>) -> Value {
    let (mut body, waited) = match waited {
        Ok(mut waited) => (waited.remove("execution").unwrap_or(begun), waited.into()),
        Err(error) => (begun, json!({ "reached": false, "reason": error.code() })),
    };
    body["waited"] = waited;
    body
}

/// Whether an event is about something, by its subject or a field of it.
fn is_about(event: &Event, field: &str, id: &str) -> bool {
    event.subject.as_deref() == Some(id) || event.data.get(field).and_then(Value::as_str) == Some(id)
}

fn value(waited: impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(waited).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_composite_tool_is_one_of_those_that_run() {
        let composites: Vec<&str> =
            catalogue().tools().filter(|entry| entry.spec.is_composite() && !entry.spec.names_route).map(|entry| entry.spec.name).collect();
        assert_eq!(composites, [api::executions::Wait::SPEC.name, api::tasks::Wait::SPEC.name, api::events::Wait::SPEC.name]);
    }
}
