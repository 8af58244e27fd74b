//! Permissions: what the contract's `resource:action` strings mean, and the one list of those in use.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::near::nearest;

/// A permission that an operation needs, `resource:action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission(&'static str);

macro_rules! permissions {
    ($($constant:ident = $name:literal),* $(,)?) => {
        impl Permission {
            $(#[doc = concat!("`", $name, "`")] pub const $constant: Self = Self($name);)*

            /// Every permission that an operation needs.
            pub const ALL: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

permissions! {
    PROCESS_VIEW = "process:view",
    PROCESS_CREATE = "process:create",
    PROCESS_UPDATE = "process:update",
    PROCESS_PUBLISH = "process:publish",
    EXECUTION_VIEW = "execution:view",
    EXECUTION_START = "execution:start",
    EXECUTION_PAUSE = "execution:pause",
    EXECUTION_RESUME = "execution:resume",
    EXECUTION_CANCEL = "execution:cancel",
    EXECUTION_COMPENSATE = "execution:compensate",
    TASK_VIEW = "task:view",
    TASK_CREATE = "task:create",
    TASK_ASSIGN = "task:assign",
    TASK_APPROVE = "task:approve",
    TASK_ESCALATE = "task:escalate",
    ENTITY_VIEW = "entity:view",
    ENTITY_DEFINE = "entity:define",
    ENTITY_INSERT = "entity:insert",
    ENTITY_UPDATE = "entity:update",
    ENTITY_DELETE = "entity:delete",
    ROLE_VIEW = "role:view",
    ROLE_CREATE = "role:create",
    ROLE_GRANT = "role:grant",
    USER_VIEW = "user:view",
    USER_CREATE = "user:create",
    USER_UPDATE = "user:update",
    EVENT_VIEW = "event:view",
    EVENT_PUBLISH = "event:publish",
    SUBSCRIPTION_VIEW = "subscription:view",
    SUBSCRIPTION_CREATE = "subscription:create",
    SUBSCRIPTION_DELETE = "subscription:delete",
    AUDIT_VIEW = "audit:view",
    AUDIT_LOG = "audit:log",
    RECORD_DELETE = "record:delete",
    INTEGRATION_VIEW = "integration:view",
    INTEGRATION_CREATE = "integration:create",
    INTEGRATION_UPDATE = "integration:update",
    INTEGRATION_CONNECT = "integration:connect",
    INTEGRATION_EXECUTE = "integration:execute",
    AGENT_VIEW = "agent:view",
    AGENT_INVOKE = "agent:invoke",
    AGENT_EXECUTE = "agent:execute",
    PROMPT_VIEW = "prompt:view",
    PROMPT_CREATE = "prompt:create",
    PROMPT_PUBLISH = "prompt:publish",
    FEEDBACK_VIEW = "feedback:view",
    FEEDBACK_SUBMIT = "feedback:submit",
    DATASET_CREATE = "dataset:create",
    RETRAINING_VIEW = "retraining:view",
    RETRAINING_SCHEDULE = "retraining:schedule",
    SCHEMA_VIEW = "schema:view",
    DOCUMENT_VIEW = "document:view",
    DOCUMENT_UPLOAD = "document:upload",
    DOCUMENT_EXTRACT = "document:extract",
    INGEST_VIEW = "ingest:view",
    INGEST_CREATE = "ingest:create",
    INGEST_START = "ingest:start",
    INGEST_CANCEL = "ingest:cancel",
    INGEST_TEST = "ingest:test",
    CHANNEL_VIEW = "channel:view",
    CHANNEL_REGISTER = "channel:register",
    CHANNEL_SEND = "channel:send",
    CHANNEL_RECEIVE = "channel:receive",
    CONVERSATION_VIEW = "conversation:view",
    CONVERSATION_LINK = "conversation:link",
    SERVICE_VIEW = "service:view",
    SERVICE_REGISTER = "service:register",
    SERVICE_DEREGISTER = "service:deregister",
    SERVICE_CHECK = "service:check",
    NOTIFICATION_VIEW = "notification:view",
    NOTIFICATION_SEND = "notification:send",
    TEMPLATE_CREATE = "template:create",
    PORTAL_VIEW = "portal:view",
    PORTAL_CREATE = "portal:create",
    PORTAL_UPDATE = "portal:update",
    COMPANY_CREATE = "company:create",
    COMPANY_CONFIGURE = "company:configure",
    SCHEDULE_VIEW = "schedule:view",
    SCHEDULE_CREATE = "schedule:create",
    SCHEDULE_UPDATE = "schedule:update",
    SCHEDULE_DELETE = "schedule:delete",
    SCHEDULE_EXECUTE = "schedule:execute",
    METRIC_VIEW = "metric:view",
    DASHBOARD_VIEW = "dashboard:view",
    REPORT_VIEW = "report:view",
    KPI_VIEW = "kpi:view",
    GATEWAY_REQUEST = "gateway:request",
}

impl Permission {
    /// The permission as tokens write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// The part before the colon.
    #[must_use]
    pub fn resource(self) -> &'static str {
        self.0.split_once(':').map_or(self.0, |(resource, _)| resource)
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Returns what a permission was most likely meant to be, if it looks like one of the platform's and is not: its resource is
/// one of the platform's and the action is not, or its resource is written almost as one of the platform's.
#[must_use]
pub fn slip(permission: &str) -> Option<String> {
    let (resource, action) = permission.split_once(':')?;
    let resources: BTreeSet<&str> = Permission::ALL.iter().map(|known| known.resource()).collect();
    if resources.contains(resource) {
        let names: Vec<&str> = Permission::ALL
            .iter()
            .map(|known| known.name())
            .filter(|known| known.split_once(':').is_some_and(|(of, _)| of == resource))
            .collect();
        let known = action == "*" || names.contains(&permission);
        return (!known).then(|| match nearest(permission, &names) {
            Some(meant) => format!("Did you mean {meant}?"),
            None => format!("There are {}.", names.join(", ")),
        });
    }
    let resources: Vec<&str> = resources.into_iter().collect();
    let plural = |known: &&&str| {
        resource
            .strip_suffix("ies")
            .map_or_else(|| resource.strip_suffix('s') == Some(**known), |stem| known.strip_suffix('y') == Some(stem))
    };
    let meant = resources.iter().find(plural).copied().or_else(|| nearest(resource, &resources))?;
    Some(format!("Did you mean {meant}:{action}?"))
}

/// What a caller holds, as its token lists it; `*` and `process:*` are understood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Permissions(Vec<String>);

impl Permissions {
    /// Every permission: the owner of an embedded platform.
    #[must_use]
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// Whether what is held covers what is needed.
    #[must_use]
    pub fn allow(&self, needed: Permission) -> bool {
        self.covers(needed.name())
    }

    /// Whether what is held covers a permission by its name, such as one of a process node.
    #[must_use]
    pub fn covers(&self, needed: &str) -> bool {
        self.0.iter().any(|held| {
            held == "*"
                || held == needed
                || held.strip_suffix(":*").is_some_and(|resource| needed.strip_prefix(resource).is_some_and(|rest| rest.starts_with(':')))
        })
    }

    /// The permissions by name, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl From<Vec<String>> for Permissions {
    fn from(mut names: Vec<String>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self(names)
    }
}

impl From<Permissions> for Vec<String> {
    fn from(permissions: Permissions) -> Self {
        permissions.0
    }
}

impl FromIterator<String> for Permissions {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        names.into_iter().collect::<Vec<_>>().into()
    }
}

/// What a platform calls the permissions, where its names are others than the contract's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(HashMap<&'static str, String>);

impl Names {
    /// Reads a table from the contract's names to the platform's.
    ///
    /// # Errors
    /// The names on the left that no operation needs.
    pub fn new<'a>(table: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Vec<String>> {
        let mut names = HashMap::new();
        let mut unknown = Vec::new();
        for (ours, theirs) in table {
            match Permission::ALL.iter().find(|known| known.name() == ours) {
                Some(known) => drop(names.insert(known.name(), theirs.to_owned())),
                None => unknown.push(ours.to_owned()),
            }
        }
        if unknown.is_empty() { Ok(Self(names)) } else { Err(unknown) }
    }

    /// What the platform calls a permission.
    #[must_use]
    pub fn of(&self, permission: Permission) -> &str {
        self.0.get(permission.name()).map_or(permission.name(), String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_platform_takes_the_place_of_the_contracts() {
        let names = Names::new([("task:approve", "workitem:decide")]).unwrap();
        assert_eq!((names.of(Permission::TASK_APPROVE), names.of(Permission::TASK_VIEW)), ("workitem:decide", "task:view"));
        assert_eq!(Names::new([("task:aprove", "x")]).unwrap_err(), ["task:aprove"]);
    }

    #[test]
    fn a_slip_of_a_permission_is_told_and_an_own_one_is_none() {
        for known in Permission::ALL {
            assert_eq!(slip(known.name()), None, "{known}");
        }
        for good in ["*", "task:*", "invoice:approve", "payroll:run"] {
            assert_eq!(slip(good), None, "{good}");
        }
        for (wrong, meant) in [
            ("task:aprove", "task:approve"),
            ("tasks:approve", "task:approve"),
            ("entities:view", "entity:view"),
            ("proces:*", "process:*"),
        ] {
            assert_eq!(slip(wrong), Some(format!("Did you mean {meant}?")), "{wrong}");
        }
        assert!(slip("kpi:destroy").unwrap().contains("There are kpi:view"), "{:?}", slip("kpi:destroy"));
    }

    #[test]
    fn wildcards_cover_what_they_say_and_no_more() {
        let held = Permissions::from(vec!["task:*".to_owned(), "process:view".to_owned()]);
        assert!(held.allow(Permission::TASK_APPROVE));
        assert!(held.allow(Permission::PROCESS_VIEW));
        assert!(!held.allow(Permission::PROCESS_PUBLISH));
        assert!(!Permissions::from(vec!["tas:*".to_owned()]).allow(Permission::TASK_VIEW));
        assert!(!Permissions::from(vec!["task".to_owned()]).allow(Permission::TASK_VIEW));
        assert!(Permissions::all().allow(Permission::AUDIT_VIEW));
    }
}
