//! `/openapi.json`, made from the operations.

use serde_json::{Map, Value, json};

use crate::api::{Entry, Problem, SERVICES, Spec, catalogue, schema, wire};

/// The document of all operations; those beyond the contract are marked.
pub(crate) fn document(extensions: &[&'static Entry]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let entries = catalogue().iter().map(|entry| (entry, false)).chain(extensions.iter().map(|entry| (*entry, true)));
    for (entry, extension) in entries {
        // Two routes may name one place differently, which the document must not: the first name stands.
        let path = paths.keys().find(|known| is_same(known, entry.spec.path)).cloned().unwrap_or_else(|| entry.spec.path.to_owned());
        let operation = operation(entry, &path, extension);
        if let Value::Object(methods) = paths.entry(path).or_insert_with(|| json!({})) {
            methods.insert(entry.spec.method.name().to_ascii_lowercase(), operation);
        }
    }
    let tags: Vec<Value> = SERVICES.iter().map(|service| json!({ "name": service.name, "description": service.about })).collect();
    json!({
        "openapi": "3.1.0",
        "info": { "title": "FlowMaster", "version": env!("CARGO_PKG_VERSION") },
        "tags": tags,
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
            "responses": { "problem": {
                "description": "A refusal with a stable code and what to do next.",
                "content": { "application/problem+json": { "schema": schema::of::<Problem>() } },
            } },
        },
    })
}

/// Whether two paths are one but for the names of their placeholders.
fn is_same(one: &str, other: &str) -> bool {
    one.split('/').count() == other.split('/').count()
        && one.split('/').zip(other.split('/')).all(|(one, other)| one == other || one.starts_with('{') && other.starts_with('{'))
}

/// The placeholders of a path by their places.
fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// A parameter. A list is written with commas, and the fields of an object by dots, for which the document has no style.
fn parameter(name: &str, place: &str, is_required: bool, schema: &Value) -> Value {
    let mut parameter = json!({ "name": name, "in": place, "required": is_required, "schema": schema });
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => parameter["explode"] = json!(false),
        Some("object") => parameter["description"] = json!(format!("Each field is a parameter of its own, such as `{name}.field=value`.")),
        _ => {}
    }
    parameter
}

fn operation(entry: &Entry, path: &str, extension: bool) -> Value {
    let spec = &entry.spec;
    let properties = entry.shape.input.get("properties").and_then(Value::as_object);
    let required =
        |name: &str| entry.shape.input.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|n| n == name));
    let in_path: Vec<&str> = wire::path_fields(spec).collect();
    let parameters: Vec<Value> = properties
        .into_iter()
        .flatten()
        .filter(|(name, _)| !spec.body || in_path.contains(&name.as_str()))
        .map(|(name, schema)| match in_path.iter().position(|known| known == name) {
            Some(place) => parameter(placeholders(path).nth(place).unwrap_or(name), "path", true, schema),
            None => parameter(name, "query", required(name), schema),
        })
        .collect();
    let mut answer = json!({ "description": entry.spec.title });
    if spec.success != 204 {
        answer["content"] = json!({ "application/json": { "schema": entry.shape.answer } });
        if spec.streams {
            answer["content"]["text/event-stream"] = json!({ "schema": { "type": "string" } });
        }
    }
    let (summary, description) = (spec.title, entry.shape.description.as_str());
    let mut operation = json!({
        "operationId": spec.name,
        "tags": [entry.service.name],
        "summary": summary,
        "description": description,
        "parameters": parameters,
        "responses": { spec.success.to_string(): answer, "default": { "$ref": "#/components/responses/problem" } },
        "x-flowmaster-effect": spec.effect.name(),
    });
    if spec.body {
        let mut schema = entry.shape.input.clone();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.retain(|name, _| !in_path.contains(&name.as_str()));
            properties.extend(filled_in(spec));
        }
        if let Some(Value::Array(names)) = schema.get_mut("required") {
            names.retain(|name| !in_path.iter().any(|path| name == path));
        }
        let is_required = schema.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
        operation["requestBody"] = json!({ "required": is_required, "content": { "application/json": { "schema": schema } } });
    }
    if spec.public {
        operation["security"] = json!([]);
    }
    if let Some(permission) = spec.permission {
        operation["x-flowmaster-permission"] = json!(permission.name());
    }
    if extension || spec.extension {
        operation["x-flowmaster-extension"] = json!(true);
    }
    operation
}

/// The body fields that are no arguments: they repeat what the path or the token says, and may be left out.
fn filled_in(spec: &Spec) -> impl Iterator<Item = (String, Value)> {
    let field = |name: &str, equal: String| (name.to_owned(), json!({ "type": "string", "description": format!("Equals {equal}.") }));
    let tenant = spec.names_tenant.then(|| field(wire::TENANT, "the token's tenant".to_owned()));
    spec.repeats.iter().map(move |(body, path)| field(body, format!("the path's `{path}`"))).chain(tenant)
}
