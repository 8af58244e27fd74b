//! Tells a host of 2025-11-25 that its lists changed, when a login came back from its renewal with other rights.
//!
//! It is noticed at the host's next request, since nothing is renewed before one. The newer protocol hints by
//! `subscriptions/listen` alone, which is not offered; there a list is good for as long as its `ttlMs` says.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::ServerCapabilities;
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};

use super::request::is_stateless;
use super::{App, prompts, resources};
use crate::auth::Caller;

/// Whom the connection spoke for last.
#[derive(Default)]
pub(super) struct ListChanged {
    last: Mutex<Option<Arc<Caller>>>,
}

/// Which lists are others than before.
#[derive(Debug, PartialEq, Eq)]
struct Changed {
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

    /// Tells the host what has changed since its last request.
    pub(super) async fn tell(&self, app: &App, caller: &Arc<Caller>, context: &RequestContext<RoleServer>) {
        if is_stateless(context) {
            return;
        }
        let before = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            // A login gives the same caller until it is renewed, so most requests end here.
            if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, caller)) {
                return;
            }
            last.replace(Arc::clone(caller))
        };
        if let Some(changed) = before.map(|before| Changed::between(app, &before, caller)) {
            changed.tell(&context.peer).await;
        }
    }
}

impl Changed {
    fn between(app: &App, before: &Caller, now: &Caller) -> Self {
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
}
