//! What this server knows of the platform's services: where they are, and whether the breaker lets calls through to them.
//!
//! It is the same for every caller, so it says nothing that one tenant could learn of another: neither numbers of calls nor
//! what was refused to whom.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::App;
use crate::api::service::Layer;
use crate::api::{SERVICES, Timestamp};
use crate::client::{CircuitState, ServiceHealth};

/// The resource that shows them, after the scheme.
pub(super) const PATH: &str = "services";

/// Every service of the contract with its state.
pub(super) fn all(app: &App) -> Value {
    let (health, now) = (app.client.health(), Timestamp::now());
    let begin = |name: &str, layer: Option<Layer>| {
        let place = if app.settings.embedded { "embedded" } else { "elsewhere" };
        let mut service = Map::new();
        service.insert("service".to_owned(), name.into());
        service.insert("layer".to_owned(), layer.map(Layer::name).into());
        service.insert("place".to_owned(), place.into());
        service
    };
    let mut items: Vec<Value> = Vec::new();
    for service in SERVICES {
        let mut item = begin(service.name, service.layer);
        item.insert("about".to_owned(), service.about.into());
        item.insert("toolset".to_owned(), service.module.into());
        for known in health.iter().filter(|health| health.service == service.name) {
            match &known.instance {
                None => item.extend(state(known, now)),
                Some(instance) => {
                    let mut one = state(known, now);
                    one.insert("instance".to_owned(), instance.to_string().into());
                    let instances = item.entry("instances").or_insert_with(|| json!([]));
                    if let Value::Array(instances) = instances {
                        instances.push(one.into());
                    }
                }
            }
        }
        items.push(item.into());
    }
    json!({ "platform": app.settings.platform_name, "items": items })
}

/// The services to which calls are not let through now, or by one call at a time.
pub(super) fn refused(health: &[ServiceHealth]) -> Value {
    let now = Timestamp::now();
    let one = |known: &ServiceHealth| {
        let mut service = state(known, now);
        service.insert("service".to_owned(), known.service.into());
        if let Some(instance) = &known.instance {
            service.insert("instance".to_owned(), instance.to_string().into());
        }
        Value::Object(service)
    };
    health.iter().filter(|known| known.circuit != CircuitState::Closed).map(one).collect()
}

/// The breaker's state of an instance, and its last failure.
fn state(known: &ServiceHealth, now: Timestamp) -> Map<String, Value> {
    let mut state = Map::new();
    let circuit = match known.circuit {
        CircuitState::Closed => "closed",
        CircuitState::HalfOpen => "half-open",
        CircuitState::Open(wait) => {
            state.insert("openUntil".to_owned(), json!(shifted(now, wait, 1)));
            "open"
        }
    };
    state.insert("circuit".to_owned(), circuit.into());
    if let Some((code, ago)) = &known.last_error {
        state.insert("lastError".to_owned(), json!({ "code": &**code, "at": shifted(now, *ago, -1) }));
    }
    state
}

fn shifted(now: Timestamp, by: Duration, direction: i64) -> Timestamp {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.millis().saturating_add(direction.saturating_mul(millis)))
}
