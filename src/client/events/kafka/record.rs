//! A record of Kafka as an event: CloudEvents 1.0 in either mode of its Kafka binding, or the contract's form of an event.
//!
//! The tenant is in the event or in a header. A record with a tenant and without an id is a hint to read again, as a frame of the
//! WebSocket gateway is.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::topics::Topics;
use crate::api::ids::{EventId, TenantId};
use crate::api::{Event, Timestamp};
use crate::client::events::bus::Told;

/// Largest record that is read, in bytes: an event is at most a body of 1 MiB.
pub(super) const MAX_BYTES: usize = (1 << 20) + (64 << 10);
/// Longest name or id, in bytes.
const MAX_NAME: usize = 512;
/// The headers that may name the tenant.
const TENANT_HEADERS: [&str; 4] = ["ce_tenantid", "tenantid", "tenant_id", "x-tenant-id"];

/// A record as Kafka has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) kafka_topic: &'a str,
    pub(super) payload: Option<&'a [u8]>,
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// When it was written.
    pub(super) time: Option<Timestamp>,
}

/// Why a record is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It is not an event, or not one that its Kafka topic may tell of.
    Malformed,
    /// It is larger than any event.
    TooLarge,
    /// It belongs to no tenant.
    NoTenant,
}

impl Dropped {
    pub(super) const ALL: [Self; 3] = [Self::Malformed, Self::TooLarge, Self::NoTenant];

    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::NoTenant => "no_tenant",
        }
    }
}

/// What a record tells, and whom.
pub(super) fn read(record: &Record<'_>, topics: &Topics) -> Result<(TenantId, Told), Dropped> {
    let payload = record.payload.unwrap_or_default();
    if payload.len() > MAX_BYTES {
        return Err(Dropped::TooLarge);
    }
    // In the binary mode the headers are the event's attributes, and the payload is its data.
    let is_binary = record.header("ce_type").is_some();
    let mut body = match serde_json::from_slice(payload) {
        Ok(Value::Object(body)) => body,
        Err(_) if is_binary && payload.is_empty() => Map::new(),
        _ => return Err(Dropped::Malformed),
    };
    let data = if is_binary { std::mem::take(&mut body) } else { data(&mut body)? };
    let text = |names: &[&str]| if is_binary { record.attribute(names[0]) } else { text(&body, names) };

    let told = text(&["tenantid", "tenantId", "tenant_id"])?;
    let in_header = TENANT_HEADERS.iter().find_map(|name| record.header(name)).filter(|tenant| !tenant.is_empty());
    let tenant = match (told, in_header) {
        (Some(told), Some(header)) if told != header => return Err(Dropped::Malformed),
        (Some(tenant), _) => TenantId(tenant),
        (None, Some(tenant)) => TenantId(bounded(tenant)?),
        (None, None) => return Err(Dropped::NoTenant),
    };
    let topic = text(&["type", "topic"])?.or_else(|| topics.only(record.kafka_topic).map(str::to_owned));
    let topic = topic.filter(|topic| topics.may_tell(record.kafka_topic, topic)).ok_or(Dropped::Malformed)?;
    let Some(id) = text(&["id", "eventId", "event_id"])? else { return Ok((tenant, Told::Hint)) };
    let sequence = if is_binary { record.header("ce_sequence").map(Value::from) } else { body.get("sequence").cloned() };
    let event = Event {
        specversion: "1.0".to_owned(),
        id: EventId(id),
        source: text(&["source"])?.unwrap_or_default(),
        topic,
        time: text(&["time", "timestamp"])?.and_then(|time| time.parse().ok()).or(record.time),
        subject: text(&["subject"])?,
        tenantid: Some(tenant.clone()),
        correlationid: text(&["correlationid", "correlationId", "correlation_id"])?,
        sequence: sequence.and_then(|sequence| sequence.as_u64().or_else(|| sequence.as_str()?.parse().ok())),
        data,
    };
    Ok((tenant, Told::Event(Arc::new(event))))
}

impl<'a> Record<'a> {
    /// A header, whatever the case of its name.
    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// An attribute of an event in the binary mode.
    fn attribute(&self, name: &str) -> Result<Option<String>, Dropped> {
        self.header(&format!("ce_{name}")).filter(|value| !value.is_empty()).map(bounded).transpose()
    }
}

/// What happened, by CloudEvents, by the contract, or as the WebSocket gateway names it.
fn data(body: &mut Map<String, Value>) -> Result<Map<String, Value>, Dropped> {
    let found = ["data", "event", "payload"].iter().find_map(|name| body.remove(*name));
    match found {
        Some(Value::Object(data)) => Ok(data),
        None | Some(Value::Null) => Ok(Map::new()),
        Some(_) => Err(Dropped::Malformed),
    }
}

/// The text of the first field that is there.
fn text(body: &Map<String, Value>, names: &[&str]) -> Result<Option<String>, Dropped> {
    match names.iter().find_map(|name| body.get(*name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => bounded(text).map(Some),
        Some(_) => Err(Dropped::Malformed),
    }
}

fn bounded(text: &str) -> Result<String, Dropped> {
    if text.len() <= MAX_NAME { Ok(text.to_owned()) } else { Err(Dropped::Malformed) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn read_from(kafka_topic: &str, payload: &[u8], headers: &[(&str, &str)]) -> Result<(TenantId, Told), Dropped> {
        let topics = Topics::new(String::new(), &BTreeMap::from([("order.*".to_owned(), "orders".to_owned())]));
        let record = Record { kafka_topic, payload: Some(payload), headers, time: Some(Timestamp::from_millis(1_000)) };
        read(&record, &topics)
    }

    fn event(kafka_topic: &str, body: &Value, headers: &[(&str, &str)]) -> Event {
        match read_from(kafka_topic, body.to_string().as_bytes(), headers) {
            Ok((tenant, Told::Event(event))) if event.tenantid == Some(tenant.clone()) => (*event).clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_event_is_read_in_every_form() {
        let whole = json!({
            "specversion": "1.0", "id": "evt-1", "source": "/services/tasks", "type": "task.created", "time": "2025-02-07T10:30:00.000Z",
            "subject": "task-1", "tenantid": "acme", "correlationid": "exec-1", "sequence": 7, "data": { "taskId": "task-1" },
        });
        let structured = event("task.created", &whole, &[("content-type", "application/cloudevents+json")]);
        assert_eq!(serde_json::to_value(&structured).unwrap(), whole);
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", "evt-1"),
            ("ce_source", "/services/tasks"),
            ("ce_type", "task.created"),
            ("ce_time", "2025-02-07T10:30:00Z"),
            ("ce_subject", "task-1"),
            ("ce_tenantid", "acme"),
            ("ce_correlationid", "exec-1"),
            ("ce_sequence", "7"),
        ];
        assert_eq!(event("task.created", &json!({ "taskId": "task-1" }), &headers), structured);
        let contract =
            json!({ "topic": "task.created", "event": { "taskId": "task-1" }, "timestamp": "2025-02-07T10:30:00Z", "eventId": "evt-1" });
        let read = event("task.created", &contract, &[("X-Tenant-Id", "acme")]);
        assert_eq!((&read.id, read.time, &read.data), (&structured.id, structured.time, &structured.data));
        let bare = event("task.created", &json!({ "id": "evt-2", "tenantId": "acme" }), &[]);
        assert_eq!((bare.topic.as_str(), bare.time), ("task.created", Some(Timestamp::from_millis(1_000))), "the Kafka topic says it");
        assert_eq!(event("orders", &json!({ "id": "e", "type": "order.paid", "tenantid": "acme" }), &[]).topic, "order.paid");
    }

    #[test]
    fn a_record_without_an_id_is_a_hint_to_its_tenant() {
        let hint = read_from("task.created", br#"{ "tenantId": "acme", "event": {} }"#, &[]);
        assert!(matches!(&hint, Ok((tenant, Told::Hint)) if tenant.as_str() == "acme"), "{hint:?}");
    }

    #[test]
    fn a_record_that_is_no_event_of_its_topic_is_dropped() {
        let tenant: &[(&str, &str)] = &[("ce_tenantid", "acme")];
        for (kafka_topic, body, headers) in [
            ("task.created", "", tenant),
            ("task.created", "[1]", tenant),
            ("task.created", "{", tenant),
            ("task.created", r#"{ "id": 1 }"#, tenant),
            ("task.created", r#"{ "id": "e", "data": [] }"#, tenant),
            ("task.created", r#"{ "id": "e", "type": "task.responded" }"#, tenant),
            ("task.created", r#"{ "id": "e", "tenantid": "globex" }"#, tenant),
            ("task.created", r#"{ "id": "e", "tenantid": ["acme"] }"#, tenant),
            ("orders", r#"{ "id": "e" }"#, tenant),
            ("orders", r#"{ "id": "e", "type": "task.created" }"#, tenant),
        ] {
            assert_eq!(read_from(kafka_topic, body.as_bytes(), headers).err(), Some(Dropped::Malformed), "{kafka_topic} {body}");
        }
        let long = format!(r#"{{ "id": "{}" }}"#, "e".repeat(MAX_NAME + 1));
        assert_eq!(read_from("task.created", long.as_bytes(), tenant).err(), Some(Dropped::Malformed));
        let deep = format!(r#"{{ "id": "e", "data": {}1{} }}"#, r#"{"a":"#.repeat(500), "}".repeat(500));
        assert_eq!(read_from("task.created", deep.as_bytes(), tenant).err(), Some(Dropped::Malformed));
        assert_eq!(read_from("task.created", br#"{ "id": "e" }"#, &[]).err(), Some(Dropped::NoTenant));
        assert_eq!(read_from("task.created", br#"{ "id": "e", "tenantid": "" }"#, &[]).err(), Some(Dropped::NoTenant));
        assert_eq!(read_from("task.created", &vec![b' '; MAX_BYTES + 1], tenant).err(), Some(Dropped::TooLarge));
    }
}
