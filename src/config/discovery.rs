//! Where the services of a platform are found.

use std::collections::BTreeMap;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the services of a platform are found.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoverySettings {
    /// How; gateway if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<DiscoveryMode>,
    /// Services with a URL of their own in the mode services: `human-task = "https://tasks.internal"`. All others are
    /// called at FLOWMASTER_URL.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, String>,
    /// Hosts that the registry may send calls and tokens to, such as `tasks.internal` or `*.flowmaster.internal`; this
    /// machine alone if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_hosts: Option<Vec<String>>,
    /// Attributes of instances that are preferred as long as healthy ones have them: `region = "us-west"`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub prefer: BTreeMap<String, String>,
    /// Seconds after which the registry is asked again for a service that is called; 15 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<u64>,
}

/// How services are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DiscoveryMode {
    /// All behind FLOWMASTER_URL.
    #[default]
    Gateway,
    /// Some at URLs of their own.
    Services,
    /// Their instances as the Service Registry behind FLOWMASTER_URL lists them.
    Registry,
}
