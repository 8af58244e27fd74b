//! One typed client for every service, over one readable stack of layers.
//!
//! ```no_run
//! # async fn example() -> flowmaster_mcp::error::Result<()> {
//! use std::sync::Arc;
//! use flowmaster_mcp::{api::tasks, auth::Caller, client::{Client, Fixed}};
//!
//! let client = Client::builder(Arc::new(Fixed::new("http://127.0.0.1:8322")?)).build();
//! let caller = Arc::new(Caller::of_unverified_token("…".into(), None)?);
//! let inbox = client.send(&caller, &tasks::List { assignee: Some("me".into()), ..Default::default() }).await?;
//! # Ok(()) }
//! ```

mod call;
pub mod credentials;
mod discovery;
pub mod events;
mod extensions;
mod http;
mod layer;
mod layers;
mod origin;
mod per_service;
mod stack;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::api::ids::TenantId;
use crate::api::{Entry, Event, Operation, catalogue, realtime, wire};
use crate::auth::{Access, Caller, Principal};
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::Metrics;

pub use call::{Call, CallOptions, Reply};
pub use credentials::service_accounts::{Configured, ServiceAccounts};
pub use credentials::token_status::{JWKS_PATH, PlatformKeys, TokenStatus};
pub use credentials::upstream::{Exchange, Mode, TokenEndpoint, Upstream};
use discovery::Finder;
pub use discovery::{Discovery, RegistryRules, service_named};
use events::Bus;
pub use extensions::Extensions;
pub(crate) use http::connector::Connector;
use http::websocket;
pub use layer::{Layer, Next, Transport};
use layers::access::Judge;
use layers::breaker::Circuits;
pub use layers::breaker::{BreakerSettings, CircuitState, ServiceHealth};
use layers::cache::Cache;
pub use layers::cache::CacheSettings;
use layers::sign;
pub use origin::{Fixed, Located, Origin};
use stack::{Parts, Stack};

/// The client. A clone shares everything.
#[derive(Clone)]
pub struct Client {
    stack: Arc<Stack>,
    cache: Option<Arc<Cache>>,
    judge: Judge,
    upstream: Arc<Upstream>,
    circuits: Arc<Circuits>,
    extensions: Arc<Extensions>,
    reach: Arc<Connector>,
    finder: Option<Arc<Finder>>,
    metrics: Metrics,
    bus: Option<Arc<dyn Bus>>,
    has_keys: bool,
}

/// How a client behaves; every field has a default.
pub struct Builder {
    origin: Arc<dyn Origin>,
    settings: Settings,
    upstream: Upstream,
    extensions: Extensions,
    discovery: Discovery,
    own: Vec<Arc<dyn Layer>>,
    principal: Option<Arc<dyn Principal>>,
    metrics: Metrics,
    bus: Option<Arc<dyn Bus>>,
}

/// The figures of the stack.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a call may take in all, its retries included.
    pub deadline: Duration,
    /// How long the parts of one attempt may take.
    pub timeouts: Timeouts,
    /// How often a call is sent at most, where it may be repeated.
    pub attempts: usize,
    /// Whether the platform honours `Idempotency-Key`, by which a call that writes may be repeated too.
    pub idempotency_keys: bool,
    /// When a service counts as not answering.
    pub breaker: BreakerSettings,
    /// How many calls may be in flight to a service at once.
    pub in_flight: usize,
    /// What is kept of answers; nothing unless it is said.
    pub cache: CacheSettings,
    /// How a caller's permissions are judged before the platform does.
    pub access: Access,
    /// The largest answer that is read, in bytes.
    pub answer_limit: usize,
}

/// How long the parts of one attempt may take; what it may take in all is what is left of the call's deadline.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until a connection has come about.
    pub connect: Duration,
    /// From the request to the head of its answer, where the call may be repeated.
    pub first_byte: Duration,
    /// From one part of the answer to the next.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: http::connector::CONNECT, first_byte: Duration::from_secs(30), idle: Duration::from_secs(30) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_mins(1),
            timeouts: Timeouts::default(),
            attempts: 4,
            idempotency_keys: false,
            breaker: BreakerSettings::default(),
            // A caller over HTTP has 64 requests in flight at most, which fit into a tenant's share.
            in_flight: 128,
            cache: CacheSettings::default(),
            access: Access::default(),
            answer_limit: 32 * 1024 * 1024,
        }
    }
}

impl Builder {
    /// Replaces the figures of the stack.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// By which token calls go on; callers' own unless it is said.
    #[must_use]
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = upstream;
        self
    }

    /// Which operations beyond the contract the platform has; all of them unless it is said.
    #[must_use]
    pub fn extensions(mut self, extensions: Extensions) -> Self {
        self.extensions = extensions;
        self
    }

    /// Where services are found; all of them at the origin unless it is said.
    #[must_use]
    pub fn discovery(mut self, discovery: Discovery) -> Self {
        self.discovery = discovery;
        self
    }

    /// Adds a layer of one's own: once per call, after the caller was let through.
    #[must_use]
    pub fn layer(mut self, layer: impl Layer + 'static) -> Self {
        self.own.push(Arc::new(layer));
        self
    }

    /// Has callers of a principal renewed where the platform refuses their token.
    #[must_use]
    pub fn renewing(mut self, principal: Arc<dyn Principal>) -> Self {
        self.principal = Some(principal);
        self
    }

    /// Where calls are counted; nowhere unless it is said.
    #[must_use]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The bus that event streams read; the platform's WebSocket gateway and event replay unless it is said.
    #[must_use]
    pub fn bus(mut self, bus: Option<Arc<dyn Bus>>) -> Self {
        self.bus = bus;
        self
    }

    /// The client. Nothing is connected before the first call.
    #[must_use]
    pub fn build(self) -> Client {
        let judge = Judge::new(self.settings.access.clone());
        let upstream = Arc::new(self.upstream);
        let circuits = Arc::new(Circuits::new(self.settings.breaker.wait));
        let reach = Arc::new(Connector::within(Arc::clone(&self.origin), self.settings.timeouts.connect));
        let cache = Cache::new(self.settings.cache).map(Arc::new);
        let has_keys = self.settings.idempotency_keys;
        let (stack, finder) = stack::build(Parts {
            origin: self.origin,
            settings: self.settings,
            judge: judge.clone(),
            upstream: Arc::clone(&upstream),
            circuits: Arc::clone(&circuits),
            cache: cache.clone(),
            discovery: self.discovery,
            own: self.own,
            principal: self.principal,
        });
        Client {
            stack: Arc::new(stack),
            cache,
            judge,
            upstream,
            circuits,
            extensions: Arc::new(self.extensions),
            reach,
            finder,
            metrics: self.metrics,
            bus: self.bus,
            has_keys,
        }
    }
}

impl Client {
    /// A client of the platform at an origin.
    #[must_use]
    pub fn builder(origin: Arc<dyn Origin>) -> Builder {
        Builder {
            origin,
            settings: Settings::default(),
            upstream: Upstream::default(),
            extensions: Extensions::default(),
            discovery: Discovery::default(),
            own: Vec::new(),
            principal: None,
            metrics: Metrics::default(),
            bus: None,
        }
    }

    /// How callers' permissions are judged.
    #[must_use]
    pub fn access(&self) -> Access {
        self.judge.access()
    }

    /// Judges callers' permissions in another way from now on.
    pub fn replace_access(&self, access: Access) {
        self.judge.replace(access);
    }

    /// Replaces the hosts that the registry may lead to ([`RegistryRules::allowed_hosts`]); nothing where no registry is asked.
    pub fn replace_allowed_hosts(&self, hosts: Vec<String>) {
        if let Some(finder) = &self.finder {
            finder.replace_allowed_hosts(hosts);
        }
    }

    /// By which token calls go on.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Where calls are counted.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The bus that event streams read in place of the platform's WebSocket gateway.
    #[must_use]
    pub const fn bus(&self) -> Option<&Arc<dyn Bus>> {
        self.bus.as_ref()
    }

    /// Whether the platform knows a call again by its `Idempotency-Key`.
    #[must_use]
    pub const fn has_idempotency_keys(&self) -> bool {
        self.has_keys
    }

    /// What the breaker knows of every service.
    #[must_use]
    pub fn health(&self) -> Vec<ServiceHealth> {
        self.circuits.health()
    }

    /// Which operations beyond the contract the platform has.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Evicts from the cache what an event of a tenant says to have changed; everything of the tenant without an event.
    fn evict(&self, tenant: &TenantId, event: Option<&Event>) {
        if let Some(cache) = &self.cache {
            cache.evict(tenant, event);
        }
    }

    /// Opens the WebSocket of a channel, after the frame of a place where one is named.
    ///
    /// # Errors
    /// What the platform has against it, or a platform without a gateway.
    async fn listen(&self, caller: &Arc<Caller>, channel: &str, last_seq: Option<u64>) -> Result<websocket::Socket> {
        let spec = &realtime::SUBSCRIBE;
        self.access().check(caller, spec)?;
        self.upstream.check(caller, spec)?;
        let mut arguments = Map::from_iter([("channel".to_owned(), channel.into())]);
        if let Some(seq) = last_seq {
            arguments.insert(realtime::LAST_SEQ.to_owned(), seq.into());
        }
        let request = wire::encode(spec, &caller.tenant, arguments).map_err(|fault| {
            Error::new(Kind::BadAnswer, "FM-MCP-ANSWER", "the platform's channel cannot go into a path").with_fields(vec![fault])
        })?;
        let picked = match &self.finder {
            Some(finder) => finder.find(&realtime::SERVICE, caller).await?,
            None => None,
        };
        let located = match &picked {
            Some(instance) => instance.located().clone(),
            None => self.reach.locate().await?,
        };
        let proof = self.upstream.prove(caller, &located, None).await?;
        let headers = sign::identity(caller, &proof)?;
        let opened = websocket::open(&self.reach, &located, &request, headers).await;
        if opened.as_ref().is_err_and(|error| error.kind() == Kind::Unauthenticated) {
            self.upstream.refused(caller, &proof.token).await;
        }
        opened
    }

    /// Calls an operation by its type.
    ///
    /// # Errors
    /// What the platform or a layer has against it, or an answer that is not of the operation's type.
    pub async fn send<O: Operation>(&self, caller: &Arc<Caller>, request: &O) -> Result<O::Output> {
        let name = O::SPEC.name;
        let entry =
            catalogue().get(name).ok_or_else(|| Error::new(Kind::Unsupported, "FM-MCP-OPERATION", format!("{name} is in no service")))?;
        let Value::Object(arguments) = serde_json::to_value(request).map_err(Error::internal)? else {
            return Err(Error::new(Kind::Internal, "FM-INTERNAL", format!("a request of {name} is not an object")));
        };
        let reply = self.call(caller, entry, arguments, CallOptions::default()).await?;
        serde_json::from_value(reply.body).map_err(|error| {
            Error::new(Kind::BadAnswer, "FM-MCP-ANSWER", format!("the platform's answer to {name} is not as the contract says: {error}"))
                .during(name)
        })
    }

    /// Calls an operation by its entry in the catalogue; the arguments were checked with [`Entry::check`].
    ///
    /// # Errors
    /// What the platform or a layer has against it.
    pub async fn call(
        &self,
        caller: &Arc<Caller>,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        options: CallOptions,
    ) -> Result<Reply> {
        self.call_by(caller, entry, arguments, options, None).await
    }

    /// Calls a route that no operation has, for a tool whose calls name it. What it may name was judged before.
    ///
    /// # Errors
    /// What the platform or a layer has against it.
    pub async fn request(
        &self,
        caller: &Arc<Caller>,
        entry: &'static Entry,
        request: wire::WireRequest,
        options: CallOptions,
    ) -> Result<Reply> {
        let call = Call::new(entry, Arc::clone(caller), request, options)?;
        self.stack.run(call).await.map_err(|error| error.during(entry.spec.name))
    }

    /// Calls by a token that the caller's was exchanged for just now, where there is one.
    async fn call_by(
        &self,
        caller: &Arc<Caller>,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        options: CallOptions,
        fresh: Option<SecretString>,
    ) -> Result<Reply> {
        let name = entry.spec.name;
        let request = wire::encode(&entry.spec, &caller.tenant, arguments).map_err(|fault| {
            Error::new(Kind::Invalid, "FM-MCP-ARGUMENT", "an argument cannot go into the path").with_fields(vec![fault]).during(name)
        })?;
        let call = Call { fresh, metrics: self.metrics.of(entry), ..Call::new(entry, Arc::clone(caller), request, options)? };
        self.stack.run(call).await.map_err(|error| error.during(name))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
