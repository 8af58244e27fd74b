//! Sessions of 2025-11-25, each bound to the caller who opened it; to other callers it does not exist.
//!
//! rmcp asks for a session by its id alone. The gate therefore says in a task-local who visits, and this wrapper around
//! rmcp's own manager answers for a foreign id as for an unknown one. A renewed token of the same caller goes on.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, RequestId, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, LocalSessionManagerError};
use rmcp::transport::streamable_http_server::session::{RestoreOutcome, ServerSseMessage, SessionId, SessionManager};

use super::owner::Owner;
use super::request_scope::{REQUEST, Running};
use super::session_limits::SessionPermit;
use crate::error::{Error, Kind};
use crate::server::host_events;

/// How long a session may be idle; longer than a person may think about a question.
const IDLE: Duration = Duration::from_mins(10);

/// A session's owner, its place among all sessions, and the requests that run in it.
struct Kept {
    owner: Owner,
    _place: SessionPermit,
    running: Arc<Mutex<HashSet<RequestId>>>,
    /// The last message of its host.
    used: Instant,
    /// Lives as long as the stream that the host listens on.
    listening: Weak<()>,
}

/// The sessions and whose they are.
pub(super) struct Sessions {
    local: LocalSessionManager,
    kept: Mutex<HashMap<SessionId, Kept>>,
}

type Result<T> = std::result::Result<T, LocalSessionManagerError>;

impl Sessions {
    pub(super) fn new() -> Self {
        let mut local = LocalSessionManager::default();
        local.session_config.keep_alive = Some(IDLE);
        // The stream of a cancelled call is not resumed, and rmcp walks all that it keeps on every event.
        local.session_config.completed_cache_ttl = Duration::ZERO;
        Self { local, kept: Mutex::default() }
    }

    /// Whether a caller opened the session of that id.
    pub(super) fn belongs(&self, id: &str, visitor: &Owner) -> bool {
        self.kept().get(id).is_some_and(|kept| kept.owner == *visitor)
    }

    /// Notes that a request runs in a session; nothing where the session is not the visitor's.
    ///
    /// rmcp sends an answer to the last request with its id, so two requests with one id would get each other's answers.
    ///
    /// # Errors
    /// One with that id runs in it.
    pub(super) fn begin(&self, session: &str, visitor: &Owner, id: RequestId) -> std::result::Result<Option<Running>, Error> {
        let among = match self.kept().get(session) {
            Some(kept) if kept.owner == *visitor => Arc::clone(&kept.running),
            _ => return Ok(None),
        };
        let Some(running) = Running::begin(among, id) else {
            return Err(Error::new(Kind::Malformed, "FM-MCP-ID-IN-USE", "a request with this id still runs in the session")
                .hint("Give each request of a session an id of its own."));
        };
        Ok(Some(running))
    }

    /// Closes the session of a caller that has been idle for longest, one without a listening host first.
    /// Returns false if requests run in all of them.
    pub(super) async fn evict_idle(&self, owner: &Owner) -> bool {
        let longest = {
            let kept = self.kept();
            let idle = kept.iter().filter(|(_, kept)| kept.owner == *owner && lock(&kept.running).is_empty());
            idle.min_by_key(|(_, kept)| (kept.listening.strong_count(), kept.used)).map(|(id, _)| Arc::clone(id))
        };
        let Some(id) = longest else { return false };
        tracing::debug!("a new session evicts the longest-idle one of its caller");
        // An error says that it is closed already.
        let _closed = self.local.close_session(&id).await;
        self.kept().remove(&id);
        true
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<SessionId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rejects callers other than the owner, and a task without a request scope.
    fn check(&self, id: &SessionId) -> Result<()> {
        let used = REQUEST
            .try_with(|scope| self.kept().get_mut(id).filter(|kept| kept.owner == scope.owner).map(|kept| kept.used = Instant::now()));
        match used {
            Ok(Some(())) => Ok(()),
            _ => Err(LocalSessionManagerError::SessionNotFound(Arc::clone(id))),
        }
    }
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport)> {
        let kept = REQUEST.try_with(|scope| {
            let place = scope.session_permit.lock().unwrap_or_else(PoisonError::into_inner).take();
            place.map(|place| Kept {
                owner: scope.owner.clone(),
                _place: place,
                running: Arc::default(),
                used: Instant::now(),
                listening: Weak::new(),
            })
        });
        // The gate gives a place to every session that it sees begin; none begins unseen.
        let Ok(Some(kept)) = kept else { return Err(LocalSessionManagerError::SessionNotFound("without a place".into())) };
        let (id, transport) = self.local.create_session().await?;
        self.kept().insert(Arc::clone(&id), kept);
        Ok((id, transport))
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<ServerJsonRpcMessage> {
        self.check(id)?;
        let mut answer = self.local.initialize_session(id, message).await?;
        host_events::announce(&mut answer);
        Ok(answer)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        if self.check(id).is_err() {
            return Ok(false);
        }
        self.local.has_session(id).await
    }

    /// Asked for by its owner, or, outside of any request, by the session's own end.
    async fn close_session(&self, id: &SessionId) -> Result<()> {
        if REQUEST.try_with(|scope| self.belongs(id, &scope.owner)) == Ok(false) {
            return Err(LocalSessionManagerError::SessionNotFound(Arc::clone(id)));
        }
        // If the host hangs up meanwhile, the session's own end asks again: the permit is released no earlier
        // than the session is gone.
        let closed = self.local.close_session(id).await;
        self.kept().remove(id);
        closed
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.check(id)?;
        // A host that has the answer may reuse the id, so the permit is released before the answer goes out.
        let mut permit = REQUEST.try_with(|scope| scope.permit.clone()).ok().flatten();
        let stream = self.local.create_stream(id, message).await?;
        Ok(stream.inspect(move |event| {
            if event.message.as_deref().is_some_and(|message| matches!(message, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_))) {
                drop(permit.take());
            }
        }))
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<()> {
        self.check(id)?;
        self.local.accept_message(id, message).await
    }

    async fn create_standalone_stream(&self, id: &SessionId) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.check(id)?;
        let stream = self.local.create_standalone_stream(id).await?;
        let listening = Arc::new(());
        if let Some(kept) = self.kept().get_mut(id) {
            kept.listening = Arc::downgrade(&listening);
        }
        Ok(stream.inspect(move |_| drop(Arc::clone(&listening))))
    }

    async fn resume(&self, id: &SessionId, last_event_id: String) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.check(id)?;
        self.local.resume(id, last_event_id).await
    }

    /// No session outlives the process, so none is ever restored under a stranger's id.
    async fn restore_session(&self, _: SessionId) -> Result<RestoreOutcome<Self::Transport>> {
        Ok(RestoreOutcome::NotSupported)
    }
}

fn lock(running: &Mutex<HashSet<RequestId>>) -> MutexGuard<'_, HashSet<RequestId>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::server::http::request_scope::RequestScope;
    use crate::server::http::session_limits::SessionLimits;

    #[tokio::test]
    async fn a_session_has_its_place_until_it_is_gone_also_where_its_end_breaks_off() {
        let (sessions, places, anna) = (Sessions::new(), SessionLimits::new(1, 1, 100), Owner::test("tenant-1", "anna"));
        let visit = |place| RequestScope::new(anna.clone(), place, None);
        let begin = visit(Some(places.take(&anna).unwrap())).during(sessions.create_session());
        let (id, transport) = begin.await.unwrap();
        {
            let _busy = sessions.local.sessions.read().await;
            let broken_off = visit(None).during(sessions.close_session(&id)).now_or_never();
            assert!(broken_off.is_none(), "it waits");
        }
        assert!(sessions.belongs(&id, &anna) && places.take(&anna).is_err(), "the session lives on, and has its place");
        drop(transport);
        // Its own end comes outside of any request.
        sessions.close_session(&id).await.unwrap();
        assert!(!sessions.belongs(&id, &anna));
        places.take(&anna).unwrap();
    }
}
