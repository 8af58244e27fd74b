//! A tool whose answer is told while it is written: the host hears of it as progress, and the answer has the whole.
//!
//! The answer is asked for as a stream even where the host does not want to hear of progress: a platform ends the work on a
//! stream that nobody reads, and so a call that is cancelled costs no more.

use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::request::Request;
use crate::api::Entry;
use crate::client::{CallOptions, Reply};
use crate::error::Result;

/// Pieces that wait for a slow host; then the platform waits, too.
const WAITING: usize = 64;

impl Request {
    /// Calls an operation that streams, and tells the host its pieces as they come.
    pub(super) async fn stream(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        options: CallOptions,
        context: &RequestContext<RoleServer>,
    ) -> Result<Reply> {
        let (tokens, pieces) = mpsc::channel(WAITING);
        let options = CallOptions { tokens: Some(tokens), ..options };
        // The sender goes with the call, so the pieces end when the call does.
        let answering = self.app.answer(&self.caller, entry, arguments, options, self.app.settings.answer_limit);
        tokio::join!(answering, tell(pieces, context)).0
    }
}

/// Tells pieces as progress, counted in characters. A slow host gets those that waited as one.
async fn tell(mut pieces: mpsc::Receiver<String>, context: &RequestContext<RoleServer>) {
    let token = context.meta.get_progress_token();
    let (mut waiting, mut told) = (Vec::new(), 0_u32);
    while pieces.recv_many(&mut waiting, WAITING).await > 0 {
        let text: String = waiting.drain(..).collect();
        let Some(token) = token.clone().filter(|_| !text.is_empty()) else { continue };
        told = told.saturating_add(u32::try_from(text.chars().count()).unwrap_or(u32::MAX));
        let progress = ProgressNotificationParam::new(token, f64::from(told)).with_message(text);
        if let Err(error) = context.peer.notify_progress(progress).await {
            tracing::debug!(%error, "a host did not hear of an answer's progress");
        }
    }
}
