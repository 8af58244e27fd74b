//! `/openapi.json`, made from the operations.

use serde_json::{Map, Value, json};

use crate::api::{Entry, Problem, SERVICES, Spec, catalogue, schema, wire};

/// The document of all operations; those beyond the contract are marked.
pub(crate) fn document(extensions: &[&'static Entry]) -> Value {
    let mut paths = Map::new();
    let entries = catalogue().iter().map(|entry| (entry, false)).chain(extensions.iter().map(|entry| (*entry, true)));
    for (entry, extension) in entries {
        if let Value::Object(methods) = paths.entry(entry.spec.path).or_insert_with(|| json!({})) {
            methods.insert(entry.spec.method.name().to_ascii_lowercase(), operation(entry, extension));
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

fn operation(entry: &Entry, extension: bool) -> Value {
    let spec = &entry.spec;
    let properties = entry.shape.input.get("properties").and_then(Value::as_object);
    let required =
        |name: &str| entry.shape.input.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|n| n == name));
    let in_path: Vec<&str> = wire::path_fields(spec).collect();
    let parameters: Vec<Value> = properties
        .into_iter()
        .flatten()
        .filter(|(name, _)| !spec.body || in_path.contains(&name.as_str()))
        .map(|(name, schema)| {
            let place = if in_path.contains(&name.as_str()) { "path" } else { "query" };
            json!({ "name": name, "in": place, "required": place == "path" || required(name), "schema": schema })
        })
        .collect();
    let mut answer = json!({ "description": entry.spec.title });
    if spec.success != 204 {
        answer["content"] = json!({ "application/json": { "schema": entry.shape.answer } });
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
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
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
