//! Tells a host that its lists changed: when its caller came back with other rights (a login from its renewal, or a session with
//! another token), and when the server's rules are others.
//!
//! Under 2025-11-25 other rights are noticed at the host's next request, since nothing is renewed before one; a subscriber looks
//! by itself. Under 2026-07-28 those are told who listen; other rules are seen there when the list's `ttlMs` is over.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::ServerCapabilities;
use rmcp::service::SubscriptionSink;
use rmcp::{Peer, RoleServer};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{App, prompts, resources};
use crate::auth::Caller;

/// Whom the connection spoke for last.
#[derive(Default)]
pub(super) struct ListChanged {
    last: Mutex<Option<Arc<Caller>>>,
}

/// Which lists are others than before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    tools: bool,
    resources: bool,
    prompts: bool,
}

impl ListChanged {
    /// Announces that changes are told.
    pub(super) const fn announce(capabilities: &mut ServerCapabilities) {
        if let Some(tools) = &mut capabilities.tools {
            tools.list_changed = Some(true);
        }
        if let Some(resources) = &mut capabilities.resources {
            resources.list_changed = Some(true);
        }
        if let Some(prompts) = &mut capabilities.prompts {
            prompts.list_changed = Some(true);
        }
    }

    /// Tells the host of a session what has changed since the caller was seen last, by a request or by a subscription.
    pub(super) async fn tell(&self, app: &App, caller: &Arc<Caller>, host: &Peer<RoleServer>) {
        let before = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            // A login gives the same caller until it is renewed, so most requests end here.
            if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, caller)) {
                return;
            }
            last.replace(Arc::clone(caller))
        };
        if let Some(changed) = before.map(|before| Changed::between(app, &before, caller)) {
            changed.tell(host).await;
        }
    }
}

/// Tells a session's host whenever its lists may be others by the rules, until the guard is dropped.
pub(super) fn follow_rules(app: &App, host: Peer<RoleServer>) -> DropGuard {
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    let mut rules = app.changes_of_rules();
    tokio::spawn(async move {
        let mut lists = Arc::clone(&rules.borrow_and_update().lists);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                changed = rules.changed() => if changed.is_err() { return },
            }
            let now = Arc::clone(&rules.borrow_and_update().lists);
            if !Arc::ptr_eq(&now, &lists) {
                lists = now;
                Changed { tools: true, resources: true, prompts: true }.tell(&host).await;
            }
        }
    });
    guard
}

impl Changed {
    /// Compares what two callers see.
    pub(super) fn between(app: &App, before: &Caller, now: &Caller) -> Self {
        let offer = &app.offer();
        Self {
            tools: app.tools_of(before, offer) != app.tools_of(now, offer),
            resources: resources::listed(app, before, offer) != resources::listed(app, now, offer)
                || resources::templates(app, before, offer) != resources::templates(app, now, offer),
            prompts: prompts::listed(app, before, offer) != prompts::listed(app, now, offer),
        }
    }

    /// A host that does not hear it finds out by being refused.
    async fn tell(&self, host: &Peer<RoleServer>) {
        if self.tools {
            let _heard = host.notify_tool_list_changed().await;
        }
        if self.resources {
            let _heard = host.notify_resource_list_changed().await;
        }
        if self.prompts {
            let _heard = host.notify_prompt_list_changed().await;
        }
    }

    /// The same on a stream, which passes on only what its host listens to.
    pub(super) async fn tell_stream(&self, stream: &SubscriptionSink) {
        if self.tools {
            let _heard = stream.notify_tool_list_changed().await;
        }
        if self.resources {
            let _heard = stream.notify_resource_list_changed().await;
        }
        if self.prompts {
            let _heard = stream.notify_prompt_list_changed().await;
        }
    }
}
