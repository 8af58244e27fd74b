//! The page of figures that Prometheus reads.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The page of figures that Prometheus reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Where `serve` shows its figures to Prometheus at /metrics, such as 127.0.0.1:9464; nowhere if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<String>,
    /// A file with the bearer token that the page asks for; an address beyond this machine needs it.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_token_file: Option<PathBuf>,
    /// Whether tool calls are counted by tenant too, of at most 1000 tenants, and exported traces name it; false if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_label: Option<bool>,
}
