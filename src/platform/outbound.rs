//! Where the platform may send requests that a tenant's user or an operator addresses: this machine, hosts that the operator
//! allows, and never the platform itself.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;

use super::Platform;
use crate::io::destinations::{Destinations, Reach, look_up, plain};
pub(crate) use crate::io::destinations::{innermost, parse};

/// An address that may be called.
#[derive(Debug, Clone)]
pub(crate) struct Target(Url);

impl Target {
    /// Reads an address and judges what needs no look-up: http or https, on this machine or at a host of the configuration,
    /// and not this platform. The failure says what the address is or does, without naming it.
    pub(crate) fn read(platform: &Platform, url: &str) -> Result<Self, String> {
        let target = Self(parse(url)?);
        destinations(platform).admit(&target.0)?;
        Ok(target)
    }

    /// As [`Target::read`], and looks the host up.
    pub(crate) async fn examine(platform: &Platform, url: &str) -> Result<Self, String> {
        let target = Self(parse(url)?);
        destinations(platform).examine(&target.0).await?;
        Ok(target)
    }

    /// The address as it is kept.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address as the client takes it.
    pub(crate) fn into_url(self) -> Url {
        self.0
    }
}

fn destinations(platform: &Platform) -> Destinations {
    Destinations { hosts: platform.webhooks().hosts.clone(), reach: Reach::Near { own: platform.address() } }
}

/// The addresses of a host that may be connected to by another protocol than HTTP. The failure completes a sentence about the host.
pub(crate) async fn addresses(platform: &Platform, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let host = plain(host);
    let destinations = destinations(platform);
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = parse(&format!("http://{bracketed}:{port}/"))?;
    destinations.admit(&url)?;
    // As the parser has normalised it.
    let host = plain(url.host_str().unwrap_or_default());
    let found = if let Ok(ip) = host.parse::<IpAddr>() {
        vec![ip]
    } else {
        let found = look_up(host).await.map_err(|error| format!("names a host that is not known: {error}"))?;
        destinations.reachable(host, found)?
    };
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// The client that calls admitted addresses. It is made at the first call: reading the certificates of the system takes
/// longer than a start may.
pub(crate) fn client(platform: &Platform) -> Result<&reqwest::Client, String> {
    if let Some(client) = platform.outbound().get() {
        return Ok(client);
    }
    let client = destinations(platform)
        .client()
        .timeout(platform.webhooks().timeout)
        .user_agent(concat!("flowmaster/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("no client can be made: {}", innermost(&error)))?;
    Ok(platform.outbound().get_or_init(|| client))
}
