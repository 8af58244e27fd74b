//! `/openapi.json` is a valid document, and what it does not allow the platform refuses by the name of the field.

use std::collections::{HashMap, HashSet};

use flowmaster_mcp::api::catalogue;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::platform::{Reply, TestPlatform};

/// The schema of documents as the OpenAPI Initiative publishes it.
const SCHEMA: &str = include_str!("openapi/schema-3.1.json");

async fn document(bench: &TestPlatform) -> Value {
    bench.get("/openapi.json", "").await.ok()
}

/// One operation of the document.
struct Described<'d> {
    path: &'d str,
    method: Method,
    operation: &'d Value,
}

fn operations(document: &Value) -> Vec<Described<'_>> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push(Described { path, method: method.to_uppercase().parse().unwrap(), operation });
        }
    }
    all
}

impl Described<'_> {
    fn name(&self) -> &str {
        self.operation["operationId"].as_str().unwrap()
    }

    fn parameters(&self, place: &str) -> impl Iterator<Item = &Value> {
        self.operation["parameters"].as_array().unwrap().iter().filter(move |parameter| parameter["in"] == place)
    }

    fn body(&self) -> Option<&Map<String, Value>> {
        self.operation["requestBody"]["content"]["application/json"]["schema"].as_object()
    }

    /// Calls it with a query and a body, on ids that name nothing.
    async fn call(&self, bench: &TestPlatform, query: &[(&str, &str)], body: Option<&Value>) -> Reply {
        let path: Vec<&str> = self.path.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment }).collect();
        let mut request = bench.request(self.method.clone(), &path.join("/"), &bench.owner()).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        bench.send(request).await
    }

    /// Asserts that an answer refuses these fields, each for this reason.
    fn refuses(&self, reply: &Reply, faults: &[(String, &str)]) {
        assert_eq!(reply.status, 422, "{}: {:#}", self.name(), reply.body);
        assert!(reply.code().starts_with("FM-") && reply.code().ends_with("-INVALID"), "{}: {}", self.name(), reply.code());
        let told: HashMap<&str, &str> = reply.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| (fault["pointer"].as_str().unwrap(), fault["code"].as_str().unwrap()))
            .collect();
        for (pointer, code) in faults {
            assert_eq!(told.get(pointer.as_str()), Some(code), "{}: {pointer} in {:#}", self.name(), reply.body);
        }
    }
}

/// A value that a schema does not allow.
fn wrong(schema: &Value) -> Value {
    if schema["type"] == "string" { json!(7) } else { json!("wrong") }
}

#[tokio::test]
async fn the_document_is_valid() {
    let bench = TestPlatform::start().await;
    let document = document(&bench).await;
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let faults: Vec<String> = jsonschema::draft202012::new(&schema)
        .unwrap()
        .iter_errors(&document)
        .map(|error| format!("{} {}", error.instance_path(), error.to_string().chars().take(200).collect::<String>()))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");

    let (mut shapes, mut names) = (HashSet::new(), HashSet::new());
    for path in document["paths"].as_object().unwrap().keys() {
        let shape: Vec<&str> = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment }).collect();
        assert!(shapes.insert(shape.join("/")), "{path} is there twice, but for names");
    }
    for described in operations(&document) {
        assert!(names.insert(described.name().to_owned()), "{} is there twice", described.name());
        let in_path: Vec<&str> = described.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect();
        let declared: Vec<&str> = described.parameters("path").map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(in_path.iter().collect::<HashSet<_>>(), declared.iter().collect::<HashSet<_>>(), "{}", described.name());
        let schemas = described.operation["parameters"].as_array().unwrap().iter().map(|parameter| &parameter["schema"]);
        let answers =
            described.operation["responses"].as_object().unwrap().values().map(|answer| &answer["content"]["application/json"]["schema"]);
        let body = described.body().map(|body| Value::Object(body.clone()));
        for schema in schemas.chain(answers.filter(|schema| !schema.is_null())).chain(&body) {
            assert!(jsonschema::draft202012::meta::is_valid(schema), "{}: {schema}", described.name());
        }
    }
    assert!(catalogue().iter().all(|entry| names.contains(entry.spec.name)));
}

#[tokio::test]
async fn a_field_of_a_wrong_type_is_refused_by_its_name() {
    let bench = TestPlatform::start().await;
    let document = document(&bench).await;
    let mut checked = 0;
    for described in operations(&document) {
        let Some(schema) = described.body() else { continue };
        // What the platform offers beyond the catalogue is not known here.
        let Some(entry) = catalogue().get(described.name()) else { continue };
        let known = entry.shape.input["properties"].as_object().unwrap();
        let Some(fields) = schema.get("properties").and_then(Value::as_object) else { continue };
        // Fields that repeat the path or the tenant are refused by themselves, before anything else is looked at.
        let (own, repeated): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| known.contains_key(*name));
        for (name, _) in repeated {
            let reply = described.call(&bench, &[], Some(&json!({ name: 7 }))).await;
            assert!(matches!(reply.status, 403 | 422) && reply.body["errors"][0]["pointer"] == format!("/{name}"), "{:#}", reply.body);
        }
        if own.is_empty() {
            continue;
        }
        assert!(own.len() <= 20, "{}: more fields than faults are told", described.name());
        let body: Map<String, Value> = own.iter().map(|(name, schema)| ((*name).clone(), wrong(schema))).collect();
        let faults: Vec<_> = own.iter().map(|(name, _)| (format!("/{name}"), "type")).collect();
        let reply = described.call(&bench, &[], Some(&body.into())).await;
        described.refuses(&reply, &faults);
        checked += faults.len();
    }
    assert!(checked > 200, "only {checked} fields were tried");
}

#[tokio::test]
async fn what_is_missing_unknown_or_misplaced_is_refused_by_its_name() {
    let bench = TestPlatform::start().await;
    let document = document(&bench).await;
    for described in operations(&document) {
        if let Some(schema) = described.body() {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let mut faults: Vec<_> = required.map(|name| (format!("/{}", name.as_str().unwrap()), "required")).collect();
            assert_eq!(described.operation["requestBody"]["required"], !faults.is_empty(), "{}", described.name());
            faults.push(("/nonesuch".to_owned(), "unknown"));
            described.refuses(&described.call(&bench, &[], Some(&json!({ "nonesuch": 1 }))).await, &faults);
            let misplaced = described.call(&bench, &[("limit", "5")], Some(&json!({}))).await;
            described.refuses(&misplaced, &[("/limit".to_owned(), "unknown")]);
        } else {
            let unknown = described.call(&bench, &[("nonesuch", "1")], None).await;
            described.refuses(&unknown, &[("/nonesuch".to_owned(), "unknown")]);
        }
    }
}

#[tokio::test]
async fn a_parameter_that_its_schema_does_not_allow_is_refused_by_its_name() {
    let bench = TestPlatform::start().await;
    let document = document(&bench).await;
    let mut checked = 0;
    for described in operations(&document).iter().filter(|described| described.body().is_none()) {
        for parameter in described.parameters("query") {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let at = |pointer: &str, code: &'static str| vec![(format!("/{name}{pointer}"), code)];
            let tried: Vec<(String, Vec<(String, &str)>)> = match schema["type"].as_str().unwrap() {
                "integer" | "number" | "boolean" | "object" => vec![("wrong".to_owned(), at("", "type"))],
                "array" if schema["items"]["enum"].is_array() => vec![("wrong".to_owned(), at("/0", "enum"))],
                "string" if schema["enum"].is_array() => vec![("wrong".to_owned(), at("", "enum"))],
                "string" if schema["format"] == "date-time" => vec![("wrong".to_owned(), at("", "format"))],
                "string" if schema["maxLength"].is_u64() => {
                    vec![("x".repeat(usize::try_from(schema["maxLength"].as_u64().unwrap()).unwrap() + 1), at("", "length"))]
                }
                _ => vec![],
            };
            let bounds = [(&schema["maximum"], 1.0), (&schema["minimum"], -1.0)];
            let beyond = bounds.into_iter().filter_map(|(bound, by)| Some(((bound.as_f64()? + by).to_string(), at("", "range"))));
            for (value, faults) in tried.into_iter().chain(beyond) {
                described.refuses(&described.call(&bench, &[(name, &value)], None).await, &faults);
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "only {checked} values were tried");
}
