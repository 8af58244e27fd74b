//! Every route of the contract is an operation, and every operation is a route of the contract or marked an extension.

use flowmaster_mcp::api::{Entry, catalogue};

use super::document;

const WIRE: &str = include_str!("../wire.txt");

/// A route without the names of its placeholders: the contract names one place differently in two routes.
fn shape(method: &str, path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    format!("{method} {}", segments.collect::<Vec<_>>().join("/"))
}

fn shape_of(entry: &Entry) -> String {
    shape(entry.spec.method.name(), entry.spec.path)
}

#[test]
fn every_route_of_the_contract_is_one_operation() {
    let routes = document::routes();
    assert!(routes.len() > 100, "only {} routes were read", routes.len());
    let differing: Vec<String> = routes
        .iter()
        .map(|(method, path)| (shape(method, path), catalogue().iter().filter(|entry| shape_of(entry) == shape(method, path)).count()))
        .filter(|(_, count)| *count != 1)
        .map(|(route, count)| format!("{route} is {count} operations"))
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn every_operation_is_in_the_contract_or_an_extension() {
    let routes: Vec<String> = document::routes().iter().map(|(method, path)| shape(method, path)).collect();
    for entry in catalogue().iter() {
        assert_eq!(routes.contains(&shape_of(entry)), !entry.spec.extension, "{} {}", entry.spec.name, shape_of(entry));
    }
}

#[test]
fn every_operation_says_what_it_is_and_who_may_call_it() {
    for entry in catalogue().iter() {
        let name = entry.spec.name;
        assert!(WIRE.lines().any(|line| line.split(" | ").next() == Some(name)), "{name} has no line in wire.txt");
        assert!(!entry.shape.description.is_empty() && !entry.spec.title.is_empty(), "{name} says nothing of itself");
        // Whoever is signed in may ask about the own login; the owner's token alone gives service tokens.
        let own = ["auth_logout", "auth_validate", "permissions_list", "service_tokens_create"].contains(&name);
        let ways = [entry.spec.permission.is_some(), entry.spec.public, own];
        assert_eq!(ways.iter().filter(|way| **way).count(), 1, "{name}: permission, public, own login: {ways:?}");
    }
}
