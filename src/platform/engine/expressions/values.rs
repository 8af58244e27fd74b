//! JSON as CEL's values and back, and how large it is.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map as CelMap};
use serde_json::{Map, Number, Value};

/// How large the facts are.
#[derive(Default)]
pub struct Size {
    pub nodes: u64,
    pub longest: u64,
}

impl Size {
    fn add(&mut self, value: &Value) {
        self.nodes += 1;
        match value {
            Value::String(text) => self.longest = self.longest.max(text.len() as u64),
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(fields) => self.add_fields(fields),
            _ => {}
        }
    }

    /// Adds the fields of an object.
    pub fn add_fields(&mut self, fields: &Map<String, Value>) {
        fields.values().for_each(|value| self.add(value));
    }
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        // A whole number is an int wherever it fits one, so that `variables.amount + 1` adds up.
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => cel::Value::Int(whole),
            (None, Some(large)) => cel::Value::UInt(large),
            _ => cel::Value::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => to_cel_map(fields),
    }
}

/// An object as CEL has it.
pub fn to_cel_map(fields: &Map<String, Value>) -> cel::Value {
    let map: HashMap<Key, cel::Value> = fields.iter().map(|(name, value)| (Key::from(name.as_str()), to_cel(value))).collect();
    cel::Value::Map(CelMap { map: Arc::new(map) })
}

/// A value of CEL as JSON; names sorted, so that the same expression gives the same text each time.
pub fn to_json(value: &cel::Value) -> Option<Value> {
    Some(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(flag) => Value::Bool(*flag),
        cel::Value::Int(whole) => Value::from(*whole),
        cel::Value::UInt(whole) => Value::from(*whole),
        cel::Value::Float(number) => Value::Number(Number::from_f64(*number)?),
        cel::Value::String(text) => Value::String(text.as_str().to_owned()),
        cel::Value::List(items) => Value::Array(items.iter().map(to_json).collect::<Option<_>>()?),
        cel::Value::Map(map) => {
            let mut fields = map.map.iter().map(|(key, value)| Some((key.to_string(), to_json(value)?))).collect::<Option<Vec<_>>>()?;
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        _ => return None,
    })
}
