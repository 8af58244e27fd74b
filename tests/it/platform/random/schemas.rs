//! Schemas with all keywords that cost, and records that make them cost: together they are checked or refused, and end.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::throw;

/// Largest body of most requests, in bytes.
const MAX_BODY: usize = 1 << 20;

/// Patterns that make matchers large or slow.
fn pattern() -> impl Strategy<Value = String> {
    let parts = vec![
        r"\w{30}",
        r"(a|b|ab)*",
        r"[a-q][^u-z]{13}",
        ".{100}",
        "(x+x+)+y",
        r"\p{L}{1,40}",
        "(?=a)",
        r"(a)\1",
        "[",
        "^",
        "$",
        ".*",
        "a{0,500}",
    ];
    prop::collection::vec(prop::sample::select(parts), 1..6).prop_map(|parts| parts.concat())
}

/// Schemas that hold no others, but for references to the four that are defined.
fn leaf() -> impl Strategy<Value = Value> {
    let types = vec!["string", "number", "integer", "boolean", "null", "array", "object"];
    let formats = vec![
        "regex",
        "email",
        "idn-email",
        "hostname",
        "idn-hostname",
        "uri",
        "iri",
        "uri-template",
        "date-time",
        "duration",
        "ipv6",
        "uuid",
        "json-pointer",
        "relative-json-pointer",
        "unknown",
    ];
    let targets = vec!["#", "#/$defs/d0", "#/$defs/d1", "#/$defs/d2", "#/$defs/d3", "#/nothing", "https://example.com/", "#name"];
    prop_oneof![
        2 => any::<bool>().prop_map(Value::Bool),
        3 => prop::sample::select(types).prop_map(|kind| json!({ "type": kind })),
        2 => pattern().prop_map(|pattern| json!({ "pattern": pattern })),
        1 => pattern().prop_map(|pattern| json!({ "patternProperties": { pattern: true } })),
        2 => prop::sample::select(formats).prop_map(|format| json!({ "format": format })),
        4 => prop::sample::select(targets).prop_map(|target| json!({ "$ref": target })),
        1 => (0..1000_usize).prop_map(|many| json!({ "enum": (0..many).collect::<Vec<_>>() })),
        1 => (0..400_usize).prop_map(|many| json!({ "const": { "a": vec![many; many] } })),
        1 => prop::sample::select(vec![1e-300, 0.0, -1.0, 0.1, 1e308, 3.0]).prop_map(|number| json!({ "multipleOf": number })),
        1 => (any::<i64>(), any::<u64>()).prop_map(|(least, length)| json!({ "minimum": least, "maxLength": length, "minItems": length })),
        1 => Just(json!({ "uniqueItems": true })),
        1 => prop::sample::select(vec!["application/json", "text/plain"])
            .prop_map(|kind| json!({ "contentMediaType": kind, "contentEncoding": "base64" })),
        1 => Just(json!({ "type": 5, "properties": [], "items": "x" })),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 16, 3, |inner| {
        let many = prop::sample::select(vec!["allOf", "anyOf", "anyOf", "oneOf"]);
        let around = prop::sample::select(vec![
            "items",
            "contains",
            "additionalProperties",
            "propertyNames",
            "not",
            "if",
            "then",
            "unevaluatedProperties",
            "unevaluatedItems",
            "unknown",
        ]);
        prop_oneof![
            5 => (inner.clone(), around).prop_map(|(inner, keyword)| json!({ keyword: inner })),
            3 => (prop::collection::vec(inner.clone(), 1..4), many, 1..60_usize).prop_map(|(different, keyword, times)| {
                json!({ keyword: different.iter().cycle().take(times * different.len()).collect::<Vec<_>>() })
            }),
            3 => (inner.clone(), inner.clone(), 0..200_usize).prop_map(|(first, other, fields)| {
                let others = (0..fields).map(|field| (format!("f{field}"), other.clone()));
                let fields: Map<String, Value> = [("a".to_owned(), first)].into_iter().chain(others).collect();
                json!({ "properties": fields, "required": ["a"] })
            }),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({ "dependentSchemas": { "a": a }, "prefixItems": [b] })),
            1 => (inner.clone(), 1..40_usize).prop_map(|(inner, levels)| {
                (0..levels).fold(inner, |below, _| json!({ "properties": { "a": { "items": below } } }))
            }),
            2 => (inner.clone(), inner).prop_map(|(a, b)| match (a, b) {
                (Value::Object(a), Value::Object(b)) => Value::Object(a.into_iter().chain(b).collect()),
                (a, b) => json!({ "allOf": [a, b] }),
            }),
        ]
    })
}

/// A schema with definitions, which its references and those of the definitions lead to.
fn rooted() -> impl Strategy<Value = Value> {
    let drafts = prop::sample::select(vec![
        None,
        Some("http://json-schema.org/draft-07/schema#"),
        Some("https://json-schema.org/draft/2019-09/schema"),
    ]);
    (schema(), prop::collection::vec(schema(), 4), drafts).prop_map(|(inner, definitions, draft)| {
        let definitions: Map<String, Value> =
            definitions.into_iter().enumerate().map(|(place, schema)| (format!("d{place}"), schema)).collect();
        let mut root = json!({ "properties": { "a": inner.clone() }, "additionalProperties": inner, "$defs": definitions });
        if let Some(draft) = draft {
            root["$schema"] = json!(draft);
        }
        root
    })
}

/// A record by its sizes.
#[derive(Debug, Clone)]
enum Record {
    Numbers(usize),
    Objects(usize, usize),
    Fields(usize),
    Text(&'static str, usize),
    Deep(usize),
    Texts(&'static str, usize),
}

fn record() -> impl Strategy<Value = Record> {
    let text = || prop::sample::select(vec!["a", "ab", "a.", "[", "x@", "\\w{99}", "{", "0,", "é", "P1Y"]);
    prop_oneof![
        (0..100_000_usize).prop_map(Record::Numbers),
        (0..2000_usize, 0..30_usize).prop_map(|(objects, fields)| Record::Objects(objects, fields)),
        (0..20_000_usize).prop_map(Record::Fields),
        (text(), 0..150_000_usize).prop_map(|(text, times)| Record::Text(text, times)),
        (0..70_usize).prop_map(Record::Deep),
        (text(), 0..60_000_usize).prop_map(|(text, times)| Record::Texts(text, times)),
    ]
}

impl Record {
    fn data(&self) -> Value {
        match self {
            Self::Numbers(many) => json!({ "a": (0..*many).collect::<Vec<_>>() }),
            Self::Objects(many, fields) => {
                let object: Map<String, Value> = (0..*fields).map(|field| (format!("f{field}"), json!([field]))).collect();
                json!({ "a": vec![Value::Object(object); *many] })
            }
            Self::Fields(many) => Value::Object((0..*many).map(|field| (format!("f{field}"), json!({ "a": [field] }))).collect()),
            Self::Text(text, times) => json!({ "a": text.repeat(*times) }),
            Self::Deep(levels) => (0..*levels).fold(json!({ "a": 1 }), |inner, _| json!({ "a": [inner] })),
            Self::Texts(text, times) => json!({ "a": vec![*text; *times] }),
        }
    }
}

#[test]
fn no_schema_and_no_record_ends_or_holds_the_platform() {
    let types = AtomicU32::new(0);
    throw(16, &(rooted(), prop::collection::vec(record(), 1..4), schema()), |program, (schema, records, other)| {
        let kind = format!("random-{}", types.fetch_add(1, Ordering::Relaxed));
        async move {
            // What is larger than any body may be is refused before it is read.
            if schema.to_string().len().max(other.to_string().len()) > MAX_BODY {
                return Ok(());
            }
            let defined = program.send("POST", "/entities", &json!({ "entityType": kind, "schema": schema })).await?;
            if !defined.is_ok() {
                // Records of a type without a schema are taken as they are, and are held to one later.
                program.send("POST", "/entities", &json!({ "entityType": kind })).await?;
            }
            let path = format!("/entities/{kind}");
            for record in &records {
                let kept = program.send("POST", &path, &json!({ "data": record.data() })).await?;
                let Some(id) = kept.text("id") else { continue };
                program.send("PUT", &format!("{path}/{id}"), &json!({ "data": { "a": "other" } })).await?;
                program.send("GET", &format!("{path}?filter.a=other&sort=-a"), &Value::Null).await?;
            }
            program.send("PUT", &path, &json!({ "schema": schema })).await?;
            program.send("PUT", &path, &json!({ "schema": other })).await?;
            program.send("POST", "/entities/search", &json!({ "query": "other" })).await?;
            Ok(())
        }
    });
}
