//! Process Design Service (contract, section 1).

use serde_json::{Value, json};

use super::target::{Target, column, human, id_in, items, refused};

/// **Supports dynamic/self-declaring schemas**: a change of a process leaves its running executions alone.
#[tokio::test]
async fn a_changed_process_leaves_running_executions_alone() {
    let target = Target::open().await;
    let id = target.publish(json!([human("first", "manager")])).await;
    let running = target.start(&id, json!({})).await;
    let change = json!({ "nodes": [human("second", "manager")], "variables": [{ "name": "amount", "type": "number" }] });
    let draft = target.put(&format!("/processes/{id}"), change).await.ok();
    assert_ne!(draft["version"], "1.0.0", "{draft:#}");
    target.post(&format!("/processes/{id}/publish"), json!({})).await.ok();
    let before = target.get(&running).await.ok();
    assert_eq!((&before["currentNode"], &before["status"]), (&json!("first"), &json!("waiting")), "{before:#}");
    let later = target.start(&id, json!({ "amount": 5 })).await;
    assert_eq!(target.get(&later).await.ok()["currentNode"], "second");
    let versions = target.get(&format!("/processes/{id}/versions")).await.ok();
    assert!(column(&versions, "version").contains(&"1.0.0") && items(&versions).len() >= 2, "{versions:#}");
}

/// **Contract tests required for cross-service interactions**: a design has the contract's form, and one that could not run is
/// found by validation and by a trial, and never published.
#[tokio::test]
async fn a_design_is_validated_and_tried_before_it_is_published() {
    let target = Target::open().await;
    let design = json!({
        "name": target.named("Approval Workflow"), "nodes": [human("node-1", "manager")], "version": "1.0.0",
    });
    let created = target.post("/processes/designs", design).await.ok();
    assert!(created["createdAt"].is_string() && created["metadata"]["nodes"] == 1 && created["version"] == "1.0.0", "{created:#}");
    let id = id_in(&created, "id");
    assert_eq!(target.post(&format!("/processes/{id}/validate"), json!({})).await.ok()["valid"], true);
    let tried = target.post(&format!("/processes/{id}/sandbox"), json!({ "variables": {} })).await.ok();
    assert_eq!(tried["currentNode"], "node-1", "{tried:#}");
    let published = target.post(&format!("/processes/{id}/publish"), json!({})).await.ok();
    assert_eq!(published["status"], "published");

    let broken = json!({ "name": target.named("Broken"), "nodes": [{ "id": "a", "type": "script", "config": { "expression": "1 +" } }] });
    let id = target.design(broken).await;
    let checked = target.post(&format!("/processes/{id}/validate"), json!({})).await.ok();
    assert!(checked["valid"] == false && !checked["errors"].as_array().unwrap().is_empty(), "{checked:#}");
    refused(&target.post(&format!("/processes/{id}/publish"), json!({})).await, &[400, 409, 422]);
}

/// **Must integrate suggested mappings from Data Intelligence Service**: validation proposes the fields of a known source.
#[tokio::test]
async fn validation_suggests_mappings_from_a_discovered_schema() {
    let target = Target::open().await;
    let source = target.named("int");
    let sample = json!({ "sourceType": "rest_api", "sourceId": source, "sampleData": [{ "customerEmail": "a@b.example", "size": 5 }] });
    target.post("/analyze/schema", sample).await.ok();
    let design = json!({
        "name": target.named("Sync"), "variables": [{ "name": "email_of_customer", "type": "string" }],
        "nodes": [{ "id": "sync", "type": "integration", "config": { "integrationId": source } }],
    });
    let id = target.design(design).await;
    let checked: Value = target.post(&format!("/processes/{id}/validate"), json!({})).await.ok();
    assert_eq!(checked["suggestedMappings"][0]["source"], "email_of_customer", "{checked:#}");
    assert!(checked["suggestedMappings"][0]["target"].as_str().unwrap().ends_with("customerEmail"), "{checked:#}");
}
