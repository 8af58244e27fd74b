//! Approval over HTTP is a request like others: it is counted as its caller's, and keeps nobody else waiting.

use std::time::Duration;

use flowmaster_mcp::auth::{Caller, Credential};
use flowmaster_mcp::server::Settings;
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::support::mcp;
use crate::support::platform::TestPlatform;
use crate::support::raw::{Known, answer, serve, user};

/// Requests that a caller may have running at once.
const CALLS: usize = 64;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn approvals_that_wait_count_as_calls_and_keep_nobody_else() {
    let platform = TestPlatform::start().await;
    let token = platform.signed_in("tenant-1", "anna", &["entity:*"]).await;
    let anna = Caller { credential: Credential::Bearer(token.into()), ..user("tenant-1", "anna", &["entity:*"]) };
    let known = Known::default().with("anna", anna).with("bert", user("tenant-1", "bert", &["*"]));
    let data = tempfile::tempdir().unwrap();
    let settings = Settings { data_dir: Some(data.path().to_owned()), ..Settings::default() };
    let served = serve(mcp::app(&platform, settings), known.admission(), |_| {}).await;
    let call = |tool: &str, arguments: serde_json::Value| {
        answer(served.modern("anna", "tools/call", &json!({ "name": tool, "arguments": arguments })))
    };
    call("entities_define", json!({ "entityType": "customer" })).await.result();
    let record = call("entities_insert", json!({ "type": "customer", "data": { "name": "Acme" } })).await;
    call("entities_delete", json!({ "type": "customer", "id": record.result()["structuredContent"]["id"] })).await.result();
    let id = answer(served.request(Method::GET, "/confirmations", "anna")).await.body["items"][0]["id"].as_str().unwrap().to_owned();
    let approve = |name: &str, id: &str| served.request(Method::POST, &format!("/confirmations/{id}"), name);

    // Somebody on this machine takes long over an approval.
    let lock = rusqlite::Connection::open(data.path().join("state.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let unknown = timeout(PATIENCE, answer(approve("bert", &id))).await.expect("what does not wait, needs no lock");
    unknown.refused(404, "FM-MCP-CONFIRM-UNKNOWN");

    let waiting: Vec<_> = (0..CALLS).map(|_| tokio::spawn(approve("anna", &id).send())).collect();
    let is_full = async {
        while answer(served.request(Method::GET, "/confirmations", "anna")).await.status != 429 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, is_full).await.expect("approvals are counted");
    for refused in [approve("anna", &id), served.request(Method::GET, "/confirmations", "anna")] {
        timeout(PATIENCE, answer(refused)).await.unwrap().refused(429, "FM-MCP-TOO-MANY-CALLS");
    }
    assert_eq!(answer(served.request(Method::GET, "/confirmations", "bert")).await.status, 200);

    lock.execute_batch("COMMIT").unwrap();
    for approved in waiting {
        assert_eq!(timeout(PATIENCE, approved).await.unwrap().unwrap().unwrap().status(), 200);
    }
    assert_eq!(answer(served.request(Method::GET, "/confirmations", "anna")).await.status, 200, "the places were released");
}
