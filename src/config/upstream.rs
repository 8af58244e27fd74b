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
    /// Whether the platform honours Idempotency-Key, by which calls that write may be repeated; true for the embedded
    /// platform, false for a URL if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_keys: Option<bool>,
    /// Seconds from which on a call counts as too slow; a service that is mostly slow is left alone for a while; 30
    /// if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_call: Option<u64>,
    /// Seconds that a service which does not answer is left alone at first, before one call tries it again; 5 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_wait: Option<u64>,
    /// Calls that may be in flight to one service at once; a tenant has three quarters of them at most; 128 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 10000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<usize>,
    /// Tools beyond the contract that the platform has, such as processes_list, or `*`; asked of its /openapi.json if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<String>>,
    /// Whether the tool gateway_request is offered, which calls routes that no other tool covers; false if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_request: Option<bool>,
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
