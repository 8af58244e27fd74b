//! Secrets of the operator: a call names them, the platform gets their values, and nothing in between shows them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use flowmaster_mcp::config::SecretEntry;
use flowmaster_mcp::server::{Secrets, Settings, audit};
use rmcp::model::ElicitationAction;
use serde_json::json;

use crate::support::mcp::{Host, app, call, ok, over_stdio, owner, revisions, text};
use crate::support::platform::TestPlatform;

const VALUE: &str = "correct-horse-battery-staple";

#[tokio::test]
async fn a_named_secret_reaches_the_outside_system_and_nobody_else() {
    // An outside system that remembers what it was signed in with.
    let keys = Arc::new(Mutex::new(Vec::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let note = Arc::clone(&keys);
    let answer = async move |headers: HeaderMap| {
        note.lock().unwrap().push(headers["x-api-key"].to_str().unwrap().to_owned());
        "{}"
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/ping", get(answer))).await });

    let bench = TestPlatform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("crm-key");
    std::fs::write(&file, format!("{VALUE}\n")).unwrap();
    let entry = SecretEntry {
        file: Some(file),
        tenants: vec!["tenant-local".to_owned()],
        operations: vec!["integrations_create".to_owned()],
        hosts: vec!["127.0.0.1".to_owned()],
    };
    let log = folder.path().join("audit.jsonl");
    let settings = Settings {
        secrets: Arc::new(Secrets::new(&BTreeMap::from([("crm-key".to_owned(), entry)])).unwrap()),
        audit: Some(audit::Options { platform: false, file: Some(log.clone()), bodies: true, ..audit::Options::new(folder.path()) }),
        ..Settings::default()
    };
    for revision in revisions() {
        let host = Host::new(ElicitationAction::Accept);
        let (session, _server) = over_stdio(app(&bench, settings.clone()), owner(), revision, host.clone()).await;
        let with = |key: &str| {
            json!({
                "name": "CRM", "connectorType": "rest_api", "baseUrl": url, "authType": "api_key",
                "credentials": { "apiKey": key, "header": "x-api-key" },
            })
        };
        let literal = call(&session, "integrations_create", with(VALUE)).await;
        assert!(text(&literal).starts_with("FM-MCP-SECRET:") && text(&literal).contains("crm-key"), "{}", text(&literal));
        assert!(!text(&literal).contains(VALUE));
        let made = ok(call(&session, "integrations_create", with("secret://crm-key")).await);
        assert!(!made.to_string().contains(VALUE) && made["credentialsSet"] == json!(["apiKey", "header"]), "{made:#}");
        let ping = json!({ "id": made["integrationId"], "method": "GET", "path": "/ping" });
        ok(call(&session, "integrations_execute", ping).await);
        assert!(host.asked().iter().all(|question| !question.contains(VALUE)));
        session.cancel().await.unwrap();
    }
    assert_eq!(*keys.lock().unwrap(), [VALUE, VALUE]);
    let audited = bench.get("/audit-logs", &bench.owner()).await.ok().to_string();
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains("integrations_create") && !audited.contains(VALUE) && !logged.contains(VALUE));
}

#[tokio::test]
async fn a_sources_secrets_are_named_and_reach_the_source_alone() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let note = Arc::clone(&asked);
    let answer = async move |uri: axum::http::Uri, headers: HeaderMap| {
        let sign_in = headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned();
        note.lock().unwrap().push((uri.to_string(), sign_in));
        "id,name\n1,Acme\n"
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });

    let bench = TestPlatform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let entry = |name: &str, value: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, value).unwrap();
        let operations = ["ingest_jobs_create", "ingest_sources_test"].map(str::to_owned).to_vec();
        let entry = SecretEntry { file: Some(file), tenants: vec!["*".to_owned()], operations, hosts: vec!["127.0.0.1".to_owned()] };
        (name.to_owned(), entry)
    };
    let signed = format!("http://{address}/rows.csv?sig={VALUE}");
    let entries = BTreeMap::from([entry("rows", &signed), entry("files-token", VALUE)]);
    let settings = Settings { secrets: Arc::new(Secrets::new(&entries).unwrap()), ..Settings::default() };
    for revision in revisions() {
        let host = Host::new(ElicitationAction::Accept);
        let (session, _server) = over_stdio(app(&bench, settings.clone()), owner(), revision, host.clone()).await;
        let job = |config: serde_json::Value| json!({ "sourceType": "csv", "sourceConfig": config, "destination": "internal-data-hub", "entityType": "customer" });
        for literal in [json!({ "url": signed }), json!({ "url": format!("http://{address}/rows.csv"), "token": VALUE })] {
            let refused = call(&session, "ingest_jobs_create", job(literal)).await;
            assert!(text(&refused).starts_with("FM-MCP-SECRET:") && !text(&refused).contains(VALUE), "{}", text(&refused));
        }
        let plain = format!("http://{address}/rows.csv");
        for config in [json!({ "url": "secret://rows" }), json!({ "url": plain, "token": "secret://files-token" })] {
            let tested = json!({ "sourceType": "csv", "sourceConfig": config });
            assert_eq!(ok(call(&session, "ingest_sources_test", tested).await)["connected"], true);
            let made = ok(call(&session, "ingest_jobs_create", job(config)).await);
            let read = ok(call(&session, "ingest_jobs_get", json!({ "id": made["jobId"] })).await);
            assert!(!made.to_string().contains(VALUE) && !read.to_string().contains(VALUE), "{made:#} {read:#}");
        }
        assert!(host.asked().iter().all(|question| !question.contains(VALUE)));
        session.cancel().await.unwrap();
    }
    let asked = asked.lock().unwrap().clone();
    let both = [(format!("/rows.csv?sig={VALUE}"), String::new()), ("/rows.csv".to_owned(), format!("Bearer {VALUE}"))];
    assert_eq!(asked, [both.clone(), both].concat());
}
