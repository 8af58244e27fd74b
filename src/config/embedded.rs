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
}
