//! The server between rmcp's own client and a stand-in platform of one task, in both revisions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete as on_delete, get as on_get, put as on_put};
use axum::{Json, Router};
use flowmaster_mcp::api::SERVICES;
use flowmaster_mcp::auth::Caller;
use flowmaster_mcp::server::consent::approvals;
use flowmaster_mcp::server::{App, Fallback, Settings, serve_stdio};
use rmcp::model::{CallToolRequestParams, CallToolResponse, ElicitationAction, ErrorCode, InputResponses, ReadResourceRequestParams};
use rmcp::service::{ClientLifecycleMode, ServiceError};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use crate::support::mcp::{Host, Session, app_before as app, over_stdio, revisions, text};

/// What the stand-in was told, and how often its task changed.
#[derive(Default)]
struct Told {
    version: u64,
    requests: Vec<String>,
}

type Shared = Arc<Mutex<Told>>;

async fn platform() -> (String, Shared) {
    async fn show(State(told): State<Shared>, Path(id): Path<String>) -> Response {
        if id != "task-1" {
            let problem =
                json!({ "status": 404, "code": "FM-HTS-NOT-FOUND", "title": "Not found", "detail": format!("there is no task {id}") });
            return (axum::http::StatusCode::NOT_FOUND, [("content-type", "application/problem+json")], Json(problem)).into_response();
        }
        let version = told.lock().unwrap().version;
        let task = json!({ "taskId": id, "status": "assigned", "title": "Approve order 42", "createdAt": "2025-02-07T10:00:00Z" });
        ([("etag", format!("\"{version}\""))], Json(task)).into_response()
    }
    async fn respond(State(told): State<Shared>, Path(id): Path<String>, headers: axum::http::HeaderMap, body: String) -> Response {
        let if_match = headers.get("if-match").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let mut told = told.lock().unwrap();
        told.version += 1;
        told.requests.push(format!("{id} {if_match} {body}"));
        Json(json!({ "taskId": id, "status": "completed", "createdAt": "2025-02-07T10:00:00Z", "signingSecret": "s" })).into_response()
    }
    async fn list(State(told): State<Shared>) -> Response {
        told.lock().unwrap().requests.push("list".to_owned());
        Json(json!({ "items": [{ "taskId": "task-1", "executionId": "exec-7", "status": "assigned" }] })).into_response()
    }
    async fn executions() -> Response {
        Json(json!({ "items": [{ "executionId": "exec-8", "processId": "proc-1", "status": "completed" }] })).into_response()
    }
    async fn subscriptions() -> Response {
        let one =
            |id: &str, topic: &str| json!({ "subscriptionId": id, "topic": topic, "delivery": { "type": "webhook", "url": "http://x" } });
        Json(json!({ "items": [one("sub-1", "task.created"), one("sub-2", "execution.failed")] })).into_response()
    }
    let told = Shared::default();
    let router = Router::new()
        .route("/tasks", on_get(list))
        .route("/tasks/{id}", on_get(show))
        .route("/tasks/{id}/respond", on_put(respond))
        .route("/executions", on_get(executions))
        .route("/executions/{id}", on_get(std::future::pending::<()>))
        .route("/subscriptions", on_get(subscriptions))
        .route("/subscriptions/{id}", on_delete(async || axum::http::StatusCode::NO_CONTENT))
        .with_state(Arc::clone(&told));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, told)
}

fn somebody() -> Caller {
    Caller::of_unverified_token("token".into(), Some("tenant-1")).unwrap()
}

async fn connect(app: &Arc<App>, revision: ClientLifecycleMode, host: Host) -> Session {
    connect_as(app, somebody(), revision, host).await
}

async fn connect_as(app: &Arc<App>, caller: Caller, revision: ClientLifecycleMode, host: Host) -> Session {
    over_stdio(Arc::clone(app), Arc::new(Arc::new(caller)), revision, host).await.0
}

#[expect(clippy::needless_pass_by_value, reason = "a test's arguments are written where they are used")]
fn request(tool: &'static str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments.as_object().cloned().unwrap())
}

fn respond() -> CallToolRequestParams {
    request("tasks_respond", json!({ "id": "task-1", "decision": "approve" }))
}

#[tokio::test]
async fn a_decision_is_asked_about_as_it_is_now_and_done_once() {
    for revision in revisions() {
        let (url, told) = platform().await;
        let host = Host::new(ElicitationAction::Accept);
        let session = connect(&app(&url, Settings::default()), revision, host.clone()).await;
        let result = session.call_tool(respond()).await.unwrap();
        assert_eq!(result.is_error, Some(false), "{}", text(&result));
        assert_eq!(result.structured_content.as_ref().unwrap()["status"], "completed");
        assert_eq!(result.structured_content.as_ref().unwrap()["truncated"], json!({ "withheld": ["signingSecret"] }));
        let asked = host.asked();
        assert_eq!(asked.len(), 1);
        assert!(asked[0].contains("Approve order 42") && asked[0].contains("decision: approve"), "{}", asked[0]);
        assert_eq!(told.lock().unwrap().requests, [r#"task-1 "0" {"decision":"approve"}"#], "what the person saw is what is changed");
    }
}

#[tokio::test]
async fn what_can_only_be_listed_is_shown_too() {
    let (url, _) = platform().await;
    let host = Host::new(ElicitationAction::Accept);
    let session = connect(&app(&url, Settings::default()), revisions()[1].clone(), host.clone()).await;
    let result = session.call_tool(request("subscriptions_delete", json!({ "id": "sub-2" }))).await.unwrap();
    assert_eq!((result.is_error, result.structured_content), (Some(false), Some(json!({ "done": "End a subscription" }))));
    assert!(host.asked()[0].contains("topic: execution.failed") && !host.asked()[0].contains("task.created"), "{:?}", host.asked());
}

#[tokio::test]
async fn what_the_person_declines_is_not_done() {
    for revision in revisions() {
        for answer in [ElicitationAction::Decline, ElicitationAction::Cancel] {
            let (url, told) = platform().await;
            let session = connect(&app(&url, Settings::default()), revision.clone(), Host::new(answer)).await;
            let result = session.call_tool(respond()).await.unwrap();
            assert_eq!(result.is_error, Some(true));
            assert!(text(&result).starts_with("FM-MCP-DECLINED"), "{}", text(&result));
            assert!(told.lock().unwrap().requests.is_empty());
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_forged_replayed_or_is_for_another_call_does_nothing() {
    let (url, told) = platform().await;
    let session = connect(&app(&url, Settings::default()), revisions()[1].clone(), Host::new(ElicitationAction::Accept)).await;
    let CallToolResponse::InputRequired(question) = session.call_tool_once(respond()).await.unwrap() else { panic!("no question") };
    let state = question.request_state.unwrap();
    let accepted = || InputResponses::from([("confirm".to_owned(), json!({ "action": "accept" }))]);
    let again = |request: CallToolRequestParams, state: &str| {
        let request = request.with_request_state(state).with_input_responses(accepted());
        async { session.call_tool_once(request).await.unwrap() }
    };
    let refused = |response: CallToolResponse, code: &str| match response {
        CallToolResponse::Complete(result) => assert!(text(&result).starts_with(code), "{}", text(&result)),
        other => panic!("{other:?}"),
    };
    let forged = format!("{}x", &state[..state.len() - 1]);
    refused(again(respond(), &forged).await, "FM-MCP-CONFIRMATION");
    refused(again(request("tasks_respond", json!({ "id": "task-1", "decision": "reject" })), &state).await, "FM-MCP-CONFIRMATION");
    assert!(told.lock().unwrap().requests.is_empty());
    let CallToolResponse::Complete(done) = again(respond(), &state).await else { panic!("asked again") };
    assert_eq!(done.is_error, Some(false), "{}", text(&done));
    refused(again(respond(), &state).await, "FM-MCP-CONFIRMATION");
    assert_eq!(told.lock().unwrap().requests.len(), 1);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_or_after_a_change_does_nothing() {
    for late in [true, false] {
        let (url, told) = platform().await;
        let settings = Settings { ask_timeout: Duration::from_millis(if late { 0 } else { 60_000 }), ..Settings::default() };
        let session = connect(&app(&url, settings), revisions()[1].clone(), Host::new(ElicitationAction::Accept)).await;
        let CallToolResponse::InputRequired(question) = session.call_tool_once(respond()).await.unwrap() else { panic!("no question") };
        if late {
            tokio::time::sleep(Duration::from_millis(5)).await;
        } else {
            told.lock().unwrap().version += 1;
        }
        let request = respond()
            .with_request_state(question.request_state.unwrap())
            .with_input_responses(InputResponses::from([("confirm".to_owned(), json!({ "action": "accept" }))]));
        let CallToolResponse::Complete(result) = session.call_tool_once(request).await.unwrap() else { panic!("asked again") };
        assert!(text(&result).starts_with(if late { "FM-MCP-CONFIRMATION" } else { "FM-MCP-CHANGED" }), "{}", text(&result));
        assert!(told.lock().unwrap().requests.is_empty());
    }
}

#[tokio::test]
async fn a_person_may_think_longer_than_a_tool_may_take() {
    for (patience, done) in [(Duration::from_mins(5), true), (Duration::from_millis(300), false)] {
        let (url, told) = platform().await;
        let settings = Settings { call_timeout: Duration::from_secs(1), ask_timeout: patience, ..Settings::default() };
        let host = Host::after(Arc::new(|| Box::pin(tokio::time::sleep(Duration::from_millis(1500)))));
        let session = connect(&app(&url, settings), revisions()[0].clone(), host).await;
        let result = session.call_tool(respond()).await.unwrap();
        assert_eq!(result.is_error, Some(!done), "{}", text(&result));
        assert!(done || text(&result).starts_with("FM-MCP-UNANSWERED"), "{}", text(&result));
        assert_eq!(told.lock().unwrap().requests.len(), usize::from(done));
    }
}

#[tokio::test]
async fn a_host_that_cannot_ask_is_refused_until_the_person_approves_elsewhere() {
    for revision in revisions() {
        let (url, told) = platform().await;
        let data = tempfile::tempdir().unwrap();
        let settings = Settings { data_dir: Some(data.path().to_owned()), ..Settings::default() };
        let session = connect(&app(&url, settings), revision, Host::new(None)).await;
        let refused = session.call_tool(respond()).await.unwrap();
        assert!(text(&refused).starts_with("FM-MCP-CONFIRM:"), "{}", text(&refused));
        assert!(text(&refused).contains("flowmaster-mcp confirm"));
        let waiting = approvals::list(data.path(), &somebody()).unwrap();
        assert!(waiting[0].question.contains("Approve order 42"));
        assert!(!text(&refused).contains(&waiting[0].id), "the model learned the id");
        assert!(told.lock().unwrap().requests.is_empty());
        approvals::approve(data.path(), &somebody(), &waiting[0].id).unwrap();
        let done = session.call_tool(respond()).await.unwrap();
        assert_eq!(done.is_error, Some(false), "{}", text(&done));
        let refused = session.call_tool(respond()).await.unwrap();
        assert_eq!(refused.is_error, Some(true), "an approval counted twice");
    }
}

#[tokio::test]
async fn the_hosts_own_approval_counts_where_the_operator_says_so() {
    for revision in revisions() {
        let (url, told) = platform().await;
        let settings = Settings { confirm: Fallback::Host, ..Settings::default() };
        let session = connect(&app(&url, settings), revision, Host::new(None)).await;
        assert_eq!(session.call_tool(respond()).await.unwrap().is_error, Some(false));
        assert_eq!(told.lock().unwrap().requests.len(), 1);
    }
}

#[tokio::test]
async fn bad_calls_get_errors_that_say_what_to_do() {
    for revision in revisions() {
        let (url, told) = platform().await;
        let session = connect(&app(&url, Settings::default()), revision, Host::new(ElicitationAction::Accept)).await;
        let Err(ServiceError::McpError(error)) = session.call_tool(request("tasks_approve", json!({}))).await else {
            panic!("it is there")
        };
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
        assert!(error.message.contains("tasks_respond"), "{}", error.message);
        for (tool, arguments, says) in [
            ("tasks_get", json!({}), "- id: is missing"),
            ("tasks_get", json!({ "id": ["x", "y"] }), "- id: must be text, not an array"),
            ("tasks_get", json!({ "id": "task-1", "ID": 1 }), "- ID: is not known here; did you mean `id`?"),
            ("tasks_get", json!({ "id": ".." }), "- id: names nothing"),
            ("tasks_get", json!({ "id": "x".repeat(10_000) }), "- id: has 10000 characters"),
            ("tasks_list", json!({ "limit": 1000 }), "allowed is from 1 to 200"),
            ("tasks_get", json!({ "id": "task-9" }), "tasks_list"),
            ("tasks_respond", json!({ "id": "task-9", "decision": "approve" }), "FM-HTS-NOT-FOUND"),
        ] {
            let result = session.call_tool(request(tool, arguments)).await.unwrap();
            assert_eq!(result.is_error, Some(true), "{tool}");
            assert!(result.structured_content.is_none());
            assert!(text(&result).contains(says), "{tool}: {}", text(&result));
        }
        for arguments in [json!({ "limit": "5" }), json!({ "limit": null, "status": "created" })] {
            assert_eq!(session.call_tool(request("tasks_list", arguments)).await.unwrap().is_error, Some(false));
        }
        assert_eq!(told.lock().unwrap().requests, ["list", "list"]);
    }
}

#[tokio::test]
async fn a_call_that_does_not_come_back_ends() {
    let (url, _) = platform().await;
    let settings = Settings { call_timeout: Duration::from_millis(200), ..Settings::default() };
    let session = connect(&app(&url, settings), revisions()[0].clone(), Host::new(None)).await;
    let result = session.call_tool(request("executions_get", json!({ "id": "exec-1" }))).await.unwrap();
    assert!(text(&result).contains("Call again in"), "{}", text(&result));
}

#[tokio::test]
async fn what_a_token_does_not_permit_is_neither_seen_nor_done() {
    let (url, _) = platform().await;
    let mut caller = somebody();
    caller.permissions = Some(vec!["task:view".to_owned()].into());
    let app = app(&url, Settings::default());
    for revision in revisions() {
        let session = connect_as(&app, caller.clone(), revision, Host::new(ElicitationAction::Accept)).await;
        let tools: Vec<String> = session.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned()).collect();
        assert!(tools.contains(&"tasks_get".to_owned()) && !tools.contains(&"tasks_respond".to_owned()), "{tools:?}");
        let result = session.call_tool(respond()).await.unwrap();
        assert!(text(&result).contains("FM-MCP-FORBIDDEN") && text(&result).contains("task:approve"), "{}", text(&result));
        assert!(session.list_all_resource_templates().await.unwrap().iter().all(|template| template.uri_template.contains("tasks")));
        assert_eq!(session.list_all_prompts().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn resources_prompts_and_completions_bring_live_data() {
    for (revision, missing) in revisions().into_iter().zip([ErrorCode::RESOURCE_NOT_FOUND, ErrorCode::INVALID_PARAMS]) {
        let (url, _) = platform().await;
        let session = connect(&app(&url, Settings::default()), revision, Host::new(None)).await;
        assert_eq!(session.list_all_resources().await.unwrap()[0].uri, "flowmaster://tasks");
        let templates = SERVICES.iter().flat_map(|service| service.resources).filter(|resource| resource.is_template()).count();
        assert_eq!(session.list_all_resource_templates().await.unwrap().len(), templates);
        let read = session.read_resource(ReadResourceRequestParams::new("flowmaster://tasks/task-1")).await.unwrap();
        assert!(serde_json::to_string(&read.contents).unwrap().contains("Approve order 42"));
        for uri in ["flowmaster://tasks/task-9", "flowmaster://nothing", "file:///etc/passwd"] {
            let Err(ServiceError::McpError(error)) = session.read_resource(ReadResourceRequestParams::new(uri)).await else {
                panic!("{uri} is there")
            };
            assert_eq!((error.code, &error.data.unwrap()["uri"]), (missing, &json!(uri)));
        }
        let prompt = session.get_prompt(rmcp::model::GetPromptRequestParams::new("approve-inbox")).await.unwrap();
        assert!(serde_json::to_string(&prompt.messages).unwrap().contains("exec-7"));
        assert!(session.get_prompt(rmcp::model::GetPromptRequestParams::new("nothing")).await.is_err());
        assert!(session.get_prompt(rmcp::model::GetPromptRequestParams::new("diagnose-execution")).await.is_err());
        assert_eq!(session.complete_prompt_simple("diagnose-execution", "executionId", "exec").await.unwrap(), ["exec-8"]);
        assert_eq!(session.complete_resource_simple("flowmaster://tasks/{id}", "id", "task-").await.unwrap(), ["task-1"]);
        assert!(session.complete_resource_simple("flowmaster://tasks/{id}", "id", "other").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_end_of_input_ends_the_server_at_any_time() {
    let (url, _) = platform().await;
    let app = app(&url, Settings::default());
    serve_stdio(Arc::clone(&app), Arc::new(Arc::new(somebody())), tokio::io::empty(), tokio::io::sink(), CancellationToken::new())
        .await
        .unwrap();
    let token = CancellationToken::new();
    token.cancel();
    let (_kept, input) = tokio::io::duplex(64);
    serve_stdio(app, Arc::new(Arc::new(somebody())), input, tokio::io::sink(), token).await.unwrap();
}

#[tokio::test]
async fn broken_lines_are_passed_over_and_the_next_is_served() {
    let (url, _) = platform().await;
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(theirs);
    let served =
        tokio::spawn(serve_stdio(app(&url, Settings::default()), Arc::new(Arc::new(somebody())), input, output, CancellationToken::new()));
    let (read, mut write) = tokio::io::split(ours);
    let mut lines = BufReader::new(read).lines();
    write
        .write_all(
            b"{\"jsonrpc\": broken\n\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n[]\n\xff\xfe\n\
              {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{},\
              \"clientInfo\":{\"name\":\"t\",\"version\":\"1\"}}}\nnot json\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}\n",
        )
        .await
        .unwrap();
    let mut ids = Vec::new();
    while ids.len() < 2 {
        let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        if line.get("result").is_some() {
            ids.push(line["id"].as_u64().unwrap());
        }
    }
    assert_eq!(ids, [1, 2]);
    drop(write);
    drop(lines);
    served.await.unwrap().unwrap();
}
