//! A probe: one HTTP request to an instance, which tells its health by its answer.

use std::net::Ipv6Addr;
use std::time::Duration;

use serde_json::Value;

use super::form::HEALTH_PATH;
use crate::api::arguments::quote;
use crate::api::registry::{Health, Instance};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::outbound::{Target, client};

/// How long an instance may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_PATH: &str = "/livez";

/// Asks an instance at its `healthPath`. Without such a page any answer that is not a server's failure is a sign of life.
pub(super) async fn ask(platform: &Platform, instance: &Instance) -> Result<Health> {
    let url = url_of(instance);
    let target = Target::examine(platform, &url).await.map_err(|detail| {
        Error::new(Kind::Invalid, "FM-SR-PROBE-ADDRESS", format!("the platform does not probe {}", quote(&url)))
            .hint("Let the instance report itself, with `status` healthy, degraded or unhealthy.")
            .field("/serviceId", "address", detail)
    })?;
    let client = client(platform).map_err(Error::internal)?;
    let answered = client.get(target.as_str()).timeout(TIMEOUT).send().await;
    Ok(match answered {
        Ok(response) if response.status().is_server_error() => Health::Degraded,
        Ok(_) => Health::Healthy,
        Err(error) => {
            tracing::info!(instance = instance.instance_id.as_str(), %error, "a probe was not answered");
            Health::Unhealthy
        }
    })
}

fn url_of(instance: &Instance) -> String {
    let host = instance.host.as_deref().unwrap_or_default();
    let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
    let path = instance.metadata.get(HEALTH_PATH).and_then(Value::as_str).unwrap_or(DEFAULT_PATH);
    format!("http://{host}:{}{path}", instance.port.unwrap_or_default())
}
