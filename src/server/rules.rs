//! What may change while the server runs: who may do what, what is offered, how much, and by which names it is called.
//!
//! All of it is one value that is replaced as a whole. A request takes what is in force when it needs it, so a session goes on
//! over a change; lists are kept beside the rules that they were built by.

use std::sync::Arc;

use tokio::sync::watch;

use super::consent::policy::Policy;
use super::http::origins::Origins;
use super::limits::Limits;
use super::secrets::Secrets;
use super::tools::ListCache;
use super::toolsets::Selection;
use super::{App, Settings};
use crate::auth::Access;
use crate::error::Result;

/// The rules in force.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) access: Access,
    pub(super) policy: Arc<Policy>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) tools: Arc<Selection>,
    pub(super) limits: Arc<Limits>,
    /// By which further names the server is called, and from which pages.
    pub(super) names: Arc<Origins>,
    /// The lists that were built by these rules.
    pub(super) lists: Arc<ListCache>,
}

impl Rules {
    pub(super) fn new(settings: &Settings, access: Access) -> Result<Self> {
        Ok(Self {
            access,
            policy: Arc::clone(&settings.policy),
            secrets: Arc::clone(&settings.secrets),
            tools: Arc::clone(&settings.tools),
            limits: Arc::clone(&settings.limits),
            names: Arc::new(Origins::further(&settings.allowed_hosts, &settings.allowed_origins)?),
            lists: Arc::default(),
        })
    }

    /// These rules after others: what did not change keeps its counts and its lists.
    fn after(self, before: &Self) -> Self {
        let limits = if self.limits.are_as(&before.limits) { Arc::clone(&before.limits) } else { self.limits };
        let (is_listed_alike, lists) =
            (self.access == before.access && self.policy == before.policy && self.tools == before.tools, Arc::clone(&before.lists));
        Self { limits, lists: if is_listed_alike { lists } else { self.lists }, ..self }
    }
}

impl App {
    /// The rules in force.
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.borrow())
    }

    /// Tells of every change of the rules from now on.
    pub(super) fn changes_of_rules(&self) -> watch::Receiver<Arc<Rules>> {
        self.rules.subscribe()
    }

    /// Replaces the rules by those of other settings; what else the settings say needs another server.
    ///
    /// # Errors
    /// The name of a host or an origin that cannot be understood. The rules in force stay.
    pub fn replace_rules(&self, settings: &Settings, access: Access) -> Result<()> {
        let rules = Rules::new(settings, access)?;
        self.client.replace_access(rules.access.clone());
        self.rules.send_modify(|in_force| *in_force = Arc::new(rules.after(in_force)));
        Ok(())
    }
}
