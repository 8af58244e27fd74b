//! How callers over HTTP prove themselves.

use std::path::PathBuf;

use clap::ValueEnum;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// How callers over HTTP prove themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// What this server is to a real platform: `serve --http` needs the choice.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,
    /// Where the keys that sign tokens are published; `/.well-known/jwks.json` of the platform if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// A PEM file with the public key that signs tokens, in place of published keys.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The shared secret of tokens signed with HS256, at least 32 bytes; only then is HS256 taken.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub secret: Option<SecretString>,
    /// Who may issue tokens, as `iss` names them; resource-server needs it.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// What a token's `aud` may name: in resource-server `http.public_url` if absent, in first-party `flowmaster` and `flowmaster-mcp`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// The authorization servers that hosts get tokens from, told to them by RFC 9728 metadata.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_servers: Vec<String>,
    /// Seconds after which the platform is asked again whether a token is still good; 60 if absent, 0 for never.
    #[arg(skip)]
    #[schemars(range(min = 0, max = 86_400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_interval: Option<u64>,
}

/// What this server is to a real platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMode {
    /// One of FlowMaster's own services: it takes the platform's tokens.
    FirstParty,
    /// A resource of its own, by MCP's authorization: tokens must name it as their audience.
    ResourceServer,
}
