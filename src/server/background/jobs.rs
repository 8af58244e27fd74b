//! Jobs of the platform as tasks: the platform began them, and a read tells where they stand.

use serde_json::{Map, Value};

use super::{Beginning, Begun, Kept, asks_first, progress};
use crate::api::Entry;
use crate::api::long_work::{Job, LongWork};
use crate::client::{CallOptions, Reply};
use crate::config::PolicyDecision;
use crate::error::{Error, Result};
use crate::server::request::Request;
use crate::server::{App, operation};
use crate::telemetry::TraceContext;

/// How long a job is followed, in seconds.
const FOLLOWED_FOR: f64 = 24.0 * 3600.0;

impl Request {
    /// Keeps a task for a job that was begun. Where that cannot be, the job is answered as it is.
    pub(in crate::server) async fn begin_job(&self, entry: &Entry, job: Job, begun: Reply) -> Begun {
        let id = begun.body.get(job.id).filter(|id| id.is_string() && !Job::is_over(&begun.body));
        let (Some(id), Ok(read)) = (id, operation(job.read)) else { return Begun::Done(begun) };
        let kept = Kept {
            begun: Some(Beginning { tool: entry.spec.name.to_owned(), answer: None }),
            message: progress::of(&begun.body),
            ..Kept::new(read, Map::from_iter([("id".to_owned(), id.clone())]), FOLLOWED_FOR)
        };
        match self.keep_task(kept).await {
            Ok(Some(task)) => Begun::Follows(task),
            Ok(None) => Begun::Done(begun),
            Err(error) => {
                tracing::warn!(code = error.code(), "a job is not followed as a task: {}", error.message());
                Begun::Done(begun)
            }
        }
    }

    /// Cancels the work of a task where that can be done, and says what becomes of it; nothing is said of mere waits.
    pub(super) async fn cancel_work(&self, kept: &Kept, trace: TraceContext) -> Option<String> {
        if kept.under_way.is_some() {
            return Some(format!("{} goes on until the platform has answered; nothing waits for it any more", kept.tool));
        }
        let began = kept.begun.as_ref().and_then(|begun| operation(&begun.tool).ok())?;
        let Some(LongWork::Job(job)) = began.spec.long_work else { return None };
        let Some(cancel) = job.cancel else {
            return Some("the job goes on: the platform has no way to cancel it".to_owned());
        };
        Some(match self.cancel_job(cancel, kept.arguments.clone(), trace).await {
            Ok(reply) => progress::of(&reply.body).unwrap_or_else(|| "cancelled".to_owned()),
            Err(error) => {
                let next = error.next_step().map(|next| format!(" {next}")).unwrap_or_default();
                format!("the job was not cancelled: {}.{next}", error.message())
            }
        })
    }

    /// Cancels a job as the caller would by the operation's own tool, where that asks nobody.
    async fn cancel_job(&self, name: &str, arguments: Map<String, Value>, trace: TraceContext) -> Result<Reply> {
        let entry = operation(name)?;
        let note = self.app.audit.begin(&self.caller, self.transport(), entry, Some(&arguments), &trace);
        let cancelled = self.cancel_freely(entry, arguments, trace).await;
        self.app.audit.end(note, cancelled.as_ref().map_or_else(Error::code, |_| "ok"), None);
        cancelled
    }

    async fn cancel_freely(&self, entry: &'static Entry, arguments: Map<String, Value>, trace: TraceContext) -> Result<Reply> {
        self.offer.check(entry)?;
        if self.app.authorise(&self.caller, entry)? != PolicyDecision::Allow {
            return Err(asks_first(entry));
        }
        let arguments = App::checked(&self.caller, entry, arguments)?;
        self.app.rules().limits.pay(&self.caller, entry, self.app.client.metrics())?;
        let options = CallOptions { traceparent: Some(trace), ..CallOptions::default() };
        self.app.answer(&self.caller, entry, arguments, options, self.app.settings.answer_limit).await
    }
}
