//! Which Kafka topics are read, and which topics of the platform each of them may tell of.

use std::collections::BTreeMap;

use crate::api::cloud_event::{TOPICS, topic_matches};

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    /// What stands before a platform topic in the name of its Kafka topic.
    prefix: String,
    /// Kafka topics by platform topic or pattern, the narrowest first.
    named: Vec<(String, String)>,
}

impl Topics {
    pub(super) fn new(prefix: String, named: &BTreeMap<String, String>) -> Self {
        let mut named: Vec<_> = named.iter().map(|(pattern, kafka)| (pattern.clone(), kafka.clone())).collect();
        named.sort_by_key(|(pattern, _)| (pattern.ends_with('*'), std::cmp::Reverse(pattern.len())));
        Self { prefix, named }
    }

    /// Whether a Kafka topic is read.
    pub(super) fn are_in(&self, kafka: &str) -> bool {
        let is_named = self.named.iter().any(|(_, name)| name == kafka);
        is_named || self.only(kafka).is_some_and(|topic| !self.prefix.is_empty() || TOPICS.contains(&topic))
    }

    /// Whether a record of a Kafka topic may be an event of a platform topic.
    pub(super) fn may_tell(&self, kafka: &str, topic: &str) -> bool {
        match self.named.iter().find(|(pattern, _)| topic_matches(pattern, topic)) {
            Some((_, name)) => name == kafka,
            None => kafka.strip_prefix(&self.prefix) == Some(topic),
        }
    }

    /// The one platform topic that a Kafka topic tells of; none where there may be several.
    pub(super) fn only<'a>(&'a self, kafka: &'a str) -> Option<&'a str> {
        let mut named = self.named.iter().filter(|(_, name)| name == kafka).map(|(pattern, _)| pattern.as_str());
        match (named.next(), named.next()) {
            (Some(topic), None) => Some(topic).filter(|topic| !topic.ends_with('*')),
            (Some(_), Some(_)) => None,
            (None, _) => kafka.strip_prefix(&self.prefix).filter(|topic| !topic.is_empty() && self.may_tell(kafka, topic)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(prefix: &str, named: &[(&str, &str)]) -> Topics {
        let named = named.iter().map(|(pattern, kafka)| ((*pattern).to_owned(), (*kafka).to_owned())).collect();
        Topics::new(prefix.to_owned(), &named)
    }

    #[test]
    fn topics_of_the_same_name_are_the_contracts() {
        let plain = topics("", &[]);
        assert!(plain.are_in("task.created") && !plain.are_in("order.shipped") && !plain.are_in("__consumer_offsets"));
        assert!(plain.may_tell("task.created", "task.created") && !plain.may_tell("order.shipped", "task.created"));
        assert_eq!((plain.only("task.created"), plain.only("")), (Some("task.created"), None));
    }

    #[test]
    fn a_prefix_leads_to_every_topic_behind_it() {
        let prefixed = topics("fm.", &[]);
        assert!(prefixed.are_in("fm.order.shipped") && !prefixed.are_in("task.created") && !prefixed.are_in("fm."));
        assert!(prefixed.may_tell("fm.order.shipped", "order.shipped") && !prefixed.may_tell("fm.order.shipped", "task.created"));
        assert_eq!(prefixed.only("fm.order.shipped"), Some("order.shipped"));
    }

    #[test]
    fn the_narrowest_pattern_names_the_kafka_topic() {
        let named = topics("", &[("*", "all"), ("task.*", "tasks"), ("task.created", "new")]);
        for (kafka, topic) in [("all", "order.shipped"), ("tasks", "task.responded"), ("new", "task.created")] {
            assert!(named.are_in(kafka) && named.may_tell(kafka, topic), "{kafka} {topic}");
        }
        assert!(!named.may_tell("all", "task.created") && !named.may_tell("tasks", "task.created"));
        assert!(!named.are_in("task.created"), "its events are in another Kafka topic");
        assert_eq!((named.only("new"), named.only("tasks"), named.only("all")), (Some("task.created"), None, None));
    }
}
