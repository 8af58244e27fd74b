//! Values of variables: checked against the declared types, and as the text that is inserted.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::template;
use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::near::nearest;
use crate::api::prompts::{Variable, VariableKind};

/// Most faults that one set of values reports.
const MAX_FAULTS: usize = 20;

/// A value that does not fit its variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// required, type or unknown.
    pub(super) code: &'static str,
    pub(super) name: String,
    pub(super) detail: String,
}

impl Fault {
    /// The fault as a field of a problem, below a pointer.
    pub(super) fn below(&self, pointer: &str) -> FieldError {
        FieldError::new(format!("{pointer}/{}", template::segment(&self.name)), self.code, self.detail.clone())
    }
}

/// Checks values against the variables of a prompt. A variable is required unless it says otherwise; null is no value.
pub(super) fn faults(variables: &[Variable], values: &Map<String, Value>) -> Vec<Fault> {
    let fault = |code, name: &str, detail| Fault { code, name: name.to_owned(), detail };
    let missing = variables.iter().filter(|variable| is_required(variable) && given(values, &variable.name).is_none());
    let missing = missing.map(|variable| fault("required", &variable.name, "is missing; the prompt needs a value for it".to_owned()));
    let wrong = variables.iter().filter_map(|variable| {
        let (value, kind) = (given(values, &variable.name)?, variable.kind.as_ref()?);
        (!fits(kind, value)).then(|| fault("type", &variable.name, format!("must be of the type {kind}, not {}", kind_of(value))))
    });
    let declared: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
    let unknown = values.keys().filter(|name| !declared.contains(&name.as_str())).map(|name| {
        let remedy = match nearest(name, &declared) {
            _ if declared.is_empty() => "the prompt declares none".to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declared are {}", declared.iter().take(MAX_FAULTS).copied().collect::<Vec<_>>().join(", ")),
        };
        fault("unknown", name, format!("is not a declared variable; {remedy}"))
    });
    missing.chain(wrong).chain(unknown).take(MAX_FAULTS).collect()
}

/// The text that is inserted for a variable: text as it is, anything else as JSON, nothing where there is no value.
pub(super) fn text<'v>(values: &'v Map<String, Value>, name: &str) -> Cow<'v, str> {
    match given(values, name) {
        None => Cow::Borrowed(""),
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(value) => Cow::Owned(value.to_string()),
    }
}

/// Whether an assembly needs a value.
pub(super) fn is_required(variable: &Variable) -> bool {
    variable.required.unwrap_or(true)
}

fn given<'v>(values: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    values.get(name).filter(|value| !value.is_null())
}

fn fits(kind: &VariableKind, value: &Value) -> bool {
    match kind {
        VariableKind::Text => value.is_string(),
        VariableKind::Number => value.is_number(),
        VariableKind::Integer => value.is_i64() || value.is_u64(),
        VariableKind::Boolean => value.is_boolean(),
        VariableKind::Object => value.is_object(),
        VariableKind::Array => value.is_array(),
        VariableKind::Other(_) => false,
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text {}", quote(text)),
        Value::Number(number) => format!("the number {number}"),
        Value::Bool(flag) => format!("{flag}"),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Null => "null".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variable(name: &str, kind: Option<VariableKind>, required: Option<bool>) -> Variable {
        Variable { name: name.to_owned(), kind, required }
    }

    #[test]
    fn each_type_takes_its_values_and_no_others() {
        let samples = [json!("5"), json!(5.5), json!(5), json!(true), json!({ "a": 1 }), json!([1])];
        for (kind, taken) in [
            (VariableKind::Text, vec![0]),
            (VariableKind::Number, vec![1, 2]),
            (VariableKind::Integer, vec![2]),
            (VariableKind::Boolean, vec![3]),
            (VariableKind::Object, vec![4]),
            (VariableKind::Array, vec![5]),
        ] {
            let fitting: Vec<usize> = (0..samples.len()).filter(|place| fits(&kind, &samples[*place])).collect();
            assert_eq!(fitting, taken, "{kind}");
        }
    }

    #[test]
    fn missing_wrong_and_unknown_values_are_all_told() {
        let variables = [
            variable("customer", Some(VariableKind::Object), None),
            variable("amount", Some(VariableKind::Number), Some(true)),
            variable("note", None, Some(false)),
        ];
        let values = json!({ "amount": "much", "note": null, "costumer": {} });
        let found: Vec<(&str, String)> =
            faults(&variables, values.as_object().unwrap()).into_iter().map(|fault| (fault.code, fault.name)).collect();
        assert_eq!(found, [("required", "customer".into()), ("type", "amount".into()), ("unknown", "costumer".into())]);
        let detail = faults(&variables, values.as_object().unwrap()).pop().unwrap().detail;
        assert!(detail.contains("did you mean `customer`?"), "{detail}");
    }
}
