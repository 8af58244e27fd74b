//! Waits as tasks of MCP (`io.modelcontextprotocol/tasks`): the call answers at once, and the host asks again later.
//!
//! A task is a record of its caller: the tool, the arguments and when the wait ends. Nothing works on it meanwhile. When it
//! is asked for, in any process of the data folder, it is read whether what is waited for has come, with the rights that
//! the caller has by then. So no restart loses a task, and no task goes on for a caller whose rights have ended.

mod decision;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmcp::model::{
    CreateTaskResult, DetailedTask, GetTaskResult, InputRequests, JsonObject, Task, TaskPayload, TaskStatus, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::decision::{Answered, Asked, Fault};
use super::consent::may_ask;
use super::request::{Request, is_stateless};
use super::{answer, digest, operation};
use crate::api::ids::TaskId;
use crate::api::{self, Entry, Operation as _, Timestamp};
use crate::client::Reply;
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

/// A task as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    tool: String,
    arguments: Map<String, Value>,
    /// When the wait is over.
    until: Timestamp,
    created: Timestamp,
    updated: Timestamp,
    /// What the person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
    /// How many questions it had.
    #[serde(default)]
    questions: u32,
    /// Why the last answer was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    /// Human tasks that the person does not want to be asked about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    declined: Vec<TaskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// How a task ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum End {
    /// With the tool's result.
    Completed(JsonObject),
    /// The host cancelled it.
    Cancelled,
}

/// Whether a call may be answered by a task: it waits for one thing, and its host knows tasks.
pub(super) fn may_be_task(entry: &Entry, context: &RequestContext<RoleServer>) -> bool {
    let waits = [api::executions::Wait::SPEC.name, api::tasks::Wait::SPEC.name].contains(&entry.spec.name);
    waits && is_stateless(context) && context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks())
}

/// How a call that may be a task was answered.
pub(super) enum Begun {
    /// What is waited for has come already.
    Done(Reply),
    /// The task that waits for it.
    Waits(Box<CreateTaskResult>),
}

impl Request {
    /// Begins a wait: reads once, and keeps a task where it is not over yet.
    pub(super) async fn begin_task(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        context: &RequestContext<RoleServer>,
        trace: TraceContext,
    ) -> Result<Begun> {
        let reply = self.look(entry, arguments.clone(), context, trace).await?;
        if is_over(&reply) {
            return Ok(Begun::Done(reply));
        }
        let now = Timestamp::now();
        let seconds = arguments.get("timeoutSeconds").and_then(Value::as_f64).unwrap_or(DEFAULT_WAIT);
        let until = now.plus_seconds(seconds);
        let kept = Kept::new(entry.spec.name.to_owned(), arguments, until, now);
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(Error::internal)?;
        let record = Record {
            owner: digest::of_caller(&self.caller),
            id: URL_SAFE_NO_PAD.encode(random),
            tag: String::new(),
            value: serde_json::to_string(&kept).map_err(Error::internal)?,
            created: now,
            expires: kept.expires(),
        };
        let id = record.id.clone();
        match self.app.state.write(move |store| store.put(RecordKind::Task, &record, TASKS, now)).await? {
            Put::Kept | Put::Known => Ok(Begun::Waits(Box::new(CreateTaskResult::new(kept.task(&id))))),
            Put::Full => Err(Error::new(Kind::RateLimited, "FM-MCP-TASKS", "the server keeps as many tasks as it can")
                .hint("Try again later, or poll with the get tool of what you wait for.")),
        }
    }

    /// Answers `tasks/get`: where a task of the caller's stands now.
    pub(super) async fn get_task(&self, id: &str, context: &RequestContext<RoleServer>) -> std::result::Result<GetTaskResult, ErrorData> {
        let kept = self.find_task(id).await?;
        let kept = if kept.end.is_some() { kept } else { self.follow_task(id, kept, context).await.map_err(|error| failed(&error))? };
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

    /// Answers `tasks/cancel`: nothing waits any more. A task that has ended stays as it ended.
    pub(super) async fn cancel_task(&self, id: &str) -> std::result::Result<(), ErrorData> {
        let kept = self.find_task(id).await?;
        if kept.end.is_none() {
            self.end_task(id, kept, End::Cancelled).await.map_err(|error| failed(&error))?;
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
        let trace = TraceContext::of(context.meta.get_traceparent());
        match self.take_answer(asked, answer, trace).await.map_err(|error| refused(&error))? {
            Answered::Done => {}
            Answered::Declined(task) => kept.declined.push(task),
            Answered::Again(fault) => kept.fault = Some(fault),
        }
        self.amend_task(&id, kept).await.map(drop).map_err(|error| failed(&error))
    }

    /// Reads whether a wait is over, or stands still for its own caller, and keeps what it is.
    async fn follow_task(&self, id: &str, kept: Kept, context: &RequestContext<RoleServer>) -> Result<Kept> {
        let entry = operation(&kept.tool)?;
        let trace = TraceContext::of(context.meta.get_traceparent());
        let note = self.app.audit.begin(&self.caller, self.transport(), entry, Some(&kept.arguments), &trace);
        let looked = match self.app.authorise(&self.caller, entry).and_then(|_| self.offer.check(entry)) {
            Ok(()) => self.look(entry, kept.arguments.clone(), context, trace).await,
            Err(refused) => Err(refused),
        };
        self.app.audit.end(note, looked.as_ref().map_or_else(Error::code, |_| "ok"), None);
        let has_ended = Timestamp::now() >= kept.until;
        let result = match looked {
            Ok(reply) if is_over(&reply) || has_ended => answer::success(reply.body),
            // Another host of the caller's may be asking meanwhile.
            Ok(_) if !may_ask(&self.app, context) => return Ok(Kept { asked: None, ..kept }),
            Ok(reply) => {
                let asked = match self.asks(&kept, &reply, trace).await {
                    Ok(asked) => asked,
                    // The wait goes on without the question.
                    Err(error) => {
                        tracing::debug!(%error, "a person is not asked inside a task");
                        None
                    }
                };
                if asked == kept.asked {
                    return Ok(kept);
                }
                let questions = kept.questions.saturating_add(u32::from(asked.is_some()));
                return self.amend_task(id, Kept { asked, questions, ..kept }).await;
            }
            // A platform that is away for a moment does not end a wait.
            Err(error) if (error.is_transient() || error.kind() == Kind::Unavailable) && !has_ended => return Ok(kept),
            Err(error) => answer::failure(entry, &error.during(entry.spec.name), |other| self.has(other)),
        };
        let Value::Object(result) = serde_json::to_value(result).map_err(Error::internal)? else {
            return Err(Error::internal("a tool's result is not an object"));
        };
        self.end_task(id, kept, End::Completed(result)).await
    }

    async fn end_task(&self, id: &str, kept: Kept, end: End) -> Result<Kept> {
        self.amend_task(id, Kept { end: Some(end), asked: None, ..kept }).await
    }

    async fn amend_task(&self, id: &str, kept: Kept) -> Result<Kept> {
        let now = Timestamp::now();
        let kept = Kept { updated: now, ..kept };
        let value = serde_json::to_string(&kept).map_err(Error::internal)?;
        let (owner, task, expires) = (digest::of_caller(&self.caller), id.to_owned(), kept.expires());
        // One that has ended by its time meanwhile is answered once more.
        self.app.state.write(move |store| store.amend(RecordKind::Task, &owner, &task, &value, expires, now)).await?;
        Ok(kept)
    }

    async fn find_task(&self, id: &str) -> std::result::Result<Kept, ErrorData> {
        let owner = digest::of_caller(&self.caller);
        let listed = self.app.state.read(move |store| store.list(RecordKind::Task, &owner, Timestamp::now()));
        let records = listed.await.map_err(|error| failed(&error))?;
        let record = records.into_iter().find(|record| record.id == id);
        record.and_then(|record| serde_json::from_str(&record.value).ok()).ok_or_else(|| {
            let shown: String = id.chars().take(80).collect();
            ErrorData::invalid_params(
                format!("no task of yours has the id {shown}; a task is kept for an hour after its wait is over"),
                Some(json!({ "taskId": shown, "code": "FM-MCP-TASK-UNKNOWN" })),
            )
        })
    }
}

impl Kept {
    const fn new(tool: String, arguments: Map<String, Value>, until: Timestamp, now: Timestamp) -> Self {
        let declined = Vec::new();
        Self { tool, arguments, until, created: now, updated: now, asked: None, questions: 0, fault: None, declined, end: None }
    }

    fn expires(&self) -> Timestamp {
        self.until.plus_seconds(KEPT_FOR)
    }

    /// What is told of the task whatever came of it.
    fn task(&self, id: &str) -> Task {
        let status = match self.end {
            None if self.asked.is_some() => TaskStatus::InputRequired,
            None => TaskStatus::Working,
            Some(End::Completed(_)) => TaskStatus::Completed,
            Some(End::Cancelled) => TaskStatus::Cancelled,
        };
        let ttl = self.expires().millis().saturating_sub(self.created.millis());
        Task::new(id, status, self.created.to_string(), self.updated.to_string())
            .with_ttl_ms(u64::try_from(ttl).unwrap_or_default())
            .with_poll_interval_ms(POLL_INTERVAL_MS)
    }
}

/// Whether a wait's answer says that what was waited for has come.
fn is_over(reply: &Reply) -> bool {
    reply.body.get("reached").and_then(Value::as_bool) == Some(true)
}

/// Why an answer does not count.
fn refused(error: &Error) -> ErrorData {
    ErrorData::invalid_params(error.to_string(), Some(json!({ "code": error.code() })))
}

fn failed(error: &Error) -> ErrorData {
    ErrorData::internal_error(error.to_string(), Some(json!({ "code": error.code() })))
}
