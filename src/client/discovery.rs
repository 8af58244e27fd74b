//! Where a service is: behind the platform's gateway, at a URL of its own, or at the instances that the registry lists.

mod instances;
mod registry;

use std::collections::HashMap;
use std::sync::Arc;

use super::layer::Transport;
use super::origin::Fixed;
use crate::api::{SERVICES, Service};
use crate::auth::Caller;
use crate::client::layers::breaker::Circuits;
use crate::error::{Error, Kind, Result};
pub(super) use instances::InUse;
use instances::Instance;
use registry::Registry;
pub use registry::RegistryRules;

/// How services are found.
#[derive(Debug, Clone, Default)]
pub enum Discovery {
    /// All of them behind the client's origin.
    #[default]
    Gateway,
    /// Some at URLs of their own, by name ([`service_named`]); the others behind the origin.
    Services(Vec<(&'static str, Fixed)>),
    /// At the instances that the registry behind the origin lists.
    Registry(RegistryRules),
}

/// Finds the place of a call.
pub(super) enum Finder {
    /// By the name of the service.
    Services(HashMap<&'static str, Arc<Instance>>),
    Registry(Arc<Registry>),
}

impl Finder {
    /// The finder of a client; none where all is behind the origin. `asks` sends what the registry is asked.
    pub(super) fn new(discovery: Discovery, circuits: &Arc<Circuits>, asks: Arc<dyn Transport>, has_account: bool) -> Option<Self> {
        match discovery {
            Discovery::Gateway => None,
            Discovery::Services(places) => {
                Some(Self::Services(places.into_iter().map(|(service, place)| (service, Arc::new(Instance::of(&place)))).collect()))
            }
            Discovery::Registry(rules) => Some(Self::Registry(Arc::new(Registry::new(rules, Arc::clone(circuits), asks, has_account)))),
        }
    }

    /// Sends what the registry leads to these hosts alone from now on.
    pub(super) fn replace_allowed_hosts(&self, hosts: Vec<String>) {
        if let Self::Registry(registry) = self {
            registry.replace_allowed_hosts(hosts);
        }
    }

    /// The instance that a call to a service goes to; none where it goes to the origin.
    pub(super) async fn find(&self, service: &'static Service, caller: &Arc<Caller>) -> Result<Option<InUse>> {
        match self {
            Self::Services(places) => Ok(places.get(service.name).map(InUse::of)),
            Self::Registry(registry) => registry.find(service, caller).await,
        }
    }
}

/// The service of a name, in both of its spellings: `human-task` and `human-task-service`.
///
/// # Errors
/// There is none of the name.
pub fn service_named(name: &str) -> Result<&'static Service> {
    let short = name.strip_suffix("-service").unwrap_or(name);
    SERVICES.iter().find(|service| service.name == short).ok_or_else(|| {
        let known = SERVICES.iter().map(|service| service.name).collect::<Vec<_>>().join(", ");
        Error::configuration(Kind::Invalid, "FM-CONFIG-SERVICE", format!("discovery.services names {name:?}, which is no service"))
            .hint(format!("The services are {known}."))
    })
}
