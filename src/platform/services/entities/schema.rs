//! The JSON Schema of a record type: what is admitted as one, and what it says about a record.
//!
//! A schema comes from outside, so it must end soon on every record: no look-up leaves the platform, no reference leads
//! back to itself, references do not multiply, patterns are matched in linear time, and what schema and record cost
//! together is counted before they meet ([`cost`]). Records are checked on readers, not within the writer's transaction.

mod cost;

use cost::Cost;
use jsonschema::{PatternOptions, ValidationError, Validator};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::api::FieldError;
use crate::error::{Error, Kind, Result};

/// Largest schema, in bytes of JSON.
const MAX_BYTES: usize = 64 * 1024;
/// Deepest nesting, and longest chain of references.
const MAX_DEPTH: usize = 32;
/// Most values a schema may have once every reference is replaced by what it names.
const MAX_WEIGHT: u64 = 20_000;
/// Most faults of a record that are named.
const MAX_FAULTS: usize = 20;
/// Most steps that the check of a record takes.
const MAX_STEPS: u64 = 2_000_000;
/// Most steps of a check of whose faults more than the first are named, and of a choice of whose faults any is: each fault
/// of an alternative is kept until the one that is told is known.
const MAX_NAMED_STEPS: u64 = 20_000;

/// A schema that records are held to.
pub(super) struct Checker {
    root: Value,
    validator: Validator,
}

impl Checker {
    /// Admits a new schema, or says where it cannot be one.
    pub(super) fn admit(schema: &Map<String, Value>) -> Result<Self> {
        let root = Value::Object(schema.clone());
        let bytes = root.to_string().len();
        if bytes > MAX_BYTES {
            return Err(refused(FieldError::new("/schema", "size", format!("has {bytes} bytes; at most {MAX_BYTES} are allowed"))));
        }
        let mut weigher = Weigher { root: &root, known: Vec::new(), open: Vec::new() };
        let weight = weigher.weigh(&root, &mut "/schema".to_owned(), 0).map_err(refused)?;
        if weight > MAX_WEIGHT {
            let detail = format!("has more than {MAX_WEIGHT} parts once its references are followed");
            return Err(refused(FieldError::new("/schema", "size", detail)));
        }
        let validator = compile(&root).map_err(refused)?;
        Ok(Self { root, validator })
    }

    /// A schema that was admitted before.
    pub(super) fn of(schema: &Value) -> Result<Self> {
        let validator = compile(schema).map_err(|fault| Error::internal(fault.detail))?;
        Ok(Self { root: schema.clone(), validator })
    }

    /// What a record has against the schema, field by field.
    ///
    /// # Errors
    /// Schema and record are together more than can be checked.
    pub(super) fn faults(&self, data: &Map<String, Value>) -> Result<Vec<FieldError>> {
        let record = Value::Object(data.clone());
        let Some(taken) = Cost::of(&self.root, &record, MAX_STEPS) else { return Err(too_costly()) };
        if self.validator.is_valid(&record) {
            return Ok(Vec::new());
        }
        if taken.alternatives > MAX_NAMED_STEPS {
            let detail = "does not fit the schema. There are too many alternatives to say where; send fewer parts at once to find out";
            return Ok(vec![FieldError::new("/data", "schema", detail)]);
        }
        let named = if taken.steps > MAX_NAMED_STEPS { 1 } else { MAX_FAULTS };
        let fault = |fault: ValidationError<'_>| {
            // Values are masked: they may be long, and they are the caller's own.
            let mut detail: String = fault.masked().to_string().chars().filter(|c| !c.is_control()).take(300).collect();
            detail.insert_str(0, "does not fit the schema: ");
            FieldError::new(format!("/data{}", fault.instance_path()), fault.kind().keyword(), detail)
        };
        Ok(match named {
            1 => self.validator.validate(&record).err().map(fault).into_iter().collect(),
            named => self.validator.iter_errors(&record).take(named).map(fault).collect(),
        })
    }
}

/// Checks a record's fields against its type's schema; `kind` is the type's name.
pub(super) fn check(kind: &str, schema: &Value, data: &Map<String, Value>) -> Result<()> {
    let faults = Checker::of(schema)?.faults(data)?;
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-IDHS-RECORD-INVALID", format!("the record does not keep to the schema of `{kind}`"))
        .hint("Correct the fields named.")
        .with_fields(faults))
}

fn too_costly() -> Error {
    Error::new(Kind::Invalid, "FM-IDHS-RECORD-COSTLY", "the record is too large for a schema with so many alternatives")
        .hint("Divide the record, or simplify the schema of its type.")
        .field("/data", "cost", format!("takes more than {MAX_STEPS} steps to check"))
}

fn compile(schema: &Value) -> std::result::Result<Validator, FieldError> {
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex().size_limit(1 << 20).dfa_size_limit(1 << 20))
        .should_validate_formats(true)
        // These two are read and not checked otherwise.
        .with_format("idn-email", is_idn_email)
        .with_format("idn-hostname", is_idn_hostname)
        .build(schema)
        .map_err(|fault| {
            let detail: String = fault.masked().to_string().chars().filter(|c| !c.is_control()).take(300).collect();
            FieldError::new(format!("/schema{}", fault.instance_path()), "schema", format!("is not a JSON Schema: {detail}"))
        })
}

fn refused(fault: FieldError) -> Error {
    Error::new(Kind::Invalid, "FM-IDHS-SCHEMA", "the schema cannot be used")
        .hint("Send a JSON Schema without remote or recursive references.")
        .with_fields(vec![fault])
}

/// Follows every reference and counts what is behind it.
struct Weigher<'a> {
    root: &'a Value,
    known: Vec<(String, u64)>,
    open: Vec<String>,
}

impl Weigher<'_> {
    fn weigh(&mut self, node: &Value, path: &mut String, depth: usize) -> std::result::Result<u64, FieldError> {
        if depth > MAX_DEPTH {
            return Err(FieldError::new(path.clone(), "depth", format!("is nested more than {MAX_DEPTH} levels deep")));
        }
        let mut weight: u64 = 1;
        match node {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let length = path.len();
                    path.push('/');
                    path.push_str(&name.chars().take(80).collect::<String>().replace('~', "~0").replace('/', "~1"));
                    weight = weight.saturating_add(match (name.as_str(), value) {
                        ("$ref", Value::String(target)) => self.follow(target, path)?,
                        ("enum" | "const" | "default" | "examples", value) if !lists_fields(&path[..length]) => parts_of(value),
                        ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                            return Err(FieldError::new(path.clone(), "reference", "is not taken; use `$ref` into this schema"));
                        }
                        ("$id" | "id", Value::String(_)) if depth > 0 && names_a_schema(fields) => {
                            return Err(FieldError::new(path.clone(), "reference", "is taken at the top only"));
                        }
                        (_, value) => self.weigh(value, path, depth + 1)?,
                    });
                    path.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    let length = path.len();
                    path.push('/');
                    path.push_str(&index.to_string());
                    weight = weight.saturating_add(self.weigh(value, path, depth + 1)?);
                    path.truncate(length);
                }
            }
            _ => {}
        }
        Ok(weight)
    }

    fn follow(&mut self, target: &str, path: &str) -> std::result::Result<u64, FieldError> {
        let fault = |code: &str, detail: &str| Err(FieldError::new(path, code, detail));
        let Some(pointer) = target.strip_prefix('#') else {
            return fault("remote-reference", "leaves this schema; only references such as `#/$defs/name` are taken");
        };
        let Ok(pointer) = percent_decode_str(pointer).decode_utf8() else {
            return fault("reference", "is not UTF-8");
        };
        if let Some((_, weight)) = self.known.iter().find(|(known, _)| *known == pointer) {
            return Ok(*weight);
        }
        if self.open.iter().any(|open| *open == pointer) {
            return fault("recursive", "leads back to itself; relate records to each other instead of nesting them");
        }
        if self.open.len() >= MAX_DEPTH {
            return fault("depth", "ends a chain of references that is too long");
        }
        let node = if pointer.is_empty() || pointer.starts_with('/') { self.root.pointer(&pointer) } else { anchored(self.root, &pointer) };
        let Some(node) = node else {
            return fault("reference", "names nothing in this schema; take a JSON pointer such as `#/$defs/name`, or an `$anchor`");
        };
        self.open.push(pointer.clone().into_owned());
        let weight = self.weigh(node, &mut format!("/schema{pointer}"), 1)?;
        self.open.pop();
        self.known.push((pointer.into_owned(), weight));
        Ok(weight)
    }
}

/// Whether the fields of an object at this path are names of the schema's author, and not keywords.
fn lists_fields(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"].contains(&last)
}

/// The fields that records can have alone, where a schema says so.
pub(super) fn closed_fields(schema: &Value) -> Option<Vec<&str>> {
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false)) && schema.get("patternProperties").is_none();
    closed.then(|| {
        schema.get("properties").and_then(Value::as_object).map(|known| known.keys().map(String::as_str).collect()).unwrap_or_default()
    })
}

/// How many values a value holds, itself included. It is data: nothing in it is a keyword.
fn parts_of(value: &Value) -> u64 {
    let within = match value {
        Value::Object(fields) => fields.values().map(parts_of).sum(),
        Value::Array(items) => items.iter().map(parts_of).sum(),
        _ => 0,
    };
    1 + within
}

/// The part of a schema that has this `$anchor`.
fn anchored<'a>(node: &'a Value, anchor: &str) -> Option<&'a Value> {
    match node {
        Value::Object(fields) if fields.get("$anchor").and_then(Value::as_str) == Some(anchor) => Some(node),
        Value::Object(fields) => fields.values().find_map(|value| anchored(value, anchor)),
        Value::Array(items) => items.iter().find_map(|value| anchored(value, anchor)),
        _ => None,
    }
}

fn is_idn_email(text: &str) -> bool {
    text.rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && local.len() <= 64 && !local.contains(['@', ' ']) && is_idn_hostname(domain))
}

/// Whether a text is a host's name in any script: labels of letters, digits and hyphens.
fn is_idn_hostname(text: &str) -> bool {
    text.len() <= 253
        && text.split(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']).all(|label| {
            (1..=63).contains(&label.chars().count())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|letter| letter == '-' || letter.is_alphanumeric() || unicode_normalization::char::is_combining_mark(letter))
        })
}

/// Whether an object with an `$id` is a schema that would move the base of its references, and not a list of fields.
fn names_a_schema(fields: &Map<String, Value>) -> bool {
    ["type", "properties", "items", "allOf", "anyOf", "oneOf", "$ref", "$defs", "definitions"].iter().any(|name| fields.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!("{value} is not an object") };
        fields
    }

    fn fault(schema: &Value) -> FieldError {
        Checker::admit(&map(schema.clone())).map(|_| ()).unwrap_err().fields()[0].clone()
    }

    #[test]
    fn a_schema_is_compiled_and_checks_records() {
        let schema = json!({
            "type": "object",
            "properties": { "name": { "$ref": "#/$defs/name" }, "mail": { "type": "string", "format": "email" } },
            "required": ["name"],
            "$defs": { "name": { "type": "string", "minLength": 1 } },
        });
        let checker = Checker::admit(&map(schema.clone())).unwrap();
        assert!(checker.faults(&map(json!({ "name": "Acme" }))).unwrap().is_empty());
        let found = checker.faults(&map(json!({ "name": 5, "mail": "nobody" }))).unwrap();
        let found: Vec<_> = found.iter().map(|fault| (fault.pointer.as_str(), fault.code.as_str())).collect();
        assert_eq!(found, [("/data/name", "type"), ("/data/mail", "format")]);
        let error = check("customer", &schema, &map(json!({}))).unwrap_err();
        assert_eq!((error.code(), error.fields()[0].code.as_str()), ("FM-IDHS-RECORD-INVALID", "required"));
    }

    #[test]
    fn nothing_leaves_the_schema() {
        for target in ["https://example.com/s.json", "file:///etc/passwd", "other.json", "http://127.0.0.1:1/x"] {
            let fault = fault(&json!({ "properties": { "a": { "$ref": target } } }));
            assert_eq!((fault.pointer.as_str(), fault.code.as_str()), ("/schema/properties/a/$ref", "remote-reference"));
        }
        assert_eq!(fault(&json!({ "$dynamicRef": "#x" })).code, "reference");
        assert_eq!(fault(&json!({ "properties": { "a": { "$id": "https://x.y/z", "type": "object" } } })).code, "reference");
    }

    #[test]
    fn references_may_neither_turn_nor_multiply() {
        assert_eq!(fault(&json!({ "$ref": "#" })).code, "recursive");
        assert_eq!(
            fault(&json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } })).code,
            "recursive"
        );
        assert_eq!(fault(&json!({ "properties": { "child": { "$ref": "#" } } })).code, "recursive");
        let mut definitions = Map::new();
        definitions.insert("d0".to_owned(), json!({ "type": "string" }));
        for level in 1..30 {
            let below = json!({ "$ref": format!("#/$defs/d{}", level - 1) });
            definitions.insert(format!("d{level}"), json!({ "allOf": [below, below] }));
        }
        assert_eq!(fault(&json!({ "$ref": "#/$defs/d29", "$defs": definitions })).code, "size");
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert_eq!(fault(&json!({ "title": "x".repeat(MAX_BYTES) })).code, "size");
        let mut deep = json!({ "type": "string" });
        for _ in 0..60 {
            deep = json!({ "items": deep });
        }
        assert_eq!(fault(&deep).code, "depth");
    }

    #[test]
    fn a_fault_says_where_it_is() {
        let fault = fault(&json!({ "properties": { "a": { "type": "strng" } } }));
        assert_eq!((fault.pointer.as_str(), fault.code.as_str()), ("/schema/properties/a/type", "schema"));
        assert_eq!(super::tests::fault(&json!({ "properties": { "a": { "pattern": "(?=x)" } } })).code, "schema");
        assert_eq!(super::tests::fault(&json!({ "properties": { "a": { "$ref": "#/$defs/none" } } })).code, "reference");
    }

    #[test]
    fn schema_and_record_are_bounded_together() {
        let alternatives: Vec<Value> = (0..4_000).map(|number| json!({ "const": number })).collect();
        let checker = Checker::admit(&map(json!({ "properties": { "list": { "items": { "anyOf": alternatives } } } }))).unwrap();
        let record = |length: usize| map(json!({ "list": vec!["x"; length] }));
        let found = checker.faults(&record(100)).unwrap();
        assert_eq!(found.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), ["/data/list/0"], "the first alone is named");
        assert_eq!(checker.faults(&record(10_000)).unwrap_err().code(), "FM-IDHS-RECORD-COSTLY");
    }

    #[test]
    fn faults_of_too_many_alternatives_are_not_kept() {
        let alternatives = vec![json!({ "items": false }); 2_000];
        let checker = Checker::admit(&map(json!({ "properties": { "list": { "anyOf": alternatives } } }))).unwrap();
        let pointers = |length: usize| {
            let found = checker.faults(&map(json!({ "list": vec![1; length] }))).unwrap();
            found.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
        };
        assert_eq!(pointers(0), [""; 0]);
        assert_eq!(pointers(1), ["/data/list"]);
        assert_eq!(pointers(200), ["/data"]);
    }

    #[test]
    fn a_field_may_be_called_as_a_keyword() {
        Checker::admit(&map(
            json!({ "properties": { "id": { "type": "string" }, "$ref": { "type": "string" }, "type": { "type": "string" } } }),
        ))
        .unwrap();
    }

    #[test]
    fn values_of_a_schema_are_data_and_anchors_are_names() {
        let of = |schema: Value| Checker::admit(schema.as_object().unwrap());
        let checker = of(json!({ "properties": { "v": { "enum": [{ "$id": "https://x/y", "type": "null" }] } } })).unwrap();
        assert!(checker.faults(&map(json!({ "v": { "$id": "https://x/y", "type": "null" } }))).unwrap().is_empty());
        let checker =
            of(json!({ "properties": { "v": { "$ref": "#n" } }, "$defs": { "n": { "$anchor": "n", "type": "string" } } })).unwrap();
        assert_eq!(checker.faults(&map(json!({ "v": 5 }))).unwrap().len(), 1);
        for wrong in [
            json!({ "properties": { "v": { "$ref": "#gone" } } }),
            json!({ "properties": { "enum": { "properties": { "a": { "$ref": "https://x/y" } } } } }),
            json!({ "properties": { "v": { "$ref": "#n" } }, "$defs": { "n": { "$anchor": "n", "properties": { "v": { "$ref": "#n" } } } } }),
        ] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_and_addresses_of_every_script_are_checked() {
        for (name, good) in
            [("münchen.example", true), ("例え.テスト", true), ("a..b", false), ("-> $1.00 <--", false), ("-a", false), ("", false)]
        {
            assert_eq!(is_idn_hostname(name), good, "{name}");
        }
        assert!(is_idn_email("用户@例子.example") && !is_idn_email("2962") && !is_idn_email("@a"));
    }
}
