//! Topics: how they are written, who may publish on which, and what the events of the contract's own topics hold.

use serde_json::{Map, Value};

use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::cloud_event::TOPICS;
use crate::auth::{Caller, CallerKind};
use crate::error::{Error, Kind, Result};

/// What every event of the contract's topics names, and as what.
const NAMES: [(&str, &str); 6] = [
    ("process.", "processId"),
    ("execution.", "executionId"),
    ("task.", "taskId"),
    ("agent.", "agentId"),
    ("integration.", "integrationId"),
    ("document.", "documentId"),
];

/// Refuses what cannot be a topic.
pub(super) fn check_name(topic: &str) -> Result<()> {
    if topic.len() <= 200 && topic.split('.').all(is_part) { Ok(()) } else { Err(no_topic(topic, "")) }
}

/// Refuses what is neither a topic nor a pattern such as `execution.*` or `*`.
pub(super) fn check_pattern(pattern: &str) -> Result<()> {
    let prefix = pattern.strip_suffix(".*").unwrap_or(pattern);
    if pattern == "*" || (pattern.len() <= 200 && prefix.split('.').all(is_part)) {
        Ok(())
    } else {
        Err(no_topic(pattern, ", or a pattern such as `execution.*` or `*`"))
    }
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-')
}

fn no_topic(topic: &str, or: &str) -> Error {
    Error::new(Kind::Invalid, "FM-EBS-TOPIC", format!("{} is not a topic", quote(topic)))
        .hint(format!("A topic has parts of lower-case letters, digits, `_` and `-` with dots between, such as `invoice.received`{or}."))
        .field("/topic", "topic", "is not written as a topic")
}

/// Whether a topic is one of the contract's own.
pub(super) fn is_reserved(topic: &str) -> bool {
    TOPICS.contains(&topic)
}

/// The contract's topics tell what its services did; only a service can say so.
pub(super) fn check_publisher(caller: &Caller, topic: &str) -> Result<()> {
    if caller.kind == CallerKind::Service {
        return Ok(());
    }
    Err(Error::new(Kind::Forbidden, "FM-EBS-TOPIC-RESERVED", format!("only the platform's services publish on `{topic}`"))
        .hint("Publish on a topic of your own, such as `invoice.received`."))
}

/// Checks what an event of the contract's topics must hold.
pub(super) fn check_event(topic: &str, event: &Map<String, Value>) -> Result<()> {
    let Some((_, name)) = NAMES.iter().find(|(prefix, _)| topic.starts_with(prefix)) else { return Ok(()) };
    let fault = match event.get(*name) {
        Some(Value::String(id)) if !id.is_empty() => return Ok(()),
        Some(_) => FieldError::new(format!("/event/{name}"), "type", "must be an id, as text"),
        None => FieldError::new(format!("/event/{name}"), "required", "is missing"),
    };
    Err(Error::new(Kind::Invalid, "FM-EBS-EVENT-SCHEMA", format!("an event of `{topic}` is made otherwise")).with_fields(vec![fault]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn topics_and_patterns_are_told_from_other_text() {
        for topic in ["a", "task.created", "x.y-z.w_1"] {
            check_name(topic).unwrap();
            check_pattern(topic).unwrap();
        }
        for pattern in ["*", "execution.*", "a.b.*"] {
            check_pattern(pattern).unwrap();
            assert!(check_name(pattern).is_err());
        }
        for neither in ["", ".", "a.", ".a", "a..b", "A.b", "a b", "exec*", "*.a", "a.*.b", "a.[b]", "a?", ".*"] {
            assert!(check_pattern(neither).is_err(), "{neither}");
        }
    }

    #[test]
    fn every_topic_of_the_contract_has_its_id() {
        for topic in TOPICS {
            assert!(check_event(topic, &Map::new()).is_err(), "{topic}");
        }
        check_event("execution.completed", json!({ "executionId": "exec-789" }).as_object().unwrap()).unwrap();
        assert!(check_event("task.created", json!({ "taskId": 5 }).as_object().unwrap()).is_err());
    }
}
