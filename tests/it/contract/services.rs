//! The behaviour of each service, as its section of the contract calls it important.
//!
//! One file per service, one test per pattern. They speak HTTP to the embedded platform, or to a real one that
//! `FLOWMASTER_CONTRACT_URL` names ([`target`]).

mod ai_agent;
mod analytics;
mod api_gateway;
mod audit_compliance;
mod authentication_authorization;
mod communication;
mod data_connector;
mod data_intelligence;
mod document_intelligence;
mod event_bus;
mod execution_engine;
mod human_task;
mod integration_hub;
mod internal_data_hub;
mod learning_management;
mod notification;
mod portal_management;
mod process_design;
mod prompt_engineering;
mod scheduling;
mod service_registry;
mod target;
mod websocket_gateway;

use std::path::Path;

use super::document;

/// The file of a section: "13. Authentication & Authorization Service (AAS)" is `authentication_authorization.rs`.
fn file_of(heading: &str) -> String {
    let name = heading.split_once(". ").unwrap().1.split(" (").next().unwrap();
    let name = if name == "Service Registry" { name } else { name.trim_end_matches(" Service") };
    format!("{}.rs", name.to_lowercase().replace(" & ", "_").replace(' ', "_"))
}

#[test]
fn each_service_has_its_file_and_each_pattern_its_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/contract/services");
    let mut patterns = 0;
    let services = document::services();
    assert_eq!(services.len(), 22);
    for (heading, important) in services {
        let file = folder.join(file_of(heading));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{heading}: {}: {error}", file.display()));
        assert!(text.contains("#[tokio::test]"), "{heading} has no test");
        for pattern in important {
            assert!(text.contains(&format!("**{pattern}**")), "{heading}: {pattern} has no test");
            patterns += 1;
        }
    }
    assert!(patterns > 80, "only {patterns} patterns were read");
}
