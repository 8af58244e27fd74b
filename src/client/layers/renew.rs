//! Repeats a call with a new token where the platform refused the old one: one exchanged anew, else one that the login renewed.
//!
//! It stands between what happens once per call and what happens once per attempt: a call that was refused for its
//! token was not executed, so it may go out again, within the time that the whole call has.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::auth::Principal;
use crate::client::credentials::upstream::Upstream;
use crate::client::layer::{Call, Layer, Next, Reply};
use crate::error::{Error, Kind, Result};

/// Knows who can renew; a caller of somebody else's stays as it is.
pub(in crate::client) struct Renew {
    pub(in crate::client) principal: Option<Arc<dyn Principal>>,
    pub(in crate::client) upstream: Arc<Upstream>,
}

impl Layer for Renew {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        if call.entry.spec.public {
            return next.run(call);
        }
        Box::pin(async move {
            let mut again = call.clone();
            // One that was exchanged just now and is refused would be refused again.
            let was_remembered = call.fresh.is_none() && self.upstream.remembers(&call.caller).await;
            let mut answer = next.run(call).await;
            if was_remembered && is_refused(&answer) {
                answer = next.run(again.clone()).await;
            }
            let (Some(principal), true) = (&self.principal, is_refused(&answer)) else { return answer };
            let renewed = principal.renewed(Arc::clone(&again.caller)).await?;
            if Arc::ptr_eq(&renewed, &again.caller) {
                return answer;
            }
            // What was permitted, and asked a person, was so for the one who called.
            if !again.caller.is_still(&renewed) {
                return Err(Error::new(
                    Kind::Unauthenticated,
                    "FM-MCP-LOGIN-CHANGED",
                    "somebody else signed in meanwhile; nothing was done",
                )
                .hint("Call again, if it is to be done by the one who is signed in now."));
            }
            again.caller = renewed;
            again.fresh = None;
            next.run(again).await
        })
    }
}

fn is_refused(answer: &Result<Reply>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind() == Kind::Unauthenticated)
}
