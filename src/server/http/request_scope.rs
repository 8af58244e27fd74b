//! The scope of one request over HTTP: its owner and its permits, which rmcp's session manager reads from a task-local.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::RequestId;

use super::owner::Owner;
use super::quota::Permit;
use super::session_limits::SessionPermit;

tokio::task_local! {
    /// The request that rmcp handles in this task.
    pub(super) static REQUEST: RequestScope;
}

/// The owner of a request, the permit of the session that it opens, and its own permits.
pub(super) struct RequestScope {
    pub(super) owner: Owner,
    pub(super) session_permit: Mutex<Option<SessionPermit>>,
    pub(super) permit: Option<Arc<RequestPermit>>,
}

impl RequestScope {
    pub(super) fn new(owner: Owner, session_permit: Option<SessionPermit>, permit: Option<Arc<RequestPermit>>) -> Self {
        Self { owner, session_permit: Mutex::new(session_permit), permit }
    }

    /// Lets rmcp handle a request in this scope.
    pub(super) async fn during<F: Future>(self, request: F) -> F::Output {
        REQUEST.scope(self, request).await
    }
}

/// The permits of a request, held as long as anything works on it.
pub(super) struct RequestPermit {
    _bytes: Permit,
    _call: Permit,
    _running: Option<Running>,
}

impl RequestPermit {
    pub(super) fn new(bytes: Permit, call: Permit, running: Option<Running>) -> Arc<Self> {
        Arc::new(Self { _bytes: bytes, _call: call, _running: running })
    }
}

/// A request that runs in a session, by its id, until it is dropped.
pub(super) struct Running {
    id: RequestId,
    among: Arc<Mutex<HashSet<RequestId>>>,
}

impl Running {
    /// Marks an id as running, unless a request with that id still runs.
    pub(super) fn begin(among: Arc<Mutex<HashSet<RequestId>>>, id: RequestId) -> Option<Self> {
        let is_new = among.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        is_new.then(|| Self { id, among })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.among.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
