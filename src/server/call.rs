//! A tool's call: look it up, check the arguments, the permission, a person's consent, call the platform, answer.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use rmcp::model::{CallToolRequestParams, CallToolResponse, InputResponses};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};

use super::ask::Verdict;
use super::handler::Visit;
use super::{App, answer, tools};
use crate::api::{Entry, catalogue};
use crate::client::{CallOptions, Reply};
use crate::error::{Error, Kind, Result};

/// What a host sends along when it calls again with a person's answer.
pub(super) struct Retry {
    pub(super) state: Option<String>,
    pub(super) responses: Option<InputResponses>,
}

enum Outcome {
    Answered(Reply),
    Asked(CallToolResponse),
}

impl Visit {
    pub(super) async fn call(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        let Some(entry) = tools::find(&request.name) else { return Err(unknown(&request.name)) };
        let _counted = self.app.calls.token();
        let retry = Retry { state: request.request_state, responses: request.input_responses };
        let outcome = tokio::select! {
            biased;
            () = context.ct.cancelled() => Err(cancelled()),
            // A fault in a dependency ends this call, not the host's patience.
            outcome = AssertUnwindSafe(self.run(entry, request.arguments.unwrap_or_default(), retry, context)).catch_unwind() => {
                outcome.unwrap_or_else(|_| Err(Error::new(Kind::Internal, "FM-INTERNAL", "the call broke off inside the server")))
            }
        };
        let limit = self.app.settings.answer_limit;
        Ok(match outcome {
            Ok(Outcome::Answered(reply)) => {
                tracing::debug!(tool = entry.spec.name, subject = %self.caller.subject, status = reply.status, "called");
                answer::success(entry, reply.body, limit).into()
            }
            Ok(Outcome::Asked(response)) => response,
            Err(error) => {
                let error = error.during(entry.spec.name);
                tracing::info!(tool = entry.spec.name, subject = %self.caller.subject, code = error.code(), "not done");
                answer::failure(entry, &error).into()
            }
        })
    }

    async fn run(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        retry: Retry,
        context: &RequestContext<RoleServer>,
    ) -> Result<Outcome> {
        let arguments = App::checked(entry, arguments)?;
        self.app.client.access().check(&self.caller, &entry.spec)?;
        let if_match = match self.consent(entry, &arguments, retry, context).await? {
            Verdict::Go { if_match } => if_match,
            Verdict::Ask(question) => return Ok(Outcome::Asked((*question).into())),
        };
        let options = CallOptions { if_match, ..CallOptions::default() };
        self.app.send(&self.caller, entry, arguments, options).await.map(Outcome::Answered)
    }
}

/// The answer to a call of whom nobody knows.
pub(super) fn nobody(tool: &str, error: Error) -> std::result::Result<CallToolResponse, ErrorData> {
    let Some(entry) = tools::find(tool) else { return Err(unknown(tool)) };
    Ok(answer::failure(entry, &error.during(entry.spec.name)).into())
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, "FM-MCP-CANCELLED", "the call was taken back")
}

/// A tool that does not exist is a fault of the request, and the neighbours may be what was meant.
fn unknown(name: &str) -> ErrorData {
    let shown: String = name.chars().take(80).collect();
    let service = name.split('_').next().unwrap_or_default();
    let near: Vec<&str> =
        catalogue().tools().map(|entry| entry.spec.name).filter(|other| other.split('_').next() == Some(service)).collect();
    let hint = if near.is_empty() { "tools/list names those there are".to_owned() } else { format!("near it are {}", near.join(", ")) };
    ErrorData::invalid_params(format!("there is no tool `{shown}`; {hint}"), Some(json!({ "tool": shown })))
}
