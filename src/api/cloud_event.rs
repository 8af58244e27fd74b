//! Events of the platform: CloudEvents 1.0 with the tenant and a sequence per topic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{EventId, TenantId};
use super::time::Timestamp;

/// The topics of the contract; only the platform and its services publish on them.
pub const TOPICS: [&str; 10] = [
    "process.created",
    "process.updated",
    "execution.started",
    "execution.completed",
    "execution.failed",
    "task.created",
    "task.responded",
    "agent.invoked",
    "integration.synced",
    "document.extracted",
];

/// One event. Consumers drop repeats by `id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The version of CloudEvents, `1.0`.
    #[serde(default = "version")]
    pub specversion: String,
    /// The event's id.
    pub id: EventId,
    /// Who published it: `/services/<name>` or `/users/<id>`.
    #[serde(default)]
    pub source: String,
    /// The topic, such as `task.created`.
    #[serde(rename = "type")]
    pub topic: String,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// What it is about, such as a task's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The tenant it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenantid: Option<TenantId>,
    /// The request or the execution that it goes back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlationid: Option<String>,
    /// Its place in the topic of the tenant, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// What happened.
    #[serde(default)]
    pub data: Map<String, Value>,
}

impl Event {
    /// Whether the platform or one of its services published it, and no user can have.
    #[must_use]
    pub fn is_of_platform(&self) -> bool {
        TOPICS.contains(&&*self.topic) || self.source.starts_with("/services/")
    }
}

fn version() -> String {
    "1.0".to_owned()
}

/// Whether a topic fits a pattern: the topic itself, `execution.*`, or `*`.
#[must_use]
pub fn topic_matches(pattern: &str, topic: &str) -> bool {
    pattern == "*"
        || pattern == topic
        || pattern.strip_suffix(".*").is_some_and(|prefix| topic.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stops_at_the_dot() {
        assert!(topic_matches("execution.*", "execution.completed"));
        assert!(topic_matches("task.created", "task.created"));
        assert!(topic_matches("*", "anything.at.all"));
        assert!(!topic_matches("exec.*", "execution.completed"));
        assert!(!topic_matches("execution.*", "execution"));
    }
}
