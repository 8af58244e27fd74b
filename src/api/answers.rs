//! Whether an answer fits the schema that hosts hold it to.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::problem::FieldError;

/// What an output schema asks of an answer, made once: every field of every answer is looked up in it.
///
/// Output schemas are open: types, properties, items and few required names are all that they say.
#[derive(Debug, Default)]
pub struct Form {
    wanted: Option<Wanted>,
    required: Vec<String>,
    /// By their names, in order.
    properties: Vec<(String, Form)>,
    items: Option<Box<Form>>,
}

/// A type, as schemas name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Object,
    Array,
    String,
    Boolean,
    Number,
    Integer,
}

impl Form {
    /// Reads an output schema.
    #[must_use]
    pub fn new(schema: &Map<String, Value>) -> Self {
        let object = |name: &str| schema.get(name).and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let mut properties: Vec<_> = object("properties")
            .into_iter()
            .flatten()
            .filter_map(|(name, property)| Some((name.clone(), Self::new(property.as_object()?))))
            .collect();
        properties.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self {
            wanted: schema.get("type").and_then(Value::as_str).and_then(Wanted::named),
            required: required.filter_map(Value::as_str).map(str::to_owned).collect(),
            properties,
            items: object("items").map(|items| Box::new(Self::new(items))),
        }
    }

    /// A place where an answer breaks the schema, if there is any.
    #[must_use]
    pub fn mismatch(&self, answer: &Value) -> Option<FieldError> {
        if let Some(wanted) = self.wanted.filter(|wanted| !wanted.holds(answer)) {
            return Some(FieldError::new("", "type", format!("is {}, where {} is due", kind_of(answer), wanted.name())));
        }
        match answer {
            Value::Object(fields) => {
                if let Some(name) = self.required.iter().find(|name| !fields.contains_key(*name)) {
                    return Some(FieldError::new(format!("/{name}"), "required", "is missing"));
                }
                fields.iter().find_map(|(name, value)| self.property(name)?.mismatch(value).map(|fault| within(fault, name)))
            }
            Value::Array(items) => {
                let item = self.items.as_ref()?;
                items.iter().enumerate().find_map(|(place, value)| item.mismatch(value).map(|fault| within(fault, place)))
            }
            _ => None,
        }
    }

    fn property(&self, name: &str) -> Option<&Self> {
        let place = self.properties.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(&self.properties[place].1)
    }
}

impl Wanted {
    fn named(name: &str) -> Option<Self> {
        [Self::Object, Self::Array, Self::String, Self::Boolean, Self::Number, Self::Integer]
            .into_iter()
            .find(|wanted| wanted.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::Integer => "integer",
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::String => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Number => value.is_number(),
            Self::Integer => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        }
    }
}

/// A fault of a value as a fault of what holds it.
fn within(fault: FieldError, step: impl Display) -> FieldError {
    FieldError { pointer: format!("/{step}{}", fault.pointer), ..fault }
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
        let form = Form::new(schema.as_object().unwrap());
        for (answer, found) in [
            (json!({ "items": [{ "n": 1 }, { "n": 2.0, "more": null }, {}] }), None),
            (json!({ "items": [{ "n": 1 }, { "n": "2" }] }), Some("/items/1/n is text, where integer is due")),
            (json!({ "items": null }), Some("/items is null, where array is due")),
            (json!({ "tasks": [] }), Some("/items is missing")),
            (json!("nothing"), Some(" is text, where object is due")),
        ] {
            let fault = form.mismatch(&answer).map(|fault| format!("{} {}", fault.pointer, fault.detail));
            assert_eq!(fault.as_deref(), found, "{answer}");
        }
    }
}
