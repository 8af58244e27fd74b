//! One subscriber: a stream of 2026-07-28 with all that it listens to, or one subscription of a session of 2025-11-25.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::service::SubscriptionSink;
use rmcp::{ErrorData, Peer, RoleServer};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::board::{Inbox, Places};
use super::concerns::{Address, Mark};
use super::{Whom, ended};
use crate::api::events::Subscribe;
use crate::api::{Operation as _, catalogue};
use crate::auth::Caller;
use crate::client::events::StreamKey;
use crate::config::PolicyDecision;
use crate::error::{Error, Kind, Result};
use crate::io::hash::sha256;
use crate::server::audit;
use crate::server::list_changed::{Changed, ListChanged};
use crate::server::request::Request;
use crate::server::resources::{self, Located};
use crate::server::{App, toolsets::Offer};

/// How often it is asked whether the caller is still the one, and is looked again into what could not be read.
const LOOK: Duration = Duration::from_secs(5);
/// How long a stream of events may take to stand.
const OPENING: Duration = Duration::from_secs(10);

/// Where a host is told.
pub(in crate::server) enum Host {
    /// The stream of a `subscriptions/listen`.
    Stream(SubscriptionSink),
    /// A session of 2025-11-25.
    Session {
        /// The host.
        peer: Peer<RoleServer>,
        /// What the host knows of its lists, where they may change.
        changes: Option<Arc<ListChanged>>,
    },
}

/// A resource that is subscribed to.
struct Subscription {
    uri: String,
    located: Located,
    address: Address,
    /// The digest of what was read last; `None` where there was nothing any more.
    seen: Option<[u8; 32]>,
}

/// See the module.
pub(super) struct Subscriber {
    app: Arc<App>,
    offer: Offer,
    whom: Arc<Whom>,
    caller: Arc<Caller>,
    host: Host,
    /// By their places on the board.
    subscriptions: BTreeMap<usize, Subscription>,
    inbox: Arc<Inbox>,
    places: Option<Places>,
}

impl Subscriber {
    /// Subscribes to resources, each of which the caller reads first.
    pub(super) async fn open(request: &Request, whom: Arc<Whom>, host: Host, uris: &[String]) -> std::result::Result<Self, ErrorData> {
        let begin = |uri: &String| request.app.audit.begin_reading(&request.caller, request.transport(), "subscription", uri);
        let notes: Vec<_> = uris.iter().map(begin).collect();
        let opened = Self::read_and_open(request, whom, host, uris).await;
        for note in notes {
            request.app.audit.end_reading(note, audit::code_of(&opened));
        }
        opened
    }

    async fn read_and_open(request: &Request, whom: Arc<Whom>, host: Host, uris: &[String]) -> std::result::Result<Self, ErrorData> {
        let mut subscriptions = BTreeMap::new();
        for uri in uris {
            let (located, address) = locate(request, uri).await?;
            subscriptions.insert(subscriptions.len(), Subscription { uri: uri.clone(), located, address, seen: None });
        }
        let mut subscriber = Self {
            app: Arc::clone(&request.app),
            offer: request.offer.clone(),
            whom,
            caller: Arc::clone(&request.caller),
            host,
            subscriptions,
            inbox: Arc::default(),
            places: None,
        };
        if !subscriber.take_places().await.map_err(|error| ended(&error))? {
            return Err(ended(
                &Error::new(Kind::Unavailable, "FM-MCP-EVENTS-AWAY", "the platform's events cannot be followed now")
                    .hint("Try again in a minute; until then read the resource again from time to time."),
            ));
        }
        for subscription in subscriber.subscriptions.values_mut() {
            let read = subscription.read(&subscriber.app, &subscriber.caller, &subscriber.offer).await;
            let digest = read.map_err(|error| resources::refusal(request, &subscription.uri, subscription.located.resource, &error))?;
            subscription.seen = Some(digest);
        }
        Ok(subscriber)
    }

    /// Tells the host until it cannot go on.
    pub(super) async fn run(mut self) -> Error {
        loop {
            tokio::select! {
                () = self.inbox.woken() => {}
                () = sleep(LOOK) => {}
            }
            if let Err(error) = self.look().await {
                return error;
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        let caller = match self.whom.now().await {
            Ok(caller) => caller,
            Err(error) if error.is_transient() || error.kind() == Kind::Unavailable => return Ok(()),
            Err(error) => return Err(error),
        };
        if !self.caller.is_still(&caller) {
            return Err(Error::new(Kind::Unauthenticated, "FM-MCP-LOGIN-ENDED", "the login of the subscription has ended"));
        }
        let (mut marks, is_over) = self.inbox.take();
        let mut has_moved = is_over;
        if !Arc::ptr_eq(&caller, &self.caller) {
            has_moved |= StreamKey::of(&self.caller) != StreamKey::of(&caller);
            let before = std::mem::replace(&mut self.caller, caller);
            self.host.lists_changed(&self.app, &before, &self.caller).await;
        }
        if has_moved {
            // Where the platform is away, the stream tells when it stands again.
            let _stands = self.take_places().await?;
            marks = self.subscriptions.keys().map(|place| (*place, Mark::Maybe)).collect();
        }
        for (place, mark) in marks {
            self.tell(place, mark).await?;
        }
        Ok(())
    }

    /// Tells the host of one resource, if it is another now and the caller may read it.
    async fn tell(&mut self, place: usize, mark: Mark) -> Result<()> {
        let Some(subscription) = self.subscriptions.get_mut(&place) else { return Ok(()) };
        let now = match subscription.read(&self.app, &self.caller, &self.offer).await {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        match now {
            Ok(now) => {
                let is_other = std::mem::replace(&mut subscription.seen, now) != now;
                if is_other || mark == Mark::Changed {
                    self.host.updated(&subscription.uri).await?;
                }
                Ok(())
            }
            Err(error) if matches!(error.kind(), Kind::Forbidden | Kind::Unauthenticated) => {
                tracing::debug!(code = error.code(), uri = subscription.uri, "a subscriber may not read the resource any more");
                self.subscriptions.remove(&place);
                if self.subscriptions.is_empty() { Err(error) } else { Ok(()) }
            }
            Err(error) => {
                tracing::debug!(code = error.code(), uri = subscription.uri, "it cannot be read whether a resource has changed");
                self.inbox.put_back(place, mark);
                Ok(())
            }
        }
    }

    /// Takes places on the board of the caller as of now; false where its stream does not stand in time.
    async fn take_places(&mut self) -> Result<bool> {
        self.places = None;
        if self.subscriptions.is_empty() {
            return Ok(true);
        }
        self.may_follow()?;
        // The places keep to the order of the subscriptions, of which some may have ended.
        self.subscriptions = std::mem::take(&mut self.subscriptions).into_values().enumerate().collect();
        let addresses = self.subscriptions.values().map(|subscription| subscription.address.clone()).collect();
        let mut follower = self.app.hub.follow(&self.caller);
        self.places = Some(self.app.boards.take(&self.app.hub, &self.caller, addresses, &self.inbox)?);
        match timeout(OPENING, follower.stands()).await {
            Ok(stands) => stands.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Rejects callers for whom nothing follows events.
    fn may_follow(&self) -> Result<()> {
        match catalogue().get(Subscribe::SPEC.name) {
            Some(subscribe) if self.app.authorise(&self.caller, subscribe)? != PolicyDecision::Allow => {
                Err(Error::new(Kind::Forbidden, "FM-MCP-POLICY", "the operator has a person asked before events are followed")
                    .hint("Wait with a tool such as executions_wait, or read the resource again from time to time."))
            }
            _ => Ok(()),
        }
    }
}

/// Finds a resource of which events tell.
async fn locate(request: &Request, uri: &str) -> std::result::Result<(Located, Address), ErrorData> {
    let untold = || {
        ErrorData::invalid_params(
            format!("no event tells of changes of {uri}; read it again from time to time"),
            Some(json!({ "uri": uri, "code": "FM-MCP-NOT-SUBSCRIBABLE" })),
        )
    };
    if resources::is_services(uri) {
        return Err(untold());
    }
    let located = resources::locate(request, uri).await?;
    let address = Address::of(located.resource, &located.arguments).ok_or_else(untold)?;
    Ok((located, address))
}

impl Subscription {
    /// Reads the resource as a caller, and returns its digest.
    async fn read(&self, app: &App, caller: &Arc<Caller>, offer: &Offer) -> Result<[u8; 32]> {
        let Located { resource, arguments } = &self.located;
        if let Some(entry) = catalogue().get(resource.operation) {
            offer.check(entry)?;
        }
        let reply = app.read(caller, resource.operation, arguments.clone(), app.settings.answer_limit).await?;
        Ok(sha256(reply.body.to_string().as_bytes()))
    }
}

impl Host {
    async fn updated(&self, uri: &str) -> Result<()> {
        let told = match self {
            Self::Stream(sink) => sink.notify_resource_updated(uri).await.map_err(Error::internal),
            Self::Session { peer, .. } => {
                peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.map_err(Error::internal)
            }
        };
        told.map_err(|error| Error::new(Kind::Cancelled, "FM-MCP-HOST-GONE", "the host is gone").caused_by(error))
    }

    async fn lists_changed(&self, app: &App, before: &Caller, now: &Arc<Caller>) {
        match self {
            Self::Stream(sink) => Changed::between(app, before, now).tell_stream(sink).await,
            Self::Session { peer, changes: Some(changes) } => changes.tell(app, now, peer).await,
            Self::Session { changes: None, .. } => {}
        }
    }
}
