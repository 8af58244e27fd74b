//! Walks the catalogue: each minimal request survives the way over the wire and back, and every permission is in the table.

use std::collections::BTreeSet;

use flowmaster_mcp::api::long_work::LongWork;
use flowmaster_mcp::api::{Permission, Spec, arguments, catalogue, wire};
use serde_json::{Map, Value, json};

/// The smallest value that a schema takes.
fn minimal(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("string") => match schema["enum"].get(0) {
            Some(first) => first.clone(),
            None if schema["format"] == "date-time" => json!("2025-02-07T10:00:00.000Z"),
            None => json!("x".repeat(usize::try_from(schema["minLength"].as_u64().unwrap_or(1).max(1)).unwrap())),
        },
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("array") => {
            let least = usize::try_from(schema["minItems"].as_u64().unwrap_or_default()).unwrap();
            Value::Array(vec![minimal(&schema["items"]); least])
        }
        _ => Value::Object(
            schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|name| (name.to_owned(), minimal(&schema["properties"][name])))
                .collect(),
        ),
    }
}

/// The smallest request of an operation that its schema takes.
pub fn request_of(name: &str) -> Map<String, Value> {
    let entry = catalogue().get(name).unwrap();
    let Value::Object(request) = minimal(&Value::Object(entry.shape.input.clone())) else { panic!("a request is an object") };
    request
}

/// A body without the tenant that the client fills in and the platform compares with the token's.
fn without_tenant(spec: &Spec, mut body: Map<String, Value>) -> Map<String, Value> {
    if spec.names_tenant {
        assert_eq!(body.shift_remove(wire::TENANT), Some(json!("tenant-1")), "{}", spec.name);
    }
    body
}

#[test]
fn a_job_is_read_and_cancelled_as_it_was_begun() {
    let mut jobs = 0;
    for entry in catalogue().iter() {
        match entry.spec.long_work {
            Some(LongWork::Job(job)) => {
                jobs += 1;
                let property = |name: &str, of: &Map<String, Value>| of["properties"].get(name).is_some();
                assert!(property(job.id, &entry.shape.output) && property("status", &entry.shape.output), "{}", entry.spec.name);
                assert!(job.postponed_by.is_none_or(|name| property(name, &entry.shape.input)), "{}", entry.spec.name);
                for name in std::iter::once(job.read).chain(job.cancel) {
                    let other = catalogue().get(name).unwrap_or_else(|| panic!("{name} is no operation"));
                    // A read may say that its answer is stale, beside what both say.
                    for (field, schema) in entry.shape.output["properties"].as_object().unwrap() {
                        assert_eq!(other.shape.output["properties"].get(field), Some(schema), "{name}: {field}");
                    }
                    assert_eq!(other.shape.input["required"], json!(["id"]), "{name}");
                }
            }
            Some(LongWork::Wait) => assert!(entry.spec.is_composite(), "{}", entry.spec.name),
            Some(LongWork::Call) => assert!(!entry.spec.is_composite() && !entry.spec.streams, "{}", entry.spec.name),
            None => {}
        }
    }
    assert_eq!(jobs, 2);
}

#[test]
fn a_minimal_request_arrives_as_it_was_sent() {
    for entry in catalogue().iter() {
        let spec = &entry.spec;
        let sent = request_of(spec.name);
        let mut checked = Value::Object(sent.clone());
        entry.check(&mut checked, arguments::Reading::Strict).unwrap_or_else(|faults| panic!("{}: {faults:?}", spec.name));
        assert_eq!(checked, Value::Object(sent.clone()), "{}: checking changes nothing", spec.name);
        let request = wire::encode(spec, &"tenant-1".into(), sent.clone()).unwrap();
        let path = spec
            .path
            .split('/')
            .zip(request.path.split('/'))
            .filter_map(|(pattern, found)| Some((pattern.strip_prefix('{')?.strip_suffix('}')?.to_owned(), found.to_owned())))
            .collect();
        let body = match request.body {
            Some(Value::Object(body)) => body,
            _ => Map::new(),
        };
        assert!(!body.values().any(Value::is_null), "{}: absent stays absent", spec.name);
        let body = without_tenant(spec, body);
        let mut arrived = wire::decode(spec, path, request.query, body).unwrap();
        entry.check(&mut arrived, arguments::Reading::Lenient).unwrap_or_else(|faults| panic!("{}: {faults:?}", spec.name));
        let Value::Object(arrived) = arrived else { panic!("arguments are an object") };
        let names = |fields: &Map<String, Value>| fields.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&arrived), names(&sent), "{}", spec.name);
        assert!(arrived.iter().all(|(name, value)| sent[name] == *value), "{}: {arrived:?} is not {sent:?}", spec.name);
    }
}

#[test]
fn a_type_writes_a_minimal_request_as_it_read_it() {
    for entry in catalogue().iter() {
        let sent = Value::Object(request_of(entry.spec.name));
        let written = entry.endpoint.round_trip(sent.clone()).unwrap_or_else(|error| panic!("{}: {error}", entry.spec.name));
        assert_eq!(written, sent, "{}: a type adds nothing", entry.spec.name);
    }
}

#[test]
fn a_null_for_an_optional_argument_is_dropped_and_a_number_as_text_is_taken() {
    for entry in catalogue().tools() {
        let mut sent = request_of(entry.spec.name);
        let properties = entry.shape.input["properties"].as_object().unwrap();
        for name in properties.keys() {
            sent.entry(name.clone()).or_insert(Value::Null);
        }
        let mut arguments = Value::Object(sent);
        entry.check(&mut arguments, arguments::Reading::Lenient).unwrap_or_else(|faults| panic!("{}: {faults:?}", entry.spec.name));
        assert_eq!(arguments, Value::Object(request_of(entry.spec.name)), "{}", entry.spec.name);
        if properties.contains_key("limit") {
            let mut sent = request_of(entry.spec.name);
            sent.insert("limit".to_owned(), json!("5"));
            let mut arguments = Value::Object(sent);
            entry.check(&mut arguments, arguments::Reading::Lenient).unwrap();
            assert_eq!(arguments["limit"], json!(5), "{}", entry.spec.name);
        }
    }
}

#[test]
fn every_permission_in_use_is_in_the_table_and_the_table_holds_no_other() {
    let table: BTreeSet<&str> = Permission::ALL.iter().map(|permission| permission.name()).collect();
    assert_eq!(table.len(), Permission::ALL.len(), "a permission is there twice");
    let used: BTreeSet<&str> = catalogue().entries().filter_map(|entry| entry.spec.permission).map(Permission::name).collect();
    assert_eq!(used, table);
    for permission in table {
        assert!(permission.split_once(':').is_some_and(|(resource, verb)| !resource.is_empty() && !verb.is_empty()), "{permission}");
    }
}

#[test]
fn what_reads_takes_a_view_permission_and_what_needs_none_is_known() {
    let mut open = Vec::new();
    for entry in catalogue().iter() {
        match entry.spec.permission {
            Some(permission) => {
                let reads = entry.spec.effect.name() == "read";
                assert_eq!(reads, permission.name().ends_with(":view"), "{}: {permission}", entry.spec.name);
            }
            None => open.push(entry.spec.name),
        }
    }
    assert_eq!(open, ["auth_login", "auth_logout", "auth_refresh", "auth_validate", "permissions_list", "service_tokens_create"]);
}

#[test]
fn no_tool_takes_or_gives_a_secret_or_a_tenant() {
    for entry in catalogue().tools() {
        let text = serde_json::to_string(&entry.shape.listed).unwrap().to_lowercase();
        for word in ["password", "token\"", "tenantid", "secret"] {
            assert!(!text.contains(word), "{} takes `{word}`", entry.spec.name);
        }
        let output = Value::Object(entry.shape.output.clone());
        let mut names = Vec::new();
        property_names(&output, &mut names);
        for name in names {
            let name = name.to_lowercase();
            assert!(!name.contains("password") && !name.ends_with("token"), "{} shows `{name}`", entry.spec.name);
        }
    }
}

fn property_names<'a>(schema: &'a Value, names: &mut Vec<&'a str>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        names.push(name);
        property_names(property, names);
    }
    if schema["items"].is_object() {
        property_names(&schema["items"], names);
    }
}
