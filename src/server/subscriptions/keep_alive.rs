//! Keeps a session of 2025-11-25 alive while it has subscriptions: its host says nothing while it waits to be told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rmcp::model::{PingRequest, ServerRequest};
use rmcp::service::PeerRequestOptions;
use rmcp::{Peer, RoleServer};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often a host is asked whether it is there; less than the time after which an idle session ends.
const PING_EVERY: Duration = Duration::from_mins(4);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// After how many questions without an answer a host is gone.
const MAX_UNANSWERED: u32 = 2;

/// The subscriptions of a session by their addresses.
type Known = Mutex<HashMap<String, DropGuard>>;

/// Asks a session's host from time to time whether it is there, until the guard is dropped. The subscriptions of a host that
/// leaves two questions unanswered end, and then its session by its idle time.
pub(super) fn keep_alive(host: Peer<RoleServer>, known: &Arc<Known>) -> DropGuard {
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tokio::spawn(ask(host, Arc::downgrade(known), ended));
    guard
}

async fn ask(host: Peer<RoleServer>, known: Weak<Known>, ended: CancellationToken) {
    let mut unanswered = 0;
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(PING_EVERY) => {}
        }
        let Some(known) = known.upgrade() else { return };
        if lock(&known).is_empty() {
            continue;
        }
        unanswered = if answers(&host).await { 0 } else { unanswered + 1 };
        if unanswered == MAX_UNANSWERED {
            tracing::debug!("a host does not answer, so its subscriptions end");
            lock(&known).clear();
            unanswered = 0;
        }
    }
}

async fn answers(host: &Peer<RoleServer>) -> bool {
    let ping = ServerRequest::PingRequest(PingRequest::default());
    match host.send_cancellable_request(ping, PeerRequestOptions::with_timeout(ANSWER)).await {
        Ok(asked) => asked.await_response().await.is_ok(),
        Err(_) => false,
    }
}

fn lock(known: &Known) -> std::sync::MutexGuard<'_, HashMap<String, DropGuard>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
