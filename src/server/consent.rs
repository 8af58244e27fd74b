//! Consent: what decides, grants or destroys asks a person first, in either revision of the protocol.
//!
//! Under 2025-11-25 the server asks its host while the call waits; under 2026-07-28 the call ends with the question, and
//! the host calls again with the answer. Where the host cannot ask, must not by the operator's rule, or its answer was no,
//! the call waits for `flowmaster-mcp confirm`. All is behind `Request::consent`. Nothing is done before the answer.

pub mod approvals;
pub(crate) mod policy;
pub(crate) mod question;

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest, InputRequests,
    InputRequiredResult, InputResponses, ProgressNotificationParam,
};
use rmcp::service::RequestContext;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};

use super::audit::Decision;
use super::digest;
use super::request::{Request, is_stateless};
use super::{App, Fallback, Settings};
use crate::api::{Entry, Timestamp};
use crate::auth::Credential;
use crate::config::PolicyDecision;
use crate::error::{Error, Kind, Result};
use approvals::Asked;
use question::{Question, Snapshot};

/// The name of the one question of a call.
const QUESTION: &str = "confirm";
/// How often a host hears that the person is still thinking.
const PROGRESS: Duration = Duration::from_secs(10);
/// Seconds by which clocks may differ.
const LEEWAY: f64 = 30.0;

/// What a host sends along when it calls again with a person's answer.
pub(crate) struct Retry {
    pub(crate) state: Option<String>,
    pub(crate) responses: Option<InputResponses>,
}

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

impl Request {
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
        let can_ask = may_ask(app, context);
        if !can_ask && app.settings.confirm == Fallback::Host {
            tracing::info!(tool = entry.spec.name, subject = %self.caller.subject, "left to the host's own approval");
            return Ok(Verdict::Go { if_match: None, decision: Decision::Host });
        }
        let call = digest::of_call(&self.caller, entry.spec.name, arguments);
        if !can_ask {
            let question = app.question(&self.caller, entry, arguments).await?;
            if app.approvals.consume(&self.caller, &call, &question).await? {
                return Ok(Verdict::Go { if_match: question.if_match, decision: Decision::Approved });
            }
            return Err(app.approvals.keep(&self.caller, self.over_http(), entry, &call, &question, unasked(entry, &app.settings)).await);
        }
        if is_stateless(context) {
            self.settle(&call, entry, arguments, retry).await
        } else {
            self.ask_now(&call, entry, arguments, context).await
        }
    }

    /// 2026-07-28: the question goes out, or the answer to it came back. All that stood before the question has been
    /// checked again by then.
    async fn settle(&self, call: &str, entry: &'static Entry, arguments: &Map<String, Value>, retry: Retry) -> Result<Verdict> {
        let app = &self.app;
        let answer = retry.responses.and_then(|mut responses| responses.remove(QUESTION));
        let (Some(state), Some(answer)) = (retry.state, answer) else {
            let question = app.question(&self.caller, entry, arguments).await?;
            if app.approvals.consume(&self.caller, call, &question).await? {
                return Ok(Verdict::Go { if_match: question.if_match, decision: Decision::Approved });
            }
            let Question { text, seen, if_match } = question;
            let state = app.approvals.ask(&self.caller, call, Asked { seen, if_match }).await?;
            let requests = InputRequests::from([(QUESTION.to_owned(), InputRequest::Elicitation(ElicitRequest::new(form(text)?)))]);
            return Ok(Verdict::Ask(Box::new(InputRequiredResult::new(Some(requests), Some(state)))));
        };
        let answer: ElicitResult = serde_json::from_value(answer).map_err(|error| {
            Error::new(Kind::Refused, "FM-MCP-CONFIRMATION", format!("the person's answer cannot be understood: {error}"))
                .hint("Call the tool again without requestState and inputResponses; the person is asked again.")
        })?;
        // An answer is used up whatever it says, so that a no does not become a yes later.
        let asked = app.approvals.answered(&self.caller, call, &state).await?;
        if let Err(declined) = agreed(&answer) {
            let question = app.question(&self.caller, entry, arguments).await?;
            return Err(app.approvals.keep(&self.caller, self.over_http(), entry, call, &question, declined).await);
        }
        unchanged(asked.seen.as_deref(), &app.snapshot(&self.caller, entry, arguments).await?)?;
        Ok(Verdict::Go { if_match: asked.if_match, decision: Decision::Confirmed })
    }

    /// 2025-11-25: the host is asked while the call waits, and hears every ten seconds that it still does.
    ///
    /// Much may happen while a person thinks: what stood before the question is checked again after it.
    async fn ask_now(
        &self,
        call: &str,
        entry: &'static Entry,
        arguments: &Map<String, Value>,
        context: &RequestContext<RoleServer>,
    ) -> Result<Verdict> {
        let patience = self.app.approvals.answer_time();
        let question = self.app.question(&self.caller, entry, arguments).await?;
        if self.app.approvals.consume(&self.caller, call, &question).await? {
            return Ok(Verdict::Go { if_match: question.if_match, decision: Decision::Approved });
        }
        let asked = context.peer.create_elicitation_with_timeout(form(question.text.clone())?, Some(patience));
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
        if let Err(declined) = agreed(&answer) {
            return Err(self.app.approvals.keep(&self.caller, self.over_http(), entry, call, &question, declined).await);
        }
        let Question { seen, if_match, .. } = question;
        self.authorise_again(entry).await?;
        unchanged(seen.as_deref(), &self.app.snapshot(&self.caller, entry, arguments).await?)?;
        Ok(Verdict::Go { if_match, decision: Decision::Confirmed })
    }

    /// Whether the one who called may still do it, and still is the one.
    async fn authorise_again(&self, entry: &'static Entry) -> Result<()> {
        let caller = match (&self.principal, &self.admit, &self.caller.credential) {
            (Some(principal), ..) => principal.caller().await?,
            // The person may have taken long enough for the token to be revoked.
            (None, Some(admit), Credential::Bearer(token)) => admit.admit(token.expose_secret()).await?,
            _ => Arc::clone(&self.caller),
        };
        let ended = caller.expires.is_some_and(|end| end.plus_seconds(LEEWAY) < Timestamp::now());
        if ended || !self.caller.is_still(&caller) {
            return Err(Error::new(Kind::Unauthenticated, "FM-MCP-LOGIN-ENDED", "the login ended while the person was asked"));
        }
        self.app.authorise(&caller, entry).map(drop)
    }
}

pub(super) fn unchanged(seen: Option<&str>, now: &Snapshot) -> Result<()> {
    if seen == now.seen.as_deref() {
        return Ok(());
    }
    Err(Error::new(Kind::Changed, "FM-MCP-CHANGED", "it changed after the person was asked, so the answer does not count")
        .hint("Call the tool again; the person is asked about it as it is now."))
}

/// Why a call goes no further whose host asks nobody.
fn unasked(entry: &Entry, settings: &Settings) -> Error {
    let why = match settings.confirm {
        Fallback::Terminal => "is approved at a terminal alone",
        Fallback::Refuse | Fallback::Host => "needs a person's consent, and this host cannot ask",
    };
    Error::new(Kind::Refused, "FM-MCP-CONFIRM", format!("{} {why}", entry.spec.name))
        .hint("Nothing was done. Use a host that shows questions (elicitation), or let the operator set FLOWMASTER_CONFIRM=host.")
}

/// Whether the host may ask its person: it can, and the operator does not want everything approved at a terminal.
pub(super) fn may_ask(app: &App, context: &RequestContext<RoleServer>) -> bool {
    can_ask(context) && app.settings.confirm != Fallback::Terminal
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
        ElicitationAction::Cancel => "the question was closed without an answer, by the person or by the host itself",
        _ => "the answer was no, by the person or by the host itself",
    };
    Err(Error::new(Kind::Refused, "FM-MCP-DECLINED", what).hint("Nothing was done. Do not call again unless the person asks for it."))
}
