//! Consent: what decides, grants or destroys asks a person first, in either era of the protocol.
//!
//! In the old era the server asks its host while the call waits; in the new one the call ends with the question, and
//! the host calls again with the answer. Both are behind [`Visit::consent`]. Nothing is done before the answer.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest, InputRequests,
    InputRequiredResult, ProgressNotificationParam,
};
use rmcp::service::RequestContext;
use serde_json::{Map, Value};

use super::Fallback;
use super::audit::Decision;
use super::call::Retry;
use super::digest;
use super::handler::{Visit, is_modern};
use super::question::Question;
use crate::api::Entry;
use crate::config::PolicyDecision;
use crate::error::{Error, Kind, Result};

/// The name of the one question of a call.
const QUESTION: &str = "confirm";
/// How often a host hears that the person is still thinking.
const PROGRESS: Duration = Duration::from_secs(10);

/// Whether a call may go on.
pub(super) enum Verdict {
    /// It may, if the object is still as the person saw it.
    Go {
        /// The version of the object.
        if_match: Option<String>,
        /// By whose word.
        decision: Decision,
    },
    /// The host has to ask first and to call again.
    Ask(Box<InputRequiredResult>),
}

impl Visit {
    /// A person's consent, where the policy asks for it.
    pub(super) async fn consent(
        &self,
        entry: &'static Entry,
        decision: PolicyDecision,
        arguments: &Map<String, Value>,
        retry: Retry,
        context: &RequestContext<RoleServer>,
    ) -> Result<Verdict> {
        if decision == PolicyDecision::Allow {
            return Ok(Verdict::Go { if_match: None, decision: Decision::Allowed });
        }
        let app = &self.app;
        let can_ask = can_ask(context);
        if !can_ask && app.settings.confirm == Fallback::Host {
            tracing::info!(tool = entry.spec.name, subject = %self.caller.subject, "left to the host's own approval");
            return Ok(Verdict::Go { if_match: None, decision: Decision::Host });
        }
        let call = digest::of_call(&self.caller, entry.spec.name, arguments);
        let question = app.question(&self.caller, entry, arguments).await?;
        if !can_ask {
            app.desk.consume_or_keep(&self.caller, entry, &call, &question).await?;
            return Ok(Verdict::Go { if_match: question.if_match, decision: Decision::Approved });
        }
        if is_modern(context) { self.settle(&call, question, retry) } else { self.ask_now(question, context).await }
    }

    /// The new era: the question goes out, or the answer to it came back.
    fn settle(&self, call: &str, question: Question, retry: Retry) -> Result<Verdict> {
        let answer = retry.responses.and_then(|mut responses| responses.remove(QUESTION));
        let (Some(state), Some(answer)) = (retry.state, answer) else {
            let state = self.app.seal.seal(call, question.seen.clone())?;
            let requests =
                InputRequests::from([(QUESTION.to_owned(), InputRequest::Elicitation(ElicitRequest::new(form(question.text)?)))]);
            return Ok(Verdict::Ask(Box::new(InputRequiredResult::new(Some(requests), Some(state)))));
        };
        let seen = self.app.seal.open(call, &state)?;
        let answer: ElicitResult = serde_json::from_value(answer).map_err(|error| {
            Error::new(Kind::Refused, "FM-MCP-CONFIRMATION", format!("the person's answer cannot be understood: {error}"))
                .hint("Call the tool again without requestState and inputResponses; the person is asked anew.")
        })?;
        agreed(&answer)?;
        if seen != question.seen {
            return Err(Error::new(Kind::Changed, "FM-MCP-CHANGED", "it changed after the person was asked, so the answer does not count")
                .hint("Call the tool again; the person is asked about it as it is now."));
        }
        Ok(Verdict::Go { if_match: question.if_match, decision: Decision::Confirmed })
    }

    /// The old era: the host is asked while the call waits, and hears every ten seconds that it still does.
    async fn ask_now(&self, question: Question, context: &RequestContext<RoleServer>) -> Result<Verdict> {
        let patience = self.app.settings.ask_timeout;
        let asked = context.peer.create_elicitation_with_timeout(form(question.text)?, Some(patience));
        tokio::pin!(asked);
        let mut ticks = tokio::time::interval(PROGRESS);
        ticks.tick().await;
        let mut waited = 0.0;
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut asked => break answer,
                _ = ticks.tick() => {
                    waited += PROGRESS.as_secs_f64();
                    if let Some(token) = context.meta.get_progress_token() {
                        let progress = ProgressNotificationParam::new(token, waited).with_message("waiting for the person's answer");
                        // A host that does not hear it is none the worse.
                        let _heard = context.peer.notify_progress(progress).await;
                    }
                }
            }
        };
        let answer = answer.map_err(|error| {
            Error::new(
                Kind::Refused,
                "FM-MCP-UNANSWERED",
                format!("the person did not answer within {} seconds, or could not be asked", patience.as_secs()),
            )
            .hint("Nothing was done. Tell the person, and call again when they are there.")
            .caused_by(error)
        })?;
        agreed(&answer)?;
        Ok(Verdict::Go { if_match: question.if_match, decision: Decision::Confirmed })
    }
}

/// Whether the host shows forms to a person.
fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    context
        .client_capabilities()
        .and_then(|capabilities| capabilities.elicitation)
        .is_some_and(|elicitation| elicitation.form.is_some() || elicitation.url.is_none())
}

/// A form without fields: to accept it is the answer.
fn form(message: String) -> Result<ElicitRequestParams> {
    let requested_schema = ElicitationSchema::builder().build().map_err(|error| Error::new(Kind::Internal, "FM-INTERNAL", error))?;
    Ok(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema })
}

fn agreed(answer: &ElicitResult) -> Result<()> {
    // A host that adds a tick box of its own and leaves it empty said no.
    let withdrawn = answer.content.as_ref().and_then(|content| content.get(QUESTION)).is_some_and(|value| value == false);
    let what = match answer.action {
        ElicitationAction::Accept if !withdrawn => return Ok(()),
        ElicitationAction::Cancel => "the person closed the question without an answer",
        _ => "the person declined",
    };
    Err(Error::new(Kind::Refused, "FM-MCP-DECLINED", what).hint("Nothing was done. Do not call again unless the person asks for it."))
}
