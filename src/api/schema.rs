//! Schemas as every host accepts them: generated from the types, then cleaned once.
//!
//! Input schemas are a flat object, every node typed and described, without `$ref`, combinators, type arrays or
//! Rust's number formats. Output schemas are open: only ids required, no closed enums, since hosts validate
//! answers against them and platforms grow fields. Hosts see an outline of them: ids, status, page and truncation.
//!
//! What is checked is stricter than what is listed: hosts see the arguments' schema without `additionalProperties: false` and
//! without the lengths of texts and the least of numbers. Unknown fields, empty texts and the like are rejected all the same.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Description and schemas of an operation, computed once.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The operation's doc comment.
    pub description: String,
    /// The cleaned schema of the arguments, by which they are checked.
    pub input: Map<String, Value>,
    /// The same schema as hosts see it.
    pub listed: Map<String, Value>,
    /// The cleaned, open schema of the answer, which the client holds answers to.
    pub output: Map<String, Value>,
    /// The outline of that schema that hosts see.
    pub outline: Map<String, Value>,
    /// The answer's schema with everything the contract says, for `schemas/` and documentation.
    pub answer: Map<String, Value>,
}

impl Shape {
    /// A write may be answered by 204, so its output schema requires nothing.
    pub(super) fn new(request: schemars::Schema, answer: schemars::Schema, reads: bool) -> Self {
        let mut input = clean(request.to_value());
        let description = match input.remove("description") {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        input.entry("properties").or_insert_with(|| json!({}));
        input.insert("additionalProperties".to_owned(), Value::Bool(false));
        close(&mut input);
        let mut listed = input.clone();
        list(&mut listed);
        let answer = clean(answer.to_value());
        let mut output = answer.clone();
        open(&mut output, true);
        if !reads {
            output.remove("required");
        }
        if let Some(Value::Object(properties)) = output.get_mut("properties") {
            properties.insert(
                "truncated".to_owned(),
                json!({ "type": "object", "description": "Only if something was left out: what, and what to do." }),
            );
        }
        let outline = outline(&output);
        Self { description, input, listed, output, outline, answer }
    }
}

/// The raw schema of a type, with nested types inlined.
#[must_use]
pub(super) fn generate<T: JsonSchema>() -> schemars::Schema {
    SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator()
        .into_root_schema_for::<T>()
}

/// The cleaned schema of any type, for `schemas/`.
#[must_use]
pub fn of<T: JsonSchema>() -> Map<String, Value> {
    clean(generate::<T>().to_value())
}

fn clean(mut schema: Value) -> Map<String, Value> {
    clean_node(&mut schema);
    match schema {
        Value::Object(mut root) => {
            root.remove("title");
            root
        }
        _ => Map::new(),
    }
}

/// Cleans one node and what is below it.
fn clean_node(node: &mut Value) {
    // `Value` and `true` say nothing: a free-form object is what the contract means by it.
    if node.is_boolean() {
        *node = json!({ "type": "object" });
    }
    let Value::Object(schema) = node else { return };
    schema.remove("$schema");
    schema.remove("title");
    fold_nullable(schema);
    fold_constants(schema);
    fold_tagged(schema);
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| !matches!(format, "date-time" | "uri")) {
        schema.remove("format");
    }
    if let Some(description) = schema.get_mut("description")
        && let Some(text) = description.as_str()
    {
        *description = Value::String(unwrap_lines(text));
    }
    schema.remove("default");
    // Every unsigned type says so; the bound of a fraction was meant.
    let is_whole = schema.get("type").is_some_and(|kind| kind == "integer");
    if is_whole && schema.get("minimum").and_then(Value::as_f64) == Some(0.0) {
        schema.remove("minimum");
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(clean_node);
    }
    if let Some(items) = schema.get_mut("items") {
        clean_node(items);
    }
    match schema.get_mut("additionalProperties") {
        Some(Value::Bool(true)) => {
            schema.remove("additionalProperties");
        }
        Some(inner @ Value::Object(_)) => clean_node(inner),
        _ => {}
    }
    if schema.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        schema.remove("required");
    }
    if !schema.contains_key("type") {
        schema.insert("type".to_owned(), "object".into());
    }
}

/// `["string", "null"]` and `anyOf: [X, null]` are X: an optional argument is left out, not null.
fn fold_nullable(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(mut branches)) = schema.remove("anyOf") {
        branches.retain(|branch| branch.get("type").is_none_or(|kind| kind != "null"));
        if branches.len() == 1
            && let Some(Value::Object(branch)) = branches.pop()
        {
            for (key, value) in branch {
                schema.entry(key).or_insert(value);
            }
        } else {
            schema.insert("anyOf".to_owned(), Value::Array(branches));
        }
    }
}

/// `oneOf` of described constants is an enum; what each means moves into the description.
fn fold_constants(schema: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = schema.get("oneOf") else { return };
    if !branches.iter().all(|branch| branch.get("const").is_some() || branch.get("enum").is_some()) {
        return;
    }
    let mut values = Vec::new();
    let mut meanings = Vec::new();
    for branch in branches {
        if let Some(value) = branch.get("const") {
            values.push(value.clone());
            if let (Some(name), Some(text)) = (value.as_str(), branch.get("description").and_then(Value::as_str)) {
                meanings.push(format!("{name}: {}", unwrap_lines(text)));
            }
        }
        values.extend(branch.get("enum").and_then(Value::as_array).into_iter().flatten().cloned());
    }
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), Value::Array(values));
    if !meanings.is_empty() {
        let meanings = meanings.join(" ");
        let text = match schema.get("description").and_then(Value::as_str) {
            Some(text) => format!("{text} {meanings}"),
            None => meanings,
        };
        schema.insert("description".to_owned(), text.into());
    }
}

/// A tagged enum (`oneOf` of objects) becomes one object: the tag an enum, the fields of all branches optional.
fn fold_tagged(schema: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = schema.remove("oneOf") else { return };
    let mut properties = Map::new();
    let mut required: Option<Vec<Value>> = None;
    for branch in &branches {
        for (name, property) in branch.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if let Some(tag) = property.get("const") {
                let tags = properties
                    .entry(name.clone())
                    .or_insert_with(|| json!({ "type": "string", "description": "Which kind it is.", "enum": [] }));
                if let Some(Value::Array(values)) = tags.get_mut("enum") {
                    values.push(tag.clone());
                }
            } else {
                properties.entry(name.clone()).or_insert_with(|| property.clone());
            }
        }
        let needs: Vec<Value> = branch.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        required = Some(match required {
            None => needs,
            Some(before) => before.into_iter().filter(|name| needs.contains(name)).collect(),
        });
    }
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), Value::Array(required.unwrap_or_default()));
}

/// An object with named properties takes no others; one without takes anything.
fn close(schema: &mut Map<String, Value>) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            close(property);
            if property.contains_key("properties") {
                property.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
    }
    if let Some(Value::Object(items)) = schema.get_mut("items") {
        close(items);
        if items.contains_key("properties") {
            items.entry("additionalProperties").or_insert(Value::Bool(false));
        }
    }
}

/// Leaves out the lengths of texts and the least of numbers, which each refusal names, and boolean `additionalProperties`,
/// which google-genai cannot convert. A free-form object says by a schema that
/// its fields take any value: the strict mode of older OpenAI SDKs closes an object that says nothing of them.
/// Leaves out descriptions that only repeat a property's name, since tools/list has a budget; `schemas/` keeps them.
fn list(schema: &mut Map<String, Value>) {
    for bound in ["minLength", "maxLength", "minimum"] {
        schema.remove(bound);
    }
    if schema.get("additionalProperties").is_some_and(Value::is_boolean) {
        schema.remove("additionalProperties");
    }
    if schema.get("type").is_some_and(|kind| kind == "object") && !schema.contains_key("properties") {
        schema.entry("additionalProperties").or_insert_with(|| json!({ "description": "Any." }));
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            if property.get("description").and_then(Value::as_str).is_some_and(repeats_a_name) {
                property.remove("description");
            }
            list(property);
        }
    }
    for below in ["items", "additionalProperties"] {
        if let Some(Value::Object(below)) = schema.get_mut(below) {
            list(below);
        }
    }
}

/// Whether a description is as short as a name: four plain words at most, without an example, a default or a unit.
fn repeats_a_name(description: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphabetic() || matches!(letter, ' ' | '\'' | '-' | '.');
    description.split_whitespace().count() <= 4 && description.chars().all(is_plain)
}

/// Opens an answer's schema: required ids alone, no enums, no bounds, no descriptions of what is deep inside.
fn open(schema: &mut Map<String, Value>, root: bool) {
    for bound in ["enum", "minLength", "maxLength", "minimum", "maximum", "pattern", "format", "additionalProperties"] {
        schema.remove(bound);
    }
    if root {
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| name.as_str().is_some_and(|name| name == "id" || name.ends_with("Id") || name == "items"));
            required.truncate(1);
        }
    } else {
        schema.remove("required");
    }
    if schema.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        schema.remove("required");
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(|property| open(property, false));
    }
    if let Some(Value::Object(items)) = schema.get_mut("items") {
        open(items, false);
    }
}

/// Fields of a page that an outline keeps, as it keeps ids; their names say all.
const PAGE: [&str; 2] = ["items", "nextCursor"];
/// Fields that an outline keeps with their descriptions: the state, and whether something is missing.
const DESCRIBED: [&str; 3] = ["status", "partial", "truncated"];

/// Returns the part of an open answer's schema from which an agent learns what to pass on and whether there is more.
///
/// An outline is made of the schema's own nodes, so each answer that the schema accepts fits it. Fields that it leaves out are
/// allowed, since it closes no object.
fn outline(schema: &Map<String, Value>) -> Map<String, Value> {
    let is_kept = |name: &str| name == "id" || name.ends_with("Id") || PAGE.contains(&name) || DESCRIBED.contains(&name);
    let field = |(name, property): (&String, &Value)| {
        let property = property.as_object().filter(|_| is_kept(name))?;
        let mut outlined = outline(property);
        if let Some(description) = property.get("description").filter(|_| DESCRIBED.contains(&name.as_str())) {
            outlined.insert("description".to_owned(), description.clone());
        }
        Some((name.clone(), Value::Object(outlined)))
    };
    let mut outlined = Map::new();
    for (key, value) in schema {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => Value::Object(properties.iter().filter_map(field).collect()),
            ("items", Value::Object(items)) => Value::Object(outline(items)),
            ("type" | "required", value) => value.clone(),
            _ => continue,
        };
        outlined.insert(key.clone(), value);
    }
    outlined
}

/// Doc comments wrap; descriptions keep paragraphs only.
fn unwrap_lines(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_property_is_described_unless_it_repeats_its_name() {
        let described = |text: &str| json!({ "type": "object", "properties": { "id": { "type": "string", "description": text } } });
        for (text, stays) in [
            ("The portal.", false),
            ("Before this time.", false),
            ("End; now if absent.", true),
            ("Hours, 1 to 24.", true),
            ("Last `nextCursor`.", true),
            ("Path below the base URL.", true),
        ] {
            let Value::Object(mut schema) = described(text) else { panic!("a schema is an object") };
            list(&mut schema);
            assert_eq!(schema["properties"]["id"].get("description").is_some(), stays, "{text}");
        }
    }

    #[test]
    fn an_outline_keeps_ids_state_page_and_truncation() {
        let schema = json!({
            "type": "object", "description": "A page.", "required": ["items"],
            "properties": {
                "items": { "type": "array", "description": "Its items.", "items": { "type": "object", "properties": {
                    "taskId": { "type": "string", "description": "The task." },
                    "status": { "type": "string" },
                    "title": { "type": "string" },
                } } },
                "nextCursor": { "type": "string" },
                "truncated": { "type": "object", "description": "What was left out." },
                "total": { "type": "integer" },
            },
        });
        let Value::Object(schema) = schema else { panic!("a schema is an object") };
        let outlined = json!({
            "type": "object", "required": ["items"],
            "properties": {
                "items": { "type": "array", "items": { "type": "object", "properties": {
                    "taskId": { "type": "string" },
                    "status": { "type": "string" },
                } } },
                "nextCursor": { "type": "string" },
                "truncated": { "type": "object", "description": "What was left out." },
            },
        });
        assert_eq!(Value::Object(outline(&schema)), outlined);
    }
}
