//! Addresses: each kind of thing that can be listed is completed by its finder as the caller, and opens by what was completed.

use std::collections::HashMap;
use std::sync::Arc;

use flowmaster_mcp::api::SERVICES;
use flowmaster_mcp::api::service::Resource;
use flowmaster_mcp::auth::{Caller, Principal};
use flowmaster_mcp::server::Settings;
use rmcp::model::{CompletionContext, ReadResourceRequestParams};
use serde_json::{Value, json};

use crate::support::mcp::{Host, Session, app, over_stdio, owner, revisions};
use crate::support::platform::TestPlatform;

/// A retraining needs a dataset of judged answers, which the tests of that service have.
const WITHOUT_EXAMPLE: [&str; 1] = ["retraining/jobs/{id}"];
/// Kinds that every tenant has by itself.
const EVERYWHERE: [&str; 3] = ["agent", "dashboard", "service"];

/// One thing of each kind, made by somebody whose answers this server never saw.
async fn furnish(bench: &TestPlatform) {
    let owner = bench.owner();
    let nodes = json!([{ "id": "node-1", "type": "human_task", "config": { "assignee": "user-owner", "title": "Leave" } }]);
    let process = bench.post("/processes/designs", &owner, json!({ "name": "Leave", "nodes": nodes })).await.ok()["id"].clone();
    bench.post(&format!("/processes/{}/publish", process.as_str().unwrap()), &owner, json!({})).await.ok();
    bench.post("/executions", &owner, json!({ "processId": process })).await.ok();
    bench.post("/schedules", &owner, json!({ "processId": process, "cronExpression": "0 9 * * MON-FRI" })).await.ok();
    bench.post("/entities", &owner, json!({ "entityType": "customer" })).await.ok();
    bench.post("/entities/customer", &owner, json!({ "data": { "name": "Acme" } })).await.ok();
    bench.post("/prompts", &owner, json!({ "name": "Greeting", "template": "Good morning" })).await.ok();
    bench.post("/portals", &owner, json!({ "name": "Partners" })).await.ok();
    bench.post("/documents/upload", &owner, json!({ "document": "SW52b2ljZSBvZiBBY21l" })).await.ok();
    bench.post("/templates", &owner, json!({ "templateId": "hello", "name": "Hello", "body": "Hello" })).await.ok();
    let to = json!({ "templateId": "hello", "recipient": { "email": "ann@company.example" }, "channels": ["email"] });
    bench.post("/notifications/send", &owner, to).await.ok();
    let there = "http://127.0.0.1:9/";
    bench.post("/integrations", &owner, json!({ "name": "Books", "connectorType": "rest_api", "baseUrl": there })).await.ok();
    let import = json!({
        "sourceType": "csv", "sourceConfig": { "content": "id\n1\n" }, "destination": "internal-data-hub", "entityType": "lead",
    });
    bench.post("/ingest/jobs", &owner, import).await.ok();
    let channel = bench.post("/channels/register", &owner, json!({ "channel": "sms", "baseUrl": there })).await.ok();
    let message = json!({ "recipientId": "+14155550100", "message": "Hello" });
    bench.post(&format!("/channels/{}/send", channel["channelId"].as_str().unwrap()), &owner, message).await;
}

/// The templates whose ids a finder lists, each with its placeholder and the kind of it.
fn listed() -> Vec<(&'static Resource, &'static str, &'static str)> {
    let has_finder = |kind: &str| SERVICES.iter().flat_map(|service| service.ids).any(|id| id.kind == kind && id.lister.is_some());
    let resources = SERVICES.iter().flat_map(|service| service.resources).filter(|resource| resource.is_template());
    resources
        .flat_map(|resource| resource.ids.iter().map(move |(name, kind)| (resource, *name, *kind)))
        .filter(|it| has_finder(it.2))
        .collect()
}

async fn completed(session: &Session, resource: &Resource, placeholder: &str) -> Vec<String> {
    let context = CompletionContext::with_arguments(HashMap::from([("type".to_owned(), "customer".to_owned())]));
    let template = format!("flowmaster://{}", resource.path);
    session.complete_resource_argument(template, placeholder, "", Some(context)).await.unwrap().values
}

fn address(resource: &Resource, placeholder: &str, id: &str) -> String {
    format!("flowmaster://{}", resource.path.replace("{type}", "customer").replace(&format!("{{{placeholder}}}"), id))
}

#[tokio::test]
async fn what_a_finder_lists_is_completed_and_opens_for_its_tenant_alone() {
    let bench = TestPlatform::start().await;
    furnish(&bench).await;
    let token = bench.signed_in("tenant-2", "anna", &["*"]).await;
    let stranger: Arc<dyn Principal> = Arc::new(Arc::new(Caller::of_unverified_token(token.into(), None).unwrap()));
    assert!(listed().len() >= 15, "{}", listed().len());
    for revision in revisions() {
        let (mine, _server) = over_stdio(app(&bench, Settings::default()), owner(), revision.clone(), Host::new(None)).await;
        let (other, _its_server) = over_stdio(app(&bench, Settings::default()), Arc::clone(&stranger), revision, Host::new(None)).await;
        for (resource, placeholder, kind) in listed() {
            let values = completed(&mine, resource, placeholder).await;
            assert_eq!(values.is_empty(), WITHOUT_EXAMPLE.contains(&resource.path), "{}: {values:?}", resource.path);
            let Some(id) = values.first() else { continue };
            let uri = address(resource, placeholder, id);
            let read =
                mine.read_resource(ReadResourceRequestParams::new(uri.clone())).await.unwrap_or_else(|error| panic!("{uri}: {error}"));
            let contents = serde_json::to_value(&read.contents[0]).unwrap();
            let body: Value = serde_json::from_str(contents["text"].as_str().unwrap()).unwrap();
            assert!(body.is_object(), "{uri}: {body}");
            if !EVERYWHERE.contains(&kind) {
                let theirs = completed(&other, resource, placeholder).await;
                assert!(values.iter().all(|value| !theirs.contains(value)), "{uri} is completed for a stranger");
                other.read_resource(ReadResourceRequestParams::new(uri.clone())).await.unwrap_err();
            }
        }
    }
}
