//! Feature flags: their names, and the switching of flags beyond the contract, which only reads them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::arguments::quote;
use crate::api::ids::PortalId;
use crate::api::portals::Features;
use crate::api::{Effect, Operation, Permission, Spec};
use crate::error::{Error, Kind, Result};

/// The features that the contract names; each portal answers them, off unless they were switched on.
const KNOWN: [&str; 3] = ["processDesigner", "documentProcessing", "aiAgents"];
/// Most flags of a portal.
const MAX_FLAGS: usize = 100;

/// Switches features of a portal on and off; what is left out stays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Set {
    /// The portal.
    pub(super) id: PortalId,
    /// Feature flags by name; true is on.
    pub(super) features: BTreeMap<String, bool>,
}

impl Operation for Set {
    type Output = Features;
    const SPEC: Spec = Spec::put("portals_set_features", "/portals/{id}/feature-flags", Effect::Write)
        .titled("Switch a portal's features")
        .requires(Permission::PORTAL_UPDATE);
}

/// The flags of a new portal.
pub(super) fn initial(given: BTreeMap<String, bool>) -> Result<Map<String, Value>> {
    let known = KNOWN.into_iter().map(|name| (name.to_owned(), Value::Bool(false)));
    merged(known.collect(), checked(given)?)
}

/// Rejects names that are not written as flags.
pub(super) fn checked(given: BTreeMap<String, bool>) -> Result<Map<String, Value>> {
    let is_name = |name: &str| {
        name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if let Some(name) = given.keys().find(|name| !is_name(name)) {
        return Err(fault(format!("has the flag {}; a flag is written as processDesigner, up to 64 letters and digits", quote(name))));
    }
    merged(Map::new(), given.into_iter().map(|(name, is_on)| (name, Value::Bool(is_on))).collect())
}

/// Flags with others over them.
pub(super) fn merged(mut flags: Map<String, Value>, over: Map<String, Value>) -> Result<Map<String, Value>> {
    flags.extend(over);
    if flags.len() > MAX_FLAGS {
        return Err(fault(format!("leads to {} flags; a portal has at most {MAX_FLAGS}", flags.len())));
    }
    Ok(flags)
}

fn fault(detail: String) -> Error {
    Error::new(Kind::Invalid, "FM-PMS-FEATURE", "the feature flags are not valid").field("/features", "format", detail)
}
