//! Subscriptions of hosts to resources and to changes of lists: `subscriptions/listen` of 2026-07-28, and
//! `resources/subscribe` of 2025-11-25.
//!
//! An event says that a resource may be another now. Before the host is told, the caller is found again and reads the
//! resource with its own rights, so that no host hears of what its caller may not read.

mod board;
mod concerns;
mod keep_alive;
mod subscriber;
mod whom;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rmcp::ErrorData;
use rmcp::service::SubscriptionContext;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use board::Boards;
pub(super) use subscriber::Host;
use subscriber::Subscriber;
pub(super) use whom::Whom;

use super::request::Request;
use crate::error::{Error, Kind};

/// Most resources that a session, or one `subscriptions/listen`, subscribes to.
const MAX_SUBSCRIPTIONS: usize = 64;

/// Tells a host of 2026-07-28 what it listens to, until it hangs up, its caller's credential ends or the server does.
pub(super) async fn listen(
    request: &Request,
    whom: Arc<Whom>,
    subscription: &SubscriptionContext,
    closing: &CancellationToken,
) -> Result<(), ErrorData> {
    let accepted = subscription.accepted();
    let uris = accepted.resource_subscriptions.as_deref().unwrap_or_default();
    if uris.len() > MAX_SUBSCRIPTIONS {
        return Err(too_many("one subscriptions/listen", uris.len()));
    }
    let subscriber = Subscriber::open(request, whom, Host::Stream(subscription.sink().clone()), uris).await?;
    tokio::select! {
        biased;
        () = subscription.cancelled() => Ok(()),
        () = closing.cancelled() => Ok(()),
        error = subscriber.run() => Err(ended(&error)),
    }
}

/// The subscriptions of a session of 2025-11-25, which end with it. As long as there are any, the session is not idle.
#[derive(Default)]
pub(super) struct Subscribed {
    known: Arc<Mutex<HashMap<String, DropGuard>>>,
    kept_alive: OnceLock<DropGuard>,
}

impl Subscribed {
    /// Subscribes the session to a resource; a repeat takes the place of the subscription before it.
    pub(super) async fn subscribe(
        &self,
        request: &Request,
        whom: Arc<Whom>,
        host: Host,
        uri: String,
        closing: &CancellationToken,
    ) -> Result<(), ErrorData> {
        check_room(&self.lock(), &uri)?;
        if let Host::Session { peer, .. } = &host {
            self.kept_alive.get_or_init(|| keep_alive::keep_alive(peer.clone(), &self.known));
        }
        let subscriber = Subscriber::open(request, whom, host, std::slice::from_ref(&uri)).await?;
        let stop = closing.child_token();
        {
            let mut known = self.lock();
            check_room(&known, &uri)?;
            known.insert(uri.clone(), stop.clone().drop_guard());
        }
        let known = Arc::clone(&self.known);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                error = subscriber.run() => {
                    tracing::debug!(code = error.code(), uri, "a subscription ended: {}", error.message());
                    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    // Another may have its place by now.
                    if !stop.is_cancelled() {
                        known.remove(&uri);
                    }
                }
            }
        });
        Ok(())
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&self, uri: &str) -> Result<(), ErrorData> {
        if self.lock().remove(uri).is_some() {
            return Ok(());
        }
        let shown: String = uri.chars().take(200).collect();
        Err(ErrorData::invalid_params(
            format!("this session has no subscription to {shown}"),
            Some(json!({ "uri": shown, "code": "FM-MCP-NOT-SUBSCRIBED" })),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, DropGuard>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rejects one more subscription than a session may have.
fn check_room(known: &HashMap<String, DropGuard>, uri: &str) -> Result<(), ErrorData> {
    if known.len() < MAX_SUBSCRIPTIONS || known.contains_key(uri) {
        return Ok(());
    }
    Err(too_many("a session", known.len() + 1))
}

fn too_many(whose: &str, wanted: usize) -> ErrorData {
    ErrorData::invalid_params(
        format!(
            "{whose} subscribes to {MAX_SUBSCRIPTIONS} resources at most, not to {wanted}; end some subscriptions, or subscribe to \
             a list such as flowmaster://tasks/inbox"
        ),
        Some(json!({ "code": "FM-MCP-SUBSCRIPTIONS", "limit": MAX_SUBSCRIPTIONS })),
    )
}

/// Why a subscription ended before the host ended it.
fn ended(error: &Error) -> ErrorData {
    let data = Some(json!({ "code": error.code() }));
    match error.kind() {
        Kind::Forbidden | Kind::Unauthenticated | Kind::RateLimited => ErrorData::invalid_request(error.to_string(), data),
        _ => ErrorData::internal_error(error.to_string(), data),
    }
}
