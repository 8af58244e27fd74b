//! The rules by which the operator allows, confirms or denies calls.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rule by which calls are allowed, confirmed or denied. It fits where everything fits that it names.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Tools by name; a `*` at the end stands for any rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Services, such as `human-task`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Effects: read, write, send, decide, grant, destroy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
    /// Roles of which the caller holds one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// What happens.
    pub decision: PolicyDecision,
}

/// What a policy rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyDecision {
    /// The call goes through.
    Allow,
    /// A person is asked first.
    Confirm,
    /// The call is refused, and the tool is not listed.
    Deny,
}
