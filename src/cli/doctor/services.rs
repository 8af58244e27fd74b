//! The services that the breaker keeps calls from: those that `doctor` met itself, and those of a server that runs over HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::Finding;
use crate::cli::setup::connection::Connection;
use crate::cli::terminal::plain;
use crate::client::CircuitState;
use crate::config::Config;
use crate::io::outbound;

/// How long a server on this machine may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const HINT: &str = "Look after the platform: a service is tried again by itself, and is used as soon as it answers.";

/// What `/readyz` of a server answers.
#[derive(Deserialize)]
struct Readiness {
    status: String,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    service: String,
    circuit: String,
    open_until: Option<String>,
    last_error: Option<LastError>,
}

#[derive(Deserialize)]
struct LastError {
    code: String,
}

/// The services that did not answer this process.
pub(super) fn met(connection: &Connection) -> Option<Finding> {
    let health = connection.client.health();
    let refused: Vec<&str> = health.iter().filter(|known| known.circuit != CircuitState::Closed).map(|known| known.service).collect();
    (!refused.is_empty()).then(|| Finding::care("services", format!("{} did not answer", refused.join(", ")), HINT))
}

/// The services that a server over HTTP keeps calls from, where one runs at the configured address.
pub(super) async fn of_server(config: &Config) -> Option<Finding> {
    let address = local(config.listen);
    let readiness = ask(address).await?;
    let name = |refused: &Refused| {
        let until = refused.open_until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
        let error = refused.last_error.as_ref().map(|error| format!(", {}", error.code)).unwrap_or_default();
        format!("{} ({}{until}{error})", refused.service, refused.circuit)
    };
    let services: Vec<String> = readiness.refused.iter().map(name).collect();
    let text = format!("the server at {address} is {}", readiness.status);
    Some(if services.is_empty() {
        Finding::good("services", plain(&format!("{text}, and calls all of them")))
    } else {
        Finding::care("services", plain(&format!("{text}, and calls are kept from {}", services.join(", "))), HINT)
    })
}

/// Where this machine reaches what listens there.
fn local(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() { SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port()) } else { listen }
}

/// Nothing where no such server runs.
async fn ask(address: SocketAddr) -> Option<Readiness> {
    let url = Url::parse(&format!("http://{address}/readyz")).ok()?;
    let http = outbound::client(outbound::is_loopback(&url)).timeout(REQUEST_TIMEOUT).build().ok()?;
    let response = http.get(url).send().await.ok()?;
    let answer = outbound::read_bounded(response, MAX_ANSWER_BYTES).await.ok()?;
    serde_json::from_slice(&answer).ok()
}
