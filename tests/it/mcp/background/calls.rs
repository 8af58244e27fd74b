//! Work with documents as tasks: the platform answers when it is done, and the process that waited may have ended by then.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flowmaster_mcp::client::{Client, Settings as ClientSettings};
use flowmaster_mcp::platform::Faults;
use flowmaster_mcp::server::{App, Options, Settings};
use serde_json::{Value, json};

use super::{begin, ended, request, server, state};
use crate::support::mcp::{admission, origin};
use crate::support::platform::TestPlatform;
use crate::support::raw::{answer, serve};

const INVOICE: &str = "INVOICE\nInvoice Number: INV-2025-001\nBill to: Acme Corp\nTotal due: $1,500.00\n";

fn file() -> Value {
    json!({ "document": STANDARD.encode(INVOICE) })
}

/// A platform with faults to set.
async fn platform() -> (TestPlatform, Faults) {
    let faults = Faults::default();
    let platform = TestPlatform::start_with(|options| options.faults = faults.clone()).await;
    (platform, faults)
}

fn slow(faults: &Faults, millis: u64) {
    faults.set(1, [format!("document-intelligence:latency={millis}ms").parse().unwrap()]);
}

#[tokio::test]
async fn slow_work_is_a_task_and_quick_work_is_answered() {
    let ((platform, faults), folder) = (platform().await, tempfile::tempdir().unwrap());
    let owner = platform.owner();
    let served = server(&platform, folder.path()).await;
    let stored = begin(&served, &owner, "documents_upload", file()).await;
    assert_eq!((&stored["resultType"], &stored["isError"]), (&json!("complete"), &json!(false)), "{stored}");
    let id = stored["structuredContent"]["documentId"].clone();

    slow(&faults, 4_000);
    let arguments = json!({ "id": id, "extractionConfig": { "entities": ["invoice_number"] } });
    let call = json!({ "name": "documents_extract", "arguments": arguments });
    let params = json!({ "id": id });
    let (extracted, classified, plain) = tokio::join!(
        begin(&served, &owner, "documents_extract", arguments),
        begin(&served, &owner, "documents_classify", json!({ "documentId": id })),
        answer(served.modern(&owner, "tools/call", &call)),
    );
    // A host that knows no tasks waits for the answer.
    assert_eq!(plain.result()["structuredContent"]["documentId"], params["id"], "{plain:?}");
    assert_eq!((&extracted["resultType"], &classified["resultType"]), (&json!("task"), &json!("task")), "{extracted} {classified}");
    // What another process finds is the same.
    let other = server(&platform, folder.path()).await;
    let done = ended(&other, &owner, &extracted).await;
    assert_eq!(done["result"]["structuredContent"]["extractedData"]["invoiceNumber"], "INV-2025-001", "{done}");
    assert_eq!(ended(&other, &owner, &classified).await["result"]["structuredContent"]["type"], "invoice");

    // Cancelled, the task has ended, whatever the platform does.
    let begun = begin(&served, &owner, "documents_extract", params.clone()).await;
    let working = state(&served, &owner, &begun).await;
    assert!(working["statusMessage"].as_str().unwrap().contains("has worked on it for"), "{working}");
    request(&served, &owner, "tasks/cancel", json!({ "taskId": begun["taskId"] })).await["result"].as_object().unwrap();
    for _ in 0..2 {
        let cancelled = state(&served, &owner, &begun).await;
        assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
        assert!(cancelled["statusMessage"].as_str().unwrap().contains("goes on"), "{cancelled}");
        tokio::time::sleep(Duration::from_secs(3)).await;
    }

    // What fails is the tool's error.
    let begun = begin(&served, &owner, "documents_extract", json!({ "id": "doc-none" })).await;
    let failed = ended(&served, &owner, &begun).await;
    assert_eq!((&failed["status"], &failed["result"]["isError"]), (&json!("completed"), &json!(true)), "{failed}");
}

/// A server whose platform knows calls again by their keys, or does not.
fn app(platform: &TestPlatform, data: &Path, idempotency_keys: bool) -> Arc<App> {
    let client = Client::builder(origin(platform)).settings(ClientSettings { idempotency_keys, ..ClientSettings::default() }).build();
    let settings = Settings { data_dir: Some(data.to_owned()), call_timeout: Duration::from_secs(4), ..Settings::default() };
    App::new(Options { client, settings }).unwrap()
}

#[tokio::test]
async fn work_of_a_server_that_was_killed_is_done_once_or_said_to_be_lost() {
    let ((platform, faults), folder) = (platform().await, tempfile::tempdir().unwrap());
    let owner = platform.owner();
    let admission = || admission(&platform, Duration::from_mins(1));
    // A runtime that is shut down does what a killed process does: nothing more.
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let keyed = doomed.spawn(serve(app(&platform, folder.path(), true), admission(), |_| {})).await.unwrap();
    let keyless = doomed.spawn(serve(app(&platform, folder.path(), false), admission(), |_| {})).await.unwrap();
    slow(&faults, 600_000);
    let (kept, lost, read) = tokio::join!(
        begin(&keyed, &owner, "documents_upload", file()),
        begin(&keyless, &owner, "documents_upload", file()),
        begin(&keyless, &owner, "documents_classify", file()),
    );
    for begun in [&kept, &lost, &read] {
        assert_eq!(begun["resultType"], "task", "{begun}");
    }
    doomed.shutdown_background();
    faults.clear();

    let next = serve(app(&platform, folder.path(), true), admission(), |_| {}).await;
    assert_eq!(state(&next, &owner, &kept).await["status"], "working", "the end may still come");
    let (kept, lost, read) = tokio::join!(ended(&next, &owner, &kept), ended(&next, &owner, &lost), ended(&next, &owner, &read));
    assert!(kept["result"]["structuredContent"]["documentId"].is_string(), "{kept}");
    assert_eq!(read["result"]["structuredContent"]["type"], "invoice", "{read}");
    assert_eq!(lost["result"]["isError"], true, "{lost}");
    assert!(lost["result"]["content"][0]["text"].as_str().unwrap().starts_with("FM-MCP-TASK-LOST"), "{lost}");
    let stored = platform.get("/documents", &owner).await.ok();
    assert_eq!(stored["items"].as_array().unwrap().len(), 1, "{stored}");
}
