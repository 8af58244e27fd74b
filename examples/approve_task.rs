//! An MCP host in a few lines: it starts the server, calls a tool that decides, and answers the server's question.
//!
//! `cargo run --example approve_task`

#![expect(clippy::print_stdout, reason = "an example ends in visible output")]

use std::sync::Arc;

use flowmaster_mcp::auth::{Caller, Credential, Principal};
use flowmaster_mcp::cli::Embedded;
use flowmaster_mcp::client::Client;
use flowmaster_mcp::platform;
use flowmaster_mcp::server::{App, Options, Settings, serve_stdio};
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction, ErrorData,
    Implementation,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::{ClientHandler, RoleClient, ServiceExt};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A host whose user says yes.
struct Host;

impl ClientHandler for Host {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::builder().enable_elicitation().build(), Implementation::new("approve_task", "1.0.0"))
    }

    async fn create_elicitation(&self, request: ElicitRequestParams, _: RequestContext<RoleClient>) -> Result<ElicitResult, ErrorData> {
        if let ElicitRequestParams::FormElicitationParams { message, .. } = request {
            println!("\nThe server asks:");
            message.lines().for_each(|line| println!("  | {line}"));
            println!("The user says yes.\n");
        }
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({})))
    }
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let platform = Embedded::new(platform::Options::new(folder.path().join("data")));
    let principal: Arc<dyn Principal> = Arc::new(Arc::new(Caller::owner(Credential::Owner)));
    let app = App::new(Options { client: Client::builder(platform.clone()).build(), settings: Settings::default() })?;
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(theirs);
    let server = tokio::spawn(serve_stdio(app, principal, input, output, CancellationToken::new()));
    let host = Host.serve(tokio::io::split(ours)).await?;

    let task = call(
        &host,
        "tasks_create",
        json!({
            "title": "Approve Budget Request",
            "description": "Review $5000 request for project X",
            "assignee": "manager",
            "form": { "fields": [{ "name": "decision", "type": "enum", "options": ["approve", "reject", "revise"] }] }
        }),
    )
    .await?;
    println!("{} is {}", text(&task, "/taskId"), text(&task, "/status"));

    let answered = call(&host, "tasks_respond", json!({ "id": task["taskId"], "decision": "approve" })).await?;
    println!("{} is {}: {}", text(&answered, "/taskId"), text(&answered, "/status"), text(&answered, "/response/decision"));

    host.cancel().await?;
    server.await??;
    platform.close().await;
    Ok(())
}

async fn call(host: &RunningService<RoleClient, Host>, tool: &'static str, arguments: Value) -> Result<Value, Failure> {
    let Value::Object(arguments) = arguments else { return Err("the arguments are not an object".into()) };
    let result = host.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
    match (result.is_error, result.structured_content) {
        (Some(true), _) | (_, None) => Err(format!("{tool} failed: {:?}", result.content).into()),
        (_, Some(answer)) => Ok(answer),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("unknown")
}
