//! MCP over HTTP: where it listens, by which names it is called, and how many sessions it holds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Where `--http` listens unless told otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8321);

/// MCP over HTTP.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Where `--http` without an address listens; 127.0.0.1:8321 if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// The URL of the endpoint as hosts see it, such as `https://mcp.example.com/mcp`; it names the server in tokens and metadata.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Names that hosts may call the server by, beyond loopback, the address itself and the public URL's.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// Web pages' origins that may call, beyond loopback's, such as `https://app.example.com`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// Sessions of 2025-11-25 that a tenant may have open at once; 64 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_per_tenant: Option<u32>,
    /// Sessions that a tenant may begin a minute; 120 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initializations_per_minute: Option<u32>,
}

/// Reads where to listen: an address with a port, or a port of the loopback interface.
///
/// # Errors
/// Text that is neither.
pub fn listen_address(text: &str) -> Result<SocketAddr> {
    let loopback = |port: &str| port.parse().ok().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
    let named = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    text.parse().ok().or_else(|| loopback(named)).ok_or_else(|| {
        Error::configuration(Kind::Invalid, "FM-CONFIG-LISTEN", format!("{text:?} is not an address to listen on"))
            .hint(format!("Write an address with a port, such as {DEFAULT_LISTEN}, or a port alone."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_the_loopback_interface() {
        for text in ["9000", ":9000", "localhost:9000", "127.0.0.1:9000"] {
            assert_eq!(listen_address(text).unwrap().to_string(), "127.0.0.1:9000");
        }
        assert!(listen_address("example.com:80").is_err());
    }
}
