//! The contract's examples as calls: a request is sent with every field that its example has, and an answer is read whole.

use flowmaster_mcp::api::arguments::Reading;
use flowmaster_mcp::api::services::{
    agents, audit, auth, communication, data, documents, entities, executions, integrations, processes, prompts, tasks,
};
use flowmaster_mcp::api::{Entry, Operation, Timestamp, catalogue, wire};
use serde_json::{Map, Value, json};

use super::document::{Example, examples};

/// The tenant of the contract's examples.
const TENANT: &str = "tenant-123";

/// The operations that take each section's request.
const REQUESTS: [(&str, &[&str]); 20] = [
    ("1", &["processes_create", "processes_update"]),
    ("2", &["executions_start"]),
    ("3", &["tasks_create"]),
    ("4", &["integrations_create", "integrations_update"]),
    ("5", &["entities_insert", "entities_update"]),
    ("6", &["agents_invoke", "agents_stream"]),
    ("7", &["prompts_create"]),
    ("8", &["feedback_submit"]),
    ("9", &["schemas_discover", "mappings_suggest", "data_quality_score", "synthetic_data_generate"]),
    ("10", &["documents_upload"]),
    ("11", &["ingest_jobs_create"]),
    ("12", &["channels_send"]),
    ("13", &["auth_login"]),
    ("15", &["events_publish"]),
    ("17", &["services_register"]),
    ("18", &["notifications_send"]),
    ("19", &["portals_create"]),
    ("20", &["audit_log"]),
    ("21", &["schedules_create", "schedules_update"]),
    ("22", &["metrics_query", "reports_generate"]),
];

/// Reads an answer as the client does and writes it again.
type ReadBack = fn(Value) -> Value;

/// The operations that give each section's answer.
const ANSWERS: [(&str, &[ReadBack]); 11] = [
    ("1", &[read::<processes::Create>, read::<processes::Update>, read::<processes::Publish>]),
    ("2", &[read::<executions::Start>, read::<executions::Get>, read::<executions::Pause>, read::<executions::Compensate>]),
    ("3", &[read::<tasks::Create>, read::<tasks::Get>, read::<tasks::Assign>, read::<tasks::Respond>, read::<tasks::Escalate>]),
    ("4", &[read::<integrations::Transform>, read::<integrations::Execute>]),
    ("5", &[read::<entities::Insert>, read::<entities::Get>, read::<entities::Update>]),
    ("6", &[read::<agents::Invoke>, read::<agents::Stream>]),
    ("7", &[read::<prompts::Assemble>]),
    ("9", &[read::<data::DiscoverSchema>, read::<data::SuggestMappings>, read::<data::ScoreQuality>]),
    ("10", &[read::<documents::Upload>, read::<documents::Extract>]),
    ("12", &[read::<communication::SendMessage>]),
    ("13", &[read::<auth::Login>, read::<auth::Refresh>]),
];

/// Blocks that are neither: the gateway's configuration, a WebSocket's message, the claims of a token.
const OTHERS: [(&str, &str); 3] =
    [("14", "Configuration Format"), ("16", "Message Format"), ("Authentication Pattern", "Token Structure (JWT)")];

fn is_request(example: &Example) -> bool {
    matches!(example.caption, "Request Format" | "Log Entry Format")
}

fn is_answer(example: &Example) -> bool {
    example.caption == "Response Format"
}

#[test]
fn every_example_is_a_request_an_answer_or_known_as_neither() {
    let mut others = Vec::new();
    for example in examples() {
        if is_request(&example) {
            assert!(REQUESTS.iter().any(|(section, _)| *section == example.section), "{example:?}");
        } else if is_answer(&example) {
            assert!(ANSWERS.iter().any(|(section, _)| *section == example.section), "{example:?}");
        } else {
            others.push((example.section, example.caption));
        }
    }
    assert_eq!(others, OTHERS);
}

#[test]
fn every_field_of_a_requests_example_reaches_the_wire() {
    for (section, operations) in REQUESTS {
        let example = examples().into_iter().find(|example| example.section == section && is_request(example));
        let Some(Value::Object(example)) = example.map(|example| example.json) else { panic!("{section} has no request") };
        for operation in operations {
            let entry = catalogue().get(operation).unwrap();
            let request = wire::encode(&entry.spec, &TENANT.into(), arguments_of(entry, &example)).unwrap();
            if let Some(body) = request.body {
                assert_eq!(body, Value::Object(example.clone()), "{operation}");
                continue;
            }
            let text = |(name, value): (&String, &Value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            assert_eq!(request.query, example.iter().map(text).collect::<Vec<_>>(), "{operation}");
        }
    }
}

/// The arguments that a caller gives for an example: without the tenant, with the ids that stand in the path. They are
/// taken as they are, and the operation's type holds each of them.
fn arguments_of(entry: &Entry, example: &Map<String, Value>) -> Map<String, Value> {
    let spec = &entry.spec;
    let mut arguments = example.clone();
    if !entry.shape.input["properties"].as_object().unwrap().contains_key(wire::TENANT) {
        arguments.shift_remove(wire::TENANT);
    }
    for (in_body, in_path) in spec.repeats {
        let value = arguments.shift_remove(*in_body).unwrap_or_else(|| panic!("{}: the example lacks {in_body}", spec.name));
        arguments.insert((*in_path).to_owned(), value);
    }
    for field in wire::path_fields(spec) {
        arguments.entry(field).or_insert_with(|| json!("id-1"));
    }
    let given = Value::Object(arguments.clone());
    let mut checked = given.clone();
    entry.check(&mut checked, Reading::Lenient).unwrap_or_else(|faults| panic!("{}: {faults:?}", spec.name));
    assert_eq!(checked, given, "{}: the example is taken as it is", spec.name);
    holds(spec.name, &entry.endpoint.round_trip(given.clone()).unwrap(), &given);
    arguments
}

#[test]
fn every_field_of_an_answers_example_is_read() {
    for (section, operations) in ANSWERS {
        let example = examples().into_iter().find(|example| example.section == section && is_answer(example));
        let Some(example) = example.map(|example| example.json) else { panic!("{section} has no answer") };
        for read in operations {
            holds(section, &read(example.clone()), &example);
        }
    }
}

/// Reads an answer as the client does, and writes what the operation's type holds of it.
fn read<O: Operation>(mut answer: Value) -> Value {
    let (name, entry) = (O::SPEC.name, catalogue().get(O::SPEC.name).unwrap());
    wire::normalise(&O::SPEC, &entry.shape.answer, &mut answer);
    if let Some(fault) = entry.mismatch(&answer) {
        panic!("{name}: {} {}", fault.pointer, fault.detail);
    }
    let answer: O::Output = serde_json::from_value(answer).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::to_value(answer).unwrap()
}

#[test]
fn the_claims_and_the_audit_entry_of_the_contract_are_read() {
    for example in examples() {
        let read = match example.caption {
            "Token Structure (JWT)" => serde_json::to_value(serde_json::from_value::<auth::Claims>(example.json.clone()).unwrap()),
            "Log Entry Format" => {
                let mut entry = example.json.clone();
                entry["id"] = json!("audit-1");
                serde_json::to_value(serde_json::from_value::<audit::AuditEntry>(entry).unwrap())
            }
            _ => continue,
        };
        holds(example.caption, &read.unwrap(), &example.json);
    }
}

/// Holds a value to have every field of an example with its value. A null is nothing, 1500.00 is 1500, and a time is the
/// same with and without milliseconds.
#[track_caller]
fn holds(path: &str, found: &Value, example: &Value) {
    match (found, example) {
        (Value::Object(found), Value::Object(example)) => {
            for (name, value) in example.iter().filter(|(_, value)| !value.is_null()) {
                let path = format!("{path}/{name}");
                holds(&path, found.get(name).unwrap_or_else(|| panic!("{path} is lost")), value);
            }
        }
        (Value::Array(found), Value::Array(example)) => {
            assert_eq!(found.len(), example.len(), "{path}");
            found.iter().zip(example).for_each(|(found, example)| holds(path, found, example));
        }
        (Value::String(found), Value::String(example)) if found != example => {
            let time = |text: &str| text.parse::<Timestamp>().ok();
            assert!(time(found).is_some() && time(found) == time(example), "{path} is {found}, in the contract {example}");
        }
        (Value::Number(found), Value::Number(example)) => assert_eq!(found.as_f64(), example.as_f64(), "{path}"),
        _ => assert_eq!(found, example, "{path}"),
    }
}
