//! Repeats a call with a new token where the platform refused the old one: one exchanged again, else one that the login renewed.
//!
//! It stands inside retry: a call that was refused for its token was not executed, so it may go out again at once and
//! costs no retry, within the time that the whole call has.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::auth::Principal;
use crate::client::call::{Call, Reply};
use crate::client::credentials::upstream::Upstream;
use crate::client::layer::{Layer, Next};
use crate::error::{Error, Kind, Result};

/// The principal renews its own callers; other callers stay as they are.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::Caller;
    use crate::client::call::CallOptions;
    use crate::client::layers::scripted::{Scripted, call, list, unauthenticated, user};

    /// A principal whose renewal gives this caller, or leaves the present one.
    struct Renews(Option<Arc<Caller>>);

    impl Principal for Renews {
        fn caller(&self) -> BoxFuture<'_, Result<Arc<Caller>>> {
            Box::pin(std::future::pending())
        }

        fn renewed(&self, before: Arc<Caller>) -> BoxFuture<'_, Result<Arc<Caller>>> {
            Box::pin(std::future::ready(Ok(self.0.clone().unwrap_or(before))))
        }
    }

    fn renew(to: Option<Arc<Caller>>) -> Renew {
        Renew { principal: Some(Arc::new(Renews(to))), upstream: Arc::default() }
    }

    #[tokio::test]
    async fn a_refused_token_is_renewed_once_and_the_call_sent_again() {
        let (old, new) = (user("anna", &[]), user("anna", &["task:view"]));
        let end = Scripted::failing([unauthenticated()]);
        end.run(renew(Some(Arc::clone(&new))), list(&old)).await.unwrap();
        let arrived = end.arrived();
        assert!(arrived.len() == 2 && Arc::ptr_eq(&arrived[0].caller, &old) && Arc::ptr_eq(&arrived[1].caller, &new));

        let end = Scripted::failing([unauthenticated(), unauthenticated()]);
        let refused = end.run(renew(Some(new)), list(&old)).await.unwrap_err();
        assert_eq!((refused.code(), end.arrived().len()), ("FM-AAS-UNAUTHENTICATED", 2));
    }

    #[tokio::test]
    async fn another_users_login_and_an_unrenewed_one_send_nothing_again() {
        let anna = user("anna", &[]);
        for (to, code) in [(Some(user("bert", &[])), "FM-MCP-LOGIN-CHANGED"), (None, "FM-AAS-UNAUTHENTICATED")] {
            let end = Scripted::failing([unauthenticated()]);
            let refused = end.run(renew(to), list(&anna)).await.unwrap_err();
            assert_eq!((refused.code(), end.arrived().len()), (code, 1));
        }
    }

    #[tokio::test]
    async fn other_failures_and_public_operations_are_not_repeated() {
        let anna = user("anna", &[]);
        let end = Scripted::failing([Error::new(Kind::Forbidden, "X", "no")]);
        assert_eq!(end.run(renew(Some(user("anna", &[]))), list(&anna)).await.unwrap_err().code(), "X");
        let login = json!({ "username": "a@b.c", "password": "x", "tenantId": "t" });
        let end_of_login = Scripted::failing([unauthenticated()]);
        let login = call(&anna, "auth_login", &login, CallOptions::default());
        end_of_login.run(renew(Some(user("anna", &[]))), login).await.unwrap_err();
        assert_eq!((end.arrived().len(), end_of_login.arrived().len()), (1, 1));
    }
}
