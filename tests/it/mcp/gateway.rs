//! `gateway_request`: off unless it is configured, never around another tool, and a person is asked before all but reads.

use std::sync::Arc;

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::auth::{Caller, Credential};
use flowmaster_mcp::client::{Client, Configured, Fixed, Mode, Upstream};
use flowmaster_mcp::config::{PolicyDecision, PolicyRule};
use flowmaster_mcp::server::{App, Options, Policy, Selection, Settings};
use http::StatusCode;
use rmcp::model::ElicitationAction;
use serde_json::{Value, json};

use crate::support::mcp::{self, Session, call, over_stdio, revisions, text};
use crate::support::program::{Host, REVISIONS, Revision};
use crate::support::raw::user;
use crate::support::standin::{Asked, StandIn};

const OPEN: (&str, &str) = ("FLOWMASTER_GATEWAY_REQUEST", "true");

/// A platform with routes of a company's own.
async fn platform() -> StandIn {
    StandIn::start(|asked| async move {
        match asked.path.as_str() {
            "/warehouses/7" => Json(json!({ "id": 7, "apiKey": "hidden", "note": "x".repeat(100_000) })).into_response(),
            "/warehouses" => Json(json!([{ "id": 7 }])).into_response(),
            "/badges" => (StatusCode::CREATED, Json(json!({ "id": "badge-1" }))).into_response(),
            "/badges/badge-1" => StatusCode::NO_CONTENT.into_response(),
            "/page" => "plain text".into_response(),
            "/busy" => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    })
    .await
}

fn before<'a>(platform: &'a StandIn, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let url = ("FLOWMASTER_URL", platform.url.as_str());
    [&[url, ("FLOWMASTER_TOKEN", "own"), ("FLOWMASTER_TENANT", "tenant-1")], more].concat()
}

/// What was asked of the platform, less its document, which every server reads once.
fn called(platform: &StandIn) -> Vec<Asked> {
    platform.asked().into_iter().filter(|asked| asked.path != "/openapi.json").collect()
}

async fn names(host: &mut Host) -> Vec<String> {
    let listed = host.request("tools/list", json!({})).await;
    listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn it_is_off_unless_configured_and_hidden_when_read_only() {
    let platform = platform().await;
    for (more, says) in [
        (&[][..], "upstream.gateway_request"),
        (&[("FLOWMASTER_GATEWAY_REQUEST", "false")], "upstream.gateway_request"),
        (&[OPEN, ("FLOWMASTER_READ_ONLY", "true")], "read-only"),
        (&[OPEN, ("FLOWMASTER_EXCLUDE_TOOLS", "gateway_*")], "excludes"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host::start_with(folder.path(), Revision::V2026_07_28, Some("accept"), &before(&platform, more)).await;
        assert!(!names(&mut host).await.contains(&"gateway_request".to_owned()), "{more:?}");
        let params = json!({ "name": "gateway_request", "arguments": { "method": "GET", "path": "/warehouses" } });
        let refused = host.request("tools/call", params).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{refused}");
    }
    assert!(called(&platform).is_empty());
}

#[tokio::test]
async fn get_reads_without_a_question_and_anything_else_asks() {
    for revision in REVISIONS {
        let (platform, folder) = (platform().await, tempfile::tempdir().unwrap());
        let mut host = Host::start_with(folder.path(), revision, Some("accept"), &before(&platform, &[OPEN])).await;
        assert!(names(&mut host).await.contains(&"gateway_request".to_owned()));

        let list = json!({ "method": "GET", "path": "/warehouses", "query": { "town": "York & Leeds" } });
        assert_eq!(host.good("gateway_request", list).await, json!({ "status": 200, "body": { "items": [{ "id": 7 }] } }));
        let one = host.good("gateway_request", json!({ "method": "GET", "path": "/warehouses/7" })).await;
        assert!(one["body"].get("apiKey").is_none() && one["truncated"]["withheld"] == json!(["apiKey"]), "{one}");
        assert!(one.to_string().len() <= 33_000, "an answer is bounded: {}", one.to_string().len());
        assert!(host.asked.is_empty(), "{:?}", host.asked);

        let made = json!({ "method": "POST", "path": "/badges", "body": { "holder": "Dahl" } });
        assert_eq!(host.good("gateway_request", made).await, json!({ "status": 201, "body": { "id": "badge-1" } }));
        let gone = json!({ "method": "DELETE", "path": "/badges/badge-1" });
        assert_eq!(host.good("gateway_request", gone).await, json!({ "status": 204, "body": {} }));
        assert_eq!(host.asked.len(), 2);
        for shown in ["It cannot be undone", "- method: DELETE", "- path: /badges/badge-1"] {
            assert!(host.asked[1].contains(shown), "{}", host.asked[1]);
        }

        let sent: Vec<_> = called(&platform).into_iter().map(|asked| (asked.method, asked.path, asked.query, asked.body)).collect();
        let expected = [
            (http::Method::GET, "/warehouses", "town=York+%26+Leeds", ""),
            (http::Method::GET, "/warehouses/7", "", ""),
            (http::Method::POST, "/badges", "", r#"{"holder":"Dahl"}"#),
            (http::Method::DELETE, "/badges/badge-1", "", ""),
        ];
        assert_eq!(sent, expected.map(|(method, path, query, body)| (method, path.to_owned(), query.to_owned(), body.to_owned())));
        for asked in called(&platform) {
            assert_eq!((asked.header("authorization"), asked.header("x-tenant-id")), ("Bearer own", "tenant-1"));
        }
        assert!(host.bad("gateway_request", json!({ "method": "GET", "path": "/page" })).await.starts_with("FM-MCP-ANSWER: "));
        assert!(host.bad("gateway_request", json!({ "method": "GET", "path": "/nothing" })).await.contains("404"));
    }
}

#[tokio::test]
async fn no_spelling_leads_to_what_is_refused() {
    let (platform, folder) = (platform().await, tempfile::tempdir().unwrap());
    let mut host = Host::start_with(folder.path(), Revision::V2026_07_28, Some("accept"), &before(&platform, &[OPEN])).await;
    for (method, path, says) in [
        ("GET", "warehouses", "FM-MCP-ROUTE: "),
        ("GET", "http://elsewhere.example/warehouses", "FM-MCP-ROUTE: "),
        ("GET", "//elsewhere.example/warehouses", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses//7", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses/", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses/../auth/login", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses/%2e%2e/tasks", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses%2f7", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses%252f7", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses\\7", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses/7\n", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses/%00", "FM-MCP-ROUTE: "),
        ("GET", "/auth;x=1/validate", "FM-MCP-ROUTE: "),
        ("GET", "/warehouses?town=York", "FM-MCP-ROUTE: "),
        ("POST", "/auth/login", "FM-MCP-ROUTE-BARRED: "),
        ("GET", "/api/AUTH/sessions", "FM-MCP-ROUTE-BARRED: "),
        ("POST", "/%61uth/refresh", "FM-MCP-ROUTE-BARRED: "),
        ("POST", "/service-tokens", "FM-MCP-ROUTE-BARRED: "),
        ("DELETE", "/records/7", "FM-MCP-ROUTE-BARRED: "),
        ("DELETE", "/entities/customer", "FM-MCP-ROUTE-BARRED: "),
        ("DELETE", "/entities/customer/ent-1", "tool entities_delete"),
        ("DELETE", "/records", "tool records_delete"),
        ("PUT", "/api/v1/Tasks/task-1/respond", "tool tasks_respond"),
        ("GET", "/t%61sks", "tool tasks_list"),
    ] {
        let refused = host.bad("gateway_request", json!({ "method": method, "path": path })).await;
        assert!(refused.contains(says), "{method} {path}: {refused}");
    }
    for (arguments, field) in [
        (json!({ "method": "PATCH", "path": "/badges" }), "- method: "),
        (json!({ "method": "GET", "path": "/badges", "body": {} }), "- body: "),
        (json!({ "method": "GET", "path": "/badges", "query": { "tenant_id": "tenant-2" } }), "- query/tenant_id: "),
        (json!({ "method": "GET", "path": "/badges", "query": { "access_token": "x" } }), "- query/access_token: "),
        (json!({ "method": "POST", "path": "/badges", "body": { "tenantId": "tenant-2" } }), "- body/tenantId: "),
        (json!({ "method": "POST", "path": "/badges", "body": { "list": [{ "password": "x" }] } }), "- body/list/0/password: "),
    ] {
        let refused = host.bad("gateway_request", arguments).await;
        assert!(refused.contains(field), "{refused}");
    }
    assert!(platform.asked().is_empty() && host.asked.is_empty(), "{:?}", host.asked);
}

#[tokio::test]
async fn only_reads_go_out_again_and_each_call_is_on_record() {
    let (platform, folder) = (platform().await, tempfile::tempdir().unwrap());
    let record = folder.path().join("audit.jsonl");
    let record_to = ("FLOWMASTER_AUDIT_FILE", record.to_str().unwrap());
    let mut host = Host::start_with(folder.path(), Revision::V2025_11_25, Some("accept"), &before(&platform, &[OPEN, record_to])).await;
    host.bad("gateway_request", json!({ "method": "GET", "path": "/busy" })).await;
    assert_eq!(platform.asked().len(), 4);
    host.bad("gateway_request", json!({ "method": "PUT", "path": "/busy", "body": { "level": 3 } })).await;
    assert_eq!(platform.asked().len(), 5);
    host.end().await;
    let entries: Vec<Value> = std::fs::read_to_string(record).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = entries.iter().map(|entry| (entry["resource"].as_str().unwrap(), entry["decision"].as_str().unwrap())).collect();
    assert_eq!(told, [("gateway_request GET /busy", "allowed"), ("gateway_request PUT /busy", "confirmed")]);
}

/// A server with the tool, by a policy, for a caller with permissions.
async fn session(url: &str, upstream: Upstream, rules: &[PolicyRule], permissions: &[&str]) -> (Session, mcp::Host) {
    let tools = Arc::new(Selection::default().with_any_route(true));
    let settings = Settings { tools, policy: Arc::new(Policy::new(rules).unwrap()), ..Settings::default() };
    let client = Client::builder(Arc::new(Fixed::new(url).unwrap())).upstream(upstream).build();
    let app = App::new(Options { client, settings }).unwrap();
    let caller = Caller { credential: Credential::Bearer("own".into()), ..user("tenant-1", "anna", permissions) };
    let host = mcp::Host::new(ElicitationAction::Decline);
    (over_stdio(app, Arc::new(Arc::new(caller)), revisions()[0].clone(), host.clone()).await.0, host)
}

#[tokio::test]
async fn it_has_a_permission_of_its_own_and_the_operators_rules_hold() {
    let platform = platform().await;
    let read = json!({ "method": "GET", "path": "/warehouses" });
    let listed = async |session: &Session| session.list_all_tools().await.unwrap().iter().any(|tool| tool.name == "gateway_request");

    let (without, _) = session(&platform.url, Upstream::default(), &[], &["task:view"]).await;
    assert!(!listed(&without).await);
    let refused = call(&without, "gateway_request", read.clone()).await;
    assert!(text(&refused).contains("gateway:request"), "{}", text(&refused));

    let rule =
        |decision| PolicyRule { tools: vec!["gateway_request".to_owned()], services: vec![], effects: vec![], roles: vec![], decision };
    let (denied, _) = session(&platform.url, Upstream::default(), &[rule(PolicyDecision::Deny)], &["*"]).await;
    assert!(!listed(&denied).await && text(&call(&denied, "gateway_request", read.clone()).await).starts_with("FM-MCP-POLICY: "));
    let (asked, host) = session(&platform.url, Upstream::default(), &[rule(PolicyDecision::Confirm)], &["gateway:request"]).await;
    assert_eq!(call(&asked, "gateway_request", read.clone()).await.is_error, Some(true), "the person declined");
    assert_eq!(host.asked().len(), 1, "a read is asked about where the operator says so");

    // By the server's own account the platform would judge the server's rights alone.
    let accounts = Configured::new(Some("account".to_owned().into()), std::collections::BTreeMap::new()).unwrap().unwrap();
    let service = Upstream::new(Mode::Service { on_behalf_of: true }, Some(Arc::new(accounts)));
    let (by_account, _) = session(&platform.url, service, &[], &["*"]).await;
    let refused = call(&by_account, "gateway_request", read).await;
    assert!(text(&refused).starts_with("FM-MCP-AS-SERVICE: "), "{}", text(&refused));
    assert!(platform.asked().is_empty());
}

#[tokio::test]
async fn the_embedded_platforms_own_document_is_read_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::start_with(&folder.path().join("data"), Revision::V2025_11_25, Some("accept"), &[OPEN]).await;
    let keys = host.good("gateway_request", json!({ "method": "GET", "path": "/.well-known/jwks.json" })).await;
    assert!(keys["status"] == 200 && keys["body"]["keys"].is_array(), "{keys}");
    let missed = host.bad("gateway_request", json!({ "method": "DELETE", "path": "/tasks/task-1" })).await;
    assert!(missed.starts_with("FM-AGS-"), "{missed}");
}
