//! The MCP side: what a host sees, over stdio and streamable HTTP, in both revisions of the protocol.
//!
//! The handler is two `Arc`s; what it knows of the operations it reads from the catalogue. A tool's call is one
//! look-up, the check of its arguments, the caller's permission, a person's consent where the effect asks for it, and
//! one call of the client.

mod answer;
pub mod audit;
mod background;
mod completion;
pub mod consent;
mod derived;
mod digest;
mod files;
mod gateway;
mod handler;
mod host_events;
mod http;
mod known_ids;
mod limits;
mod list_changed;
mod message;
mod metrics_page;
mod prompts;
mod request;
mod resources;
mod rules;
mod secrets;
mod services;
mod stdio;
mod streams;
mod subscriptions;
mod tools;
mod toolsets;
mod waits;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{Implementation, MetaObject, ServerCapabilities, ServerConfig};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::api::arguments::Reading;
use crate::api::{Entry, Operation, catalogue};
use crate::auth::Caller;
use crate::client::events::Hub;
use crate::client::{CallOptions, Client, Reply};
use crate::config::PolicyDecision;
use crate::error::{Error, Kind, Result};
use crate::state::State;
use crate::telemetry::TraceContext;
use rules::Rules;
use toolsets::Offer;

pub use consent::policy::{Policy, Tally};
pub use files::Folder;
pub use host_events::{DeadDeliveries, ErrorNumbers, EventOptions, dead_deliveries, drop_deliveries, resend_deliveries};
pub use http::{Authentication, HttpOptions, serve_http};
pub use limits::Limits;
pub use metrics_page::{MetricsOptions, metrics_page};
pub use secrets::Secrets;
pub use stdio::serve_stdio;
pub use tools::{Listed, list_tools_json, tokens_of};
pub use toolsets::{Selection, Toolset, toolsets};

/// How a person's consent comes about where the host does not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// It is refused and kept pending; the person approves it with `flowmaster-mcp confirm`.
    #[default]
    Refuse,
    /// The host's own approval dialog counts, which the tool's annotations call up.
    Host,
    /// No host is asked: every such call waits for `flowmaster-mcp confirm`.
    Terminal,
}

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What happens when the host cannot ask a person.
    pub confirm: Fallback,
    /// How long a tool may take; the time a person thinks is not counted.
    pub call_timeout: Duration,
    /// How long a person may think.
    pub ask_timeout: Duration,
    /// The largest answer that a model gets, in bytes.
    pub answer_limit: usize,
    /// Where refused calls wait for approval; without it they cannot be approved.
    pub data_dir: Option<PathBuf>,
    /// What the platform is called in questions to the person.
    pub platform_name: String,
    /// Whether the platform is the embedded one.
    pub embedded: bool,
    /// What is recorded of calls and refusals, and where it goes; without it nothing is.
    pub audit: Option<audit::Options>,
    /// What the operator allows, has asked about, or denies.
    pub policy: Arc<Policy>,
    /// The secrets that calls may name.
    pub secrets: Arc<Secrets>,
    /// The folder that calls may name files of.
    pub files: Option<Arc<Folder>>,
    /// Which tools the operator offers.
    pub tools: Arc<Selection>,
    /// How many calls a minute callers may make.
    pub limits: Arc<Limits>,
    /// Further names that the server may be called by over HTTP.
    pub allowed_hosts: Vec<String>,
    /// Further origins of web pages that may call it.
    pub allowed_origins: Vec<String>,
    /// Whether the rules may change while it runs, so that hosts are promised to be told.
    pub changes: bool,
    /// How MCP Events are served.
    pub events: EventOptions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            confirm: Fallback::Refuse,
            call_timeout: Duration::from_mins(1),
            ask_timeout: Duration::from_mins(5),
            answer_limit: 32 * 1024,
            data_dir: None,
            platform_name: "FlowMaster".to_owned(),
            embedded: false,
            audit: None,
            policy: Arc::default(),
            secrets: Arc::default(),
            files: None,
            tools: Arc::default(),
            limits: Arc::default(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            changes: false,
            events: EventOptions::default(),
        }
    }
}

/// What an [`App`] is made of.
#[derive(Debug)]
pub struct Options {
    /// The way to the platform.
    pub client: Client,
    /// How the server behaves.
    pub settings: Settings,
}

/// One server, shared by all its connections.
#[derive(Debug)]
pub struct App {
    client: Client,
    settings: Settings,
    info: ServerConfig,
    identity: MetaObject,
    rules: watch::Sender<Arc<Rules>>,
    seen: known_ids::KnownIds,
    approvals: consent::approvals::Approvals,
    audit: audit::Audit,
    state: State,
    calls: TaskTracker,
    hub: Hub,
    boards: subscriptions::Boards,
    events: host_events::HostEvents,
}

impl App {
    /// A server. Nothing is opened, locked or connected before a call needs it.
    ///
    /// # Errors
    /// No random numbers from the system, or the name of a host or an origin that cannot be understood.
    pub fn new(options: Options) -> Result<Arc<Self>> {
        let Options { client, settings } = options;
        let hub = Hub::new(client.clone());
        let rules = Rules::new(&settings, client.access())?;
        let implementation = Implementation::new("flowmaster-mcp", env!("CARGO_PKG_VERSION"))
            .with_title("FlowMaster")
            .with_description(env!("CARGO_PKG_DESCRIPTION"));
        let identity = serde_json::to_value(&implementation).map_err(Error::internal)?;
        let mut capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_prompts()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tasks()
            .enable_tools()
            .build();
        host_events::extend(&mut capabilities.extensions);
        let info =
            ServerConfig::new(capabilities).with_server_info(implementation).with_instructions(include_str!("server/instructions.md"));
        let data_dir = settings.data_dir.as_deref();
        let state = State::new(data_dir);
        let log_dir = settings.audit.as_ref().map(|options| options.data_dir.as_path());
        let log_state = if log_dir == data_dir { state.clone() } else { State::new(log_dir) };
        Ok(Arc::new(Self {
            audit: audit::Audit::new(settings.audit.clone(), &client, &log_state),
            client,
            approvals: consent::approvals::Approvals::new(state.clone(), settings.ask_timeout, data_dir),
            info,
            identity: MetaObject(Map::from_iter([("io.modelcontextprotocol/serverInfo".to_owned(), identity)])),
            rules: watch::Sender::new(Arc::new(rules)),
            seen: known_ids::KnownIds::default(),
            state,
            calls: TaskTracker::new(),
            hub,
            boards: subscriptions::Boards::default(),
            events: host_events::HostEvents::new(&settings.events),
            settings,
        }))
    }

    /// Whether the platform has an operation, as far as it is known.
    fn has(&self, entry: &Entry) -> bool {
        self.client.extensions().have(&entry.spec)
    }

    /// Finds out whether the platform has an operation, where it is beyond the contract.
    async fn learn(&self, entry: &Entry) {
        if entry.spec.extension {
            self.client.extensions().learn().await;
        }
    }

    /// What is offered where no host narrows it.
    fn offer(&self) -> Offer {
        Offer { operator: Arc::clone(&self.rules().tools), session: None, request: None }
    }

    /// Whether a caller may see and call an operation, as far as this side can tell.
    fn may(&self, caller: &Caller, offer: &Offer, entry: &Entry) -> bool {
        offer.holds(entry) && self.authorise(caller, entry).is_ok()
    }

    /// How many tools a caller is offered.
    #[must_use]
    pub fn offers(&self, caller: &Caller) -> usize {
        self.tools_of(caller, &self.offer()).len()
    }

    /// Whether a caller may see an operation, and call it without anybody being asked.
    fn may_freely(&self, caller: &Caller, offer: &Offer, entry: &Entry) -> bool {
        offer.holds(entry) && self.asks_nobody(caller, entry)
    }

    /// Whether a caller may call an operation without anybody being asked, by a tool or for the sake of another.
    fn asks_nobody(&self, caller: &Caller, entry: &Entry) -> bool {
        self.has(entry) && self.authorise(caller, entry).is_ok_and(|decision| decision == PolicyDecision::Allow)
    }

    /// Refuses a call that the caller's permissions, the way upstream or the operator's policy rule out, and says
    /// whether a person is asked about any other.
    fn authorise(&self, caller: &Caller, entry: &Entry) -> Result<PolicyDecision> {
        if !entry.spec.is_derivable {
            self.client.extensions().check(&entry.spec)?;
        }
        let rules = self.rules();
        rules.access.check(caller, &entry.spec)?;
        self.client.upstream().check(caller, &entry.spec)?;
        rules.policy.check(caller, &entry.spec)
    }

    /// Reads what is not a tool's answer, such as a resource or a prompt's data. There no person can be asked, so what the
    /// policy has confirmed is had by the tool alone.
    async fn read(&self, caller: &Arc<Caller>, name: &str, arguments: Map<String, Value>, limit: usize) -> Result<Reply> {
        let entry = operation(name)?;
        self.learn(entry).await;
        if self.authorise(caller, entry)? == PolicyDecision::Confirm {
            return Err(Error::new(
                Kind::Forbidden,
                "FM-MCP-POLICY",
                format!("a person is asked before {name}, which the tool alone can do"),
            )
            .hint(format!("Call the tool {name} instead.")));
        }
        self.rules().limits.pay(caller, entry, self.client.metrics())?;
        self.answer(caller, entry, Self::checked(caller, entry, arguments)?, CallOptions::default(), limit).await
    }

    /// Reads the present state by an operation's type, as the caller would by the operation's own tool.
    async fn read_as<O: Operation>(&self, caller: &Arc<Caller>, request: &O, trace: TraceContext) -> Result<O::Output> {
        let name = O::SPEC.name;
        let entry = operation(name)?;
        if self.authorise(caller, entry)? != PolicyDecision::Allow {
            return Err(Error::new(
                Kind::Forbidden,
                "FM-MCP-POLICY",
                format!("a person is asked before {name}, so nothing else can be made of it"),
            )
            .hint(format!("Call the tool {name} instead.")));
        }
        let Value::Object(arguments) = serde_json::to_value(request).map_err(Error::internal)? else {
            return Err(Error::internal(format!("a request of {name} is not an object")));
        };
        let options = CallOptions { is_fresh: true, traceparent: Some(trace), ..CallOptions::default() };
        typed(self.send(caller, entry, arguments, options).await?.body)
    }

    /// Reads the object of a question, for the person who is asked.
    async fn look(&self, caller: &Arc<Caller>, name: &str, arguments: Map<String, Value>) -> Result<Reply> {
        let entry = operation(name)?;
        self.learn(entry).await;
        self.authorise(caller, entry)?;
        self.fetch(caller, entry, arguments).await
    }

    async fn fetch(&self, caller: &Arc<Caller>, entry: &'static Entry, arguments: Map<String, Value>) -> Result<Reply> {
        let arguments = Self::checked(caller, entry, arguments)?;
        // A person judges the object as it is now.
        self.send(caller, entry, arguments, CallOptions { is_fresh: true, ..CallOptions::default() }).await
    }

    /// Puts arguments into their proper form.
    fn checked(caller: &Caller, entry: &Entry, arguments: Map<String, Value>) -> Result<Map<String, Value>> {
        if let Some(kept) = entry.spec.operators.iter().find(|kept| arguments.contains_key(**kept)) {
            return Err(Error::new(Kind::Invalid, "FM-MCP-ARGUMENTS", format!("the arguments of {} are not right", entry.spec.name))
                .field(format!("/{kept}"), "unknown", "is not an argument of this tool")
                .hint("Leave it out: calls are for the caller's own tenant."));
        }
        let mut arguments = Value::Object(arguments);
        entry.check(&mut arguments, Reading::Lenient).map_err(|faults| {
            Error::new(Kind::Invalid, "FM-MCP-ARGUMENTS", format!("the arguments of {} are not right", entry.spec.name))
                .with_fields(faults)
                .hint("Correct the fields named and call again.")
        })?;
        entry.name_caller(&mut arguments, &caller.subject);
        match arguments {
            Value::Object(arguments) => Ok(arguments),
            _ => Err(Error::new(Kind::Internal, "FM-INTERNAL", "checked arguments are not an object")),
        }
    }

    /// Calls the platform, within the time that a tool may take.
    async fn send(
        &self,
        caller: &Arc<Caller>,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        options: CallOptions,
    ) -> Result<Reply> {
        self.client.extensions().check(&entry.spec)?;
        let options = CallOptions { deadline: Some(self.settings.call_timeout), ..options };
        self.client.call(caller, entry, arguments, options).await
    }
}

/// A JSON value as one of our types, which it was checked to be.
fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(Error::internal)
}

fn operation(name: &str) -> Result<&'static Entry> {
    catalogue().get(name).ok_or_else(|| Error::new(Kind::Unsupported, "FM-MCP-OPERATION", format!("{name} is not offered")))
}
