//! By which names the server is called, and from which web pages: a page that rebinds a name to this machine is refused.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

use crate::error::{Error, Kind, Result};

/// The names and origins that are allowed.
#[derive(Debug, Default)]
pub(in crate::server) struct Origins {
    hosts: Vec<Host>,
    origins: Vec<Origin>,
}

/// A host by its name, at one port or at any.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    name: String,
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: Host,
}

impl Origins {
    /// Loopback, the address itself, and what the operator names.
    ///
    /// # Errors
    /// As those of [`Self::further`].
    pub(in crate::server) fn new(address: IpAddr, hosts: &[String], public: Option<&Uri>, origins: &[String]) -> Result<Self> {
        let own = (!address.is_unspecified()).then(|| address.to_string());
        let mut names: Vec<Host> = ["localhost", "127.0.0.1", "::1"].into_iter().chain(own.as_deref()).map(Host::anywhere).collect();
        names.extend(public.and_then(Uri::host).map(Host::anywhere));
        let mut pages: Vec<Origin> = ["localhost", "127.0.0.1", "::1"]
            .into_iter()
            .map(|name| Origin { scheme: "http".to_owned(), host: Host::anywhere(name) })
            .collect();
        let further = Self::further(hosts, origins)?;
        names.extend(further.hosts);
        pages.extend(further.origins);
        Ok(Self { hosts: names, origins: pages })
    }

    /// What the operator names, and nothing else.
    ///
    /// # Errors
    /// A name or an origin that cannot be understood.
    pub(in crate::server) fn further(hosts: &[String], origins: &[String]) -> Result<Self> {
        let (mut names, mut pages) = (Vec::new(), Vec::new());
        for host in hosts {
            names.push(Host::read(host).ok_or_else(|| {
                Error::configuration(Kind::Invalid, "FM-CONFIG-HOST", format!("{host:?} is not a name of a host"))
                    .hint("Write http.allowed_hosts as names, such as mcp.example.com or mcp.example.com:8443.")
            })?);
        }
        for origin in origins {
            let (text, any_port) = origin.strip_suffix(":*").map_or((origin.as_str(), false), |text| (text, true));
            let Some(mut known) = Origin::read(text) else {
                return Err(Error::configuration(Kind::Invalid, "FM-CONFIG-ORIGIN", format!("{origin:?} is not an origin of a web page"))
                    .hint("Write http.allowed_origins with a scheme, such as https://app.example.com."));
            };
            if any_port {
                known.host.port = None;
            }
            pages.push(known);
        }
        Ok(Self { hosts: names, origins: pages })
    }

    /// Refuses a request that was made to another name than these and those, or by a foreign page.
    pub(in crate::server) fn check(&self, further: &Self, uri: &Uri, headers: &HeaderMap) -> Result<()> {
        let mut named = headers.get_all(HOST).iter();
        let host = match (named.next(), named.next()) {
            (Some(host), None) => host.to_str().ok().and_then(Host::read),
            (None, None) => uri.authority().map(Host::of),
            _ => None,
        };
        let Some(host) = host else {
            return Err(Error::new(Kind::Malformed, "FM-MCP-HOST", "the request names no host, or several"));
        };
        if !self.hosts.iter().chain(&further.hosts).any(|known| known.covers(&host)) {
            return Err(Error::new(Kind::Forbidden, "FM-MCP-HOST", "the server is not called by this name")
                .hint("The operator can add the name to http.allowed_hosts, or set http.public_url."));
        }
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().ok().and_then(Origin::read);
            if !origin.is_some_and(|origin| self.origins.iter().chain(&further.origins).any(|known| known.covers(&origin))) {
                return Err(Error::new(Kind::Forbidden, "FM-MCP-ORIGIN", "web pages of this origin may not call the server")
                    .hint("The operator can add the origin to http.allowed_origins."));
            }
        }
        Ok(())
    }
}

impl Host {
    fn anywhere(name: &str) -> Self {
        Self { name: name.trim_matches(['[', ']']).to_ascii_lowercase(), port: None }
    }

    fn of(authority: &Authority) -> Self {
        Self { port: authority.port_u16(), ..Self::anywhere(authority.host()) }
    }

    fn read(text: &str) -> Option<Self> {
        let authority = Authority::try_from(text).ok()?;
        let plain = !authority.as_str().contains('@') && !authority.host().is_empty() && !authority.host().contains('*');
        plain.then(|| Self::of(&authority))
    }

    fn covers(&self, other: &Self) -> bool {
        self.name == other.name && self.port.is_none_or(|port| other.port == Some(port))
    }
}

impl Origin {
    /// An origin without a port is at its scheme's own.
    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let host = Host::read(rest)?;
        let scheme = scheme.to_ascii_lowercase();
        let port = host.port.or(match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        })?;
        Some(Self { scheme, host: Host { port: Some(port), ..host } })
    }

    fn covers(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host.covers(&other.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(host: &str, origin: Option<&str>) -> Result<()> {
        let public: Uri = "https://mcp.example.com/mcp".parse().unwrap();
        let names = ["flow.example:8443".to_owned()];
        let pages = ["https://app.example.com".to_owned(), "http://dev.example:*".to_owned()];
        let origins = Origins::new([127, 0, 0, 1].into(), &[], Some(&public), &[]).unwrap();
        let further = Origins::further(&names, &pages).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        origins.check(&further, &Uri::from_static("/mcp"), &headers)
    }

    #[test]
    fn a_host_is_known_by_its_names_alone() {
        for known in ["localhost", "LOCALHOST:1", "127.0.0.1:8321", "[::1]:8321", "mcp.example.com", "flow.example:8443"] {
            judge(known, None).unwrap();
        }
        for foreign in
            ["evil.example", "localhost.evil.example", "flow.example", "flow.example:1", "user@localhost", "0.0.0.0", "192.168.0.7"]
        {
            assert_eq!(judge(foreign, None).unwrap_err().code(), "FM-MCP-HOST", "{foreign}");
        }
    }

    #[test]
    fn a_page_is_known_by_its_whole_origin() {
        for known in
            ["http://localhost:3000", "http://[::1]:1", "https://app.example.com", "https://app.example.com:443", "http://dev.example:99"]
        {
            judge("localhost", Some(known)).unwrap();
        }
        for foreign in
            ["null", "https://evil.example", "http://app.example.com", "https://app.example.com:8443", "https://localhost", "file://", ""]
        {
            assert_eq!(judge("localhost", Some(foreign)).unwrap_err().code(), "FM-MCP-ORIGIN", "{foreign}");
        }
    }

    #[test]
    fn lists_that_make_no_sense_are_refused() {
        let hosts =
            |host: &str| Origins::new([127, 0, 0, 1].into(), &[host.to_owned()], None, &[]).err().map(|error| error.code().to_owned());
        assert_eq!(hosts("*").as_deref(), Some("FM-CONFIG-HOST"));
        assert_eq!(hosts("https://mcp.example.com").as_deref(), Some("FM-CONFIG-HOST"));
        let origins =
            |origin: &str| Origins::new([127, 0, 0, 1].into(), &[], None, &[origin.to_owned()]).err().map(|error| error.code().to_owned());
        assert_eq!(origins("app.example.com").as_deref(), Some("FM-CONFIG-ORIGIN"));
        assert_eq!(origins("*").as_deref(), Some("FM-CONFIG-ORIGIN"));
    }
}
