//! What the embedded platform may do beyond this machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the embedded platform may do.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedSettings {
    /// Hosts beyond this machine that the embedded platform may call for integrations, webhooks and probes, such as
    /// `api.example.com`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Routes of the embedded platform that take a limited number of calls of a tenant; without any, none is limited.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSettings>,
}

/// The limit of a route and of those below it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// The route, such as `/api/processes`.
    pub path: String,
    /// The calls of a tenant in a time, such as `100/min`; also by sec, hour or day.
    pub rate_limit: String,
}
