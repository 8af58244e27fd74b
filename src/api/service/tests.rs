//! Every service says the truth about itself: tools, fields, topics, addresses and events that there are.

use std::collections::HashSet;

use crate::api::{Effect, Entry, Method, SERVICES, catalogue, wire};

fn reads(operation: &str) -> &'static Entry {
    let entry = catalogue().get(operation).unwrap_or_else(|| panic!("there is no operation {operation}"));
    assert_eq!(entry.spec.effect, Effect::Read, "{operation}");
    entry
}

fn properties(entry: &Entry, schema: &str) -> serde_json::Value {
    let schema = if schema == "input" { &entry.shape.input } else { &entry.shape.output };
    schema.get("properties").cloned().unwrap_or_default()
}

#[test]
fn every_tool_field_and_topic_that_a_service_names_exists() {
    let mut topics = HashSet::new();
    for service in SERVICES {
        for name in service.finder.split('`').skip(1).step_by(2) {
            assert!(catalogue().get(name).is_some_and(|entry| entry.spec.tool), "{}: {name}", service.name);
        }
        let outputs: Vec<_> = service
            .operations
            .iter()
            .map(|endpoint| properties(catalogue().get(endpoint.spec.name).unwrap(), "output"))
            .flat_map(|output| [output["items"]["items"]["properties"].clone(), output])
            .collect();
        for field in service.shown.iter().chain(&service.judged_by) {
            assert!(outputs.iter().any(|output| output.get(field).is_some()), "{}: no answer has {field}", service.name);
        }
        for pattern in service.topics {
            assert!(topics.insert(pattern), "{pattern} is of two services");
        }
    }
}

#[test]
fn every_address_and_lister_is_read_by_an_operation_with_these_arguments() {
    let kinds: HashSet<&str> = SERVICES.iter().flat_map(|service| service.ids).map(|id| id.kind).collect();
    for service in SERVICES {
        for resource in service.resources {
            let entry = reads(resource.operation);
            let input = properties(entry, "input");
            for field in wire::path_fields(&entry.spec) {
                assert!(resource.path.contains(&format!("{{{field}}}")), "{}", resource.path);
            }
            assert!(resource.fixed.iter().all(|(name, _)| input.get(name).is_some()), "{}", resource.path);
            for (placeholder, kind) in resource.ids {
                assert!(resource.path.contains(&format!("{{{placeholder}}}")) && kinds.contains(kind), "{}", resource.path);
            }
            let placeholders = resource.path.split('/').filter(|segment| segment.starts_with('{')).count();
            let completed = if WITHOUT_COMPLETION.iter().any(|(path, _)| *path == resource.path) { 0 } else { placeholders };
            assert_eq!(resource.ids.len(), completed, "{}: placeholders that take a kind of id", resource.path);
        }
        for lister in service.ids.iter().flat_map(|id| id.lister.into_iter().chain(id.fallback)) {
            let input = properties(reads(lister.operation), "input");
            assert!(lister.arguments.iter().all(|(name, _)| input.get(name).is_some()), "{}", lister.operation);
            assert!(lister.within.is_none_or(|name| input.get(name).is_some()), "{}", lister.operation);
            let item = properties(reads(lister.operation), "output")["items"]["items"]["properties"].clone();
            assert!(lister.named.is_none_or(|named| item.get(named.field).is_some()), "{}", lister.operation);
            assert!(lister.named.and_then(|named| named.filter).is_none_or(|name| input.get(name).is_some()), "{}", lister.operation);
        }
    }
}

/// Resources of which no event tells, each with the reason.
const WITHOUT_CHANGES: [(&str, &str); 7] = [
    ("dashboards/{id}", "is computed when it is read"),
    ("records/{id}", "is in the audit log alone: its events would say who asks to be forgotten"),
    ("notifications/{id}", "has no topic"),
    ("portals/{id}", "has no topic"),
    ("portals/{id}/feature-flags", "has no topic"),
    ("services/{name}", "changes by leases that run out"),
    ("conversations/{id}", "has no topic of the contract"),
];

#[test]
fn every_resource_says_which_events_tell_of_it() {
    let topics: HashSet<&str> = SERVICES.iter().flat_map(|service| service.topics).copied().collect();
    for resource in SERVICES.iter().flat_map(|service| service.resources) {
        let exception = WITHOUT_CHANGES.iter().any(|(path, _)| *path == resource.path);
        assert_ne!(resource.changes.is_empty(), !exception, "{}", resource.path);
        for change in resource.changes {
            let service = change.topic.split('.').next().unwrap();
            assert!(topics.contains(&*format!("{service}.*")), "{}: {}", resource.path, change.topic);
            assert_eq!(change.fields.len(), resource.placeholders().count(), "{}: {}", resource.path, change.topic);
        }
    }
}

/// Addresses whose ids are not completed, each with the reason.
const WITHOUT_COMPLETION: [(&str, &str); 1] = [("records/{id}", "`requestId` is another id in entries of the same service")];

/// Reads of one thing by its id that have no address, each with the reason.
const WITHOUT_ADDRESS: [(&str, &str); 2] = [
    ("users_get", "is not a tool: it is read for the person who is asked"),
    ("realtime_presence", "tells who is there at the moment, under no id of its own"),
];

#[test]
fn everything_that_is_read_by_its_id_has_an_address() {
    let addressed: HashSet<&str> =
        SERVICES.iter().flat_map(|service| service.resources).filter(|resource| resource.is_template()).map(|it| it.operation).collect();
    for entry in catalogue().iter() {
        let reads_one = entry.spec.method == Method::Get
            && wire::path_fields(&entry.spec).next().is_some()
            && properties(entry, "output").get("items").is_none();
        let exception = WITHOUT_ADDRESS.iter().any(|(name, _)| *name == entry.spec.name);
        assert!(!reads_one || addressed.contains(entry.spec.name) != exception, "{}", entry.spec.name);
    }
    assert!(WITHOUT_ADDRESS.iter().all(|(name, _)| catalogue().get(name).is_some()));
}
