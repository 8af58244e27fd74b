//! Data Intelligence over HTTP: discovered schemas, proposed mappings, data quality and synthetic data.

use serde_json::{Map, Value, json};

use crate::support::platform::{Reply, TestPlatform};

async fn post(bench: &TestPlatform, path: &str, body: Value) -> Reply {
    bench.post(path, &bench.owner(), body).await
}

/// Customers as a REST API answers them: the third without an address, the last twice.
fn customers() -> Value {
    json!([
        { "id": "c-1", "mail": "anna@acme.example", "created_at": "2025-02-07T10:00:00Z", "spent": 12.5, "address": { "city": "Bonn" } },
        { "id": "c-2", "mail": "ben@acme.example", "created_at": "2025-03-07T10:00:00Z", "spent": 99, "address": { "city": "Rome" } },
        { "id": "c-3", "mail": "none", "created_at": "2025-04-07T10:00:00Z", "spent": 0 },
        { "id": "c-4", "mail": "cleo@acme.example", "created_at": "2025-05-07T10:00:00Z", "spent": 7, "address": { "city": "Oslo" } },
        { "id": "c-5", "mail": "dora@acme.example", "created_at": "2025-06-07T10:00:00Z", "spent": 8, "address": { "city": "Oslo" } },
        { "id": "c-5", "mail": "dora@acme.example", "created_at": "2025-06-07T10:00:00Z", "spent": 8, "address": { "city": "Oslo" } },
    ])
}

fn field<'a>(fields: &'a Value, name: &str) -> &'a Value {
    let found = fields["fields"].as_array().unwrap().iter().find(|field| field["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {fields:#}"))
}

fn pairs(answer: &Value) -> Vec<(&str, &str)> {
    let mappings = answer["suggestedMappings"].as_array().map_or(&[][..], Vec::as_slice);
    mappings.iter().map(|mapping| (mapping["source"].as_str().unwrap(), mapping["target"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_schema_is_discovered_listed_and_kept() {
    let bench = TestPlatform::start().await;
    let request = json!({ "sourceType": "rest_api", "sampleData": customers(), "sourceId": "int-222" });
    let found = post(&bench, "/analyze/schema", request.clone()).await.ok();
    let schema = &found["discoveredSchema"];
    for (name, kind, format, nulls) in [
        ("id", "string", json!(null), 0.0),
        ("mail", "string", json!("email"), 0.0),
        ("created_at", "timestamp", json!(null), 0.0),
        ("spent", "number", json!(null), 0.0),
        ("address.city", "string", json!(null), 0.1667),
    ] {
        let field = field(schema, name);
        assert_eq!((&field["type"], &field["format"], &field["nullRate"]), (&json!(kind), &format, &json!(nulls)), "{name}");
    }
    assert_eq!((&field(schema, "id")["confidence"], &field(schema, "mail")["confidence"]), (&json!(0.875), &json!(0.75)));

    let again = post(&bench, "/analyze/schema", request).await.ok();
    assert_eq!(again["schemaId"], found["schemaId"], "the same data has one schema");
    let other = post(&bench, "/analyze/schema", json!({ "sourceType": "csv", "sampleData": [{ "n": "5" }] })).await.ok();
    assert_eq!(field(&other["discoveredSchema"], "n")["type"], "integer", "in CSV a number is text");

    let bench = bench.restart().await;
    let first = bench.get("/discovered-schemas?limit=1", &bench.owner()).await.ok();
    assert_eq!(first["items"][0]["schemaId"], other["schemaId"], "the newest is first");
    let next = format!("/discovered-schemas?limit=1&cursor={}", first["nextCursor"].as_str().unwrap());
    let second = bench.get(&next, &bench.owner()).await.ok();
    assert_eq!((&second["items"][0]["schemaId"], &second["items"][0]["sourceId"]), (&found["schemaId"], &json!("int-222")));
    assert!(second["nextCursor"].is_null(), "{second:#}");
    let file = std::fs::read(bench.folder.path().join("data/platform.db")).unwrap();
    assert!(!file.windows(4).any(|bytes| bytes == b"Oslo"), "no value of the data is kept");
}

#[tokio::test]
async fn quality_is_scored_with_the_faults_found() {
    let bench = TestPlatform::start().await;
    let scored = post(&bench, "/analyze/data-quality", json!({ "sourceType": "rest_api", "sampleData": customers() })).await.ok();
    let quality = &scored["quality"];
    assert_eq!(
        (&quality["completeness"], &quality["validity"], &quality["uniqueness"], &scored["dataQuality"]),
        (&json!(0.9667), &json!(0.9655), &json!(0.8333), &json!(0.9218))
    );
    let faults: Vec<(&str, &str)> = quality["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (fault["code"].as_str().unwrap(), fault["field"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(faults, [("format", "mail"), ("missing", "address.city"), ("duplicate-record", ""), ("duplicate-id", "id")]);
    assert!(quality["faults"][0]["detail"].as_str().unwrap().contains("record 3"), "{quality:#}");
}

#[tokio::test]
async fn a_source_is_judged_by_its_discovered_schema() {
    let bench = TestPlatform::start().await;
    let discover = json!({ "sourceType": "rest_api", "sourceId": "int-1", "sampleData": [{ "a": 1, "b": "x" }, { "a": 2, "b": "y" }] });
    let schema = post(&bench, "/analyze/schema", discover).await.ok();
    let drifted = json!({ "sourceType": "rest_api", "sourceId": "int-1", "sampleData": [{ "a": "one", "c": true }] });
    let scored = post(&bench, "/analyze/data-quality", drifted).await.ok();
    assert_eq!(scored["schemaId"], schema["schemaId"]);
    let codes: Vec<&Value> = scored["quality"]["faults"].as_array().unwrap().iter().map(|fault| &fault["code"]).collect();
    assert_eq!(codes, ["type", "missing-field", "new-field"]);
    let listed = bench.get("/discovered-schemas", &bench.owner()).await.ok();
    assert_eq!(listed["items"][0]["dataQuality"], scored["dataQuality"], "the list shows the newest quality");
}

#[tokio::test]
async fn mappings_are_proposed_by_name_and_type() {
    let bench = TestPlatform::start().await;
    let request = |extra: Value| {
        let mut request = json!({ "sourceType": "rest_api", "sampleData": customers() });
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        request
    };
    let named = request(json!({ "targetFields": ["customer_id", "email", "createdAt", "colour"] }));
    let proposed = post(&bench, "/analyze/mappings", named).await.ok();
    assert_eq!(pairs(&proposed), [("mail", "email"), ("created_at", "createdAt"), ("id", "customer_id")]);
    let confidence: Vec<f64> =
        proposed["suggestedMappings"].as_array().unwrap().iter().map(|m| m["confidence"].as_f64().unwrap()).collect();
    assert!(confidence.is_sorted_by(|one, other| one >= other) && confidence.iter().all(|sure| (0.5..=1.0).contains(sure)));

    let owner = bench.owner();
    let properties = json!({ "spent": { "type": "array" }, "city": { "type": "string" }, "email": { "type": "string" } });
    bench.post("/entities", &owner, json!({ "entityType": "customer", "schema": { "properties": properties } })).await.ok();
    let typed = post(&bench, "/analyze/mappings", request(json!({ "targetType": "customer" }))).await.ok();
    assert_eq!(pairs(&typed), [("mail", "email"), ("address.city", "city")], "a number does not go into an array");
    // The contract's own example names no target: the record type that fits best is proposed.
    let best = post(&bench, "/analyze/mappings", request(json!({}))).await.ok();
    assert_eq!(pairs(&best), [("mail", "customer.email"), ("address.city", "customer.city")]);

    post(&bench, "/analyze/mappings", request(json!({ "targetType": "custmer" }))).await.refused(404, "FM-IDHS-TYPE-NOT-FOUND");
    for (extra, pointer) in [
        (json!({ "targetFields": [] }), "/targetFields"),
        (json!({ "targetFields": ["a", " "] }), "/targetFields/1"),
        (json!({ "targetFields": ["a", "a"] }), "/targetFields/1"),
        (json!({ "targetFields": ["a"], "targetType": "customer" }), "/targetFields"),
    ] {
        let refused = post(&bench, "/analyze/mappings", request(extra)).await.refused(422, "FM-DIS-TARGET");
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
}

#[tokio::test]
async fn synthetic_data_has_the_types_and_none_of_the_texts() {
    let bench = TestPlatform::start().await;
    let request = json!({ "sourceType": "rest_api", "sampleData": customers(), "count": 40 });
    let made = post(&bench, "/generate/synthetic-data", request).await.ok();
    let records = made["records"].as_array().unwrap();
    assert_eq!(records.len(), 40);
    let text = made["records"].to_string();
    for copied in ["anna@", "acme", "Bonn", "Rome", "Oslo", "\"c-1\"", "2025-02-07T10:00:00"] {
        assert!(!text.contains(copied), "{copied} is of the sample");
    }
    for record in records {
        assert!((0.0..=99.0).contains(&record["spent"].as_f64().unwrap()), "{record}");
        assert!(record["created_at"].as_str().unwrap().starts_with("2025-"), "{record}");
        assert!(record["mail"].as_str().unwrap().ends_with("@example.com"), "{record}");
    }
    let seen = post(&bench, "/analyze/schema", json!({ "sourceType": "rest_api", "sampleData": records })).await.ok();
    for name in ["id", "mail", "created_at", "spent", "address.city"] {
        let (made, seen) = (field(&made["discoveredSchema"], name), field(&seen["discoveredSchema"], name));
        assert_eq!((&made["type"], &made["format"]), (&seen["type"], &seen["format"]), "{name}");
    }

    let by_schema = post(&bench, "/generate/synthetic-data", json!({ "schemaId": seen["schemaId"] })).await.ok();
    assert_eq!(by_schema["records"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn records_of_the_data_hub_are_a_source() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    for (name, size) in [("Acme", 5), ("Bolt", 7)] {
        bench.post("/entities/customer", &owner, json!({ "data": { "name": name, "size": size } })).await.ok();
    }
    let found = post(&bench, "/analyze/schema", json!({ "sourceType": "data_hub", "sourceId": "customer" })).await.ok();
    assert_eq!(field(&found["discoveredSchema"], "size")["type"], "integer");
    post(&bench, "/analyze/schema", json!({ "sourceType": "data_hub", "sourceId": "nothing" }))
        .await
        .refused(404, "FM-IDHS-TYPE-NOT-FOUND");

    let reader = bench.signed_in("tenant-local", "analyst", &["schema:view"]).await;
    let hub = json!({ "sourceType": "data_hub", "sourceId": "customer" });
    bench.post("/analyze/schema", &reader, hub).await.refused(403, "FM-AAS-FORBIDDEN");
    let without = json!({ "sourceType": "csv", "sampleData": [{ "a": 1 }], "targetType": "customer" });
    bench.post("/analyze/mappings", &reader, without).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn data_that_cannot_be_analysed_is_refused() {
    let bench = TestPlatform::start().await;
    for path in ["/analyze/schema", "/analyze/mappings", "/analyze/data-quality", "/generate/synthetic-data"] {
        for body in [json!({}), json!({ "sampleData": [] }), json!({ "sourceId": "int-9" })] {
            let mut body = body;
            body["sourceType"] = json!("rest_api");
            post(&bench, path, body).await.refused(422, "FM-DIS-NO-SAMPLE");
        }
        post(&bench, path, json!({ "sourceType": "csv", "sampleData": [{}] })).await.refused(422, "FM-DIS-NO-FIELDS");
        post(&bench, path, json!({ "sourceType": "csv", "sampleData": [5] })).await.refused(422, "FM-DIS-INVALID");
    }
    let wide: Map<String, Value> = (0..501).map(|number| (format!("f{number}"), json!(1))).collect();
    let refused = post(&bench, "/analyze/schema", json!({ "sourceType": "csv", "sampleData": [wide] })).await;
    refused.refused(422, "FM-DIS-TOO-MANY-FIELDS");
    let many: Map<String, Value> = (0..200).map(|number| (format!("f{number}"), json!(1))).collect();
    let refused = post(&bench, "/generate/synthetic-data", json!({ "sampleData": [many], "count": 1000 })).await;
    assert_eq!(refused.refused(422, "FM-DIS-TOO-MUCH")["errors"][0]["pointer"], "/count");
    let two = json!({ "sampleData": [{ "a": 1 }], "schemaId": "schema-1" });
    post(&bench, "/generate/synthetic-data", two).await.refused(422, "FM-DIS-SOURCE");
    post(&bench, "/generate/synthetic-data", json!({ "schemaId": "schema-1" })).await.refused(404, "FM-DIS-SCHEMA-NOT-FOUND");
}

#[tokio::test]
async fn another_tenants_schema_does_not_exist() {
    let bench = TestPlatform::start().await;
    let request = json!({ "sourceType": "rest_api", "sourceId": "int-1", "sampleData": customers() });
    let found = post(&bench, "/analyze/schema", request).await.ok();
    let stranger = bench.signed_in("tenant-b", "stranger", &["schema:*", "entity:*"]).await;
    let listed = bench.get("/discovered-schemas", &stranger).await.ok();
    assert_eq!(listed["items"], json!([]));
    let by_id = json!({ "schemaId": found["schemaId"] });
    bench.post("/generate/synthetic-data", &stranger, by_id).await.refused(404, "FM-DIS-SCHEMA-NOT-FOUND");
    let by_source = json!({ "sourceType": "rest_api", "sourceId": "int-1" });
    bench.post("/generate/synthetic-data", &stranger, by_source).await.refused(422, "FM-DIS-NO-SAMPLE");
}

#[tokio::test]
async fn the_process_designer_is_given_proposals() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let crm = json!({ "sourceType": "rest_api", "sourceId": "int-crm", "sampleData": [{ "customerEmail": "a@b.example", "size": 5 }] });
    post(&bench, "/analyze/schema", crm).await.ok();
    let design = json!({
        "name": "Sync", "variables": [{ "name": "email_of_customer", "type": "string" }, { "name": "other", "type": "string" }],
        "nodes": [{ "id": "sync", "type": "integration", "config": { "integrationId": "int-crm" } }],
    });
    let process = bench.post("/processes/designs", &owner, design).await.ok();
    let checked = bench.post(&format!("/processes/{}/validate", process["id"].as_str().unwrap()), &owner, json!({})).await.ok();
    assert_eq!(pairs(&checked), [("email_of_customer", "sync.customerEmail")]);
}
