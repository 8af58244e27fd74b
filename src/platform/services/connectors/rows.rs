//! Rows on their way: as a source gives them, and as they are ready for the data hub or for the dead letters.

use aws_lc_rs::digest;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::error::Result;
use crate::io::extent::extent;
use crate::io::hash;
use crate::io::hex::hex;
use crate::io::numbers::quote_inexact;
use crate::platform::http::body;
use crate::platform::services::entities::Checker;

/// Most rows of a batch, which is one transaction.
pub(super) const BATCH_ROWS: usize = 500;
/// Most bytes of a batch; one row may go beyond.
pub(super) const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Most bytes of a row's text that a dead letter keeps.
const MAX_KEPT: usize = 4 * 1024;
/// Most bytes of a key.
const MAX_KEY: usize = 512;

/// Why a row is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) code: &'static str,
    pub(super) text: String,
}

impl Reason {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// A row of a source.
#[derive(Debug)]
pub(super) struct Row {
    /// Its number in the source, from 1.
    pub(super) place: u64,
    /// The beginning of its text.
    pub(super) text: String,
    pub(super) bytes: usize,
    digest: [u8; 32],
    pub(super) fields: Result<Map<String, Value>, Reason>,
    /// Its key, where a source tells it beside the row.
    key: Option<Value>,
    /// Whether the source has it no more; its fields are its key then.
    is_gone: bool,
}

impl Row {
    /// A row with its whole text.
    pub(super) fn new(place: u64, text: &[u8], fields: Result<Map<String, Value>, Reason>) -> Self {
        let kept = String::from_utf8_lossy(text.get(..MAX_KEPT).unwrap_or(text)).into_owned();
        Self { place, text: kept, bytes: text.len(), digest: hash::sha256(text), fields, key: None, is_gone: false }
    }

    /// A row that is a JSON object.
    pub(super) fn of_json(place: u64, text: &[u8]) -> Self {
        Self::new(place, text, read_json(text))
    }

    /// The same row with its key, a JSON object of one field, so that even one that cannot be read is told from one that is gone.
    pub(super) fn with_key(self, key: &[u8]) -> Self {
        Self { key: read_json(key).ok().and_then(|fields| fields.into_iter().next()).map(|(_, value)| value), ..self }
    }

    /// The row of a key, a JSON object of one field, that the source has no more.
    pub(super) fn gone(place: u64, key: &[u8]) -> Self {
        Self { is_gone: true, ..Self::of_json(place, key) }
    }
}

fn read_json(text: &[u8]) -> Result<Map<String, Value>, Reason> {
    if extent(text).depth > body::MAX_DEPTH {
        return Err(Reason::new("depth", format!("is nested more than {} levels deep", body::MAX_DEPTH)));
    }
    match serde_json::from_slice(&quote_inexact(text)) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Reason::new("not-an-object", "is JSON, and not an object")),
        Err(error) => Err(Reason::new("not-json", format!("is not JSON: {error}"))),
    }
}

/// Where a source begins or ends to give all rows of its table once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Begins,
    /// What was not among them is gone.
    Ends,
}

/// Some rows that follow each other in a source.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    /// Rows of the source up to and with the last of these; those passed over as unchanged count as well.
    pub(super) position: u64,
    /// The highest watermark up to here.
    pub(super) high: Option<String>,
    pub(super) whole: Option<Whole>,
    /// Told the run's position once the batch and those before it are kept.
    pub(super) kept: Option<oneshot::Sender<u64>>,
}

impl Batch {
    /// Whether nothing more goes in.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.rows.iter().map(|row| row.bytes).sum::<usize>() >= BATCH_BYTES
    }
}

/// A row as it is kept.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    Record { key: String, data: Map<String, Value> },
    Gone { place: u64, key: String, text: String },
    Dead { place: u64, key: Option<String>, reason: Reason, text: String },
}

/// A batch as it is kept, and the checksum up to its end.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) rows: Vec<Kept>,
    pub(super) position: u64,
    pub(super) high: Option<String>,
    pub(super) bytes: u64,
    pub(super) checksum: String,
}

/// Checks a batch against the schema of its type. It takes long for many rows: not for an async thread or the writer.
pub(super) fn prepare(batch: &Batch, schema: Option<&Value>, key_field: &str, is_text: bool, checksum: &str) -> Result<Ready> {
    let checker = Checker::of(schema)?;
    let types = Types { properties: schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object), is_text };
    let mut chain = checksum.to_owned();
    let mut rows = Vec::with_capacity(batch.rows.len());
    for row in &batch.rows {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(chain.as_bytes());
        context.update(&row.digest);
        chain = hex(context.finish().as_ref());
        rows.push(ready(row, &checker, &types, key_field));
    }
    let bytes = batch.rows.iter().map(|row| row.bytes as u64).sum();
    Ok(Ready { rows, position: batch.position, high: batch.high.clone(), bytes, checksum: chain })
}

fn ready(row: &Row, checker: &Checker, types: &Types<'_>, key_field: &str) -> Kept {
    let (place, text) = (row.place, row.text.clone());
    let key = row.key.as_ref().or_else(|| row.fields.as_ref().ok()?.get(key_field)).and_then(key_of);
    let dead = |key, reason| Kept::Dead { place, key, reason, text: text.clone() };
    let fields = match &row.fields {
        Ok(fields) => fields.clone(),
        Err(reason) => return dead(key, reason.clone()),
    };
    let Some(key) = key else {
        let reason = format!("has no text of 1 to {MAX_KEY} bytes as `{key_field}`, which identifies a row");
        return dead(None, Reason::new("key", reason));
    };
    if row.is_gone {
        return Kept::Gone { place, key, text };
    }
    let data: Map<String, Value> =
        fields.into_iter().filter_map(|(name, value)| types.fit(&name, value).map(|value| (name, value))).collect();
    let faults = checker.faults(&data);
    if faults.is_empty() {
        return Kept::Record { key, data };
    }
    let said: Vec<String> = faults.iter().take(5).map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect();
    dead(Some(key), Reason::new("schema", said.join("; ")))
}

/// A value as a key that a row can have.
fn key_of(value: &Value) -> Option<String> {
    let key = match value {
        Value::String(text) => text.clone(),
        value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
        _ => return None,
    };
    (1..=MAX_KEY).contains(&key.len()).then_some(key)
}

/// What a type's schema says of its fields.
struct Types<'a> {
    properties: Option<&'a Map<String, Value>>,
    /// Whether the source knows text alone.
    is_text: bool,
}

impl Types<'_> {
    /// The value as the field's type wants it: a text of a file as number or truth value, nothing as null or absent.
    fn fit(&self, name: &str, value: Value) -> Option<Value> {
        let Some(property) = self.properties.and_then(|properties| properties.get(name)) else { return Some(value) };
        let wanted = |kind: &str| match property.get("type") {
            Some(Value::String(one)) => one == kind,
            Some(Value::Array(many)) => many.iter().any(|one| one == kind),
            _ => false,
        };
        match value {
            Value::Null if property.get("type").is_some() && !wanted("null") => None,
            Value::String(text) if self.is_text && !wanted("string") => Some(match text.trim() {
                "" if wanted("null") => Value::Null,
                "" if property.get("type").is_some() => return None,
                "true" if wanted("boolean") => Value::Bool(true),
                "false" if wanted("boolean") => Value::Bool(false),
                number if wanted("integer") || wanted("number") => as_number(number).unwrap_or(Value::String(text)),
                _ => Value::String(text),
            }),
            other => Some(other),
        }
    }
}

/// A text as a number, if none of its digits is lost.
fn as_number(text: &str) -> Option<Value> {
    let plain = text.strip_prefix('+').unwrap_or(text);
    let number: Value = serde_json::from_slice(&quote_inexact(plain.as_bytes())).ok()?;
    number.is_number().then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(schema: &Value, row: Value, is_text: bool) -> Kept {
        let Value::Object(fields) = row else { panic!("not an object") };
        let batch = Batch { rows: vec![Row::new(1, b"row", Ok(fields))], position: 1, ..Batch::default() };
        prepare(&batch, Some(schema), "id", is_text, "").unwrap().rows.remove(0)
    }

    #[test]
    fn texts_of_files_become_what_the_schema_says() {
        let schema = json!({ "properties": {
            "age": { "type": "integer" }, "open": { "type": ["boolean", "null"] }, "score": { "type": "number" }, "zip": { "type": "string" },
        } });
        let Kept::Record { key, data } =
            kept(&schema, json!({ "id": "7", "age": "5", "open": "", "score": "", "zip": "00501", "more": "9" }), true)
        else {
            panic!("it is dead")
        };
        assert_eq!((key, Value::Object(data)), ("7".to_owned(), json!({ "id": "7", "age": 5, "open": null, "zip": "00501", "more": "9" })));
        for (row, code) in [
            (json!({ "id": "7", "age": "five" }), "schema"),
            (json!({ "id": "7", "age": "12345678901234567890123" }), "schema"),
            (json!({ "id": "" }), "key"),
            (json!({ "age": "5" }), "key"),
        ] {
            let Kept::Dead { reason, .. } = kept(&schema, row, true) else { panic!("it lives") };
            assert_eq!(reason.code, code);
        }
        assert!(matches!(kept(&schema, json!({ "id": 7, "age": "5" }), false), Kept::Dead { .. }), "JSON has types of its own");
    }

    #[test]
    fn a_line_is_an_object_or_a_reason() {
        for (line, code) in [("[1]", "not-an-object"), ("{", "not-json"), ("\u{fffd}", "not-json")] {
            assert_eq!(Row::of_json(1, line.as_bytes()).fields.unwrap_err().code, code);
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(80), "]".repeat(80));
        assert_eq!(Row::of_json(1, deep.as_bytes()).fields.unwrap_err().code, "depth");
        assert_eq!(Row::of_json(1, br#"{"n":12345678901234567890123}"#).fields.unwrap()["n"], "12345678901234567890123");
    }

    #[test]
    fn the_checksum_depends_on_rows_and_order_not_on_batches() {
        let rows = |texts: &[&str]| Batch { rows: texts.iter().map(|text| Row::of_json(1, text.as_bytes())).collect(), ..Batch::default() };
        let sum = |batch: &Batch, from: &str| prepare(batch, None, "id", false, from).unwrap().checksum;
        let whole = sum(&rows(&["{}", "1"]), "");
        assert_eq!(sum(&rows(&["1"]), &sum(&rows(&["{}"]), "")), whole);
        assert_ne!(sum(&rows(&["1", "{}"]), ""), whole);
    }
}
