//! What permissions mean, and whether they are looked at on this side.

use std::collections::BTreeMap;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What permissions mean.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct PermissionSettings {
    /// Whether callers see and call only what their permissions name; strict if absent, but off where a real platform judges by the caller's own token.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<PermissionFilter>,
    /// What the platform calls a permission: `"task:approve" = "workitem:decide"`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
}

/// Whether permissions are looked at on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PermissionFilter {
    /// What the token does not permit is neither listed nor called.
    Strict,
    /// Everything is listed, and the platform judges.
    Off,
}
