//! Forms of tasks: what a form may be, and whether an answer fits it, field by field.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::near::nearest;

/// The types that a field can have.
pub const TYPES: [&str; 6] = ["enum", "text", "number", "integer", "boolean", "date"];
const MAX_FIELDS: usize = 100;
const MAX_TEXT: f64 = 20_000.0;

/// The form of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Form {
    /// The fields; `decision` and `comments` are answered by arguments of that name.
    pub fields: Vec<FormField>,
}

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormField {
    /// Its name.
    pub name: String,
    /// enum, text, number, integer, boolean or date.
    #[serde(rename = "type")]
    pub kind: String,
    /// What an enum allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<String>>,
    /// Whether it must be filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Its label for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The least number, or the least length of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest number, or the greatest length of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// What is wrong with a form, with pointers below the form.
#[must_use]
pub fn faults_of(form: &Form) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut names = HashSet::new();
    if form.fields.len() > MAX_FIELDS {
        faults.push(FieldError::new("/fields", "length", format!("a form has at most {MAX_FIELDS} fields")));
    }
    for (place, field) in form.fields.iter().enumerate() {
        let mut fault = |end: &str, code: &str, detail: String| faults.push(FieldError::new(format!("/fields/{place}{end}"), code, detail));
        if field.name.is_empty() || field.name.len() > 100 {
            fault("/name", "length", "a field's name has 1 to 100 characters".to_owned());
        }
        if !names.insert(&field.name) {
            fault("/name", "repeated", format!("{} is there twice", quote(&field.name)));
        }
        if !TYPES.contains(&field.kind.as_str()) {
            fault("/type", "enum", format!("is {}; allowed are {}", quote(&field.kind), TYPES.join(", ")));
        }
        let options = field.options.as_deref().unwrap_or_default();
        if field.kind == "enum" && options.is_empty() {
            fault("/options", "required", "an enum needs options".to_owned());
        }
        if field.min.zip(field.max).is_some_and(|(min, max)| min > max) {
            fault("/min", "range", "min is greater than max".to_owned());
        }
        if matches!(field.name.as_str(), "decision" | "comments") && !matches!(field.kind.as_str(), "enum" | "text") {
            fault("/type", "enum", format!("{} is answered with text: its type is enum or text", field.name));
        }
    }
    faults
}

/// What is wrong with an answer to a form, with pointers into the answer.
#[must_use]
pub fn check_answer(form: &Form, decision: &str, comments: Option<&str>, data: &Map<String, Value>) -> Vec<FieldError> {
    let mut faults = Vec::new();
    for field in &form.fields {
        let decision = Value::from(decision);
        let (pointer, value) = match field.name.as_str() {
            "decision" => ("/decision".to_owned(), Some(&decision)),
            "comments" => {
                if let Some(detail) = comments.map(Value::from).as_ref().map_or_else(|| missing(field), |text| wrong(field, text)) {
                    faults.push(FieldError::new("/comments", code_of(comments.is_some()), detail));
                }
                continue;
            }
            name => (format!("/data/{}", escaped(name)), data.get(name).filter(|value| !value.is_null())),
        };
        if let Some(detail) = value.map_or_else(|| missing(field), |value| wrong(field, value)) {
            faults.push(FieldError::new(pointer, code_of(value.is_some()), detail));
        }
    }
    let known: Vec<&str> =
        form.fields.iter().map(|field| field.name.as_str()).filter(|name| !matches!(*name, "decision" | "comments")).collect();
    for name in data.keys().filter(|name| !known.contains(&name.as_str())) {
        let detail = match (name.as_str(), nearest(name, &known)) {
            ("decision" | "comments", _) => "is an argument of its own, not part of data".to_owned(),
            (_, Some(near)) => format!("is not a field of this form; did you mean {}?", quote(near)),
            _ if known.is_empty() => "is not a field of this form, which has no further fields".to_owned(),
            _ => format!("is not a field of this form; its fields are {}", known.join(", ")),
        };
        faults.push(FieldError::new(format!("/data/{}", escaped(name)), "unknown", detail));
    }
    faults
}

fn code_of(given: bool) -> &'static str {
    if given { "form" } else { "required" }
}

fn missing(field: &FormField) -> Option<String> {
    field
        .required
        .unwrap_or_default()
        .then(|| format!("is missing: {} must be filled in", quote(field.label.as_ref().unwrap_or(&field.name))))
}

/// Why a value does not fit its field.
fn wrong(field: &FormField, value: &Value) -> Option<String> {
    let (min, max) = (field.min.unwrap_or(f64::NEG_INFINITY), field.max.unwrap_or(f64::INFINITY));
    match (field.kind.as_str(), value) {
        ("enum", Value::String(text)) => {
            let options = field.options.as_deref().unwrap_or_default();
            (!options.contains(text)).then(|| format!("is {}; allowed are {}", quote(text), options.join(", ")))
        }
        ("text", Value::String(text)) => {
            #[expect(clippy::cast_precision_loss, reason = "no text is that long")]
            let length = text.chars().count() as f64;
            if field.required.unwrap_or_default() && text.trim().is_empty() {
                Some("is empty".to_owned())
            } else if length < min || length > max.min(MAX_TEXT) {
                Some(format!("has {length} characters; allowed are {} to {}", min.max(0.0), max.min(MAX_TEXT)))
            } else {
                None
            }
        }
        ("number" | "integer", Value::Number(number)) => {
            let number = number.as_f64().unwrap_or_default();
            if field.kind == "integer" && number.fract() != 0.0 {
                Some(format!("is {number}; it must be a whole number"))
            } else if number < min || number > max {
                Some(format!("is {number}; allowed is {min} to {max}"))
            } else {
                None
            }
        }
        ("boolean", Value::Bool(_)) => None,
        ("date", Value::String(text)) => {
            let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() && text.len() == 10;
            (!date && text.parse::<crate::api::Timestamp>().is_err())
                .then(|| format!("is {}; it must be a date such as 2025-02-07", quote(text)))
        }
        (kind, _) => {
            Some(format!("must be {}", if kind == "integer" { "a whole number".to_owned() } else { format!("of the type {kind}") }))
        }
    }
}

fn escaped(name: &str) -> String {
    name.chars().take(80).collect::<String>().replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form() -> Form {
        serde_json::from_value(json!({ "fields": [
            { "name": "decision", "type": "enum", "options": ["approve", "reject"] },
            { "name": "comments", "type": "text", "max": 5 },
            { "name": "amount", "type": "number", "required": true, "min": 1, "max": 10 },
            { "name": "count", "type": "integer" },
            { "name": "when", "type": "date" },
            { "name": "sure", "type": "boolean" },
        ] }))
        .unwrap()
    }

    fn codes(decision: &str, comments: Option<&str>, data: Value) -> Vec<(String, String)> {
        let Value::Object(data) = data else { unreachable!() };
        check_answer(&form(), decision, comments, &data).into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
    }

    #[test]
    fn an_answer_that_fits_is_taken() {
        assert_eq!(codes("approve", Some("fine"), json!({ "amount": 2.5, "count": 3, "when": "2025-02-07", "sure": true })), pairs(&[]));
        assert_eq!(codes("approve", None, json!({ "amount": 1, "count": null })), pairs(&[]));
    }

    #[test]
    fn every_field_that_does_not_fit_is_named() {
        let data = json!({ "amount": 11, "count": 1.5, "when": "soon", "sure": "yes", "amuont": 1, "decision": "x" });
        assert_eq!(
            codes("maybe", Some("too long"), data),
            pairs(&[
                ("/decision", "form"),
                ("/comments", "form"),
                ("/data/amount", "form"),
                ("/data/count", "form"),
                ("/data/when", "form"),
                ("/data/sure", "form"),
                ("/data/amuont", "unknown"),
                ("/data/decision", "unknown"),
            ])
        );
        assert_eq!(codes("approve", None, json!({})), pairs(&[("/data/amount", "required")]));
    }

    #[test]
    fn a_form_that_nobody_can_fill_in_is_refused() {
        let form: Form = serde_json::from_value(json!({ "fields": [
            { "name": "a", "type": "choice" }, { "name": "a", "type": "enum" }, { "name": "n", "type": "number", "min": 2, "max": 1 },
            { "name": "decision", "type": "boolean" },
        ] }))
        .unwrap();
        let codes: Vec<String> = faults_of(&form).into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(codes, ["/fields/0/type", "/fields/1/name", "/fields/1/options", "/fields/2/min", "/fields/3/type"]);
    }
}
