//! The embedded FlowMaster: one app on loopback over one SQLite file, a reference implementation of the contract.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Timestamp, ids};
use crate::error::{Error, Kind, Result};

pub mod clock;
mod database;
mod declared_fields;
mod engine;
mod events;
mod faults;
pub mod folder;
mod full_text;
mod http;
mod identity;
mod keys;
mod outbound;
mod queue;
mod services;
mod turns;
mod vocabulary;
mod windows;

pub use clock::{Clock, ManualClock, SystemClock};
pub use events::Webhooks;
pub use faults::{Fault, FaultKind, Faults};
pub use http::limits::RouteLimit;
pub use services::agents::{Agents, Key, Provider, ProviderKind};
pub use services::audit::{Verdict, verify_trails};
pub use services::integrations::Integrations;
pub use services::notifications::{Encryption, Gateway, Notifications, Smtp};

use database::Database;
use folder::{Address, Lock};
use keys::Keys;

/// How long a shutdown waits for requests and workers under way.
const DRAIN: Duration = Duration::from_secs(5);

/// How a platform is started.
#[derive(Clone)]
pub struct Options {
    /// Where its data is; made if missing.
    pub data_dir: PathBuf,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names beside loopback and its own address that a Host header may hold.
    pub allowed_hosts: Vec<String>,
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// How many calls of a tenant routes take; any number where there is none.
    pub route_limits: Vec<RouteLimit>,
    /// How events are delivered to webhooks.
    pub webhooks: Webhooks,
    /// The program that recognises text in scans.
    pub ocr_program: PathBuf,
    /// How notifications are delivered.
    pub notifications: Notifications,
    /// How outside systems are called.
    pub integrations: Integrations,
    /// How agents reach language models.
    pub agents: Agents,
    /// The faults that it shows on request; none at first.
    pub faults: Faults,
}

impl Options {
    /// A platform on a free port of loopback, with the system's time.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allowed_hosts: Vec::new(),
            clock: Arc::new(SystemClock),
            route_limits: Vec::new(),
            webhooks: Webhooks::default(),
            ocr_program: PathBuf::from("tesseract"),
            notifications: Notifications::default(),
            integrations: Integrations::default(),
            agents: Agents::default(),
            faults: Faults::default(),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("data_dir", &self.data_dir).field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// What handlers and workers share; clones are cheap.
#[derive(Clone)]
pub struct Platform {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    data_dir: PathBuf,
    clock: Arc<dyn Clock>,
    keys: Keys,
    owner_token: SecretString,
    address: SocketAddr,
    allowed_hosts: Vec<String>,
    instance: String,
    stopping: CancellationToken,
    tracker: TaskTracker,
    engine: Notify,
    deadlines: Notify,
    retraining: Notify,
    entity_fields: Notify,
    schedules: Notify,
    import_schedules: Notify,
    import_runs: Notify,
    running_keys: http::idempotency::Running,
    route_limits: http::limits::Limits,
    webhooks: Webhooks,
    ocr_program: PathBuf,
    leases: Notify,
    queued_notifications: Notify,
    queued_messages: Notify,
    notifications: Notifications,
    integrations: Integrations,
    hub: services::integrations::Hub,
    agents: services::agents::State,
    realtime: services::realtime::State,
    faults: Faults,
    outbound: OnceLock<reqwest::Client>,
    embedded: HashSet<&'static str>,
    compute: turns::compute::Compute,
    started: Timestamp,
    auth: identity::passwords::Guard,
    login_attempts: identity::attempts::Attempts,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").field("address", &self.inner.address).field("instance", &self.inner.instance).finish_non_exhaustive()
    }
}

impl Platform {
    /// Opens the data folder, binds the listener and starts the workers.
    ///
    /// # Errors
    /// The folder is refused, in use or of another version, or the address cannot be bound.
    pub async fn start(options: Options) -> Result<Running> {
        folder::owner_token(&options.data_dir)?;
        let lock = Lock::take(&options.data_dir)?.ok_or_else(|| {
            Error::new(
                Kind::Conflict,
                "FM-PLATFORM-FOLDER-BUSY",
                format!("another process runs the platform of {}", options.data_dir.display()),
            )
            .hint("End that process, connect to it, or choose another data folder.")
        })?;
        Self::start_locked(options, lock).await
    }

    /// Starts the platform of a folder whose lock is held.
    pub(crate) async fn start_locked(options: Options, lock: Lock) -> Result<Running> {
        let Options { data_dir, listen, allowed_hosts, clock, route_limits, .. } = options;
        let Options { webhooks, ocr_program, notifications, integrations, agents, faults, .. } = options;
        notifications.check()?;
        services::agents::check(&agents)?;
        let route_limits = http::limits::Limits::new(&route_limits)?;
        let owner_token = folder::owner_token(&data_dir)?;
        let keys = folder::folder_keys(&data_dir)?;
        // The lock goes with the writer: it is free only once the database is closed.
        let (database, closed) = Database::open(folder::make_database_file(&data_dir)?, Arc::clone(&clock), lock).await?;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            Error::new(Kind::Unavailable, "FM-PLATFORM-ADDRESS", format!("{listen} cannot be bound: {error}"))
                .hint("Choose another address, or port 0 for a free one.")
                .caused_by(error)
        })?;
        let address = listener.local_addr().map_err(Error::internal)?;
        let instance = ids::unique();
        let started = clock.now();
        let platform = Self {
            inner: Arc::new(Inner {
                database,
                data_dir: data_dir.clone(),
                clock,
                keys,
                owner_token,
                address,
                allowed_hosts,
                instance: instance.clone(),
                stopping: CancellationToken::new(),
                tracker: TaskTracker::new(),
                engine: Notify::new(),
                deadlines: Notify::new(),
                retraining: Notify::new(),
                entity_fields: Notify::new(),
                schedules: Notify::new(),
                import_schedules: Notify::new(),
                import_runs: Notify::new(),
                running_keys: http::idempotency::Running::default(),
                route_limits,
                webhooks,
                ocr_program,
                leases: Notify::new(),
                queued_notifications: Notify::new(),
                queued_messages: Notify::new(),
                notifications,
                integrations,
                hub: services::integrations::Hub::default(),
                agents: services::agents::State::new(agents),
                realtime: services::realtime::State::default(),
                faults,
                outbound: OnceLock::new(),
                embedded: services::routes().services(),
                compute: turns::compute::Compute::default(),
                started,
                auth: identity::passwords::Guard::default(),
                login_attempts: identity::attempts::Attempts::default(),
            }),
        };
        services::spawn(&platform);
        http::listener::serve(&platform, listener);
        folder::write_address(&data_dir, &Address { url: format!("http://{address}"), instance })?;
        Ok(Running { platform, data_dir, closed: Some(closed) })
    }

    /// The database.
    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    /// The data folder.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    /// The keys of the data folder.
    pub(crate) fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Which run of the platform this is.
    pub(crate) fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// Where the platform listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Cancelled when the platform stops.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.inner.stopping
    }

    /// The position of the last committed event; it changes with every commit that emits.
    pub(crate) fn events_notify(&self) -> watch::Receiver<i64> {
        self.inner.database.events()
    }

    /// Wakes the engine when there is work for it.
    pub(crate) fn engine_notify(&self) -> &Notify {
        &self.inner.engine
    }

    /// Wakes the watcher of deadlines when there is a new one.
    pub(crate) fn deadlines_notify(&self) -> &Notify {
        &self.inner.deadlines
    }

    /// Wakes the worker of retraining jobs when there is a new one.
    pub(crate) fn retraining_notify(&self) -> &Notify {
        &self.inner.retraining
    }

    /// Wakes what reads older records when a type's fields were declared.
    pub(crate) fn entity_fields_notify(&self) -> &Notify {
        &self.inner.entity_fields
    }

    /// Wakes the watcher of schedules when one was changed.
    pub(crate) fn schedules_notify(&self) -> &Notify {
        &self.inner.schedules
    }

    /// Wakes what queues the runs of imports when a schedule was set.
    pub(crate) fn import_schedules_notify(&self) -> &Notify {
        &self.inner.import_schedules
    }

    /// Wakes the worker of imports when a run was queued.
    pub(crate) fn import_runs_notify(&self) -> &Notify {
        &self.inner.import_runs
    }

    /// Wakes the watcher of leases when there is a new one.
    pub(crate) fn leases_notify(&self) -> &Notify {
        &self.inner.leases
    }

    /// Wakes the sender of notifications when there is a new one.
    pub(crate) fn notifications_notify(&self) -> &Notify {
        &self.inner.queued_notifications
    }

    /// Wakes the sender of messages when one waits for its next attempt.
    pub(crate) fn messages_notify(&self) -> &Notify {
        &self.inner.queued_messages
    }

    /// The names of the services with operations that run here.
    pub(crate) fn embedded(&self) -> &HashSet<&'static str> {
        &self.inner.embedded
    }

    /// The threads for what takes the processor long.
    pub(crate) fn compute(&self) -> &turns::compute::Compute {
        &self.inner.compute
    }

    /// When this run began.
    pub(crate) fn started(&self) -> Timestamp {
        self.inner.started
    }

    /// The place of the client that calls what tenants and operators name; `outbound::client` makes it at the first need.
    pub(crate) fn outbound(&self) -> &OnceLock<reqwest::Client> {
        &self.inner.outbound
    }

    /// Runs background work that a shutdown waits for; it must end when [`Platform::stopping`] is cancelled.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.inner.tracker.spawn(work);
    }

    /// How many calls of a tenant routes take.
    pub(crate) fn route_limits(&self) -> &http::limits::Limits {
        &self.inner.route_limits
    }

    /// How events are delivered to webhooks.
    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.inner.webhooks
    }

    /// The program that recognises text in scans.
    pub(crate) fn ocr_program(&self) -> &Path {
        &self.inner.ocr_program
    }

    /// How notifications are delivered.
    pub(crate) fn notifications(&self) -> &Notifications {
        &self.inner.notifications
    }

    /// How outside systems are called.
    pub(crate) fn integrations(&self) -> &Integrations {
        &self.inner.integrations
    }

    /// What the Integration Hub remembers.
    pub(crate) fn hub(&self) -> &services::integrations::Hub {
        &self.inner.hub
    }

    /// What the AI Agent Service keeps in memory.
    pub(crate) fn agents(&self) -> &services::agents::State {
        &self.inner.agents
    }

    /// What the WebSocket Gateway keeps in memory.
    pub(crate) fn realtime(&self) -> &services::realtime::State {
        &self.inner.realtime
    }

    /// Counts a task that a shutdown waits for until the token is dropped.
    pub(crate) fn tracked(&self) -> tokio_util::task::task_tracker::TaskTrackerToken {
        self.inner.tracker.token()
    }

    /// The one route of an operation, with all that stands before it: who asks, for which tenant, and whether they may.
    pub(crate) fn front_door(&self, operation: &str) -> axum::Router {
        services::routes().only(operation).router(self)
    }

    /// The faults that it shows on request.
    pub(crate) fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    fn running_keys(&self) -> http::idempotency::Running {
        Arc::clone(&self.inner.running_keys)
    }

    fn login_attempts(&self) -> &identity::attempts::Attempts {
        &self.inner.login_attempts
    }

    fn guard(&self) -> &identity::passwords::Guard {
        &self.inner.auth
    }

    fn answers_to(&self, host: &str) -> bool {
        http::listener::is_ours(host, self.inner.address, &self.inner.allowed_hosts)
    }

    fn is_owner_token(&self, token: &str) -> bool {
        keys::same(token.as_bytes(), self.inner.owner_token.expose_secret().as_bytes())
    }
}

/// A platform that runs in this process; dropping it ends it.
#[derive(Debug)]
pub struct Running {
    platform: Platform,
    data_dir: PathBuf,
    closed: Option<oneshot::Receiver<()>>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.platform.inner.address
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The token of the data folder's owner.
    #[must_use]
    pub fn owner_token(&self) -> SecretString {
        self.platform.inner.owner_token.clone()
    }

    /// Which run of the platform it is.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.platform.instance()
    }

    /// The platform.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Ends it: no new requests, those under way are answered, the database is closed and the folder free.
    pub async fn shutdown(mut self) {
        let closed = self.closed.take();
        let tracker = self.platform.inner.tracker.clone();
        drop(self);
        let drained = async {
            tracker.wait().await;
            if let Some(closed) = closed {
                let _ = closed.await;
            }
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("the platform ended with requests under way");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        folder::clear_address(&self.data_dir, self.platform.instance());
        self.platform.inner.stopping.cancel();
        self.platform.inner.tracker.close();
    }
}
