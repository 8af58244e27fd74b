//! Which resources an event tells of, found by its topic and its ids alone, however many are subscribed to.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::api::service::{Change, Resource};
use crate::api::{Event, SERVICES};

/// A resource as events name it: its path with placeholders, and the ids in their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    path: &'static str,
    ids: Vec<String>,
}

/// What an event says of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// It may have changed; a read tells.
    Maybe,
    /// It has changed.
    Changed,
}

impl Address {
    /// Returns the address of a resource with arguments; `None` where no event tells of its changes.
    pub(super) fn of(resource: &Resource, arguments: &Map<String, Value>) -> Option<Self> {
        if resource.changes.is_empty() {
            return None;
        }
        let id = |name| arguments.get(name)?.as_str().map(str::to_owned);
        Some(Self { path: resource.path, ids: resource.placeholders().map(id).collect::<Option<_>>()? })
    }
}

/// What events tell of, by the first part of their topic.
static TOLD: LazyLock<HashMap<&'static str, Vec<(&'static Resource, &'static Change)>>> = LazyLock::new(|| {
    let mut told: HashMap<_, Vec<_>> = HashMap::new();
    for resource in SERVICES.iter().flat_map(|service| service.resources) {
        for change in resource.changes {
            told.entry(family(change.topic)).or_default().push((resource, change));
        }
    }
    told
});

fn family(topic: &str) -> &str {
    topic.split('.').next().unwrap_or(topic)
}

/// Returns the resources that an event tells of. A list may be another for some who read it and the same for others, and
/// what a user may have published need not be true.
pub(super) fn concerned(event: &Event) -> impl Iterator<Item = (Address, Mark)> {
    TOLD.get(family(&event.topic)).into_iter().flatten().filter_map(|(resource, change)| {
        let mark = if resource.is_template() && event.is_of_platform() { Mark::Changed } else { Mark::Maybe };
        Some((Address { path: resource.path, ids: change.ids_in(event)? }, mark))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_tells_of_its_task_its_execution_and_the_lists() {
        let event: Event = serde_json::from_value(json!({
            "id": "evt-1", "type": "task.responded", "data": { "taskId": "task-1", "executionId": "exec-1" },
        }))
        .unwrap();
        let told: Vec<_> = concerned(&event).map(|(address, mark)| (address.path, address.ids.join(","), mark)).collect();
        let expected = [
            ("tasks", "", Mark::Maybe),
            ("tasks/inbox", "", Mark::Maybe),
            ("tasks/{id}", "task-1", Mark::Changed),
            ("tasks/{id}/history", "task-1", Mark::Changed),
            ("executions/{id}", "exec-1", Mark::Changed),
            ("executions/{id}/history", "exec-1", Mark::Changed),
        ];
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (path, ids, mark) in expected {
            assert!(told.contains(&(path, ids.to_owned(), mark)), "{path}: {told:?}");
        }
    }

    #[test]
    fn an_event_without_the_id_or_of_another_topic_tells_of_nothing() {
        for (topic, data) in [("execution.completed", json!({})), ("order.opened", json!({ "executionId": "exec-1" }))] {
            let event: Event = serde_json::from_value(json!({ "id": "evt-1", "type": topic, "data": data })).unwrap();
            assert_eq!(concerned(&event).count(), 0, "{topic}");
        }
    }
}
