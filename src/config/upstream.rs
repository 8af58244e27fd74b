//! How calls go on to the platform, and the server's own account there.

use std::collections::BTreeMap;

use clap::ValueEnum;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// How calls go on to the platform.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// By which token; propagate if absent, but resource-server needs the choice.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<UpstreamMode>,
    /// The token endpoint of the exchange (RFC 8693).
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// The server's client id at the token endpoint.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The server's client secret there.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub client_secret: Option<SecretString>,
    /// The platform's audience: what exchanged and propagated tokens must name; flowmaster if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Whether the platform honours X-On-Behalf-Of; until it is said, decisions are refused in the mode service.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<bool>,
    /// Whether a platform beyond this machine may be called by http://, where tokens and passwords travel unencrypted.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_plain_http: Option<bool>,
}

/// By which token calls go on to the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamMode {
    /// The caller's own.
    Propagate,
    /// One that the caller's is exchanged for.
    Exchange,
    /// The server's own account, on behalf of the caller.
    Service,
}

/// The server's own account at the platform.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// The account's token, for audit entries and the upstream mode service; the embedded platform gives its own.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// A token for each tenant, where one does not do for all: `tenant-123 = "..."`.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub tokens: BTreeMap<String, SecretString>,
}
