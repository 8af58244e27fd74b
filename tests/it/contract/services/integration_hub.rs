//! Integration Hub Service (contract, section 4).

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::target::{Target, id_in, refused, says};

fn integration(target: &Target, url: &str) -> Value {
    json!({
        "name": target.named("Salesforce CRM"), "connectorType": "rest_api", "baseUrl": url, "authType": "bearer",
        "credentials": { "token": "correct-horse-battery" }, "mapping": { "external_id": "id", "external_name": "name" },
    })
}

/// **Secure vault**: credentials sign calls in, and are in no answer and no entry of the audit log, where each call is.
#[tokio::test]
async fn credentials_sign_in_and_are_never_shown() {
    let target = Target::open().await;
    let Some(system) = target.outside(async |_| says(200, json!({ "id": 42 }))).await else { return };
    let created = target.post("/integrations", integration(&target, &system.url)).await.ok();
    let id = id_in(&created, "integrationId");
    let called = target.post(&format!("/integrations/{id}/execute"), json!({ "path": "/contacts" })).await.ok();
    assert_eq!(system.asked()[0].header("authorization"), "Bearer correct-horse-battery");
    let shown = target.get(&format!("/integrations/{id}")).await.ok();
    let audited = target.get(&format!("/audit-logs?resourceId={id}")).await.ok();
    assert!(audited["items"].as_array().unwrap().len() >= 2, "{audited:#}");
    for answer in [created, called, shown, audited] {
        assert!(!answer.to_string().contains("correct-horse"), "{answer:#}");
    }
}

/// **Async integrations**: a queued call arrives though the system fails at first, and its end is an event.
#[tokio::test]
async fn a_queued_call_arrives_and_its_end_is_an_event() {
    let target = Target::open().await;
    let asked = AtomicUsize::new(0);
    let answer = move |_| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        std::future::ready(says(if first { 503 } else { 200 }, json!({ "id": 1 })))
    };
    let Some(system) = target.outside(answer).await else { return };
    let id = id_in(&target.post("/integrations", integration(&target, &system.url)).await.ok(), "integrationId");
    let call = json!({ "method": "POST", "path": "/contacts", "body": { "name": "Acme" }, "async": true });
    target.post(&format!("/integrations/{id}/execute"), call).await.ok();
    let synced = target.events("integration.synced", "integrationId", &id, 1).await;
    assert_eq!(synced[0]["status"], "completed", "{synced:#?}");
    let keys: Vec<String> = system.asked().iter().map(|asked| asked.header("idempotency-key").to_owned()).collect();
    assert!(keys.len() >= 2 && keys.iter().all(|key| *key == keys[0]), "a repeat is told by its key: {keys:?}");
}

/// **Retry & circuit breaker**: a read is repeated, and a system that fails again and again is left alone for a while.
#[tokio::test]
async fn a_failing_system_is_asked_again_and_then_left_alone() {
    let target = Target::open().await;
    let Some(system) = target.outside(async |_| says(503, json!({}))).await else { return };
    let id = id_in(&target.post("/integrations", integration(&target, &system.url)).await.ok(), "integrationId");
    let execute = async || target.post(&format!("/integrations/{id}/execute"), json!({ "path": "/contacts" })).await;
    refused(&execute().await, &[502, 503, 504]);
    assert!(system.asked().len() > 1, "a read is repeated");
    for _ in 0..20 {
        refused(&execute().await, &[502, 503, 504]);
    }
    let before = system.asked().len();
    refused(&execute().await, &[502, 503, 504]);
    assert_eq!(system.asked().len(), before, "the breaker is open");
}

/// **Data mapping**: what is transformed has the target's names, and what cannot be mapped is refused.
#[tokio::test]
async fn data_is_mapped_and_validated() {
    let target = Target::open().await;
    let Some(system) = target.outside(async |_| says(200, json!({ "id": 42, "name": "Acme" }))).await else { return };
    let id = id_in(&target.post("/integrations", integration(&target, &system.url)).await.ok(), "integrationId");
    let path = format!("/integrations/{id}");
    let called = target.post(&format!("{path}/execute"), json!({ "path": "/contacts/42" })).await.ok();
    assert_eq!(called["transformedData"], json!({ "external_id": 42, "external_name": "Acme" }));
    let transformed = target.post(&format!("{path}/transform"), json!({ "data": { "id": 7, "name": "Bolt" } })).await.ok();
    assert_eq!(transformed["transformedData"], json!({ "external_id": 7, "external_name": "Bolt" }));
    let strict = json!({ "data": { "id": 7 }, "mapping": { "title": { "source": "name", "required": true } } });
    let incomplete = target.post(&format!("{path}/transform"), strict).await;
    assert!(incomplete.status >= 400 || incomplete.body["errors"][0].is_string(), "what is missing is told: {:#}", incomplete.body);
    assert_eq!(target.post(&format!("{path}/connect"), json!({})).await.ok()["status"], "connected");
}
