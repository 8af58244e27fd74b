//! Holds each operation to `wire.txt`: method, path, fields, effect, permission, status.

use flowmaster_mcp::api::ids::TenantId;
use flowmaster_mcp::api::{Entry, Operation, Spec, catalogue, wire};
use serde_json::{Map, Value, json};

const GOLDEN: &str = include_str!("wire.txt");

#[test]
fn every_operation_goes_over_the_wire_as_the_contract_says() {
    let golden: Vec<&str> = GOLDEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let found: Vec<String> = catalogue().iter().map(line_of).collect();
    let mut differences: Vec<String> = Vec::new();
    for line in &golden {
        let name = name_of(line);
        match found.iter().find(|found| name_of(found) == name) {
            Some(found) if found == line => {}
            Some(found) => differences.push(format!("written  {line}\n   found {found}")),
            None => differences.push(format!("written  {line}\n   found nothing of that name")),
        }
    }
    for found in &found {
        if !golden.iter().any(|line| name_of(line) == name_of(found)) {
            differences.push(format!("not written\n   found {found}"));
        }
    }
    assert!(differences.is_empty(), "wire.txt differs from the operations:\n{}", differences.join("\n"));
    let order: Vec<&str> = found.iter().map(|line| name_of(line)).collect();
    assert_eq!(order, golden.iter().map(|line| name_of(line)).collect::<Vec<_>>(), "the order is the contract's");
}

fn name_of(line: &str) -> &str {
    line.split(" | ").next().unwrap_or_default()
}

/// An operation as `wire.txt` writes it.
fn line_of(entry: &Entry) -> String {
    let spec = &entry.spec;
    let required = entry.shape.input.get("required").and_then(Value::as_array);
    let in_path: Vec<&str> = wire::path_fields(spec).collect();
    let mut fields = Vec::new();
    for (name, schema) in entry.shape.input["properties"].as_object().into_iter().flatten() {
        if in_path.contains(&name.as_str()) {
            continue;
        }
        let needed = required.is_some_and(|required| required.iter().any(|required| required == name));
        // A free-form object in a query goes by dots.
        let dots = !spec.body && schema["type"] == "object";
        fields.push(format!("{name}{}{}", if dots { ".*" } else { "" }, if needed { "!" } else { "" }));
    }
    fields.extend(spec.repeats.iter().map(|(body, path)| format!("{body}={path}")));
    if spec.names_tenant {
        fields.push(format!("{}=token", wire::TENANT));
    }
    if fields.is_empty() {
        fields.push("-".to_owned());
    }
    format!(
        "{} | {} {} | {}: {} | {} | {} | {} | {}",
        spec.name,
        spec.method.name(),
        spec.path,
        if spec.body { "body" } else { "query" },
        fields.join(" "),
        spec.effect.name(),
        spec.permission.map_or("-", |permission| permission.name()),
        spec.success,
        if spec.idempotent { "same" } else { "again" },
    )
}

/// Text that tries to leave its path segment.
const HOSTILE: [&str; 9] =
    ["a/b", "/etc/passwd", "../tasks", "..%2f..%2fusers", "%2f", "a b", "x?y=1&z#f", "ä\u{202e}\r\nHost: evil", "a\\..\\b"];

#[test]
fn no_id_leaves_its_segment_whatever_the_operation() {
    let (tenant, long) = (TenantId::from("tenant-1"), "x".repeat(10 * 1024));
    for entry in catalogue().iter() {
        let spec = &entry.spec;
        let names: Vec<&str> = wire::path_fields(spec).collect();
        if names.is_empty() {
            continue;
        }
        for hostile in HOSTILE.iter().copied().chain([long.as_str()]) {
            let arguments: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), json!(hostile))).collect();
            let request = wire::encode(spec, &tenant, arguments).unwrap();
            assert_eq!(request.path.matches('/').count(), spec.path.matches('/').count(), "{}: {}", spec.name, request.path);
            assert!(request.path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/%-_.~".contains(&byte)), "{}", request.path);
        }
        for nothing in ["", ".", ".."] {
            let arguments: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), json!(nothing))).collect();
            assert!(wire::encode(spec, &tenant, arguments).is_err(), "{}: `{nothing}` names nothing", spec.name);
        }
    }
}

#[test]
fn a_typed_call_and_an_erased_one_are_the_same_request() {
    use flowmaster_mcp::api::services::{executions, tasks};
    fn typed<O: Operation>(operation: &O) -> wire::WireRequest {
        let Value::Object(arguments) = serde_json::to_value(operation).unwrap() else { panic!("an operation is an object") };
        wire::encode(&O::SPEC, &"tenant-1".into(), arguments).unwrap()
    }
    fn erased(spec: &Spec, arguments: Value) -> wire::WireRequest {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        wire::encode(spec, &"tenant-1".into(), arguments).unwrap()
    }
    let respond = tasks::Respond { id: "task-1".into(), decision: "approve".to_owned(), comments: None, data: None };
    let request = typed(&respond);
    assert_eq!(request, erased(&tasks::Respond::SPEC, json!({ "id": "task-1", "decision": "approve" })));
    assert_eq!(request.path, "/tasks/task-1/respond");
    assert_eq!(request.body, Some(json!({ "decision": "approve" })), "absent stays absent");
    let start = executions::Start { process_id: "proc-1".into(), version: None, variables: None, initiator: None };
    assert_eq!(typed(&start).body, Some(json!({ "processId": "proc-1" })));
}
