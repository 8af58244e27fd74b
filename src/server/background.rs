//! Long work as tasks of MCP (`io.modelcontextprotocol/tasks`): the call answers at once, and the host asks again later.
//!
//! A task is a record of its caller: what is read to know whether the work is over, and when that is given up. Nothing works
//! on it meanwhile. When it is asked for, in any process of the data folder, it is read where the work stands, with the rights
//! that the caller has by then. So no restart loses a task, and no task goes on for a caller whose rights have ended.
//!
//! What is read is a wait (`LongWork::Wait`) or a job of the platform ([`jobs`]). Where the platform answers when the work is
//! done ([`calls`]), the call is carried on beside the task.

mod calls;
mod decision;
mod jobs;
mod kept;
mod progress;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmcp::model::{CallToolResult, CreateTaskResult, DetailedTask, GetTaskResult, InputRequests, TaskPayload, UpdateTaskParams};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};

use self::decision::Answered;
use self::kept::{Beginning, End, Kept, waiting};
use super::consent::may_ask;
use super::request::{Request, host_trace, is_stateless};
use super::{answer, digest, operation, typed, waits};
use crate::api::long_work::{Job, LongWork};
use crate::api::{Entry, Timestamp};
use crate::client::{CallOptions, Reply};
use crate::config::PolicyDecision;
use crate::error::{Error, Kind, Result};
use crate::state::{Bounds, Put, Record, RecordKind};
use crate::telemetry::TraceContext;

/// How long a task waits whose call names no time, in seconds. No host waits for its answer.
const DEFAULT_WAIT: f64 = 3600.0;
/// How long a task can be asked for after its wait is over, in seconds.
const KEPT_FOR: f64 = 3600.0;
/// How often a host should ask, in milliseconds.
const POLL_INTERVAL_MS: u64 = 2_000;
/// Tasks per caller, of which the oldest gives way.
const TASKS: Bounds = Bounds { per_owner: 256, all: 20_000, bytes: 256 * 1024 * 1024, one_per_tag: false };

/// Whether a host may be answered by tasks.
pub(super) fn knows_tasks(context: &RequestContext<RoleServer>) -> bool {
    is_stateless(context) && context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks())
}

/// How a call that may be a task was answered.
pub(super) enum Begun {
    /// The work is over already, or is not followed.
    Done(Reply),
    /// The task that follows it.
    Follows(Box<CreateTaskResult>),
}

impl Request {
    /// How the work of a call is followed as a task, if it is.
    pub(super) fn long_work(
        &self,
        entry: &Entry,
        arguments: &Map<String, Value>,
        context: &RequestContext<RoleServer>,
    ) -> Option<LongWork> {
        let work = entry.spec.long_work.filter(|_| knows_tasks(context))?;
        match work {
            LongWork::Job(job) => {
                let is_postponed = job.postponed_by.and_then(|name| arguments.get(name)).is_some_and(|value| !value.is_null());
                let may_read = operation(job.read).is_ok_and(|read| self.app.may_freely(&self.caller, &self.offer, read));
                (may_read && !is_postponed).then_some(work)
            }
            LongWork::Wait | LongWork::Call => Some(work),
        }
    }

    /// Begins a wait: reads once, and keeps a task where it is not over yet.
    pub(super) async fn begin_wait(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        context: &RequestContext<RoleServer>,
        trace: TraceContext,
    ) -> Result<Begun> {
        let reply = self.look(entry, arguments.clone(), context, trace).await?;
        if is_over(entry, &reply) {
            return Ok(Begun::Done(reply));
        }
        let message = progress::of(&reply.body);
        match self.keep_task(Kept { message, ..waiting(entry, arguments) }).await? {
            Some(task) => Ok(Begun::Follows(task)),
            None => Err(Error::new(Kind::RateLimited, "FM-MCP-TASKS", "the server keeps as many tasks as it can")
                .hint("Try again later, or poll with the get tool of what you wait for.")),
        }
    }

    /// Begins the wait for what a call began. What was begun stays so, whatever comes of the wait.
    pub(super) async fn begin_wait_for_begun(
        &self,
        entry: &'static Entry,
        begun: Reply,
        seconds: u64,
        context: &RequestContext<RoleServer>,
        trace: TraceContext,
    ) -> Begun {
        let looked = match self.wait_of(entry, &begun.body, seconds) {
            Ok((wait, arguments)) => self
                .look(wait, arguments.clone(), context, trace.clone())
                .await
                .map(|reply| (waiting(wait, arguments), is_over(wait, &reply), reply)),
            Err(error) => Err(error),
        };
        let waited = match looked {
            Ok((kept, false, reply)) => {
                let beginning = Beginning { tool: entry.spec.name.to_owned(), answer: Some(begun.body.clone()) };
                let message = progress::of(&reply.body);
                match self.keep_task(Kept { begun: Some(beginning), message, ..kept }).await {
                    Ok(Some(task)) => return Begun::Follows(task),
                    _ => return Begun::Done(self.wait_for_begun(entry, begun, seconds, context, trace).await),
                }
            }
            Ok((_, true, reply)) => typed(reply.body),
            Err(error) => Err(error),
        };
        Begun::Done(Reply { body: waits::merged(begun.body, waited), ..begun })
    }

    /// Keeps a task; none where there is no room for it.
    async fn keep_task(&self, kept: Kept) -> Result<Option<Box<CreateTaskResult>>> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(Error::internal)?;
        let record = Record {
            owner: digest::of_caller(&self.caller),
            id: URL_SAFE_NO_PAD.encode(random),
            tag: String::new(),
            value: serde_json::to_string(&kept).map_err(Error::internal)?,
            created: kept.created,
            expires: kept.expires(),
        };
        let task = kept.task(&record.id);
        let put = self.app.state.write(move |store| store.put(RecordKind::Task, &record, TASKS, record.created)).await?;
        Ok((put != Put::Full).then(|| Box::new(CreateTaskResult::new(task))))
    }

    /// Answers `tasks/get`: where a task of the caller's stands now.
    pub(super) async fn get_task(&self, id: &str, context: &RequestContext<RoleServer>) -> std::result::Result<GetTaskResult, ErrorData> {
        let kept = self.find_task(id).await?;
        let kept = match &kept {
            Kept { end: Some(_), .. } => Ok(kept),
            Kept { under_way: Some(_), .. } => self.follow_call(id, kept, context).await,
            _ => self.follow_task(id, kept, context).await,
        };
        let kept = kept.map_err(|error| failed(&error))?;
        let task = kept.task(id);
        let payload = match kept.end {
            None => kept.asked.map_or(TaskPayload::Working, |asked| TaskPayload::InputRequired {
                input_requests: InputRequests::from([(asked.key, asked.request)]),
            }),
            Some(End::Completed(result)) => TaskPayload::Completed { result },
            Some(End::Cancelled) => TaskPayload::Cancelled,
        };
        Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
    }

    /// Answers `tasks/cancel`: the work is cancelled where that can be done, and nothing waits for it any more. A task that has
    /// ended stays as it ended.
    pub(super) async fn cancel_task(&self, id: &str, context: &RequestContext<RoleServer>) -> std::result::Result<(), ErrorData> {
        let kept = self.find_task(id).await?;
        if kept.end.is_none() {
            let message = self.cancel_work(&kept, TraceContext::within(host_trace(context).as_ref())).await;
            self.end_task(id, kept, End::Cancelled, message).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Answers `tasks/update`: the person's answer to what the task asks.
    pub(super) async fn update_task(
        &self,
        params: UpdateTaskParams,
        context: &RequestContext<RoleServer>,
    ) -> std::result::Result<(), ErrorData> {
        let UpdateTaskParams { task_id: id, mut input_responses, .. } = params;
        let mut kept = self.find_task(&id).await?;
        let asked = kept.asked.take().filter(|_| kept.end.is_none());
        let Some((asked, answer)) = asked.and_then(|asked| input_responses.remove(&asked.key).map(|answer| (asked, answer))) else {
            return Err(ErrorData::invalid_params(
                "the task asks nothing of that name; ask for its state with tasks/get",
                Some(json!({ "taskId": id, "code": "FM-MCP-TASK-ASKS-NOTHING" })),
            ));
        };
        let trace = TraceContext::within(host_trace(context).as_ref());
        let (declined, fault) = match self.take_answer(asked, answer, trace).await.map_err(|error| refused(&error))? {
            Answered::Done => (None, None),
            Answered::Declined(task) => (Some(task), None),
            Answered::Again(fault) => (None, Some(fault)),
        };
        let change = move |mut kept: Kept| {
            kept.declined.extend(declined.clone());
            Kept { asked: None, fault: fault.clone().or(kept.fault), ..kept }
        };
        self.change_task(&id, kept, change).await.map(drop).map_err(|error| failed(&error))
    }

    /// Reads where the work stands, or what its own caller has to decide, and keeps what it is.
    async fn follow_task(&self, id: &str, kept: Kept, context: &RequestContext<RoleServer>) -> Result<Kept> {
        let entry = operation(&kept.tool)?;
        let trace = TraceContext::within(host_trace(context).as_ref());
        let note = self.app.audit.begin(&self.caller, self.transport(), entry, Some(&kept.arguments), &trace);
        let looked = self.read_state(entry, kept.arguments.clone(), context, trace.clone()).await;
        self.app.audit.end(note, looked.as_ref().map_or_else(Error::code, |_| "ok"), None);
        let has_ended = Timestamp::now() >= kept.until;
        let (result, message) = match looked {
            Ok(reply) if is_over(entry, &reply) || has_ended => {
                let message = progress::of(&reply.body);
                (answer::success(kept.answer(reply.body)), message)
            }
            Ok(reply) => return self.keep_state(id, kept, entry, &reply, context, trace).await,
            // A platform that is away for a moment does not end a wait.
            Err(error) if (error.is_transient() || error.kind() == Kind::Unavailable) && !has_ended => return Ok(kept),
            Err(error) => match kept.begun.as_ref().and_then(|begun| begun.answer.clone()) {
                Some(begun) => (answer::success(waits::merged(begun, Err(error))), None),
                None => (self.failure(entry, error), None),
            },
        };
        self.complete_task(id, kept, result, message).await
    }

    /// Reads where the work stands, with the caller's rights as of now.
    async fn read_state(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        context: &RequestContext<RoleServer>,
        trace: TraceContext,
    ) -> Result<Reply> {
        let decision = self.app.authorise(&self.caller, entry)?;
        self.offer.check(entry)?;
        if entry.spec.is_composite() {
            return self.look(entry, arguments, context, trace).await;
        }
        if decision != PolicyDecision::Allow {
            return Err(asks_first(entry));
        }
        let options = CallOptions { is_fresh: true, traceparent: Some(trace), ..CallOptions::default() };
        self.app.answer(&self.caller, entry, arguments, options, self.app.settings.answer_limit).await
    }

    /// Keeps what the person is asked, where the work stands still for the task's own caller.
    async fn keep_state(
        &self,
        id: &str,
        kept: Kept,
        entry: &Entry,
        reply: &Reply,
        context: &RequestContext<RoleServer>,
        trace: TraceContext,
    ) -> Result<Kept> {
        let message = progress::of(&reply.body);
        // Another host of the caller's may be asking meanwhile.
        if !entry.spec.is_composite() || !may_ask(&self.app, context) {
            return Ok(Kept { asked: None, message, ..kept });
        }
        // The wait goes on without the question.
        let asked = self.asks(&kept, reply, trace).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "a person is not asked inside a task");
            None
        });
        if asked == kept.asked {
            return Ok(Kept { message, ..kept });
        }
        let change = move |kept: Kept| {
            let questions = kept.questions.saturating_add(u32::from(asked.is_some()));
            Kept { asked: asked.clone(), questions, message: message.clone(), ..kept }
        };
        self.change_task(id, kept, change).await
    }

    /// The result of work that failed.
    fn failure(&self, entry: &Entry, error: Error) -> CallToolResult {
        answer::failure(entry, &error.during(entry.spec.name), |other| self.has(other))
    }

    async fn complete_task(&self, id: &str, kept: Kept, result: CallToolResult, message: Option<String>) -> Result<Kept> {
        let Value::Object(result) = serde_json::to_value(result).map_err(Error::internal)? else {
            return Err(Error::internal("a tool's result is not an object"));
        };
        self.end_task(id, kept, End::Completed(result), message).await
    }

    async fn end_task(&self, id: &str, kept: Kept, end: End, message: Option<String>) -> Result<Kept> {
        let change = move |kept: Kept| {
            let (end, message, arguments) = (Some(end.clone()), message.clone(), Map::new());
            Kept { end, message, arguments, begun: None, under_way: None, asked: None, ..kept }
        };
        self.change_task(id, kept, change).await
    }

    /// Changes a task. One that has ended stays as it ended.
    async fn change_task(&self, id: &str, kept: Kept, change: impl Fn(Kept) -> Kept + Send + 'static) -> Result<Kept> {
        let (owner, id, now) = (digest::of_caller(&self.caller), id.to_owned(), Timestamp::now());
        let change = move |kept| Kept { updated: now, ..change(kept) };
        let changing = self.app.state.write(move |store| {
            let mut changed = None;
            store.amend(RecordKind::Task, &owner, &id, now, &mut |value| {
                let before: Kept = serde_json::from_str(value).ok()?;
                let has_ended = before.end.is_some();
                let after = changed.insert(if has_ended { before } else { change(before) });
                if has_ended { None } else { Some((serde_json::to_string(after).ok()?, after.expires())) }
            })?;
            // One whose time is over by now is answered once more.
            Ok(changed.unwrap_or_else(|| change(kept)))
        });
        changing.await
    }

    async fn find_task(&self, id: &str) -> std::result::Result<Kept, ErrorData> {
        let (owner, task) = (digest::of_caller(&self.caller), id.to_owned());
        let found = self.app.state.read(move |store| store.get(RecordKind::Task, &owner, &task, Timestamp::now())).await;
        let record = found.map_err(|error| failed(&error))?;
        record.and_then(|record| serde_json::from_str(&record.value).ok()).ok_or_else(|| {
            let shown: String = id.chars().take(80).collect();
            ErrorData::invalid_params(
                format!("no task of yours has the id {shown}; a task is kept for an hour after its wait is over"),
                Some(json!({ "taskId": shown, "code": "FM-MCP-TASK-UNKNOWN" })),
            )
        })
    }
}

/// Whether an answer says that what was waited for has come.
fn is_over(entry: &Entry, reply: &Reply) -> bool {
    if entry.spec.is_composite() { reply.body.get("reached").and_then(Value::as_bool) == Some(true) } else { Job::is_over(&reply.body) }
}

/// The refusal of what a person is asked about first, which nobody can be inside a task.
fn asks_first(entry: &Entry) -> Error {
    let name = entry.spec.name;
    Error::new(Kind::Forbidden, "FM-MCP-POLICY", format!("a person is asked before {name}")).hint(format!("Call the tool {name}."))
}

/// Why an answer does not count.
fn refused(error: &Error) -> ErrorData {
    ErrorData::invalid_params(error.to_string(), Some(json!({ "code": error.code() })))
}

fn failed(error: &Error) -> ErrorData {
    ErrorData::internal_error(error.to_string(), Some(json!({ "code": error.code() })))
}
