//! Arguments against their schema: every fault at once, each with its field, what is wrong and what is allowed.

use serde_json::{Map, Value};

use super::near::nearest;
use super::problem::FieldError;

/// How kindly arguments are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As written: the platform's own reading of a body.
    Strict,
    /// `"5"` for 5 and `"true"` for true are taken, null for an optional one is dropped: a model's call, a query.
    Lenient,
}

const MAX_DEPTH: usize = 64;
const MAX_ERRORS: usize = 20;

/// Checks an object against a cleaned input schema and puts it into its proper form.
///
/// # Errors
/// All faults that were found, at most twenty.
pub fn check(schema: &Map<String, Value>, value: &mut Value, reading: Reading) -> Result<(), Vec<FieldError>> {
    let mut faults = Vec::new();
    check_node(schema, value, &mut String::new(), reading, 0, &mut faults);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn check_node(
    schema: &Map<String, Value>,
    value: &mut Value,
    path: &mut String,
    reading: Reading,
    depth: usize,
    faults: &mut Vec<FieldError>,
) {
    if faults.len() >= MAX_ERRORS {
        return;
    }
    if depth > MAX_DEPTH {
        faults.push(FieldError::new(path.clone(), "depth", format!("is nested more than {MAX_DEPTH} levels deep")));
        return;
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("object");
    if reading == Reading::Lenient {
        coerce(kind, schema, value);
    }
    let fits = match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        _ => value.is_object(),
    };
    if !fits {
        faults.push(FieldError::new(path.clone(), "type", format!("must be {}, not {}", with_article(kind), describe(value))));
        return;
    }
    match value {
        Value::String(text) => check_text(schema, text, path, faults),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            let low = schema.get("minimum").and_then(Value::as_f64);
            let high = schema.get("maximum").and_then(Value::as_f64);
            if low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high) {
                let allowed = match (low, high) {
                    (Some(low), Some(high)) => format!("from {low} to {high}"),
                    (Some(low), None) => format!("{low} or more"),
                    (_, high) => format!("{} or less", high.unwrap_or_default()),
                };
                faults.push(FieldError::new(path.clone(), "range", format!("is {number}; allowed is {allowed}")));
            }
        }
        Value::Array(items) => {
            if let Some(least) = schema.get("minItems").and_then(Value::as_u64)
                && (items.len() as u64) < least
            {
                faults.push(FieldError::new(path.clone(), "length", format!("has {} items; at least {least} are needed", items.len())));
            }
            if let Some(most) = schema.get("maxItems").and_then(Value::as_u64)
                && items.len() as u64 > most
            {
                faults.push(FieldError::new(path.clone(), "length", format!("has {} items; at most {most} are allowed", items.len())));
            }
            if let Some(Value::Object(item)) = schema.get("items") {
                for (index, value) in items.iter_mut().enumerate() {
                    step(path, &index.to_string(), |path| check_node(item, value, path, reading, depth + 1, faults));
                }
            }
        }
        Value::Object(fields) => check_object(schema, fields, path, reading, depth, faults),
        _ => {}
    }
}

fn check_object(
    schema: &Map<String, Value>,
    fields: &mut Map<String, Value>,
    path: &mut String,
    reading: Reading,
    depth: usize,
    faults: &mut Vec<FieldError>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if reading == Reading::Lenient {
        // A null for an optional argument is a host's way of leaving it out.
        if let Some(properties) = properties {
            fields.retain(|name, value| !value.is_null() || required.iter().any(|needed| needed == name) || !properties.contains_key(name));
        }
    }
    for name in required.iter().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            let about = properties
                .and_then(|properties| properties.get(name)?.get("description")?.as_str())
                .map_or_else(String::new, |text| format!(": {text}"));
            step(path, name, |path| faults.push(FieldError::new(path.clone(), "required", format!("is missing{about}"))));
        }
    }
    for (name, value) in fields.iter_mut() {
        let property = properties.and_then(|properties| properties.get(name)).and_then(Value::as_object);
        match (property, schema.get("additionalProperties")) {
            (Some(property), _) => step(path, name, |path| check_node(property, value, path, reading, depth + 1, faults)),
            (None, Some(Value::Object(other))) => step(path, name, |path| check_node(other, value, path, reading, depth + 1, faults)),
            (None, Some(Value::Bool(false))) => {
                let known: Vec<&str> = properties.into_iter().flat_map(|properties| properties.keys()).map(String::as_str).collect();
                let detail = match nearest(name, &known) {
                    Some(near) => format!("is not known here; did you mean `{near}`?"),
                    None if known.is_empty() => "is not known here; nothing is taken".to_owned(),
                    None => format!("is not known here; known are {}", known.join(", ")),
                };
                step(path, name, |path| faults.push(FieldError::new(path.clone(), "unknown", detail)));
            }
            _ if depth_of(value) + depth > MAX_DEPTH => {
                step(path, name, |path| {
                    faults.push(FieldError::new(path.clone(), "depth", format!("is nested more than {MAX_DEPTH} levels deep")));
                });
            }
            _ => {}
        }
    }
}

fn check_text(schema: &Map<String, Value>, text: &str, path: &str, faults: &mut Vec<FieldError>) {
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.iter().any(|value| value == text)
    {
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        let meant = nearest(text, &allowed).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        faults.push(FieldError::new(path, "enum", format!("is {}{meant}; allowed are {}", quote(text), allowed.join(", "))));
    }
    let length = text.chars().count() as u64;
    let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or_default();
    let most = schema.get("maxLength").and_then(Value::as_u64).unwrap_or(u64::MAX);
    if length < least {
        let detail = if length == 0 { "is empty".to_owned() } else { format!("has {length} characters; at least {least} are needed") };
        faults.push(FieldError::new(path, "length", detail));
    } else if length > most {
        faults.push(FieldError::new(path, "length", format!("has {length} characters; at most {most} are allowed")));
    }
    if schema.get("format").is_some_and(|format| format == "date-time") && text.parse::<super::Timestamp>().is_err() {
        faults.push(FieldError::new(
            path,
            "format",
            format!("is {}; it must be an RFC 3339 time such as 2025-02-07T10:00:00Z", quote(text)),
        ));
    }
}

/// Takes a scalar that came as text for what the schema wants, JSON text for an object or an array, one text for a list of
/// texts and a list of one text for a text.
fn coerce(kind: &str, schema: &Map<String, Value>, value: &mut Value) {
    let taken = match (kind, &*value) {
        ("integer", Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        ("integer", Value::Number(number)) => {
            number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15).and_then(|number| {
                #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits, as checked")]
                (!value.is_i64() && !value.is_u64()).then(|| Value::from(number as i64))
            })
        }
        ("number", Value::String(text)) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
        ("boolean", Value::String(text)) => text.trim().parse::<bool>().ok().map(Value::from),
        ("string", Value::Number(number)) if !schema.contains_key("enum") => Some(Value::String(number.to_string())),
        ("object", Value::String(text)) if text.trim_start().starts_with('{') => serde_json::from_str(text).ok(),
        ("array", Value::String(text)) if text.trim_start().starts_with('[') => serde_json::from_str(text).ok(),
        ("array", Value::String(text)) => {
            let item = schema.get("items").filter(|item| item.get("type").is_some_and(|kind| kind == "string"));
            // A query writes a list with commas, which no value of an enumeration has.
            item.map(|item| match item.get("enum") {
                Some(_) => text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Value::from).collect(),
                None => Value::Array(vec![Value::from(text.as_str())]),
            })
        }
        ("string", Value::Array(items)) => match items.as_slice() {
            [Value::String(text)] => Some(Value::from(text.as_str())),
            _ => None,
        },
        _ => None,
    };
    if let Some(taken) = taken {
        *value = taken;
    }
}

fn step<T>(path: &mut String, name: &str, within: impl FnOnce(&mut String) -> T) -> T {
    let length = path.len();
    path.push('/');
    // Field names come from outside: escaped as a pointer wants it, and bounded.
    path.extend(name.chars().take(80).flat_map(|c| match c {
        '~' => vec!['~', '0'],
        '/' => vec!['~', '1'],
        c => vec![c],
    }));
    let result = within(path);
    path.truncate(length);
    result
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth_of).max().unwrap_or_default(),
        _ => 0,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {}", quote(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "string" => "text".to_owned(),
        "integer" => "a whole number".to_owned(),
        "array" | "object" => format!("an {kind}"),
        other => format!("a {other}"),
    }
}

/// Text from outside, quoted and shortened.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Map<String, Value> {
        let Value::Object(schema) = json!({
            "type": "object",
            "properties": {
                "id": { "type": "string", "minLength": 1, "maxLength": 8 },
                "limit": { "type": "integer", "minimum": 1, "maximum": 200 },
                "mode": { "type": "string", "enum": ["a", "b"] },
                "when": { "type": "string", "format": "date-time" },
                "data": { "type": "object" },
                "status": { "type": "array", "items": { "type": "string", "enum": ["open", "done"] } },
                "tags": { "type": "array", "items": { "type": "string" }, "minItems": 1, "maxItems": 2 },
            },
            "required": ["id"],
            "additionalProperties": false,
        }) else {
            unreachable!()
        };
        schema
    }

    #[test]
    fn a_models_small_slips_are_taken() {
        let mut value = json!({ "id": 7, "limit": "5", "mode": null, "data": "{\"a\":1}" });
        check(&schema(), &mut value, Reading::Lenient).unwrap();
        assert_eq!(value, json!({ "id": "7", "limit": 5, "data": { "a": 1 } }));
    }

    #[test]
    fn one_text_is_a_list_of_one_and_the_reverse() {
        for (given, taken) in [
            (json!({ "id": ["x"], "status": "open, done" }), json!({ "id": "x", "status": ["open", "done"] })),
            (json!({ "id": "x", "status": "[\"open\"]" }), json!({ "id": "x", "status": ["open"] })),
            (json!({ "id": "x", "tags": "Smith, John" }), json!({ "id": "x", "tags": ["Smith, John"] })),
        ] {
            let mut value = given;
            check(&schema(), &mut value, Reading::Lenient).unwrap();
            assert_eq!(value, taken);
        }
        let mut value = json!({ "id": ["x", "y"], "status": "open,shut" });
        let faults = check(&schema(), &mut value, Reading::Lenient).unwrap_err();
        let found: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(found, ["/id", "/status/1"]);
    }

    #[test]
    fn every_fault_is_named_with_what_is_allowed() {
        let mut value = json!({ "limt": 5, "limit": 900, "mode": "c", "when": "soon", "data": [] });
        let faults = check(&schema(), &mut value, Reading::Strict).unwrap_err();
        let found: Vec<(&str, &str)> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code.as_str())).collect();
        assert_eq!(
            found,
            [("/id", "required"), ("/limt", "unknown"), ("/limit", "range"), ("/mode", "enum"), ("/when", "format"), ("/data", "type")]
        );
        assert!(faults[1].detail.contains("did you mean `limit`"));
    }

    #[test]
    fn every_keyword_of_the_catalogues_schemas_is_checked() {
        fn walk(name: &str, schema: &Map<String, Value>) {
            const SAID: [&str; 2] = ["description", "type"];
            const CHECKED: [&str; 11] = [
                "properties",
                "required",
                "additionalProperties",
                "items",
                "enum",
                "minLength",
                "maxLength",
                "minimum",
                "maximum",
                "minItems",
                "maxItems",
            ];
            for (keyword, value) in schema {
                // A password is marked, not checked: any text may be one.
                let is_format = keyword == "format" && ["date-time", "password"].iter().any(|format| value == format);
                assert!(is_format || SAID.contains(&keyword.as_str()) || CHECKED.contains(&keyword.as_str()), "{name}: {keyword} {value}");
            }
            let below = ["items", "additionalProperties"].iter().filter_map(|name| schema.get(*name)?.as_object());
            let fields = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values);
            below.chain(fields.filter_map(Value::as_object)).for_each(|schema| walk(name, schema));
        }
        for entry in crate::api::catalogue().entries() {
            walk(entry.spec.name, &entry.shape.input);
        }
    }

    #[test]
    fn the_number_of_items_is_bounded_on_both_sides() {
        for (tags, says) in [(json!([]), "at least 1"), (json!(["a", "b", "c"]), "at most 2")] {
            let mut value = json!({ "id": "x", "tags": tags });
            assert!(check(&schema(), &mut value, Reading::Strict).unwrap_err()[0].detail.contains(says));
        }
    }

    #[test]
    fn strict_reading_takes_nothing_for_something_else() {
        let mut value = json!({ "id": "x", "limit": "5" });
        assert!(check(&schema(), &mut value, Reading::Strict).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({ "a": deep });
        }
        let mut value = json!({ "id": "x", "data": deep });
        assert_eq!(check(&schema(), &mut value, Reading::Strict).unwrap_err()[0].code, "depth");
    }
}
