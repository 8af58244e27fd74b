//! Calls as tasks: the platform answers when the work is done, and the call is carried on beside its task.
//!
//! The process that took the call keeps the answer in the task's record, where every process of the data folder finds it. If
//! that process ended before, the call is sent again where that does nothing twice: it reads, or the platform knows it again
//! by its idempotency key. Otherwise the task ends and says so.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::service::RequestContext;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::task::AbortOnDropHandle;

use super::{Begun, DEFAULT_WAIT, Kept, POLL_INTERVAL_MS};
use crate::api::{Effect, Entry, Timestamp, ids};
use crate::client::{CallOptions, Reply};
use crate::error::{Error, Kind, Result};
use crate::server::request::{Request, host_trace};
use crate::server::{answer, files, operation};
use crate::telemetry::TraceContext;

/// How long a call is waited for before it goes on as a task: so soon no host would ask again.
const AT_ONCE: Duration = Duration::from_millis(POLL_INTERVAL_MS);
/// How long after its time the end of a call is expected in the record, in seconds.
const GRACE: f64 = 5.0;
/// Largest arguments that are kept for sending a call again, in bytes.
const MAX_KEPT: usize = 16 * 1024;

/// A call that a process carries on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnderWay {
    /// Whose turn it is, of all who send it.
    turn: String,
    /// The key by which the platform knows it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Whether it may be sent again.
    is_repeatable: bool,
    /// When the process that carries it on must have kept its end.
    until: Timestamp,
}

impl Request {
    /// Begins a call: answers it if that is soon, and keeps a task for it otherwise.
    pub(in crate::server) async fn begin_call(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        options: CallOptions,
        context: &RequestContext<RoleServer>,
    ) -> Result<Begun> {
        let (reads, has_keys) = (entry.spec.effect == Effect::Read, self.app.client.has_idempotency_keys());
        let key = (!reads && has_keys).then(ids::unique);
        let small = small(&arguments);
        let is_repeatable = (reads || key.is_some()) && small.is_some() && options.if_match.is_none();
        let under_way = UnderWay { turn: ids::unique(), key: key.clone(), is_repeatable, until: self.ends_by() };
        let trace = options.traceparent.clone().unwrap_or_else(|| TraceContext::within(None));
        let mut call = self.carry_on(entry, arguments, CallOptions { idempotency_key: key, ..options }, context);
        if let Ok(answered) = tokio::time::timeout(AT_ONCE, &mut call).await {
            return broken_off(answered).map(Begun::Done);
        }
        let kept = Kept { under_way: Some(under_way), ..Kept::new(entry, small.unwrap_or_default(), DEFAULT_WAIT) };
        match self.keep_task(kept.clone()).await {
            Ok(Some(task)) => {
                self.keep_end(task.task.task_id.clone(), kept, entry, call, trace);
                Ok(Begun::Follows(task))
            }
            // As a host that knows no tasks, it waits for the answer.
            Ok(None) | Err(_) => broken_off(call.await).map(Begun::Done),
        }
    }

    /// Where a call stands: its end is kept by the process that carries it on. Without that process it is sent again, or lost.
    pub(super) async fn follow_call(&self, id: &str, kept: Kept, context: &RequestContext<RoleServer>) -> Result<Kept> {
        let now = Timestamp::now();
        let Some(before) = kept.under_way.clone() else { return Ok(kept) };
        if now < before.until {
            let message = format!("the platform has worked on it for {:.0} s", now.seconds_since(kept.created).max(0.0));
            return Ok(Kept { message: Some(message), ..kept });
        }
        let entry = operation(&kept.tool)?;
        if !before.is_repeatable || now >= kept.until {
            let result = self.failure(entry, lost(entry));
            return self.complete_task(id, kept, result, None).await;
        }
        if let Err(refused) = self.offer.check(entry).and_then(|()| self.app.authorise(&self.caller, entry)) {
            let result = self.failure(entry, refused);
            return self.complete_task(id, kept, result, None).await;
        }
        let (turn, until) = (ids::unique(), self.ends_by());
        let next = UnderWay { turn: turn.clone(), until, ..before.clone() };
        let take_over = move |kept: Kept| {
            // Another process may have taken it over meanwhile.
            let is_free = kept.under_way.as_ref().is_some_and(|under_way| under_way.turn == before.turn);
            Kept { under_way: if is_free { Some(next.clone()) } else { kept.under_way }, ..kept }
        };
        let kept = self.change_task(id, kept, take_over).await?;
        if kept.end.is_none()
            && let Some(UnderWay { key, .. }) = kept.under_way.as_ref().filter(|under_way| under_way.turn == turn)
        {
            let trace = TraceContext::within(host_trace(context).as_ref());
            let options = CallOptions { idempotency_key: key.clone(), traceparent: Some(trace.clone()), ..CallOptions::default() };
            let call = self.carry_on(entry, kept.arguments.clone(), options, context);
            self.keep_end(id.to_owned(), kept.clone(), entry, call, trace);
        }
        Ok(kept)
    }

    /// Carries a call on, whatever becomes of the request. It counts as one of its caller's calls until it ends.
    fn carry_on(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        options: CallOptions,
        context: &RequestContext<RoleServer>,
    ) -> AbortOnDropHandle<Result<Reply>> {
        // The request's permits are among its extensions.
        let (request, permits, counted) = (self.clone(), context.extensions.clone(), self.app.calls.token());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let _held = (permits, counted);
            let (app, caller) = (&request.app, &request.caller);
            let arguments = files::fill(app.settings.files.as_ref(), entry, arguments).await?;
            app.answer(caller, entry, arguments, options, app.settings.answer_limit).await
        }))
    }

    /// Keeps the end of a call in its task, and in the audit log.
    fn keep_end(&self, id: String, kept: Kept, entry: &'static Entry, call: AbortOnDropHandle<Result<Reply>>, trace: TraceContext) {
        let (request, counted) = (self.clone(), self.app.calls.token());
        tokio::spawn(async move {
            let _counted = counted;
            let note = request.app.audit.begin(&request.caller, request.transport(), entry, Some(&kept.arguments), &trace);
            let answered = broken_off(call.await);
            request.app.audit.end(note, answered.as_ref().map_or_else(Error::code, |_| "ok"), None);
            let result = answered.map_or_else(|error| request.failure(entry, error), |reply| answer::success(reply.body));
            if let Err(error) = request.complete_task(&id, kept, result, None).await {
                tracing::error!(code = error.code(), "the end of a call cannot be kept in its task: {}", error.message());
            }
        });
    }

    /// When a call that is sent now must have its end in its record.
    fn ends_by(&self) -> Timestamp {
        Timestamp::now().plus_seconds(self.app.settings.call_timeout.as_secs_f64() + GRACE)
    }
}

/// The arguments of a call, if they are small enough to be kept.
fn small(arguments: &Map<String, Value>) -> Option<Map<String, Value>> {
    // Before a file is written as text only to be measured.
    let has_file = arguments.values().any(|value| value.as_str().is_some_and(|text| text.len() > MAX_KEPT));
    let is_small = !has_file && serde_json::to_vec(arguments).is_ok_and(|text| text.len() <= MAX_KEPT);
    is_small.then(|| arguments.clone())
}

fn broken_off(answered: std::result::Result<Result<Reply>, tokio::task::JoinError>) -> Result<Reply> {
    answered.unwrap_or_else(|error| Err(Error::new(Kind::Internal, "FM-INTERNAL", "the call broke off inside the server").caused_by(error)))
}

fn lost(entry: &Entry) -> Error {
    let name = entry.spec.name;
    let hint = match entry.spec.effect {
        Effect::Read => format!("Call {name} again."),
        _ => format!("Look whether it was done before you call {name} again."),
    };
    Error::new(Kind::Unavailable, "FM-MCP-TASK-LOST", format!("the server that waited for the answer of {name} has ended")).hint(hint)
}
