//! Tools beyond the contract: offered where the platform has them, as its document or the operator says.

use std::sync::Arc;

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::api::{Spec, catalogue};
use flowmaster_mcp::client::{Client, Extensions, Fixed};
use flowmaster_mcp::server::{App, Options, Settings};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::mcp::{Host, Session, call, ok, over_stdio, owner, revisions, text};
use crate::support::platform::TestPlatform;
use crate::support::raw::user;
use crate::support::standin::StandIn;

/// A platform that answers its document by a status and a body, and everything else by an empty list.
async fn platform(status: StatusCode, document: Value) -> StandIn {
    StandIn::start(move |asked| {
        let answer = if asked.path == "/openapi.json" {
            assert_eq!(asked.header("authorization"), "", "a token was sent for what is the same for everybody");
            (status, Json(document.clone())).into_response()
        } else if asked.path.starts_with("/processes/missing") {
            StatusCode::NOT_FOUND.into_response()
        } else {
            Json(json!({ "items": [] })).into_response()
        };
        async move { answer }
    })
    .await
}

async fn session(url: &str, chosen: Option<&[&str]>) -> Session {
    let origin = Arc::new(Fixed::new(url).unwrap());
    let extensions = match chosen {
        Some(names) => Extensions::named(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap(),
        None => Extensions::asked(Arc::clone(&origin) as _),
    };
    let client = Client::builder(origin).extensions(extensions).build();
    let app = App::new(Options { client, settings: Settings::default() }).unwrap();
    let caller = Arc::new(Arc::new(user("tenant-1", "anna", &["*"])));
    over_stdio(app, caller, revisions()[0].clone(), Host::new(None)).await.0
}

/// The tools beyond the contract that are listed, less those whose answers the server can make itself.
async fn extensions(session: &Session) -> Vec<String> {
    let tools = session.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned());
    tools.filter(|name| is_extension(&catalogue().get(name).unwrap().spec)).collect()
}

fn is_extension(spec: &Spec) -> bool {
    spec.extension && !spec.is_derivable
}

fn times(platform: &StandIn) -> usize {
    platform.asked().iter().filter(|asked| asked.path == "/openapi.json").count()
}

#[tokio::test]
async fn a_platform_is_asked_once_and_offers_what_its_document_has() {
    let document = json!({ "paths": { "/processes": { "get": {} }, "/users/{userId}/roles": { "put": {} }, "/roles": { "post": {} } } });
    let platform = platform(StatusCode::OK, document).await;
    let session = session(&platform.url, None).await;
    assert_eq!(times(&platform), 0, "nothing is asked at start");
    ok(call(&session, "tasks_list", json!({})).await);
    assert_eq!(times(&platform), 0, "nor for what is in the contract");
    assert_eq!(extensions(&session).await, ["users_assign_roles"]);
    ok(call(&session, "processes_list", json!({})).await);
    let refused = call(&session, "roles_list", json!({})).await;
    assert!(text(&refused).starts_with("FM-MCP-EXTENSION: "), "{}", text(&refused));
    extensions(&session).await;
    assert_eq!(times(&platform), 1);

    // A wrong id is looked for with what there is.
    let missing = call(&session, "processes_versions", json!({ "id": "missing" })).await;
    assert!(text(&missing).contains("`processes_list`"), "{}", text(&missing));
}

#[tokio::test]
async fn a_platform_without_a_document_offers_none_and_is_not_asked_again_at_once() {
    for (status, document) in [
        (StatusCode::NOT_FOUND, json!({})),
        (StatusCode::OK, json!({ "openapi": "3.1.0" })),
        (StatusCode::OK, json!({ "paths": {}, "filler": "x".repeat(9 * 1024 * 1024) })),
    ] {
        let platform = platform(status, document).await;
        let session = session(&platform.url, None).await;
        assert!(extensions(&session).await.is_empty());
        let refused = call(&session, "roles_list", json!({})).await;
        assert!(text(&refused).starts_with("FM-MCP-EXTENSION-UNKNOWN: "), "{}", text(&refused));
        assert_eq!(times(&platform), 1);
        let missing = call(&session, "processes_versions", json!({ "id": "missing" })).await;
        assert!(text(&missing).contains("`processes_list`"), "the server makes the list: {}", text(&missing));
    }
}

#[tokio::test]
async fn an_operator_names_the_tools_and_the_platform_is_not_asked() {
    let platform = platform(StatusCode::OK, json!({ "paths": { "/processes": { "get": {} } } })).await;
    let some = session(&platform.url, Some(&["roles_list"])).await;
    assert_eq!(extensions(&some).await, ["roles_list"]);
    let none = session(&platform.url, Some(&[])).await;
    assert!(extensions(&none).await.is_empty());
    let all = session(&platform.url, Some(&["*"])).await;
    assert!(extensions(&all).await.len() > 10);
    assert_eq!(times(&platform), 0);
}

#[tokio::test]
async fn addresses_and_completion_go_by_what_the_platform_has() {
    for (chosen, lister, addressed) in [(&[][..], "/tasks", false), (&["*"], "/executions", true)] {
        let platform = platform(StatusCode::OK, json!({})).await;
        let session = session(&platform.url, Some(chosen)).await;
        assert!(session.complete_resource_simple("flowmaster://executions/{id}", "id", "").await.unwrap().is_empty());
        assert_eq!(platform.asked().iter().map(|asked| asked.path.as_str()).collect::<Vec<_>>(), [lister]);
        let templates = session.list_all_resource_templates().await.unwrap();
        assert_eq!(templates.iter().any(|template| template.uri_template == "flowmaster://processes/{id}"), addressed);
        assert!(templates.iter().any(|template| template.uri_template == "flowmaster://processes/{id}/versions"));
    }
}

#[tokio::test]
async fn the_embedded_platforms_document_has_all_of_them() {
    let bench = TestPlatform::start().await;
    let origin = crate::support::mcp::origin(&bench);
    let client = Client::builder(Arc::clone(&origin)).extensions(Extensions::asked(origin)).build();
    let app = App::new(Options { client, settings: Settings::default() }).unwrap();
    let (session, _server) = over_stdio(app, owner(), revisions()[1].clone(), Host::new(None)).await;
    let all: Vec<&str> = catalogue().tools().filter(|entry| is_extension(&entry.spec)).map(|entry| entry.spec.name).collect();
    assert_eq!(extensions(&session).await, all);
}

#[tokio::test]
async fn no_host_names_another_tenant() {
    let bench = TestPlatform::start().await;
    let (session, _server) =
        over_stdio(crate::support::mcp::app(&bench, Settings::default()), owner(), revisions()[1].clone(), Host::new(None)).await;
    for tool in session.list_all_tools().await.unwrap() {
        assert!(!json!(tool.input_schema).to_string().contains("tenantId"), "{}", tool.name);
    }
    for (tool, arguments) in [
        ("users_list", json!({ "tenantId": "tenant-other" })),
        ("users_assign_roles", json!({ "id": "user-1", "roles": [], "tenantId": "tenant-other" })),
    ] {
        let refused = call(&session, tool, arguments).await;
        assert!(text(&refused).starts_with("FM-MCP-ARGUMENTS: ") && text(&refused).contains("tenantId"), "{}", text(&refused));
    }
}
