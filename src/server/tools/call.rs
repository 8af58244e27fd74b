//! A tool's call: look it up, check the arguments, the permission, a person's consent, call the platform, answer.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use rmcp::model::{CallToolRequestParams, CallToolResponse, CreateTaskResult};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::api::long_work::LongWork;
use crate::api::near::near;
use crate::api::{Entry, catalogue};
use crate::client::{CallOptions, Reply};
use crate::error::{Error, Kind, Result};
use crate::server::audit::{Decision, Note, Refusal, Transport};
use crate::server::background::{Begun, knows_tasks};
use crate::server::consent::{Retry, Verdict};
use crate::server::http::expiry;
use crate::server::request::{Request, host_trace};
use crate::server::{App, answer, files, gateway, tools, waits};
use crate::telemetry::{self, TraceContext};

enum Outcome {
    Answered(Reply),
    Asked(CallToolResponse),
    /// The call goes on as a task.
    Begun(Box<CreateTaskResult>),
}

impl From<Begun> for Outcome {
    fn from(begun: Begun) -> Self {
        match begun {
            Begun::Done(reply) => Self::Answered(reply),
            Begun::Follows(task) => Self::Begun(task),
        }
    }
}

impl Request {
    pub(crate) async fn call(
        &self,
        params: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        let Some(entry) = tools::find(&params.name) else {
            self.refuse(&params.name, &Error::new(Kind::NotFound, "FM-MCP-TOOL", "there is no such tool"));
            return Err(unknown(&params.name, |entry| self.app.may(&self.caller, &self.offer, entry)));
        };
        if let Err(withheld) = self.offer.check(entry) {
            self.refuse(entry.spec.name, &withheld);
            return Err(not_offered(entry, &withheld));
        }
        let _counted = self.app.calls.token();
        let span = self.span(entry, context);
        let trace = telemetry::place(&span, host_trace(context).as_ref());
        let mut note = self.app.audit.begin(&self.caller, self.transport(), entry, params.arguments.as_ref(), &trace);
        let retry = Retry { state: params.request_state, responses: params.input_responses };
        // Boxed, since it is large and moved until it is where it stays.
        let run = Box::pin(self.run(entry, params.arguments.unwrap_or_default(), retry, context, &mut note, trace));
        let outcome = tokio::select! {
            biased;
            () = context.ct.cancelled() => Err(cancelled()),
            // A connection's principal renews itself; what came with the request ends.
            () = expiry::expired(self.over_http().then(|| expiry::deadline(&self.caller)).flatten()) => Err(expiry::ended()),
            // A fault in a dependency ends this call, not the host's patience.
            outcome = AssertUnwindSafe(run.instrument(span.clone())).catch_unwind() => {
                outcome.unwrap_or_else(|_| Err(Error::new(Kind::Internal, "FM-INTERNAL", "the call broke off inside the server")))
            }
        };
        self.app.client.metrics().count_tenant(self.caller.tenant.as_str(), outcome.is_err());
        Ok(match outcome {
            Ok(Outcome::Answered(reply)) => {
                tracing::debug!(tool = entry.spec.name, subject = %self.caller.subject, status = reply.status, "called");
                let result = answer::success(reply.body);
                if let Some(given) = &result.structured_content {
                    self.app.seen.keep(&self.caller, entry, given);
                }
                self.app.audit.end(note, "ok", result.content.first().and_then(|content| content.as_text()).map(|text| text.text.as_str()));
                result.into()
            }
            Ok(Outcome::Asked(response)) => {
                note.decided(Decision::Asked);
                self.app.audit.end(note, "asked", None);
                response
            }
            Ok(Outcome::Begun(task)) => {
                self.app.audit.end(note, "ok", None);
                CallToolResponse::Task(*task)
            }
            Err(error) => {
                let error = error.during(entry.spec.name);
                span.record("error.type", "tool_error");
                tracing::info!(tool = entry.spec.name, subject = %self.caller.subject, code = error.code(), "not done");
                note.refused(&error);
                self.app.audit.end(note, error.code(), None);
                answer::failure(entry, &error, |other| self.has(other)).into()
            }
        })
    }

    async fn run(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        retry: Retry,
        context: &RequestContext<RoleServer>,
        note: &mut Note,
        trace: TraceContext,
    ) -> Result<Outcome> {
        self.app.learn(entry).await;
        let mut arguments = arguments;
        let seconds = waits::asked(entry, &mut arguments)?;
        let arguments = App::checked(&self.caller, entry, arguments)?;
        let route = entry.spec.names_route.then(|| gateway::judge(entry, &arguments)).transpose()?;
        let entry = route.as_ref().map_or(entry, |route| route.entry);
        let policy = self.app.authorise(&self.caller, entry)?;
        self.app.rules().limits.pay(&self.caller, entry, self.app.client.metrics())?;
        let arguments = self.resolve_names(entry, arguments).await?;
        let secrets = self.app.rules().secrets.of_call(&self.caller, entry, &arguments)?;
        let if_match = match self.consent(entry, policy, &arguments, retry, context).await? {
            Verdict::Go { if_match, decision } => {
                note.decided(decision);
                if_match
            }
            Verdict::Ask(question) => return Ok(Outcome::Asked((*question).into())),
        };
        if let Some(route) = route {
            let options = CallOptions { traceparent: Some(trace), ..CallOptions::default() };
            return Box::pin(route.send(&self.app, &self.caller, options)).await.map(Outcome::Answered);
        }
        let long_work = self.long_work(entry, &arguments, context);
        if let Some(LongWork::Wait) = long_work {
            return self.begin_wait(entry, arguments, context, trace).await.map(Outcome::from);
        }
        if entry.spec.is_composite() {
            return self.wait(entry, arguments, context, trace).await.map(Outcome::Answered);
        }
        if self.app.derives(entry) {
            return Box::pin(self.derive(entry, arguments, trace)).await.map(Outcome::Answered);
        }
        let options = CallOptions { if_match, traceparent: Some(trace.clone()), secrets, ..CallOptions::default() };
        if let Some(LongWork::Call) = long_work {
            return Box::pin(self.begin_call(entry, arguments, options, context)).await.map(Outcome::from);
        }
        let arguments = files::fill(self.app.settings.files.as_ref(), entry, arguments).await?;
        if entry.spec.streams {
            return Box::pin(self.stream(entry, arguments, options, context)).await.map(Outcome::Answered);
        }
        let reply = self.app.answer(&self.caller, entry, arguments, options, self.app.settings.answer_limit).await?;
        Ok(match (long_work, seconds) {
            (Some(LongWork::Job(job)), _) => self.begin_job(entry, job, reply).await.into(),
            (_, Some(seconds)) if knows_tasks(context) => {
                Box::pin(self.begin_wait_for_begun(entry, reply, seconds, context, trace)).await.into()
            }
            (_, Some(seconds)) => Outcome::Answered(self.wait_for_begun(entry, reply, seconds, context, trace).await),
            (_, None) => Outcome::Answered(reply),
        })
    }

    /// The span of a call, as the conventions for MCP name it.
    fn span(&self, entry: &Entry, context: &RequestContext<RoleServer>) -> Span {
        tracing::debug_span!(
            "execute_tool",
            mcp.method.name = "tools/call",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = entry.spec.name,
            mcp.protocol.version = context.protocol_version().map(|version| version.to_string()),
            jsonrpc.request.id = %context.id,
            network.transport = if self.over_http() { "tcp" } else { "pipe" },
            trace = Empty,
            "error.type" = Empty,
        )
    }

    /// By which way the request came.
    pub(crate) const fn transport(&self) -> Transport {
        if self.over_http() { Transport::Http } else { Transport::Stdio }
    }

    /// Records the refusal of a call that is none of an offered tool.
    fn refuse(&self, tool: &str, error: &Error) {
        let refusal = Refusal { caller: Some(&self.caller), transport: self.transport(), tool: Some(tool), endpoint: "", error };
        self.app.audit.refused(&refusal);
    }
}

/// Answers a call whose caller is not known.
pub(crate) fn unauthenticated(app: &App, tool: &str, error: Error) -> std::result::Result<CallToolResponse, ErrorData> {
    // Over HTTP a request without a caller does not come this far.
    app.audit.refused(&Refusal { caller: None, transport: Transport::Stdio, tool: Some(tool), endpoint: "", error: &error });
    let Some(entry) = tools::find(tool) else { return Err(unknown(tool, |_| false)) };
    Ok(answer::failure(entry, &error.during(entry.spec.name), |other| app.has(other)).into())
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, "FM-MCP-CANCELLED", "the call was cancelled")
}

/// A tool that a selection withholds is no tool of this connection, and it is told why.
fn not_offered(entry: &Entry, withheld: &Error) -> ErrorData {
    let tool = entry.spec.name;
    let hint = withheld.next_step().unwrap_or_default();
    let data = json!({ "tool": tool, "code": withheld.code() });
    ErrorData::invalid_params(format!("the tool `{tool}` is not offered: {}. {hint}", withheld.message()), Some(data))
}

/// A tool that does not exist is a fault of the request, and those neighbours that the caller sees may be what was meant.
fn unknown(name: &str, seen: impl Fn(&Entry) -> bool) -> ErrorData {
    let shown: String = name.chars().take(80).collect();
    let known: Vec<&str> = catalogue().tools().filter(|entry| seen(entry)).map(|entry| entry.spec.name).collect();
    let mut near = near(name, known.iter().copied());
    if near.is_empty() {
        let nouns = |name: &str| name.split('_').next().map(str::to_owned);
        near = known.into_iter().filter(|known| nouns(known) == nouns(name)).collect();
    }
    let hint = if near.is_empty() { "tools/list names the tools there are".to_owned() } else { format!("near it are {}", near.join(", ")) };
    ErrorData::invalid_params(format!("there is no tool `{shown}`; {hint}"), Some(json!({ "tool": shown })))
}
