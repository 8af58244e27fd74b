//! The conversion to OpenAI's strict mode, as its SDKs make it, and what it would take from a tool.

use serde_json::{Value, json};

use super::{name, nodes_of, properties_of};

/// The limits of a strict schema when the mode was new; they have grown since.
const MAX_PROPERTIES: usize = 100;
const MAX_DEPTH: usize = 5;
const MAX_ENUM_VALUES: usize = 500;

/// What the conversion takes from a tool's arguments: fields of free-form objects, and whatever is beyond the limits. A tool
/// that the conversion refuses loses nothing, since the SDK lists it as it is then.
pub fn losses(tool: &Value) -> Vec<String> {
    let before = &tool["inputSchema"];
    let Some(after) = convert(before) else { return Vec::new() };
    let mut lost: Vec<String> = nodes_of(before)
        .into_iter()
        .filter(|node| node.schema["type"] == "object" && node.schema.get("properties").is_none())
        .filter(|node| node.schema["additionalProperties"] != json!(false))
        .map(|node| format!("{} may only be empty", node.path))
        .collect();
    let nodes = nodes_of(&after);
    let properties: usize = nodes.iter().map(|node| properties_of(node.schema).count()).sum();
    let values: usize = nodes.iter().filter_map(|node| node.schema["enum"].as_array()).map(Vec::len).sum();
    let depth = nodes.iter().map(|node| node.path.matches('/').count()).max().unwrap_or_default();
    for (what, count, most) in
        [("properties", properties, MAX_PROPERTIES), ("levels", depth, MAX_DEPTH), ("enum values", values, MAX_ENUM_VALUES)]
    {
        if count > most {
            lost.push(format!("{count} {what} of {most} in {}", name(tool)));
        }
    }
    lost
}

/// The schema with every object closed and every property required; nothing where an object says what more it takes.
fn convert(schema: &Value) -> Option<Value> {
    let mut schema = schema.clone();
    if schema["type"] == "object" {
        let more = schema.get("additionalProperties");
        if more.is_some_and(|more| *more != json!(false) && *more != json!({})) {
            return None;
        }
        schema["additionalProperties"] = json!(false);
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut() {
            *property = convert(property)?;
        }
        let names: Vec<Value> = properties.keys().cloned().map(Value::String).collect();
        schema["required"] = Value::Array(names);
    }
    if let Some(items) = schema.get_mut("items") {
        *items = convert(items)?;
    }
    Some(schema)
}
