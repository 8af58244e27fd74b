//! The audit log of what was called and refused.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The audit log of what was called and refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// Whether entries go to the platform's audit service; true if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<bool>,
    /// A file that entries are added to as well, one JSON object a line.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Whether entries hold arguments and answers themselves, secrets taken out; false if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bodies: Option<bool>,
}
