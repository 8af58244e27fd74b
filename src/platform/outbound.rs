//! Where the platform may send requests that a tenant's user or an operator addresses: this machine, hosts that the operator
//! allows, and never the platform itself.
//!
//! A host's name is judged before it is looked up, each address that it is found at is judged, and the connection goes to
//! an address that was. That happens at every connection: a name can mean another host tomorrow. The URL parser has
//! normalised other spellings of an address (`2130706433`, `0x7f.1`). Redirects are never followed, and no proxy is asked.

pub(crate) mod standard_webhooks;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Platform;
use crate::io::outbound;

const MAX_URL: usize = 2_048;

/// An address that may be called.
#[derive(Debug, Clone)]
pub(crate) struct Target(Url);

impl Target {
    /// Reads an address and judges what needs no look-up: http or https, on this machine or at a host of the configuration,
    /// and not this platform. The failure says what the address is or does, without naming it.
    pub(crate) fn read(platform: &Platform, url: &str) -> Result<Self, String> {
        let target = Self(parse(url)?);
        Rules::of(platform).admit(&target.0)?;
        Ok(target)
    }

    /// As [`Target::read`], and looks the host up.
    pub(crate) async fn examine(platform: &Platform, url: &str) -> Result<Self, String> {
        let target = Self::read(platform, url)?;
        let host = target.0.host_str().unwrap_or_default();
        if plain(host).parse::<IpAddr>().is_err() {
            let found = look_up(host).await.map_err(|error| format!("names a host that is not known: {error}"))?;
            Rules::of(platform).reachable(host, found)?;
        }
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

/// What may be called.
#[derive(Clone, Copy)]
struct Rules<'p> {
    hosts: &'p [String],
    own: SocketAddr,
}

impl<'p> Rules<'p> {
    fn of(platform: &'p Platform) -> Self {
        Self { hosts: &platform.webhooks().hosts, own: platform.address() }
    }

    /// Judges an address by what is written.
    fn admit(self, url: &Url) -> Result<(), String> {
        let host = plain(url.host_str().unwrap_or_default());
        let is_own_port = url.port_or_known_default() == Some(self.own.port());
        // On all addresses of this machine, which are not known here.
        let everywhere = self.own.ip().is_unspecified();
        let (is_here, is_allowed) = match host.parse::<IpAddr>() {
            Ok(ip) => {
                let ip = ip.to_canonical();
                (ip.is_loopback() || ip == self.own.ip(), ip.is_loopback() || self.lists(&ip.to_string()))
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

    /// The addresses of a name that may be connected to. `localhost` is this machine and no other name is: a name that is
    /// allowed and leads here would find the platform's own port.
    fn reachable(self, name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, String> {
        let name = plain(name);
        let is_allowed = |ip: &IpAddr| {
            let ip = ip.to_canonical();
            if is_localhost(name) {
                return ip.is_loopback();
            }
            self.lists(name) && !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() && !is_link_local(ip) && ip != self.own.ip()
        };
        let allowed: Vec<IpAddr> = found.into_iter().filter(is_allowed).collect();
        if allowed.is_empty() {
            return Err("leads to no address that may be called: a name other than localhost must not lead to this machine".to_owned());
        }
        Ok(allowed)
    }

    fn lists(self, host: &str) -> bool {
        self.hosts.iter().any(|allowed| plain(allowed).eq_ignore_ascii_case(host))
    }
}

/// A host without the brackets of IPv6 and the dot of the root.
fn plain(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.')
}

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

async fn look_up(host: &str) -> Result<Vec<IpAddr>, std::io::Error> {
    let found: Vec<IpAddr> = tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect();
    if found.is_empty() { Err(std::io::Error::other("no address")) } else { Ok(found) }
}

/// Resolves names for the client and hands out only addresses that may be called.
struct Guarded {
    hosts: Vec<String>,
    own: SocketAddr,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (hosts, own) = (self.hosts.clone(), self.own);
        Box::pin(async move {
            let rules = Rules { hosts: &hosts, own };
            if !is_localhost(plain(name.as_str())) && !rules.lists(plain(name.as_str())) {
                return Err("the host is not allowed by the operator".into());
            }
            let allowed = rules.reachable(name.as_str(), look_up(name.as_str()).await?)?;
            Ok(Box::new(allowed.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

/// The addresses of a host that may be connected to by another protocol than HTTP. The failure completes a sentence about the host.
pub(crate) async fn addresses(platform: &Platform, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let host = plain(host);
    let rules = Rules::of(platform);
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = parse(&format!("http://{bracketed}:{port}/"))?;
    rules.admit(&url)?;
    // As the parser has normalised it.
    let host = plain(url.host_str().unwrap_or_default());
    let found = if let Ok(ip) = host.parse::<IpAddr>() {
        vec![ip]
    } else {
        let found = look_up(host).await.map_err(|error| format!("names a host that is not known: {error}"))?;
        rules.reachable(host, found)?
    };
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// The client that calls admitted addresses. It is made at the first call: reading the certificates of the system takes
/// longer than a start may.
pub(crate) fn client(platform: &Platform) -> Result<&reqwest::Client, String> {
    if let Some(client) = platform.outbound().get() {
        return Ok(client);
    }
    let policy = platform.webhooks();
    // Beyond this machine too a proxy would look the host up itself, past what is allowed here.
    let client = outbound::client(true)
        .timeout(policy.timeout)
        .user_agent(concat!("flowmaster/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Guarded { hosts: policy.hosts.clone(), own: platform.address() }))
        .build()
        .map_err(|error| format!("no client can be made: {}", innermost(&error)))?;
    Ok(platform.outbound().get_or_init(|| client))
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
mod tests {
    use super::*;

    fn rules(own: &str) -> Rules<'static> {
        static HOSTS: std::sync::LazyLock<Vec<String>> =
            std::sync::LazyLock::new(|| vec!["10.1.1.1".to_owned(), "erp.example.com".to_owned()]);
        Rules { hosts: &HOSTS, own: own.parse().unwrap() }
    }

    fn admitted(own: &str, url: &str) -> Result<(), String> {
        rules(own).admit(&parse(url)?)
    }

    #[test]
    fn only_this_machine_is_called_and_never_this_platform() {
        for url in [
            "http://127.0.0.1:9000/hook",
            "https://[::1]:1/x?y=1#z",
            "http://127.9.9.9/",
            "http://10.1.1.1/",
            "http://2130706433/",
            "http://localhost:9000/",
            "https://ERP.example.com./api",
        ] {
            admitted("127.0.0.1:7000", url).unwrap();
        }
        for url in [
            "ftp://127.0.0.1/x",
            "file:///etc/passwd",
            "not a url",
            "http://user:secret@127.0.0.1/",
            "http://127.0.0.1:7000/entities",
            "http://localhost.:7000/entities",
            "http://0x7f.1:7000/",
            "http://[::ffff:127.0.0.1]:7000/",
            "http://10.0.0.1/",
            "http://0.0.0.0:9000/",
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            "http://erp.example.com.evil.example/",
            "http://localhost.evil.example/",
        ] {
            assert!(admitted("127.0.0.1:7000", url).is_err(), "{url}");
        }
        assert!(admitted("0.0.0.0:7000", "http://erp.example.com:7000/").is_err());
        admitted("0.0.0.0:7000", "http://erp.example.com/").unwrap();
    }

    #[test]
    fn only_addresses_that_fit_their_name_are_connected_to() {
        let reachable = |name: &str, ips: &[&str]| {
            let found = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            rules("10.9.9.9:7000").reachable(name, found).unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(reachable("localhost", &["127.0.0.1", "10.0.0.1", "::1"]), ["127.0.0.1", "::1"]);
        let rebound = ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "169.254.169.254", "fe80::1", "10.9.9.9", "10.0.0.1"];
        assert_eq!(reachable("erp.example.com", &rebound), ["10.0.0.1"]);
        assert!(reachable("other.example.com", &["10.0.0.1"]).is_empty());
    }
}
