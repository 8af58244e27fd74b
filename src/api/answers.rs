//! Whether an answer fits the schema that hosts hold it to.

use serde_json::{Map, Value};

use super::problem::FieldError;

/// The first place where an answer breaks its output schema, if any.
///
/// Output schemas are open: types, properties, items and few required names are all that they say.
#[must_use]
pub fn mismatch(schema: &Map<String, Value>, answer: &Value) -> Option<FieldError> {
    walk(schema, answer, &mut String::new())
}

fn walk(schema: &Map<String, Value>, value: &Value, path: &mut String) -> Option<FieldError> {
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => true,
    };
    if !fits {
        return Some(FieldError::new(path.clone(), "type", format!("is {}, where {wanted} is due", kind_of(value))));
    }
    match value {
        Value::Object(fields) => {
            for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    return Some(FieldError::new(format!("{path}/{name}"), "required", "is missing"));
                }
            }
            let properties = schema.get("properties").and_then(Value::as_object)?;
            properties.iter().find_map(|(name, property)| below(property.as_object()?, fields.get(name)?, name, path))
        }
        Value::Array(items) => {
            let item = schema.get("items").and_then(Value::as_object)?;
            items.iter().enumerate().find_map(|(place, value)| below(item, value, &place.to_string(), path))
        }
        _ => None,
    }
}

fn below(schema: &Map<String, Value>, value: &Value, step: &str, path: &mut String) -> Option<FieldError> {
    let length = path.len();
    path.push('/');
    path.push_str(step);
    let found = walk(schema, value, path);
    path.truncate(length);
    found
}

/// What kind of JSON a value is, for people.
#[must_use]
pub const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_place_that_breaks_the_schema_is_named() {
        let schema = json!({
            "type": "object", "required": ["items"],
            "properties": { "items": { "type": "array", "items": { "type": "object", "properties": { "n": { "type": "integer" } } } } },
        });
        let schema = schema.as_object().unwrap();
        for (answer, found) in [
            (json!({ "items": [{ "n": 1 }, { "n": 2.0, "more": null }, {}] }), None),
            (json!({ "items": [{ "n": 1 }, { "n": "2" }] }), Some("/items/1/n is text, where integer is due")),
            (json!({ "items": null }), Some("/items is null, where array is due")),
            (json!({ "tasks": [] }), Some("/items is missing")),
            (json!("nothing"), Some(" is text, where object is due")),
        ] {
            let fault = mismatch(schema, &answer).map(|fault| format!("{} {}", fault.pointer, fault.detail));
            assert_eq!(fault.as_deref(), found, "{answer}");
        }
    }
}
