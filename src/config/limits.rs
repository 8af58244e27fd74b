//! How many calls a minute callers may make.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many calls a minute callers may make, by the effect of the tool: read, write, send, decide, grant, destroy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Calls a minute that one caller may make: `read = 600`, `destroy = 30`; an effect without a number has no limit.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub caller: BTreeMap<String, u32>,
    /// Calls a minute that all callers of one tenant may make together.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tenant: BTreeMap<String, u32>,
}
