//! The event types that a host may subscribe to: one for each topic of the contract, and one for topics by their name or pattern.

use rmcp::ErrorData;
use serde_json::{Map, Value, json};

use super::refusals::{ErrorNumbers, Reason};
use crate::api::arguments::quote;
use crate::api::cloud_event::topic_matches;
use crate::api::events::payloads::{PAYLOADS, Topic};
use crate::api::{Event, Timestamp, schema};
use crate::server::answer::redact::redact;

/// The event type for topics of a company's own, and for several topics at once.
const PUBLISHED: &str = "event.published";
/// Longest argument, in characters.
const MAX_ARGUMENT: usize = 200;

/// An event type with the arguments of a subscription to it.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The type's name.
    pub(super) name: &'static str,
    /// The topic or pattern to read.
    pub(super) topic: String,
    /// What an event has to hold, by field.
    narrowed: Vec<(&'static str, String)>,
}

/// Returns the event types as `events/list` shows them.
pub(super) fn listed(delivery: &[&str]) -> Vec<Value> {
    let typed = PAYLOADS.iter().map(|topic| {
        json!({
            "name": topic.name,
            "description": topic.about,
            "delivery": delivery,
            "inputSchema": input_of(topic),
            "payloadSchema": topic.payload(),
        })
    });
    let published = json!({
        "name": PUBLISHED,
        "description": "Something was published on a topic, or on any topic of a pattern: also one of your own, such as invoice.received.",
        "delivery": delivery,
        "inputSchema": {
            "type": "object",
            "properties": { "topic": {
                "type": "string",
                "description": "A topic such as invoice.received, or a pattern such as execution.* or *.",
                "maxLength": MAX_ARGUMENT,
            } },
            "required": ["topic"],
            "additionalProperties": false,
        },
        "payloadSchema": schema::of::<Event>(),
    });
    typed.chain([published]).collect()
}

fn input_of(topic: &Topic) -> Value {
    let properties = topic.narrowed_by.iter().map(|name| {
        let about = format!("Only events whose {name} is this.");
        ((*name).to_owned(), json!({ "type": "string", "description": about, "maxLength": MAX_ARGUMENT }))
    });
    json!({ "type": "object", "properties": properties.collect::<Map<_, _>>(), "additionalProperties": false })
}

impl Chosen {
    /// Finds an event type, and checks the arguments by its schema.
    pub(super) fn find(name: &str, arguments: &Map<String, Value>, numbers: ErrorNumbers) -> Result<Self, ErrorData> {
        if name == PUBLISHED {
            let mut given = texts(name, &["topic"], arguments)?;
            let Some((_, topic)) = given.pop() else {
                return Err(wrong(
                    name,
                    "/arguments/topic",
                    "is missing: name a topic such as invoice.received, or a pattern such as task.*",
                ));
            };
            return Ok(Self { name: PUBLISHED, topic, narrowed: Vec::new() });
        }
        let Some(topic) = PAYLOADS.iter().find(|topic| topic.name == name) else {
            return Err(numbers.refuse(
                Reason::NotFound,
                "FM-MCP-EVENT-UNKNOWN",
                format!("there is no event type {}; events/list shows those there are", quote(name)),
                json!({ "kind": "event" }),
            ));
        };
        Ok(Self { name: topic.name, topic: topic.name.to_owned(), narrowed: texts(name, topic.narrowed_by, arguments)? })
    }

    /// Whether an event is one that is subscribed to.
    pub(super) fn concerns(&self, event: &Event) -> bool {
        let holds = |(field, wanted): &(&str, String)| event.data.get(*field).and_then(Value::as_str) == Some(wanted);
        topic_matches(&self.topic, &event.topic) && self.narrowed.iter().all(holds)
    }

    /// An event as its occurrence, without secrets and without fields that say nothing.
    pub(super) fn occurrence(&self, event: &Event, cursor: Option<&str>) -> Value {
        let whole = || serde_json::to_value(event).unwrap_or_else(|_| json!({}));
        let mut data = if self.name == PUBLISHED { whole() } else { Value::Object(event.data.clone()) };
        redact(&mut data);
        if let Value::Object(fields) = &mut data {
            fields.retain(|_, value| !value.is_null());
        }
        let mut occurrence = json!({
            "eventId": event.id,
            "name": self.name,
            "timestamp": event.time.unwrap_or_else(Timestamp::now),
            "data": data,
        });
        if let Some(cursor) = cursor {
            occurrence["cursor"] = json!(cursor);
        }
        occurrence
    }
}

/// Reads arguments that are all texts, of which any may be absent.
fn texts(name: &str, known: &[&'static str], arguments: &Map<String, Value>) -> Result<Vec<(&'static str, String)>, ErrorData> {
    let mut given = Vec::new();
    for (field, value) in arguments {
        let pointer = format!("/arguments/{field}");
        let Some(known) = known.iter().find(|known| *known == field) else {
            return Err(wrong(name, &pointer, &format!("is not an argument of this event type; there are {}", known.join(", "))));
        };
        match value {
            Value::String(text) if !text.is_empty() && text.chars().count() <= MAX_ARGUMENT => given.push((*known, text.clone())),
            _ => return Err(wrong(name, &pointer, &format!("must be a text of 1 to {MAX_ARGUMENT} characters"))),
        }
    }
    Ok(given)
}

fn wrong(name: &str, pointer: &str, detail: &str) -> ErrorData {
    ErrorData::invalid_params(
        format!("the arguments of a subscription to {} are wrong: {pointer} {detail}", quote(name)),
        Some(json!({ "code": "FM-MCP-EVENT-ARGUMENTS", "pointer": pointer })),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str, arguments: &Value) -> Result<Chosen, ErrorData> {
        Chosen::find(name, arguments.as_object().unwrap(), ErrorNumbers::Draft)
    }

    fn event(topic: &str, data: &Value) -> Event {
        serde_json::from_value(json!({ "id": "evt-1", "type": topic, "data": data })).unwrap()
    }

    #[test]
    fn every_listed_type_can_be_chosen_and_narrowed() {
        for listed in listed(&["poll"]) {
            let name = listed["name"].as_str().unwrap();
            let fields = listed["inputSchema"]["properties"].as_object().unwrap();
            for field in fields.keys() {
                find(name, &json!({ field: "x" })).unwrap();
            }
            assert_eq!(find(name, &json!({})).is_err(), name == PUBLISHED, "{name}");
            for wrong in [json!({ "nothing": "x" }), json!({ fields.keys().next().unwrap(): 5 })] {
                assert_eq!(find(name, &wrong).unwrap_err().code.0, -32602, "{name}");
            }
        }
        assert_eq!(find("nothing.here", &json!({})).unwrap_err().code.0, -32011);
    }

    #[test]
    fn an_event_concerns_those_who_chose_it() {
        let mine = find("task.created", &json!({ "assignedTo": "anna" })).unwrap();
        assert!(mine.concerns(&event("task.created", &json!({ "taskId": "1", "assignedTo": "anna" }))));
        assert!(!mine.concerns(&event("task.created", &json!({ "taskId": "1", "assignedTo": "bert" }))));
        assert!(!mine.concerns(&event("task.responded", &json!({ "taskId": "1", "assignedTo": "anna" }))));
        let any = find(PUBLISHED, &json!({ "topic": "invoice.*" })).unwrap();
        let came = event("invoice.received", &json!({ "number": 7, "password": "geheim" }));
        assert!(any.concerns(&came) && !any.concerns(&event("order.received", &json!({}))));
        let told = any.occurrence(&came, Some("c"));
        assert_eq!((&told["data"]["data"]["number"], &told["cursor"]), (&json!(7), &json!("c")));
        assert!(!told.to_string().contains("geheim"));
    }
}
