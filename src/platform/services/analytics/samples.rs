//! What an event tells: values of metrics with their dimensions, and who was active.

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Map, Value};

use crate::api::Timestamp;
use crate::error::Result;

/// The topics that metrics are made of. Events that a person published tell that the person was active as well.
pub(super) const TOPICS: [&str; 7] = [
    "execution.started",
    "execution.completed",
    "execution.failed",
    "execution.cancelled",
    "task.responded",
    "agent.invoked",
    "integration.synced",
];
/// How a person's events name their source.
pub(super) const PERSON: &str = "/users/";
/// Longest value of a dimension, in bytes; a longer one is cut.
const MAX_VALUE: usize = 256;

/// An event of the log, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Logged {
    pub(super) position: i64,
    pub(super) tenant: String,
    pub(super) topic: String,
    pub(super) source: String,
    pub(super) time: i64,
    pub(super) data: Map<String, Value>,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) metric: &'static str,
    pub(super) value: f64,
    /// The dimensions that are known of it.
    pub(super) dimensions: Vec<(&'static str, String)>,
}

/// The values that an event tells.
pub(super) fn samples(connection: &Connection, event: &Logged) -> Result<Vec<Sample>> {
    let data = &event.data;
    let sample = |metric: &'static str, value: Option<f64>, known: &[(&'static str, Option<String>)]| {
        let value = value.filter(|value| value.is_finite() && *value >= 0.0);
        let named = |known: &(&'static str, Option<String>)| Some((known.0, cut(known.1.clone()?)));
        value.map(|value| Sample { metric, value, dimensions: known.iter().filter_map(named).collect() })
    };
    let found = match event.topic.as_str() {
        "execution.started" => sample("process.execution_count", Some(1.0), &[("process_id", text(data, "processId"))]),
        "execution.completed" | "execution.failed" | "execution.cancelled" => {
            let status = event.topic.strip_prefix("execution.").map(str::to_owned);
            sample("process.avg_duration", number(data, "duration"), &[("process_id", text(data, "processId")), ("status", status)])
        }
        "task.responded" => {
            let task = text(data, "taskId").unwrap_or_default();
            let (seconds, process) = of_task(connection, event, &task)?;
            let known = [("process_id", process), ("node_id", text(data, "nodeId")), ("decision", text(data, "decision"))];
            sample("task.avg_completion_time", seconds, &known)
        }
        "agent.invoked" => sample("agent.response_latency", latency(data), &[("agent_id", text(data, "agentId"))]),
        "integration.synced" => sample("integration.sync_success_rate", success(data), &[("integration_id", text(data, "integrationId"))]),
        _ => None,
    };
    Ok(found.into_iter().collect())
}

/// The person that an event shows to be active.
pub(super) fn person(event: &Logged) -> Option<String> {
    let named = match event.topic.as_str() {
        "execution.started" => text(&event.data, "initiator"),
        "task.responded" => text(&event.data, "respondedBy"),
        _ => event.source.strip_prefix(PERSON).map(str::to_owned),
    };
    named.filter(|person| person.starts_with("user-"))
}

/// How long a task was open, and which process it belongs to. The event of an answer names neither.
fn of_task(connection: &Connection, event: &Logged, task: &str) -> Result<(Option<f64>, Option<String>)> {
    let found = connection
        .prepare_cached(
            "SELECT tasks.created_at, executions.process_id FROM tasks LEFT JOIN executions \
             ON executions.tenant_id = tasks.tenant_id AND executions.id = tasks.execution_id WHERE tasks.tenant_id = ?1 AND tasks.id = ?2",
        )?
        .query_row((&event.tenant, task), |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.map_or((None, None), |(created, process)| {
        let open = Timestamp::from_millis(event.time).seconds_since(Timestamp::from_millis(created));
        (Some(open), process)
    }))
}

/// How long an agent took, in seconds.
fn latency(data: &Map<String, Value>) -> Option<f64> {
    let millis = number(data, "latencyMs").or_else(|| number(data, "durationMs")).map(|millis| millis / 1000.0);
    number(data, "duration").or_else(|| number(data, "latency")).or(millis)
}

/// 100 for a sync that succeeded, 0 for one that failed; none where the event does not say.
fn success(data: &Map<String, Value>) -> Option<f64> {
    let status = data.get("status").and_then(Value::as_str);
    let succeeded = data.get("success").and_then(Value::as_bool).or(match status {
        Some("completed" | "succeeded" | "success" | "ok") => Some(true),
        Some("failed" | "error" | "dead_letter") => Some(false),
        _ => None,
    });
    succeeded.map(|succeeded| if succeeded { 100.0 } else { 0.0 })
}

fn number(data: &Map<String, Value>, name: &str) -> Option<f64> {
    data.get(name)?.as_f64()
}

fn text(data: &Map<String, Value>, name: &str) -> Option<String> {
    data.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_VALUE));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::metrics::DEFINITIONS;
    use super::*;

    /// Whether a sample is of a known metric and its dimensions.
    fn is_defined(sample: &Sample) -> bool {
        let metric = DEFINITIONS.iter().find(|metric| metric.name == sample.metric);
        metric.is_some_and(|metric| sample.dimensions.iter().all(|(name, _)| metric.dimensions.contains(name)))
    }

    fn event(topic: &str, data: Value) -> Logged {
        let Value::Object(data) = data else { panic!("data is an object") };
        Logged { position: 1, tenant: "t".into(), topic: topic.into(), source: "/services/x".into(), time: 0, data }
    }

    #[test]
    fn each_topic_tells_a_defined_metric_or_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        for (topic, data, expected) in [
            ("execution.started", json!({ "processId": "p" }), Some(1.0)),
            ("execution.failed", json!({ "processId": "p", "duration": 2.5 }), Some(2.5)),
            ("execution.completed", json!({ "processId": "p" }), None),
            ("execution.completed", json!({ "duration": -1 }), None),
            ("agent.invoked", json!({ "agentId": "a", "latencyMs": 1500 }), Some(1.5)),
            ("agent.invoked", json!({ "agentId": "a", "duration": 2 }), Some(2.0)),
            ("integration.synced", json!({ "integrationId": "i", "status": "completed" }), Some(100.0)),
            ("integration.synced", json!({ "integrationId": "i", "success": false }), Some(0.0)),
            ("integration.synced", json!({ "integrationId": "i", "status": "queued" }), None),
            ("order.opened", json!({ "duration": 5 }), None),
        ] {
            let found = samples(&connection, &event(topic, data.clone())).unwrap();
            assert_eq!(found.first().map(|sample| sample.value), expected, "{topic} {data}");
            assert!(found.iter().all(is_defined), "{found:?}");
        }
    }

    #[test]
    fn only_people_count_as_active() {
        assert_eq!(person(&event("execution.started", json!({ "initiator": "user-7" }))), Some("user-7".to_owned()));
        assert_eq!(person(&event("execution.started", json!({ "initiator": "system" }))), None);
        assert_eq!(person(&event("task.responded", json!({ "respondedBy": "service-x" }))), None);
        let published = Logged { source: "/users/user-8".into(), ..event("order.opened", json!({})) };
        assert_eq!(person(&published), Some("user-8".to_owned()));
    }
}
