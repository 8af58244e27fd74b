//! Entries of the audit log that come together: one transaction, each once, the chain whole.

use flowmaster_mcp::platform::verify_trails;
use serde_json::{Value, json};

use crate::support::platform::TestPlatform;

const TENANT: &str = "tenant-123";

fn batch(ids: impl IntoIterator<Item = usize>, action: &str) -> Value {
    let entries = ids.into_iter().map(|id| {
        let entry = json!({ "actor": "ada", "action": action, "resourceType": "tool", "resourceId": format!("tool-{id}") });
        json!({ "id": format!("call-{id}"), "entry": entry })
    });
    json!({ "entries": entries.collect::<Vec<_>>() })
}

async fn service(platform: &TestPlatform) -> String {
    let request = json!({ "name": "gateway", "permissions": ["audit:*"], "tenantId": TENANT });
    platform.post("/service-tokens", &platform.owner(), request).await.ok()["token"].as_str().unwrap().to_owned()
}

async fn found(platform: &TestPlatform, token: &str, action: &str) -> Vec<String> {
    let page = platform.get(&format!("/audit-logs?limit=200&action={action}"), token).await;
    let items = page.body["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["resourceId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_batch_is_recorded_in_order_and_what_was_there_already_is_not_repeated() {
    let platform = TestPlatform::start().await;
    let token = service(&platform).await;
    let first = platform.post("/audit-logs/batch", &token, batch(0..3, "mcp.called")).await;
    assert_eq!((first.status, &first.body["recorded"]), (201, &json!(3)));
    let again = platform.post("/audit-logs/batch", &token, batch(1..5, "mcp.called")).await.ok();
    assert_eq!(again["recorded"], 2);
    // Within one batch as well.
    assert_eq!(platform.post("/audit-logs/batch", &token, batch([7, 7], "mcp.called")).await.ok()["recorded"], 1);
    assert_eq!(found(&platform, &token, "mcp.called").await, ["tool-7", "tool-4", "tool-3", "tool-2", "tool-1", "tool-0"]);
    let verdicts = verify_trails(&platform.folder.path().join("data")).unwrap();
    let verdict = verdicts.iter().find(|verdict| verdict.tenant == TENANT).unwrap();
    assert!(verdict.verified && verdict.rows >= 6, "{verdict:?}");
    // An id is a tenant's own.
    let owners = platform.post("/audit-logs/batch", &platform.owner(), batch(0..3, "tool.used")).await.ok();
    assert_eq!(owners["recorded"], 3);
}

#[tokio::test]
async fn a_batch_with_an_entry_that_cannot_be_is_refused_whole() {
    let platform = TestPlatform::start().await;
    let token = service(&platform).await;
    let mut entries = batch(0..2, "mcp.called");
    entries["entries"][1]["entry"]["action"] = json!("user.signed_in");
    let refused = platform.post("/audit-logs/batch", &token, entries).await.refused(422, "FM-ACS-ACTION-RESERVED");
    assert_eq!(refused["errors"][0]["pointer"], "/entries/1/entry/action", "{refused:#}");
    assert!(found(&platform, &token, "mcp.called").await.is_empty());
    platform.post("/audit-logs/batch", &token, json!({ "entries": [] })).await.refused(422, "FM-ACS-INVALID");
    platform.post("/audit-logs/batch", &token, batch(0..257, "mcp.called")).await.refused(422, "FM-ACS-INVALID");
    let reader = platform.signed_in(TENANT, "ada@b.c", &["audit:view"]).await;
    platform.post("/audit-logs/batch", &reader, batch(0..1, "tool.used")).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn writes_that_wait_together_are_each_kept_or_undone_by_themselves() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let write = |index: usize| {
        let (platform, owner) = (&platform, owner.clone());
        async move {
            let name = if index % 4 == 3 { "role-0".to_owned() } else { format!("role-{index}") };
            platform.post("/roles", &owner, json!({ "name": name, "permissions": ["task:view"] })).await.status
        }
    };
    assert_eq!(write(0).await, 201);
    let statuses = futures_util::future::join_all((1..64).map(write)).await;
    for (index, status) in (1..64).zip(statuses) {
        assert_eq!(status == 201, index % 4 != 3, "{index}: {status}");
    }
    let bench = platform.restart().await;
    let roles = bench.get("/roles?limit=200", &bench.owner()).await.ok();
    assert_eq!(roles["items"].as_array().unwrap().len(), 48, "{roles:#}");
}
