//! Where this program may send requests that somebody else addresses: hosts that the operator allows, and never places within.
//!
//! A host's name is judged before it is looked up, each address that it is found at is judged, and the connection goes to an
//! address that was. That happens at every connection: a name can mean another host tomorrow. The URL parser has normalised
//! other spellings of an address (`2130706433`, `0x7f.1`). Redirects are never followed, and no proxy is asked.

mod public;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{ClientBuilder, Url};

use super::outbound;

const MAX_URL: usize = 2_048;

/// What may be called.
#[derive(Debug, Clone)]
pub(crate) struct Destinations {
    /// The hosts that the operator allows.
    pub(crate) hosts: Vec<String>,
    pub(crate) reach: Reach,
}

/// What may be called beside the operator's hosts, and what may not be among them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    /// This machine, but for the one address that is ours. Names of the operator's may lead into its network.
    #[cfg(feature = "platform")]
    Near {
        /// Our own address.
        own: SocketAddr,
    },
    /// The operator's hosts alone, where they are on the public internet. An address of this machine counts with its port,
    /// written as the operator wrote it.
    Public,
}

impl Destinations {
    /// Judges an address by what is written. The failure completes a sentence about the address.
    pub(crate) fn admit(&self, url: &Url) -> Result<(), String> {
        let host = plain(url.host_str().unwrap_or_default());
        match self.reach {
            #[cfg(feature = "platform")]
            Reach::Near { own } => self.admit_near(url, host, own),
            Reach::Public => self.admit_public(url, host),
        }
    }

    /// The addresses of a name that may be connected to.
    pub(crate) fn reachable(&self, name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, String> {
        let name = plain(name);
        let (is_allowed, refusal): (&dyn Fn(&IpAddr) -> bool, _) = match self.reach {
            #[cfg(feature = "platform")]
            Reach::Near { own } => (
                &move |ip: &IpAddr| self.is_reachable_near(name, ip.to_canonical(), own),
                "leads to no address that may be called: a name other than localhost must not lead to this machine",
            ),
            Reach::Public => (&|ip: &IpAddr| self.lists(name) && public::is_public(*ip), "leads to no address on the public internet"),
        };
        let allowed: Vec<IpAddr> = found.into_iter().filter(is_allowed).collect();
        if allowed.is_empty() { Err(refusal.to_owned()) } else { Ok(allowed) }
    }

    /// Judges an address by what is written, and where its host is found.
    pub(crate) async fn examine(&self, url: &Url) -> Result<(), String> {
        self.admit(url)?;
        let host = url.host_str().unwrap_or_default();
        if plain(host).parse::<IpAddr>().is_err() {
            let found = look_up(host).await.map_err(|error| format!("names a host that is not known: {error}"))?;
            self.reachable(host, found)?;
        }
        Ok(())
    }

    /// A client that connects to nothing else. A proxy would look the host up itself, past what is allowed here.
    pub(crate) fn client(&self) -> ClientBuilder {
        outbound::client(true).dns_resolver(Arc::new(Guarded(self.clone())))
    }

    /// Whether the operator allows a host.
    fn lists(&self, host: &str) -> bool {
        self.hosts.iter().any(|allowed| plain(allowed).eq_ignore_ascii_case(host))
    }

    #[cfg(feature = "platform")]
    fn admit_near(&self, url: &Url, host: &str, own: SocketAddr) -> Result<(), String> {
        let is_own_port = url.port_or_known_default() == Some(own.port());
        // On all addresses of this machine, which are not known here.
        let everywhere = own.ip().is_unspecified();
        let (is_here, is_allowed) = match host.parse::<IpAddr>() {
            Ok(ip) => {
                let ip = ip.to_canonical();
                (ip.is_loopback() || ip == own.ip(), ip.is_loopback() || self.lists(&ip.to_string()))
            }
            Err(_) => (is_localhost(host), is_localhost(host) || self.lists(host)),
        };
        if is_own_port && (is_here || everywhere) {
            return Err("is this platform itself".to_owned());
        }
        if is_allowed {
            return Ok(());
        }
        Err(format!("leads to {host}, which is not this machine; other hosts must be allowed by the operator"))
    }

    /// `localhost` is this machine and no other name is: a name that is allowed and leads here would find our own port.
    #[cfg(feature = "platform")]
    fn is_reachable_near(&self, name: &str, ip: IpAddr, own: SocketAddr) -> bool {
        if is_localhost(name) {
            return ip.is_loopback();
        }
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        self.lists(name) && !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() && !is_link_local && ip != own.ip()
    }

    fn admit_public(&self, url: &Url, host: &str) -> Result<(), String> {
        let encrypted = |allowed: bool| match (allowed, url.scheme()) {
            (false, _) => Err(format!("leads to {host}, which the operator does not allow")),
            (true, "https") => Ok(()),
            (true, _) => Err("must begin with https://".to_owned()),
        };
        let Ok(ip) = host.parse::<IpAddr>() else {
            let is_here = host.rsplit('.').next().is_some_and(is_localhost);
            return if is_here { Err("leads to this machine".to_owned()) } else { encrypted(self.lists(host)) };
        };
        let ip = ip.to_canonical();
        if ip.is_loopback() {
            let socket = url.port_or_known_default().map(|port| SocketAddr::new(ip, port).to_string());
            return match socket {
                Some(socket) if self.hosts.contains(&socket) => Ok(()),
                _ => Err("leads to this machine".to_owned()),
            };
        }
        if !public::is_public(ip) {
            return Err(format!("leads to {host}, which is not on the public internet"));
        }
        encrypted(self.lists(&ip.to_string()))
    }
}

/// Reads an address as it may be given; whether it may be called is not judged.
pub(crate) fn parse(url: &str) -> Result<Url, String> {
    if url.len() > MAX_URL {
        return Err(format!("has more than {MAX_URL} characters"));
    }
    let mut url = Url::parse(url).map_err(|error| format!("is not an address such as http://127.0.0.1:9000/hook: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password, which would be shown with it".to_owned());
    }
    url.set_fragment(None);
    Ok(url)
}

/// A host without the brackets of IPv6 and the dot of the root.
pub(crate) fn plain(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.')
}

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}

/// The addresses of a host; the failure says that there are none.
pub(crate) async fn look_up(host: &str) -> Result<Vec<IpAddr>, std::io::Error> {
    let found: Vec<IpAddr> = tokio::net::lookup_host((plain(host), 0)).await?.map(|address| address.ip()).collect();
    if found.is_empty() { Err(std::io::Error::other("no address")) } else { Ok(found) }
}

/// Resolves names for the client and hands out only addresses that may be called.
struct Guarded(Destinations);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.0.clone();
        Box::pin(async move {
            let allowed = rules.reachable(name.as_str(), look_up(name.as_str()).await?)?;
            Ok(Box::new(allowed.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

/// The cause of a failure, without the address that was called.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
