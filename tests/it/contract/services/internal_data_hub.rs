//! Internal Data Hub Service (contract, section 5).

use reqwest::Method;
use serde_json::json;

use super::target::{Target, id_in, items, refused};
use crate::support::platform::Reply;

/// **Tenant isolation**: a record has its tenant, and does not exist for another.
#[tokio::test]
async fn a_record_does_not_exist_for_another_tenant() {
    let target = Target::open().await;
    let kind = target.word("customer");
    let data = json!({ "name": "Acme Corp", "email": "contact@acme.com", "region": "US-WEST" });
    let record = target.post(&format!("/entities/{kind}"), json!({ "entityType": kind, "data": data })).await.ok();
    assert_eq!((&record["data"], &record["tenantId"]), (&data, &target.claims().await["tenantId"]));
    let path = format!("/entities/{kind}/{}", id_in(&record, "id"));
    assert_eq!(target.get(&path).await.ok()["data"], data);
    let Some(stranger) = target.stranger().await else { return };
    for method in [Method::GET, Method::DELETE] {
        refused(&Reply::to(target.request_as(&stranger, method, &path)).await, &[404]);
    }
    let elsewhere = json!({ "data": {}, "tenantId": "tenant-of-somebody-else" });
    refused(&target.post(&format!("/entities/{kind}"), elsewhere).await, &[403, 422]);
}

/// **Dynamic schemas**: a type is declared while the platform runs, and its records are held to it.
#[tokio::test]
async fn records_are_held_to_a_type_that_was_declared() {
    let target = Target::open().await;
    let kind = target.word("invoice");
    let schema = json!({ "type": "object", "properties": { "amount": { "type": "number", "minimum": 0 } }, "required": ["amount"] });
    target.post("/entities", json!({ "entityType": kind, "schema": schema })).await.ok();
    for data in [json!({}), json!({ "amount": -1 }), json!({ "amount": "much" })] {
        refused(&target.post(&format!("/entities/{kind}"), json!({ "data": data })).await, &[400, 422]);
    }
    target.post(&format!("/entities/{kind}"), json!({ "data": { "amount": 5 } })).await.ok();
    refused(&target.post("/entities", json!({ "entityType": kind })).await, &[409]);
}

/// **Relationship resolution**: a record leads to others, which must be there and stay as long as it does.
#[tokio::test]
async fn related_records_must_exist_and_stay() {
    let target = Target::open().await;
    let (person, customer) = (target.word("person"), target.word("customer"));
    for kind in [&person, &customer] {
        target.post("/entities", json!({ "entityType": kind })).await.ok();
    }
    let anna = id_in(&target.post(&format!("/entities/{person}"), json!({ "data": { "name": "Anna" } })).await.ok(), "id");
    let request = json!({ "data": { "name": "Acme" }, "relationships": { "contacts": [anna] } });
    let acme = target.post(&format!("/entities/{customer}"), request).await.ok();
    assert_eq!(acme["relationships"], json!({ "contacts": [anna] }));
    let dangling = json!({ "data": {}, "relationships": { "contacts": ["entity-none"] } });
    refused(&target.post(&format!("/entities/{customer}"), dangling).await, &[404, 422]);
    refused(&target.delete(&format!("/entities/{person}/{anna}")).await, &[409]);
    assert_eq!(target.delete(&format!("/entities/{customer}/{}", id_in(&acme, "id"))).await.status, 204);
    assert_eq!(target.delete(&format!("/entities/{person}/{anna}")).await.status, 204);
}

/// **Single source of truth**: what is written is found at once, page by page and by its words, and a change on an old version
/// is refused where the platform says versions.
#[tokio::test]
async fn what_is_written_is_found_and_not_overwritten_unseen() {
    let target = Target::open().await;
    let kind = target.word("part");
    for (name, city) in [("Bolt", "Bonn"), ("Nut", "Rome"), ("Washer", "Bonn")] {
        let data = json!({ "name": target.word(name), "city": city });
        target.post(&format!("/entities/{kind}"), json!({ "data": data })).await.ok();
    }
    let found = target.get(&format!("/entities/{kind}?filter.city=Bonn")).await.ok();
    assert_eq!(items(&found).len(), 2, "{found:#}");
    let first = target.get(&format!("/entities/{kind}?limit=2")).await.ok();
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = target.get(&format!("/entities/{kind}?limit=2&cursor={cursor}")).await.ok();
    assert_eq!((items(&first).len(), items(&rest).len(), rest.get("nextCursor")), (2, 1, None));
    let hits = target.post("/entities/search", json!({ "query": target.word("Washer") })).await.ok();
    assert_eq!(items(&hits).len(), 1, "{hits:#}");

    let path = format!("/entities/{kind}/{}", id_in(&items(&rest)[0], "id"));
    let read = target.get(&path).await;
    target.put(&path, json!({ "data": { "city": "Oslo" } })).await.ok();
    assert_eq!(target.get(&path).await.ok()["data"]["city"], "Oslo");
    let Some(seen) = read.headers.get("etag").cloned() else {
        return eprintln!("skipped at {}: it says no versions", target.url);
    };
    let late = target.request(Method::PUT, &path).header("if-match", seen).json(&json!({ "data": { "city": "Bern" } }));
    refused(&Reply::to(late).await, &[412]);
}
