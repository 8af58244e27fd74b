//! Mappings: which field of an outside record becomes which of ours, and what is required of it.
//!
//! A source is a field's name or a path such as `address.city` or `lines.0.sku`. Instead of a source, a target may have an
//! object with `source`, and `type`, `required` and `default` of the value.

use serde_json::{Map, Value, json};

use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::platform::engine::expressions::values::{said_number, whole_of};

/// Most fields of a mapping.
const MAX_FIELDS: usize = 200;
/// Longest name or path, in bytes.
const MAX_NAME: usize = 500;
const TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "object", "array"];

/// A mapping that was checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Mapping(Vec<Rule>);

#[derive(Debug, Clone)]
struct Rule {
    target: String,
    source: String,
    kind: Option<String>,
    required: bool,
    default: Option<Value>,
}

/// A record in our field names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Mapped {
    pub(super) data: Map<String, Value>,
    /// Fields that the record lacks and that may be absent.
    pub(super) missing: Vec<String>,
    /// What is wrong with the others.
    pub(super) faults: Vec<String>,
}

impl Mapping {
    /// Reads a mapping; pointers are below `/mapping`.
    pub(super) fn read(given: &Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        if given.len() > MAX_FIELDS {
            return Err(vec![FieldError::new("/mapping", "length", format!("has more than {MAX_FIELDS} fields"))]);
        }
        let (mut rules, mut faults) = (Vec::new(), Vec::new());
        for (target, said) in given {
            match Rule::read(target, said) {
                Ok(rule) => rules.push(rule),
                Err((place, detail)) => {
                    let pointer = format!("/mapping/{}{place}", target.replace('~', "~0").replace('/', "~1"));
                    faults.push(FieldError::new(pointer, "format", detail));
                }
            }
        }
        if faults.is_empty() { Ok(Self(rules)) } else { Err(faults) }
    }

    /// Maps one record. Without a mapping it stays as it is.
    pub(super) fn apply(&self, record: &Map<String, Value>) -> Mapped {
        if self.0.is_empty() {
            return Mapped { data: record.clone(), ..Mapped::default() };
        }
        let mut mapped = Mapped::default();
        for rule in &self.0 {
            let found = look_up(record, &rule.source).filter(|value| !value.is_null()).cloned().or_else(|| rule.default.clone());
            match found {
                Some(value) => match rule.fit(value) {
                    Ok(value) => drop(mapped.data.insert(rule.target.clone(), value)),
                    Err(fault) => mapped.faults.push(fault),
                },
                None if rule.required => mapped.faults.push(format!("{}: the record has no {}", rule.target, quote(&rule.source))),
                None => mapped.missing.push(format!("{}: the record has no {}", rule.target, quote(&rule.source))),
            }
        }
        mapped
    }

    /// Maps what a system answered: a record, or a list of them under `records`. A record that has none of the fields is
    /// another kind of answer and stays as it is.
    pub(super) fn apply_to_answer(&self, answer: Value) -> Result<Map<String, Value>, Vec<String>> {
        match answer {
            Value::Object(record) => self.one(record),
            Value::Array(items) => {
                let records = items.into_iter().map(|item| match item {
                    Value::Object(record) => self.one(record).map(Value::Object),
                    other => Ok(other),
                });
                let records: Vec<Value> = records.collect::<Result<_, _>>()?;
                Ok(Map::from_iter([("records".to_owned(), json!(records))]))
            }
            Value::Null => Ok(Map::new()),
            other => Ok(Map::from_iter([("value".to_owned(), other)])),
        }
    }

    fn one(&self, record: Map<String, Value>) -> Result<Map<String, Value>, Vec<String>> {
        if !self.0.iter().any(|rule| look_up(&record, &rule.source).is_some()) {
            return Ok(record);
        }
        let Mapped { data, faults, .. } = self.apply(&record);
        if faults.is_empty() { Ok(data) } else { Err(faults) }
    }
}

impl Rule {
    fn read(target: &str, said: &Value) -> Result<Self, (&'static str, String)> {
        let is_name = |name: &str| !name.trim().is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
        if !is_name(target) {
            return Err(("", format!("a target is a field's name of 1 to {MAX_NAME} bytes")));
        }
        let source_of = |source: &str, place| {
            let good = is_name(source) && source.split('.').all(|segment| !segment.is_empty());
            good.then(|| source.to_owned()).ok_or((place, "is not a source: a field's name or a path such as address.city".to_owned()))
        };
        let fields = match said {
            Value::String(source) => {
                return Ok(Self { target: target.to_owned(), source: source_of(source, "")?, kind: None, required: false, default: None });
            }
            Value::Object(fields) => fields,
            _ => return Err(("", r#"is a source field's name, or an object such as {"source": "id", "type": "string"}"#.to_owned())),
        };
        if let Some(name) = fields.keys().find(|name| !matches!(name.as_str(), "source" | "type" | "required" | "default")) {
            return Err(("", format!("{} has no effect; allowed are source, type, required and default", quote(name))));
        }
        let source = fields.get("source").and_then(Value::as_str).unwrap_or_default();
        let kind = match fields.get("type") {
            None | Some(Value::Null) => None,
            Some(Value::String(kind)) if TYPES.contains(&kind.as_str()) => Some(kind.clone()),
            Some(other) => return Err(("/type", format!("is {}; allowed are {}", quote(&other.to_string()), TYPES.join(", ")))),
        };
        let required = match fields.get("required") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(required)) => *required,
            Some(_) => return Err(("/required", "is true or false".to_owned())),
        };
        let default = fields.get("default").filter(|value| !value.is_null()).cloned();
        let rule = Self { target: target.to_owned(), source: source_of(source, "/source")?, kind, required, default };
        match rule.default.clone().map(|value| rule.fit(value)) {
            Some(Err(_)) => Err(("/default", format!("is not a {}", rule.kind.as_deref().unwrap_or_default()))),
            _ => Ok(rule),
        }
    }

    /// The value in the type that is asked for, where that loses nothing.
    fn fit(&self, value: Value) -> Result<Value, String> {
        let Some(kind) = &self.kind else { return Ok(value) };
        let fitted = match (kind.as_str(), &value) {
            ("string", Value::String(_))
            | ("number", Value::Number(_))
            | ("boolean", Value::Bool(_))
            | ("object", Value::Object(_))
            | ("array", Value::Array(_)) => Some(value.clone()),
            ("string", Value::Number(number)) if number.is_f64() => number.as_f64().map(|number| json!(said_number(number))),
            ("string", Value::Number(_) | Value::Bool(_)) => Some(json!(value.to_string())),
            ("number", Value::String(text)) => {
                text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| json!(number))
            }
            ("integer", Value::Number(number)) if !number.is_f64() => Some(value.clone()),
            ("integer", Value::Number(number)) => {
                number.as_f64().and_then(whole_of).and_then(|whole| i64::try_from(whole).ok()).map(Value::from)
            }
            ("integer", Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
            ("boolean", Value::String(text)) => text.trim().to_ascii_lowercase().parse::<bool>().ok().map(Value::Bool),
            _ => None,
        };
        fitted.ok_or_else(|| {
            let text = value.to_string();
            let shown: String = text.chars().take(60).collect();
            format!("{}: {} is {}, which is not of the type {kind}", self.target, quote(&self.source), quote(&shown))
        })
    }
}

/// The value at a name or a path; a field whose name holds dots comes first.
fn look_up<'r>(record: &'r Map<String, Value>, source: &str) -> Option<&'r Value> {
    if let Some(value) = record.get(source) {
        return Some(value);
    }
    let mut segments = source.split('.');
    let mut value = record.get(segments.next()?)?;
    for segment in segments {
        value = match value {
            Value::Object(fields) => fields.get(segment)?,
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(given: &Value) -> Result<Mapping, Vec<String>> {
        Mapping::read(given.as_object().unwrap()).map_err(|faults| faults.into_iter().map(|fault| fault.pointer).collect())
    }

    fn record(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn fields_are_found_by_name_and_path_and_get_their_type() {
        let mapping = mapping(&json!({
            "external_id": "id", "city": "address.city", "sku": "lines.0.sku", "dotted": "a.b",
            "total": { "source": "amount", "type": "number" }, "active": { "source": "on", "type": "boolean" },
            "rank": { "source": "rank", "type": "integer", "default": 1 }, "zip": { "source": "zip", "type": "string" },
        }))
        .unwrap();
        let mapped = mapping.apply(&record(&json!({
            "id": 42, "address": { "city": "Bern" }, "lines": [{ "sku": "x" }], "a.b": 1, "a": { "b": 2 },
            "amount": "12.5", "on": "TRUE", "zip": 8001.0,
        })));
        let expected = json!({
            "external_id": 42, "city": "Bern", "sku": "x", "dotted": 1, "total": 12.5, "active": true, "rank": 1, "zip": "8001",
        });
        assert_eq!((Value::Object(mapped.data), mapped.missing.len(), mapped.faults.len()), (expected, 0, 0));
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_said() {
        let mapping = mapping(&json!({
            "a": "x", "b": { "source": "y", "required": true }, "c": { "source": "z", "type": "integer" },
        }))
        .unwrap();
        let mapped = mapping.apply(&record(&json!({ "z": "many" })));
        assert_eq!(mapped.missing, ["a: the record has no `x`"]);
        assert_eq!(mapped.faults.len(), 2, "{mapped:?}");
        assert!(mapping.apply_to_answer(json!({ "z": 1.5 })).is_err());
        // Another kind of answer than the mapping is for.
        assert_eq!(mapping.apply_to_answer(json!({ "jobId": 1 })).unwrap(), record(&json!({ "jobId": 1 })));
    }

    #[test]
    fn a_list_is_mapped_record_by_record() {
        let mapping = mapping(&json!({ "a": "x" })).unwrap();
        let mapped = mapping.apply_to_answer(json!([{ "x": 1, "y": 2 }, 3])).unwrap();
        assert_eq!(Value::Object(mapped), json!({ "records": [{ "a": 1 }, 3] }));
    }

    #[test]
    fn a_mapping_that_cannot_be_meant_is_refused() {
        let wrong = json!({
            "a": 1, "b": "", "c": "x..y", "d": { "source": "x", "type": "text" }, "e": { "from": "x" },
            "f": { "source": "x", "type": "integer", "default": "many" }, "g": { "source": "x", "required": 1 },
        });
        let pointers = mapping(&wrong).unwrap_err();
        assert_eq!(
            pointers,
            ["/mapping/a", "/mapping/b", "/mapping/c", "/mapping/d/type", "/mapping/e", "/mapping/f/default", "/mapping/g/required"]
        );
    }
}
