//! The platform's own 22 services: which of them run in it, and that they are up.

use serde_json::json;

use crate::api::registry::{Health, Instance};
use crate::api::{SERVICES, gateway};
use crate::platform::Platform;

/// An instance for each service of the contract. A service that is not embedded has no address and gets no calls.
pub(super) fn all(platform: &Platform) -> Vec<Instance> {
    // The gateway has no operation of its own: it is the listener.
    let is_embedded = |name| name == gateway::SERVICE.name || platform.embedded().contains(name);
    SERVICES.iter().map(|service| instance(platform, service.name, is_embedded(service.name))).collect()
}

/// Finds an own instance by its id.
pub(super) fn find(platform: &Platform, id: &str) -> Option<Instance> {
    all(platform).into_iter().find(|instance| instance.instance_id.as_str() == id)
}

fn instance(platform: &Platform, name: &str, is_embedded: bool) -> Instance {
    let address = platform.address();
    let metadata = if is_embedded { json!({ "embedded": true, "run": platform.instance() }) } else { json!({ "embedded": false }) };
    Instance {
        instance_id: format!("embedded-{name}").into(),
        service_name: name.to_owned(),
        host: is_embedded.then(|| address.ip().to_string()),
        port: is_embedded.then(|| address.port()),
        version: is_embedded.then(|| env!("CARGO_PKG_VERSION").to_owned()),
        metadata: metadata.as_object().cloned().unwrap_or_default(),
        status: Some(if is_embedded { Health::Healthy } else { Health::Unhealthy }),
        registered_at: is_embedded.then(|| platform.started()),
        // Its sign of life is this answer.
        last_heartbeat_at: is_embedded.then(|| platform.now()),
        expires_at: None,
    }
}
