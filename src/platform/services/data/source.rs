//! The records that an analysis works on: those of the request, or those of a record type of the data hub.

use rusqlite::Connection;
use serde_json::{Map, Value};

use super::mappings::Slot;
use super::profile::{Columns, MAX_FIELDS};
use super::values::ValueType;
use crate::api::Permission;
use crate::api::ids::IntegrationId;
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;
use crate::platform::services::entities;

/// Source types whose records are in the data hub; `sourceId` then names the record type.
const HUB: [&str; 3] = ["data_hub", "data-hub", "entities"];
/// Source types that know text alone.
const TEXT: [&str; 5] = ["csv", "tsv", "excel", "spreadsheet", "file"];
/// Most records that are read of the data hub.
const MAX_RECORDS: usize = 1_000;

/// Where data comes from, and its records.
#[expect(clippy::struct_field_names, reason = "the contract's words")]
pub(super) struct Source {
    pub(super) source_type: String,
    /// Empty where the source has no id.
    pub(super) source_id: String,
    pub(super) records: Vec<Map<String, Value>>,
}

impl Source {
    /// Reads the columns, off the runtime.
    pub(super) async fn columns(self, cx: &Cx) -> Result<(Self, Columns)> {
        let text_alone = TEXT.contains(&self.source_type.to_ascii_lowercase().as_str());
        cx.compute(move || Columns::read(&self.records, text_alone).map(|columns| (self, columns))).await?
    }
}

/// Whether the source is the data hub.
pub(super) fn is_hub(source_type: &str) -> bool {
    HUB.contains(&source_type.to_ascii_lowercase().as_str())
}

/// The records of a request, or of the data hub where the request names a record type; `None` where there are none.
pub(super) async fn read(
    cx: &Cx,
    source_type: &str,
    sample: Option<Vec<Map<String, Value>>>,
    source_id: Option<&IntegrationId>,
) -> Result<Option<Source>> {
    let records = match (sample, source_id) {
        (Some(records), _) if records.is_empty() => return Err(no_sample("`sampleData` holds no record")),
        (Some(records), _) => records,
        (None, Some(kind)) if is_hub(source_type) => hub_records(cx, kind.as_str().to_owned()).await?,
        (None, _) => return Ok(None),
    };
    let source_id = source_id.map(|id| id.as_str().to_owned()).unwrap_or_default();
    Ok(Some(Source { source_type: source_type.to_owned(), source_id, records }))
}

async fn hub_records(cx: &Cx, kind: String) -> Result<Vec<Map<String, Value>>> {
    may_read_the_hub(cx)?;
    let tenant = cx.tenant();
    let records = cx.read(move |connection| entities::newest(connection, tenant.as_str(), &kind, MAX_RECORDS)).await?;
    if records.is_empty() { Err(no_sample("the record type has no records yet")) } else { Ok(records) }
}

/// Refuses callers who may not read records: an analysis tells of what is in them.
pub(super) fn may_read_the_hub(cx: &Cx) -> Result<()> {
    if cx.caller.permissions.as_ref().is_some_and(|held| held.allow(Permission::ENTITY_VIEW)) {
        return Ok(());
    }
    let message = format!("reading the data hub takes the permission {}", Permission::ENTITY_VIEW);
    Err(Error::new(Kind::Forbidden, "FM-AAS-FORBIDDEN", message).hint("Ask an administrator for a role that grants it."))
}

/// The names and types of a record type's fields: those of its schema, else those of its newest records.
pub(super) fn hub_fields(connection: &Connection, tenant: &str, kind: &str) -> Result<Vec<Slot>> {
    if let Some(schema) = entities::schema_of(connection, tenant, kind)? {
        let mut slots = Vec::new();
        schema_slots(&schema, "", &mut slots, 0);
        if !slots.is_empty() {
            return Ok(slots);
        }
    }
    let records = entities::newest(connection, tenant, kind, 200)?;
    if records.iter().all(Map::is_empty) {
        return Ok(Vec::new());
    }
    Ok(Slot::of_profile(&Columns::read(&records, false)?.profile()))
}

fn schema_slots(schema: &Value, prefix: &str, slots: &mut Vec<Slot>, depth: usize) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, property) in properties.iter().take(MAX_FIELDS.saturating_sub(slots.len())) {
        let name = format!("{prefix}{name}");
        if depth < 5 && property.get("properties").is_some() {
            schema_slots(property, &format!("{name}."), slots, depth + 1);
            continue;
        }
        let kind = match property.get("format").and_then(Value::as_str) {
            Some("date-time") => Some(ValueType::Timestamp),
            Some("date") => Some(ValueType::Date),
            _ => property.get("type").and_then(Value::as_str).and_then(ValueType::of_name),
        };
        slots.push(Slot { name, kind });
    }
}

/// The error of an analysis without data.
pub(super) fn no_sample(why: &str) -> Error {
    Error::new(Kind::Invalid, "FM-DIS-NO-SAMPLE", why.to_owned())
        .hint("Send up to 1,000 records as `sampleData`, or name a record type of the data hub: its name as `sourceId`, entities as `sourceType`.")
        .field("/sampleData", "required", "holds the records to analyse, at least one")
}
