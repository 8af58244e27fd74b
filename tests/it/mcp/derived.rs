//! Processes and executions of a platform that lists neither: made of replay and the audit log, bounded, and said so.

use std::sync::Arc;

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::auth::{Caller, Credential, Principal};
use flowmaster_mcp::client::{Client, Extensions, Fixed};
use flowmaster_mcp::server::{App, Options, Settings};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::mcp::{Host, Session, call, ok, over_stdio, revisions, text};
use crate::support::platform::TestPlatform;
use crate::support::raw::user;
use crate::support::standin::{Asked, StandIn};

/// A server before a platform that has nothing beyond the contract, as far as the server knows.
async fn session(url: &str, caller: Caller) -> Session {
    let client = Client::builder(Arc::new(Fixed::new(url).unwrap())).extensions(Extensions::named(&[]).unwrap()).build();
    let app = App::new(Options { client, settings: Settings::default() }).unwrap();
    let principal: Arc<dyn Principal> = Arc::new(Arc::new(caller));
    over_stdio(app, principal, revisions()[1].clone(), Host::new(None)).await.0
}

async fn as_user(platform: &TestPlatform, tenant: &str, permissions: &[&str]) -> Session {
    let token = platform.signed_in(tenant, &format!("anna@{tenant}.example"), permissions).await;
    session(&platform.running.url(), Caller::of_unverified_token(token.into(), None).unwrap()).await
}

fn ids<'a>(page: &'a Value, field: &str) -> Vec<&'a str> {
    page["items"].as_array().unwrap().iter().map(|item| item[field].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_lists_are_what_the_platform_would_list_itself() {
    let platform = TestPlatform::start().await;
    let acme = as_user(&platform, "acme", &["*"]).await;
    let number = |name: &str| json!({ "name": name, "type": "number", "required": true });
    let approval = |name: &str| {
        let ask = json!({ "id": "ask", "type": "human_task", "config": { "assignee": "manager", "title": "Approve" } });
        json!({ "name": name, "nodes": [ask] })
    };
    let totals = json!({
        "name": "Nightly totals", "variables": [number("total"), number("count")],
        "nodes": [{ "id": "average", "type": "script", "config": { "expression": "variables.total / variables.count" } }],
    });
    let waiting = ok(call(&acme, "processes_create", approval("Holiday request")).await)["id"].clone();
    let failing = ok(call(&acme, "processes_create", totals).await)["id"].clone();
    let draft = ok(call(&acme, "processes_create", approval("Holiday calendar")).await)["id"].clone();
    for process in [&waiting, &failing] {
        ok(call(&acme, "processes_publish", json!({ "id": process })).await);
    }
    let mut started = Vec::new();
    for (process, variables) in [(&waiting, json!({})), (&failing, json!({ "total": 7, "count": 0 })), (&waiting, json!({}))] {
        platform.clock.advance(1.0);
        let run = ok(call(&acme, "executions_start", json!({ "processId": process, "variables": variables })).await);
        ok(call(&acme, "executions_wait", json!({ "id": run["executionId"], "timeoutSeconds": 20 })).await);
        started.push(run["executionId"].as_str().unwrap().to_owned());
    }

    let all = ok(call(&acme, "executions_list", json!({})).await);
    assert_eq!(ids(&all, "executionId"), [&*started[2], &started[1], &started[0]], "newest first");
    assert_eq!(all["derived"]["from"], json!(["events_replay", "audit_query"]));
    assert!(all["derived"]["since"].is_string() && all.get("nextCursor").is_none(), "{all}");
    let failed = ok(call(&acme, "executions_list", json!({ "status": ["failed"] })).await);
    assert_eq!((ids(&failed, "executionId"), &failed["items"][0]["status"]), (vec![&*started[1]], &json!("failed")));
    let of_process = ok(call(&acme, "executions_list", json!({ "processId": waiting, "limit": 1 })).await);
    assert_eq!((ids(&of_process, "executionId"), &of_process["derived"]["partial"]), (vec![&*started[2]], &json!(true)));
    let before = ok(call(&acme, "executions_list", json!({ "createdBefore": all["items"][1]["startedAt"] })).await);
    assert_eq!(ids(&before, "executionId"), [&*started[0]]);
    let since = json!({ "createdAfter": "2020-01-01T00:00:00Z", "createdBefore": "2020-01-02T00:00:00Z" });
    let long_ago = ok(call(&acme, "executions_list", since).await);
    assert_eq!((&long_ago["items"], &long_ago["derived"]["partial"]), (&json!([]), &json!(false)));

    let text_of = |page: &Value| -> Vec<String> { ids(page, "id").into_iter().map(str::to_owned).collect() };
    let mut processes = text_of(&ok(call(&acme, "processes_list", json!({})).await));
    processes.sort_unstable();
    let mut expected: Vec<String> = [&waiting, &failing, &draft].map(|id| id.as_str().unwrap().to_owned()).into();
    expected.sort_unstable();
    assert_eq!(processes, expected, "drafts are in the audit log alone");
    let drafts = ok(call(&acme, "processes_list", json!({ "status": "draft" })).await);
    assert_eq!(text_of(&drafts), [draft.as_str().unwrap()]);
    let named = ok(call(&acme, "processes_list", json!({ "name": "holi req" })).await);
    assert_eq!((text_of(&named), &named["items"][0]["status"]), (vec![waiting.as_str().unwrap().to_owned()], &json!("published")));

    let refused = call(&acme, "processes_list", json!({ "cursor": "x" })).await;
    assert!(text(&refused).starts_with("FM-MCP-ARGUMENTS: ") && text(&refused).contains("cursor"), "{}", text(&refused));
    let other = as_user(&platform, "other", &["*"]).await;
    assert_eq!(ok(call(&other, "executions_list", json!({})).await)["items"], json!([]), "another tenant's are not seen");
    let blind = as_user(&platform, "third", &["execution:view"]).await;
    let refused = call(&blind, "executions_list", json!({})).await;
    assert!(text(&refused).contains("event:view"), "{}", text(&refused));
    // One of the two logs is enough.
    let auditor = as_user(&platform, "fourth", &["execution:view", "audit:view"]).await;
    assert_eq!(ok(call(&auditor, "executions_list", json!({})).await)["derived"]["partial"], true);
}

fn anna() -> Caller {
    Caller { credential: Credential::Bearer("own".into()), ..user("tenant-1", "anna", &["*"]) }
}

#[tokio::test]
async fn what_is_read_is_bounded_however_much_there_is() {
    let platform = StandIn::start(|asked: Asked| async move {
        let number = |from: &str| asked.query.split('&').find_map(|pair| pair.strip_prefix(from)?.parse::<u32>().ok()).unwrap_or_default();
        match asked.path.as_str() {
            "/events/replay" => {
                let page = number("cursor=");
                let event = |place: u32| {
                    let id = format!("exec-{}", page * 200 + place);
                    json!({ "id": format!("evt-{id}"), "type": "execution.started", "time": "2026-01-01T00:00:00Z", "data": { "executionId": id } })
                };
                let items: Vec<Value> = (0..200).map(event).collect();
                Json(json!({ "items": items, "nextCursor": (page + 1).to_string() })).into_response()
            }
            "/audit-logs" => StatusCode::NOT_FOUND.into_response(),
            path => {
                let id = path.rsplit('/').next().unwrap();
                let run = json!({ "executionId": id, "processId": "proc-1", "status": "running", "startedAt": "2026-01-01T00:00:00Z" });
                Json(run).into_response()
            }
        }
    })
    .await;
    let session = session(&platform.url, anna()).await;
    let found = ok(call(&session, "executions_list", json!({ "status": ["failed"] })).await);
    assert_eq!((&found["items"], &found["derived"]["partial"]), (&json!([]), &json!(true)));
    let count = |beginning: &str| platform.asked().iter().filter(|asked| asked.path.starts_with(beginning)).count();
    assert_eq!((count("/events/replay"), count("/executions/")), (10, 100));
    let found = ok(call(&session, "executions_list", json!({ "limit": 5 })).await);
    assert_eq!(found["items"].as_array().unwrap().len(), 5);
    assert!(count("/executions/") <= 100 + 16, "{}", count("/executions/"));
}

#[tokio::test]
async fn a_platform_without_either_log_says_why_there_is_no_list() {
    let platform = StandIn::start(|_| std::future::ready(StatusCode::NOT_FOUND.into_response())).await;
    let session = session(&platform.url, anna()).await;
    for tool in ["processes_list", "executions_list"] {
        let refused = call(&session, tool, json!({})).await;
        assert!(refused.is_error == Some(true) && text(&refused).starts_with("HTTP-404: "), "{}", text(&refused));
    }
    let paths: Vec<String> = platform.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/events/replay", "/audit-logs", "/events/replay", "/audit-logs"], "what fails once is left alone");
}
