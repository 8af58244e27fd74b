//! The instances that the Service Registry lists: asked for at the first call to a service, again now and then beside the calls,
//! and kept as they were last known while the registry is away.
//!
//! A registry may be wrong or lie: nothing is sent to a host that the operator has not allowed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::instances::{InUse, Instance, choose};
use crate::api::ids::TenantId;
use crate::api::registry::{self, Discover, Health};
use crate::api::{Entry, Operation as _, Page, Service, catalogue, wire};
use crate::auth::Caller;
use crate::client::call::{Call, CallOptions};
use crate::client::layer::Transport;
use crate::client::layers::breaker::Circuits;
use crate::client::origin::Fixed;
use crate::error::{Error, Kind, Result};
use crate::io::outbound;

/// Longest that the registry is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Instances of a service that are known at most.
const MAX_INSTANCES: usize = 64;
/// Lists of services, by tenant, that are known at most.
const MAX_LISTS: u64 = 10_000;

/// What is believed of a registry, and how often it is asked.
#[derive(Debug, Clone)]
pub struct RegistryRules {
    /// Hosts that calls may go to: `tasks.internal`, `*.flowmaster.internal`. This machine alone where there are none. They may
    /// be replaced ([`Client::replace_allowed_hosts`](crate::client::Client::replace_allowed_hosts)).
    pub allowed_hosts: Vec<String>,
    /// Whether instances beyond this machine may be called unencrypted.
    pub plain_http: bool,
    /// Attributes of instances that are preferred.
    pub prefer: BTreeMap<String, String>,
    /// How old a list may be before it is asked for again.
    pub refresh: Duration,
}

/// See the module.
pub(in crate::client) struct Registry {
    rules: RegistryRules,
    /// The hosts of the rules, as they are now.
    allowed_hosts: RwLock<Arc<[String]>>,
    circuits: Arc<Circuits>,
    asks: Arc<dyn Transport>,
    /// Whether the server has an account of its own, which asks rather than a caller.
    has_account: bool,
    lists: Cache<(TenantId, &'static str), Arc<List>>,
    turn: AtomicUsize,
}

#[derive(Default)]
struct List {
    known: Mutex<Known>,
    /// Held while the registry is asked, so that it is asked once.
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Default)]
struct Known {
    asked_at: Option<Instant>,
    instances: Arc<[Arc<Instance>]>,
}

impl Registry {
    pub(super) fn new(rules: RegistryRules, circuits: Arc<Circuits>, asks: Arc<dyn Transport>, has_account: bool) -> Self {
        let lists = Cache::builder().max_capacity(MAX_LISTS).time_to_idle(Duration::from_hours(1)).build();
        let allowed_hosts = RwLock::new(rules.allowed_hosts.as_slice().into());
        Self { rules, allowed_hosts, circuits, asks, has_account, lists, turn: AtomicUsize::new(0) }
    }

    /// Sends calls to these hosts alone from now on. Lists that were judged by the hosts of before are dropped.
    pub(super) fn replace_allowed_hosts(&self, hosts: Vec<String>) {
        let mut allowed = self.allowed_hosts.write().unwrap_or_else(PoisonError::into_inner);
        if **allowed != *hosts {
            *allowed = hosts.into();
            drop(allowed);
            self.lists.invalidate_all();
        }
    }

    /// The instance that takes a call; none for the registry itself, which stands behind the origin.
    pub(super) async fn find(self: &Arc<Self>, service: &'static Service, caller: &Arc<Caller>) -> Result<Option<InUse>> {
        if service.name == registry::SERVICE.name {
            return Ok(None);
        }
        let list = self.lists.get_with((caller.tenant.clone(), service.name), Arc::default);
        let known = list.known();
        if known.instances.is_empty() {
            let _turn = list.asking.lock().await;
            if list.known().instances.is_empty() {
                list.learn(self.ask(service, caller).await?);
            }
        } else if known.asked_at.is_none_or(|at| at.elapsed() >= self.rules.refresh)
            && let Ok(turn) = Arc::clone(&list.asking).try_lock_owned()
        {
            list.asked();
            let (registry, list, caller) = (Arc::clone(self), Arc::clone(&list), Arc::clone(caller));
            tokio::spawn(async move {
                match registry.ask(service, &caller).await {
                    Ok(instances) => list.learn(instances),
                    Err(error) => tracing::warn!(service = service.name, %error, "the registry does not help; its last list is kept"),
                }
                drop(turn);
            });
        }
        Ok(self.choose(service, &list.known().instances))
    }

    /// One of the instances that can be called; one that cannot where there is no other, so that the breaker says so.
    fn choose(&self, service: &Service, instances: &[Arc<Instance>]) -> Option<InUse> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let open: Vec<_> = instances.iter().filter(|instance| !self.circuits.is_open(service, instance.name())).collect();
        let is_preferred = |instance: &Instance| self.rules.prefer.iter().all(|(attribute, value)| instance.has(attribute, value));
        let preferred: Vec<_> = open.iter().copied().filter(|instance| is_preferred(instance)).collect();
        [preferred, open, instances.iter().collect()].iter().find_map(|choice| choose(choice, turn)).map(InUse::of)
    }

    async fn ask(&self, service: &'static Service, caller: &Arc<Caller>) -> Result<Vec<Instance>> {
        if self.has_account {
            let account = Arc::new(Caller::service(caller.tenant.clone()));
            match self.ask_as(service, &account).await {
                // A tenant in which the server has no account asks for itself.
                Err(error) if error.code() == "FM-MCP-NO-ACCOUNT" => {}
                answer => return answer,
            }
        }
        self.ask_as(service, caller).await
    }

    async fn ask_as(&self, service: &'static Service, caller: &Arc<Caller>) -> Result<Vec<Instance>> {
        let entry = catalogue().get(Discover::SPEC.name).ok_or_else(|| Error::internal("the registry's operation is not there"))?;
        // The contract writes both.
        for name in [format!("{}-service", service.name), service.name.to_owned()] {
            let listed = match self.list(entry, &name, caller).await {
                Err(error) if error.kind() == Kind::NotFound => continue,
                listed => listed.map_err(|error| unfound(service, &error))?,
            };
            if !listed.is_empty() {
                return self.admit(service, listed);
            }
        }
        Err(none(service))
    }

    async fn list(&self, entry: &'static Entry, name: &str, caller: &Arc<Caller>) -> Result<Vec<registry::Instance>> {
        let arguments = [("name".to_owned(), json!(name)), ("limit".to_owned(), json!(MAX_INSTANCES))];
        let request = wire::encode(&entry.spec, &caller.tenant, arguments.into_iter().collect())
            .map_err(|fault| Error::internal(format!("the registry cannot be asked: {}", fault.detail)))?;
        let call = Call::new(entry, Arc::clone(caller), request, CallOptions::default())?.ending(TIMEOUT);
        let answer = tokio::time::timeout(TIMEOUT, self.asks.send(call)).await;
        let reply = answer.map_err(|_| Error::new(Kind::Timeout, "FM-MCP-TIMEOUT", "the registry did not answer in time"))??;
        let page: Page<registry::Instance> = serde_json::from_value(reply.body).map_err(|error| {
            Error::new(Kind::BadAnswer, "FM-MCP-ANSWER", format!("the registry's answer is not as the contract says: {error}"))
        })?;
        Ok(page.items)
    }

    /// The instances that may be called: healthy, or else degraded, at hosts that are allowed.
    fn admit(&self, service: &Service, listed: Vec<registry::Instance>) -> Result<Vec<Instance>> {
        let mut refused = None;
        let (mut healthy, mut degraded) = (Vec::new(), Vec::new());
        for instance in listed.into_iter().take(MAX_INSTANCES) {
            let among = match instance.status {
                None | Some(Health::Healthy) => &mut healthy,
                Some(Health::Degraded) => &mut degraded,
                Some(_) => continue,
            };
            match self.place_of(&instance) {
                Ok(place) => among.push(Instance::new(&place, instance.metadata)),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        let admitted = if healthy.is_empty() { degraded } else { healthy };
        match (admitted.is_empty(), refused) {
            (false, refused) => {
                if let Some(why) = refused {
                    tracing::warn!(service = service.name, why, "an instance that the registry lists is not called");
                }
                Ok(admitted)
            }
            (true, None) => Err(none(service)),
            (true, Some(why)) => {
                let message = format!("the registry lists instances of {}, but none may be called: {why}", service.title());
                Err(Error::new(Kind::Unavailable, "FM-MCP-DISCOVERY-HOST", message)
                    .unsent()
                    .conclusive()
                    .hint("The operator adds its host to discovery.allowed_hosts, or corrects the registry."))
            }
        }
    }

    /// Where an instance is, or why it may not be called.
    fn place_of(&self, instance: &registry::Instance) -> std::result::Result<Fixed, String> {
        let quoted = |text: &str| format!("{:?}", text.chars().take(100).collect::<String>());
        let host = instance.host.as_deref().unwrap_or_default();
        let (Some(port), false) = (instance.port, host.is_empty()) else { return Err("an instance has no host or no port".to_owned()) };
        let literal = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        // Read as it will be called: an address has many spellings.
        let read = |scheme: &str| Url::parse(&format!("{scheme}://{literal}:{port}/")).ok();
        let Some(url) =
            read("https").filter(|url| url.path() == "/" && url.username().is_empty() && url.port_or_known_default() == Some(port))
        else {
            return Err(format!("{} is no host", quoted(host)));
        };
        let is_here = outbound::is_loopback(&url);
        let name = url.host_str().unwrap_or_default();
        let is_allowed = |allowed: &String| match allowed.strip_prefix("*.") {
            Some(domain) => name.len() > domain.len() + 1 && name.ends_with(domain) && name[..name.len() - domain.len()].ends_with('.'),
            None => allowed.trim_matches(['[', ']']).eq_ignore_ascii_case(name.trim_matches(['[', ']'])),
        };
        let allowed = Arc::clone(&self.allowed_hosts.read().unwrap_or_else(PoisonError::into_inner));
        let may_be_called = if allowed.is_empty() { is_here } else { allowed.iter().any(is_allowed) };
        if !may_be_called {
            return Err(format!("{} is not among the hosts that are allowed", quoted(host)));
        }
        let scheme = match instance.metadata.get("scheme").and_then(Value::as_str) {
            Some("https") => "https",
            Some("http") if is_here || self.rules.plain_http => "http",
            Some("http") => {
                return Err(format!("{} would be called unencrypted, which upstream.allow_plain_http does not allow", quoted(host)));
            }
            _ if is_here => "http",
            _ => "https",
        };
        Fixed::new(read(scheme).map(String::from).unwrap_or_default().as_str()).map_err(|error| error.to_string())
    }
}

impl List {
    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn asked(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).asked_at = Some(Instant::now());
    }

    /// Takes a new list in; what stays keeps the count of its calls.
    fn learn(&self, found: Vec<Instance>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = |new: Instance| known.instances.iter().find(|old| old.is_same(&new)).map_or_else(|| Arc::new(new), Arc::clone);
        let instances = found.into_iter().map(kept).collect();
        *known = Known { asked_at: Some(Instant::now()), instances };
    }
}

fn unfound(service: &Service, error: &Error) -> Error {
    let message = format!("the registry does not say where {} is: {error}", service.title());
    let unfound = Error::new(Kind::Unavailable, "FM-MCP-DISCOVERY", message).unsent();
    match error.when_to_retry() {
        Some(wait) => unfound.retry_after(wait),
        None => unfound,
    }
}

fn none(service: &Service) -> Error {
    let message = format!("the registry lists no healthy instance of {}", service.title());
    Error::new(Kind::Unavailable, "FM-MCP-NO-INSTANCE", message)
        .unsent()
        .conclusive()
        .hint("`services_list` shows what runs. Try again in a minute.")
}
