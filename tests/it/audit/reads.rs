//! Rows of what is read without a tool: resources, prompts and completion, by callers that are known and by nobody.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::auth::{Caller, Principal};
use flowmaster_mcp::client::{Client, Fixed};
use flowmaster_mcp::error::{Error, Kind, Result};
use flowmaster_mcp::server::{App, Options, Settings, audit};
use futures_util::future::BoxFuture;
use http::StatusCode;
use rmcp::model::{ArgumentInfo, CompleteRequestParams, GetPromptRequestParams, ReadResourceRequestParams, Reference};
use rmcp::service::ClientLifecycleMode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::mcp::{Host, Session, over_stdio, revisions};
use crate::support::raw::user;
use crate::support::standin::StandIn;

/// A login that has ended.
struct Nobody;

impl Principal for Nobody {
    fn caller(&self) -> BoxFuture<'_, Result<Arc<Caller>>> {
        let ended = Error::new(Kind::Unauthenticated, "FM-MCP-LOGIN-ENDED", "the login ended");
        Box::pin(std::future::ready(Err(ended)))
    }
}

async fn connect(
    platform: &StandIn,
    file: &Path,
    by: Arc<dyn Principal>,
    revision: ClientLifecycleMode,
) -> (Session, JoinHandle<Result<()>>) {
    let client = Client::builder(Arc::new(Fixed::new(&platform.url).unwrap())).build();
    let audit = audit::Options { platform: false, file: Some(file.to_owned()), ..audit::Options::new(file.parent().unwrap()) };
    let app = App::new(Options { client, settings: Settings { audit: Some(audit), ..Settings::default() } }).unwrap();
    over_stdio(app, by, revision, Host::new(None)).await
}

/// Ends a connection, with which the record is flushed, and tells its rows.
async fn rows((session, server): (Session, JoinHandle<Result<()>>), file: &Path) -> Vec<String> {
    session.cancel().await.unwrap();
    server.await.unwrap().unwrap();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let gist = |row: Value| {
        let word = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        ["action", "resourceType", "resource", "decision", "outcome"].map(word).join(" ")
    };
    text.lines().map(|line| gist(serde_json::from_str(line).unwrap())).collect()
}

fn completion(of: Reference, argument: &str) -> CompleteRequestParams {
    CompleteRequestParams::new(of, ArgumentInfo::new(argument, ""))
}

#[tokio::test]
async fn what_is_read_without_a_tool_is_a_row_and_what_reads_nothing_is_none() {
    let platform = StandIn::start(|asked| async move {
        match asked.path.as_str() {
            "/tasks" => Json(json!({ "items": [{ "taskId": "task-1", "executionId": "exec-1" }] })).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    })
    .await;
    for revision in revisions() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("rows.jsonl");
        let caller: Arc<dyn Principal> = Arc::new(Arc::new(user("tenant-1", "anna", &["*"])));
        let connection = connect(&platform, &file, caller, revision).await;
        let session = &connection.0;
        session.list_all_tools().await.unwrap();
        session.list_all_resources().await.unwrap();
        session.list_all_prompts().await.unwrap();
        session.read_resource(ReadResourceRequestParams::new("flowmaster://tasks")).await.unwrap();
        session.read_resource(ReadResourceRequestParams::new("flowmaster://tasks/task-9")).await.unwrap_err();
        session.get_prompt(GetPromptRequestParams::new("diagnose-execution")).await.unwrap_err();
        session.complete(completion(Reference::for_prompt("approve-inbox"), "assignee")).await.unwrap();
        let tasks = || Reference::for_resource("flowmaster://tasks/{id}");
        assert_eq!(session.complete(completion(tasks(), "id")).await.unwrap().completion.values, ["task-1"]);
        session.complete(completion(Reference::for_resource("flowmaster://processes/{id}/versions"), "id")).await.unwrap();
        for invented in 0..50 {
            session.read_resource(ReadResourceRequestParams::new(format!("flowmaster://made-up/{invented}"))).await.unwrap_err();
        }
        let rows = rows(connection, &file).await;
        let expected = [
            "mcp.called resource flowmaster://tasks allowed ok",
            "mcp.called resource flowmaster://tasks/task-9 allowed HTTP-404",
            "mcp.refused prompt diagnose-execution denied FM-MCP-ARGUMENTS",
            "mcp.called completion flowmaster://tasks/{id}#id allowed ok",
            "mcp.called completion flowmaster://processes/{id}/versions#id allowed HTTP-404",
            "mcp.refused resource flowmaster://made-up/0 denied FM-MCP-NOT-SEEN",
            "mcp.refused resource flowmaster://made-up/0 denied FM-MCP-NOT-SEEN",
        ];
        assert_eq!(rows, expected, "the last of them counts the other 49");
    }
}

#[tokio::test]
async fn whatever_nobody_asks_for_is_refused_in_a_row() {
    let platform = StandIn::start(|_| async { StatusCode::IM_A_TEAPOT.into_response() }).await;
    for revision in revisions() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("rows.jsonl");
        let connection = connect(&platform, &file, Arc::new(Nobody), revision).await;
        let session = &connection.0;
        session.list_all_tools().await.unwrap_err();
        session.list_all_resources().await.unwrap_err();
        session.list_all_resource_templates().await.unwrap_err();
        session.read_resource(ReadResourceRequestParams::new("flowmaster://tasks")).await.unwrap_err();
        session.list_all_prompts().await.unwrap_err();
        session.get_prompt(GetPromptRequestParams::new("approve-inbox")).await.unwrap_err();
        session.complete(completion(Reference::for_prompt("approve-inbox"), "assignee")).await.unwrap_err();
        let rows = rows(connection, &file).await;
        let methods = [
            "tools/list",
            "resources/list",
            "resources/templates/list",
            "resources/read",
            "prompts/list",
            "prompts/get",
            "completion/complete",
        ];
        assert_eq!(rows, methods.map(|method| format!("mcp.refused endpoint {method} denied FM-MCP-LOGIN-ENDED")));
        assert!(platform.asked().is_empty());
    }
}
