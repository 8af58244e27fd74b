//! Toolsets over HTTP: a host chooses by headers or in the URL, in both revisions, and only narrows what the operator offers.

use std::sync::Arc;

use flowmaster_mcp::api::{Effect, Entry, catalogue};
use flowmaster_mcp::auth::{Caller, Credential};
use flowmaster_mcp::server::{Authentication, Selection, Settings};
use reqwest::Method;
use rmcp::ServiceError;
use rmcp::model::{CallToolRequestParams, ErrorCode, GetPromptRequestParams, ReadResourceRequestParams};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::json;

use crate::support::mcp::{self, Host, Session, call, ok, revisions, text};
use crate::support::platform::{TestPlatform, http};
use crate::support::raw::{Answer, Served, answer, serve};

/// A server that lets everybody in as the owner.
async fn served(platform: &TestPlatform, settings: Settings) -> Served {
    let open = Authentication::Open(Arc::new(Caller::owner(Credential::Owner)));
    serve(mcp::app(platform, settings), open, |_| {}).await
}

/// What an operator offers who names toolsets and excludes tools.
fn offering(toolsets: &[&str], excluded: &[&str]) -> Settings {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let tools = Selection::of_operator(&list(toolsets), &[], &list(excluded), false).unwrap();
    Settings { tools: Arc::new(tools), ..Settings::default() }
}

async fn connect(served: &Served, query: &str, headers: &[(&'static str, &'static str)], revision: ClientLifecycleMode) -> Session {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let config = StreamableHttpClientTransportConfig::with_uri(format!("http://{}/mcp{query}", served.address)).custom_headers(headers);
    Host::new(None).serve_with_lifecycle(StreamableHttpClientTransport::with_client(http(), config), revision).await.unwrap()
}

async fn tools(session: &Session) -> Vec<String> {
    session.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned()).collect()
}

fn names(member: impl Fn(&Entry) -> bool) -> Vec<String> {
    catalogue().tools().filter(|entry| member(entry) && !entry.spec.names_route).map(|entry| entry.spec.name.to_owned()).collect()
}

fn listed(answer: &Answer) -> Vec<&str> {
    answer.result()["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

/// The error of a call that gets no further than its name.
async fn withheld(session: &Session, tool: &'static str) -> String {
    let refused = session.call_tool(CallToolRequestParams::new(tool)).await.unwrap_err();
    let ServiceError::McpError(error) = refused else { panic!("{refused}") };
    assert_eq!((error.code, &error.data.unwrap()["code"]), (ErrorCode::INVALID_PARAMS, &json!("FM-MCP-TOOLSET")));
    error.message.into_owned()
}

#[tokio::test]
async fn a_host_sees_and_calls_the_toolsets_that_it_chose() {
    let platform = TestPlatform::start().await;
    let served = served(&platform, Settings::default()).await;
    for revision in revisions() {
        let by_url = connect(&served, "?toolsets=tasks,audit", &[], revision.clone()).await;
        let by_header = connect(&served, "", &[("x-mcp-toolsets", "tasks, audit")], revision.clone()).await;
        let expected = names(|entry| ["tasks", "audit"].contains(&entry.service.module));
        assert_eq!((&tools(&by_url).await, &tools(&by_header).await), (&expected, &expected));

        let why = withheld(&by_url, "entities_get").await;
        assert!(why.contains("chose the toolsets tasks, audit") && why.contains("entities_get is in entities, core"), "{why}");
        let task = ok(call(&by_url, "tasks_create", json!({ "title": "Sign", "assignee": "user-owner" })).await);
        let unknown = call(&by_url, "tasks_get", json!({ "id": "task-404" })).await;
        assert!(text(&unknown).contains("tasks_list"), "{}", text(&unknown));

        // What is read by address or begun by a prompt goes by the same choice.
        let uri = format!("flowmaster://tasks/{}", task["taskId"].as_str().unwrap());
        by_url.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
        let templates = by_url.list_all_resource_templates().await.unwrap();
        assert!(!templates.is_empty() && templates.iter().all(|template| !template.uri_template.contains("executions")), "{templates:?}");
        let prompts: Vec<String> = by_url.list_all_prompts().await.unwrap().into_iter().map(|prompt| prompt.name).collect();
        assert_eq!(prompts, ["approve-inbox"]);
        by_url.read_resource(ReadResourceRequestParams::new("flowmaster://executions/exec-1")).await.unwrap_err();
        by_url.get_prompt(GetPromptRequestParams::new("diagnose-execution")).await.unwrap_err();

        let reader = connect(&served, "?toolsets=tasks", &[("x-mcp-readonly", "true")], revision.clone()).await;
        assert_eq!(tools(&reader).await, names(|entry| entry.service.module == "tasks" && entry.spec.effect == Effect::Read));
        let why = withheld(&reader, "tasks_assign").await;
        assert!(why.contains("only read") && why.contains("tasks_assign does more"), "{why}");
        ok(call(&reader, "tasks_list", json!({})).await);

        let all = connect(&served, "", &[], revision).await;
        assert_eq!(tools(&all).await, names(|_| true));
        let nothing = all.call_tool(CallToolRequestParams::new("tasks_lst")).await.unwrap_err().to_string();
        assert!(nothing.contains("there is no tool") && nothing.contains("tasks_list"), "{nothing}");
    }
}

#[tokio::test]
async fn a_session_keeps_its_choice_and_later_requests_only_narrow_it() {
    let platform = TestPlatform::start().await;
    let served = served(&platform, Settings::default()).await;
    let opened = answer(served.initialize("", &json!({})).header("x-mcp-toolsets", "tasks")).await;
    opened.result();
    let session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
    let other = served.open("").await;
    let list = |session: &str, headers: &[(&'static str, &'static str)]| {
        let request = served.legacy("", session, "tools/list", &json!({}));
        answer(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
    };
    let of_tasks = names(|entry| entry.service.module == "tasks");
    assert_eq!(listed(&list(&session, &[]).await), of_tasks);
    assert_eq!(listed(&list(&session, &[("x-mcp-toolsets", "all")]).await), of_tasks);
    assert!(listed(&list(&session, &[("x-mcp-toolsets", "documents")]).await).is_empty());
    assert!(listed(&list(&session, &[("x-mcp-readonly", "1")]).await).iter().all(|name| of_tasks.iter().any(|known| known == name)));
    assert_eq!(listed(&list(&other, &[]).await), names(|_| true), "another session chose nothing");
    let refused = answer(served.legacy("", &session, "tools/call", &json!({ "name": "documents_list", "arguments": {} }))).await;
    assert_eq!(refused.body["error"]["code"], -32602, "{:#}", refused.body);

    // In 2026-07-28 each request says it anew.
    let modern = |headers: &[(&'static str, &'static str)]| {
        let request = served.modern("", "tools/list", &json!({}));
        answer(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
    };
    assert_eq!(listed(&modern(&[("x-mcp-toolsets", "tasks")]).await), of_tasks);
    assert_eq!(listed(&modern(&[]).await), names(|_| true));
}

#[tokio::test]
async fn a_choice_that_does_not_exist_is_refused_with_those_that_do() {
    let platform = TestPlatform::start().await;
    let served = served(&platform, Settings::default()).await;
    let init = served.initialize("", &json!({})).header("x-mcp-toolsets", "task");
    let modern = served.modern_numbered(7, "", "tools/list", &json!({})).header("x-mcp-toolsets", "payroll");
    let typo = served.modern_numbered(7, "", "tools/list", &json!({})).header("x-mcp-read-only", "1");
    for (request, says) in [(init, "did you mean tasks?"), (modern, "`payroll`"), (typo, "did you mean X-MCP-Readonly?")] {
        let refused = answer(request).await;
        refused.refused(400, "FM-MCP-TOOLSETS");
        let error = &refused.body["error"];
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert!(error["data"]["hint"].as_str().unwrap().len() > 20 && refused.body["id"].is_number(), "{:#}", refused.body);
    }
    let body = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": {} }).to_string();
    for query in ["toolsets=", "toolset=tasks", "readonly=perhaps", "toolsets=tasks,pay%72oll"] {
        answer(served.request(Method::POST, &format!("/mcp?{query}"), "").body(body.clone())).await.refused(400, "FM-MCP-TOOLSETS");
    }
}

#[tokio::test]
async fn no_host_widens_what_the_operator_offers() {
    let platform = TestPlatform::start().await;
    let served = served(&platform, offering(&["tasks", "documents"], &["tasks_escalate"])).await;
    let offered = names(|entry| ["tasks", "documents"].contains(&entry.service.module) && entry.spec.name != "tasks_escalate");
    for revision in revisions() {
        for query in ["", "?toolsets=all", "?toolsets=all,core&readonly=0"] {
            let session = connect(&served, query, &[("x-mcp-toolsets", "all")], revision.clone()).await;
            assert_eq!(tools(&session).await, offered, "{query}");
            let why = withheld(&session, "tasks_escalate").await;
            assert!(why.contains("the operator of this server excludes tasks_escalate"), "{why}");
            let why = withheld(&session, "executions_get").await;
            assert!(why.contains("the operator of this server offers the toolsets tasks, documents"), "{why}");
        }
        let fewer = connect(&served, "?toolsets=core", &[], revision).await;
        assert_eq!(tools(&fewer).await, names(|entry| entry.service.module == "tasks" && entry.spec.name != "tasks_escalate"));
    }
}
