//! Secrets that calls may name and never hold.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret that calls name as `secret://NAME`, and what it may be used for. Its value is what the file holds, else the
/// variable `FLOWMASTER_SECRET_NAME`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretEntry {
    /// The file that holds it, read at each use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The tenants whose callers may name it; `*` for all.
    pub tenants: Vec<String>,
    /// The tools that may take it, such as `integrations_create`.
    pub operations: Vec<String>,
    /// The hosts that it may be sent to by the platform, such as `crm.example.com`; `*` for all.
    pub hosts: Vec<String>,
}
