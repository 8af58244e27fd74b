//! Data Intelligence Service (contract, section 9).

use serde_json::{Value, json};

use super::target::{Target, items, refused};

/// Records as a REST API answers them, one with a broken address.
fn sample() -> Value {
    json!([
        { "id": "c-1", "mail": "anna@acme.example", "created_at": "2025-02-07T10:00:00Z", "spent": 12.5 },
        { "id": "c-2", "mail": "ben@acme.example", "created_at": "2025-03-07T10:00:00Z", "spent": 99 },
        { "id": "c-3", "mail": "none", "created_at": "2025-04-07T10:00:00Z" },
        { "id": "c-4", "mail": "cleo@acme.example", "created_at": "2025-05-07T10:00:00Z", "spent": 7 },
    ])
}

fn names(fields: &Value) -> Vec<&str> {
    fields["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect()
}

/// **API for Process Designer**: fields are discovered with types, and mappings to a target's are proposed.
#[tokio::test]
async fn fields_are_discovered_and_mappings_proposed() {
    let target = Target::open().await;
    let source = target.named("int");
    let request = json!({ "sourceType": "rest_api", "sourceId": source, "sampleData": sample() });
    let found = target.post("/analyze/schema", request).await.ok();
    let schema = &found["discoveredSchema"];
    assert_eq!(names(schema), ["id", "mail", "created_at", "spent"], "{found:#}");
    let sure = |field: &Value| field["confidence"].as_f64().is_some_and(|sure| sure > 0.0 && sure <= 1.0);
    assert!(schema["fields"].as_array().unwrap().iter().all(sure), "{found:#}");
    let request = json!({ "sourceType": "rest_api", "sampleData": sample(), "targetFields": ["customer_id", "email"] });
    let mapped = target.post("/analyze/mappings", request).await.ok();
    let pairs: Vec<(&Value, &Value)> =
        mapped["suggestedMappings"].as_array().unwrap().iter().map(|mapping| (&mapping["source"], &mapping["target"])).collect();
    assert_eq!(pairs, [(&json!("mail"), &json!("email")), (&json!("id"), &json!("customer_id"))]);
    refused(&target.post("/analyze/schema", json!({ "sourceType": "rest_api", "sampleData": [] })).await, &[400, 422]);
}

/// **Synthetic data**: invented records have the types of the sample and none of its texts.
#[tokio::test]
async fn invented_records_have_the_types_and_none_of_the_texts() {
    let target = Target::open().await;
    let request = json!({ "sourceType": "rest_api", "sampleData": sample(), "count": 20 });
    let made = target.post("/generate/synthetic-data", request).await.ok()["records"].clone();
    assert_eq!(made.as_array().unwrap().len(), 20);
    for copied in ["anna@", "acme", "\"c-1\"", "2025-02-07T10:00:00"] {
        assert!(!made.to_string().contains(copied), "{copied} is of the sample");
    }
    for record in made.as_array().unwrap() {
        assert!(record["spent"].is_null() || record["spent"].is_number(), "{record}");
        assert!(record["created_at"].as_str().unwrap().starts_with("2025-"), "{record}");
    }
}

/// **Schema profiling**: a source's later records are scored against what was found before.
#[tokio::test]
async fn a_sources_later_records_are_scored_against_its_schema() {
    let target = Target::open().await;
    let source = target.named("int");
    let about = |records: Value| json!({ "sourceType": "rest_api", "sourceId": source, "sampleData": records });
    target.post("/analyze/schema", about(sample())).await.ok();
    let good = target.post("/analyze/data-quality", about(sample())).await.ok()["dataQuality"].as_f64().unwrap();
    let poor = target.post("/analyze/data-quality", about(json!([{ "id": 5, "colour": "red" }]))).await.ok();
    assert!(good <= 1.0 && poor["dataQuality"].as_f64().unwrap() < good, "{good} {poor:#}");
    let listed = target.get("/discovered-schemas?limit=200").await.ok();
    assert!(items(&listed).iter().any(|schema| schema["sourceId"] == source), "{listed:#}");
}
