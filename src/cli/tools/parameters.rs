//! A tool's arguments as lines for people: nested fields indented, each with its type, bounds and values.

use serde_json::{Map, Value};

/// The deepest nesting that is shown.
const MAX_DEPTH: usize = 6;
/// Lines that are shown at most.
const MAX_LINES: usize = 300;
/// Values of one enumeration that are shown at most.
const MAX_VALUES: usize = 30;

/// One argument, or a field within one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    /// How deep it is nested.
    pub(super) depth: usize,
    pub(super) name: String,
    /// Type, bounds and values.
    pub(super) kind: String,
    pub(super) required: bool,
    pub(super) about: String,
}

/// Returns the arguments of a schema, fields below the argument that holds them, and whether that is all of them.
pub(super) fn of(schema: &Map<String, Value>) -> (Vec<Parameter>, bool) {
    let mut parameters = Vec::new();
    let whole = walk(schema, 0, &mut parameters);
    (parameters, whole)
}

fn walk(schema: &Map<String, Value>, depth: usize, into: &mut Vec<Parameter>) -> bool {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return true };
    if depth >= MAX_DEPTH {
        return properties.is_empty();
    }
    let required = schema.get("required").and_then(Value::as_array);
    let mut whole = true;
    for (name, property) in properties {
        if into.len() >= MAX_LINES {
            return false;
        }
        let Some(property) = property.as_object() else { continue };
        into.push(Parameter {
            depth,
            name: name.clone(),
            kind: kind(property),
            required: required.is_some_and(|required| required.iter().any(|needed| needed == name)),
            about: property.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        });
        whole &= walk(innermost(property), depth + 1, into);
    }
    whole
}

/// The schema whose fields are shown below a property: that of a list's items, or of an object's values.
fn innermost(mut schema: &Map<String, Value>) -> &Map<String, Value> {
    for _ in 0..MAX_DEPTH {
        let inner = ["items", "additionalProperties"].iter().find_map(|part| schema.get(*part).and_then(Value::as_object));
        match inner {
            Some(inner) if !schema.contains_key("properties") => schema = inner,
            _ => break,
        }
    }
    schema
}

fn kind(schema: &Map<String, Value>) -> String {
    let mut parts = vec![type_of(schema, 0)];
    parts.extend(schema.get("format").and_then(Value::as_str).map(str::to_owned));
    parts.extend(range(schema, "minimum", "maximum", ""));
    parts.extend(range(schema, "minLength", "maxLength", " characters"));
    parts.extend(range(schema, "minItems", "maxItems", " items"));
    parts.extend(schema.get("pattern").and_then(Value::as_str).map(|pattern| format!("pattern {pattern}")));
    let values = schema.get("enum").or_else(|| schema.get("items").and_then(|items| items.get("enum"))).and_then(Value::as_array);
    parts.extend(values.map(|values| one_of(values)));
    parts.extend(schema.get("default").map(|value| format!("default {}", text(value))));
    parts.join(", ")
}

fn type_of(schema: &Map<String, Value>, depth: usize) -> String {
    let plain = schema.get("type").and_then(Value::as_str).unwrap_or("any");
    let inner = |part: &str| schema.get(part).and_then(Value::as_object).filter(|_| depth < MAX_DEPTH);
    match (plain, inner("items"), inner("additionalProperties")) {
        ("array", Some(items), _) => format!("array of {}", type_of(items, depth + 1)),
        ("object", _, Some(values)) if !schema.contains_key("properties") => format!("object of {}", type_of(values, depth + 1)),
        _ => plain.to_owned(),
    }
}

fn range(schema: &Map<String, Value>, least: &str, most: &str, unit: &str) -> Option<String> {
    match (schema.get(least), schema.get(most)) {
        (None, None) => None,
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
    }
}

fn one_of(values: &[Value]) -> String {
    let shown = values.iter().take(MAX_VALUES).map(text).collect::<Vec<_>>().join(", ");
    let more = values.len().saturating_sub(MAX_VALUES);
    if more == 0 { format!("one of {shown}") } else { format!("one of {shown} and {more} more") }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(schema: Value) -> Map<String, Value> {
        serde_json::from_value(schema).unwrap()
    }

    #[test]
    fn nested_fields_follow_what_holds_them_with_their_bounds() {
        let schema = object(json!({
            "properties": {
                "nodes": { "type": "array", "maxItems": 9, "description": "Steps.", "items": { "type": "object", "required": ["kind"], "properties": {
                    "kind": { "type": "string", "enum": ["start", "end"] },
                    "sla": { "type": "object", "properties": { "hours": { "type": "number", "minimum": 0, "default": 24 } } },
                } } },
                "limit": { "type": "integer", "minimum": 1, "maximum": 200 },
                "name": { "type": "string", "minLength": 1, "format": "uri" },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            },
            "required": ["nodes"],
        }));
        let (found, whole) = of(&schema);
        assert!(whole);
        let found: Vec<_> = found.iter().map(|one| (one.depth, one.name.as_str(), one.kind.as_str(), one.required)).collect();
        assert_eq!(
            found,
            [
                (0, "nodes", "array of object, at most 9 items", true),
                (1, "kind", "string, one of start, end", true),
                (1, "sla", "object", false),
                (2, "hours", "number, at least 0, default 24", false),
                (0, "limit", "integer, 1 to 200", false),
                (0, "name", "string, uri, at least 1 characters", false),
                (0, "labels", "object of string", false),
            ]
        );
    }

    #[test]
    fn depth_lines_and_values_are_bounded() {
        let mut deep = json!({ "type": "object", "properties": { "leaf": { "type": "string" } } });
        for _ in 0..50 {
            deep = json!({ "type": "object", "properties": { "inner": deep } });
        }
        let (found, whole) = of(&object(deep));
        assert!(found.len() == MAX_DEPTH && !whole, "{}", found.len());
        let many: Map<String, Value> = (0..1000).map(|number| (format!("field{number}"), json!({ "type": "string" }))).collect();
        let (found, whole) = of(&object(json!({ "properties": many })));
        assert!(found.len() == MAX_LINES && !whole, "{}", found.len());
        let values: Vec<Value> = (0..100).map(Value::from).collect();
        assert!(one_of(&values).ends_with("and 70 more"));
    }
}
