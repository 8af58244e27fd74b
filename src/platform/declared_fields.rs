//! The fields that the schema of a type of records declares, and where a field lies in the data of a record.

use serde_json::{Map, Value};

/// How many fields of a type are kept in order; each costs a write of a record.
const MAX_KEPT: usize = 32;
/// The longest name of a field that can be filtered or sorted by, in bytes.
const MAX_NAME: usize = 200;

/// The paths of the fields whose values are kept in order: the first that are declared and can be one value.
pub(crate) fn kept(schema: &Map<String, Value>) -> Vec<String> {
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let paths = fields.filter(|(_, schema)| may_be_scalar(schema)).filter_map(|(name, _)| match paths_of(name).ok()?.as_slice() {
        [path] => Some(path.clone()),
        _ => None,
    });
    paths.take(MAX_KEPT).collect()
}

fn may_be_scalar(schema: &Value) -> bool {
    let is_scalar = |kind: &Value| matches!(kind.as_str(), Some("string" | "number" | "integer" | "boolean"));
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_scalar),
        Some(kind) => is_scalar(kind),
        None => *schema != Value::Bool(false) && schema.get("properties").is_none() && schema.get("items").is_none(),
    }
}

/// The JSON paths that a field's name can mean.
pub(crate) fn paths_of(field: &str) -> Result<Vec<String>, String> {
    if field.is_empty() || field.len() > MAX_NAME {
        return Err(format!("must have 1 to {MAX_NAME} characters"));
    }
    // Within a quoted label of SQLite's paths nothing else has a meaning.
    if field.chars().any(|c| c == '"' || c == '\\' || c.is_control()) {
        return Err("holds a quote, a backslash or a control character, which the name of a field that is filtered by cannot".to_owned());
    }
    let mut paths = vec![format!("$.\"{field}\"")];
    if field.contains('.') && field.split('.').all(|part| !part.is_empty()) {
        paths.push(field.split('.').fold("$".to_owned(), |path, part| format!("{path}.\"{part}\"")));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_can_be_one_value_are_kept() {
        let schema = json!({ "properties": {
            "text": { "type": "string" }, "either": { "type": ["null", "number"] }, "any": {}, "open": true, "choice": { "enum": [1, 2] },
            "list": { "type": "array" }, "object": { "properties": {} }, "nothing": { "type": "null" }, "never": false,
            "a.b": { "type": "string" }, "a\"b": { "type": "string" }, "": { "type": "string" }, "größe $": { "type": "integer" },
        } });
        let paths = ["text", "either", "any", "open", "choice", "größe $"].map(|name| format!("$.\"{name}\""));
        assert_eq!(kept(schema.as_object().unwrap()), paths);
        assert!(kept(json!({ "type": "object" }).as_object().unwrap()).is_empty());
        let many: Value = (0..50).map(|number| (format!("f{number}"), json!({ "type": "string" }))).collect::<Map<_, _>>().into();
        assert_eq!(kept(json!({ "properties": many }).as_object().unwrap()).len(), MAX_KEPT);
    }
}
