//! Calls the platform by types: a process is designed, published and started, and each answer is a value of its type.
//!
//! `cargo run --example call_typed`

#![expect(clippy::print_stdout, reason = "an example ends in visible output")]

use std::sync::Arc;

use flowmaster_mcp::api::services::{executions, processes, tasks};
use flowmaster_mcp::auth::{Caller, Credential};
use flowmaster_mcp::cli::Embedded;
use flowmaster_mcp::client::Client;
use flowmaster_mcp::platform::Options;
use serde_json::{Value, from_value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let platform = Embedded::new(Options::new(folder.path().join("data")));
    let client = Client::builder(platform.clone()).build();
    let caller = Arc::new(Caller::owner(Credential::Owner));

    let design: processes::Create = from_value(json!({
        "name": "Approval Workflow",
        "nodes": [{ "id": "node-1", "type": "human_task", "config": { "assignee": "manager" } }],
        "version": "1.0.0"
    }))?;
    let process = client.send(&caller, &design).await?;
    println!("designed   {} {} ({})", process.name, process.version, process.status);

    let published = client.send(&caller, &processes::Publish { id: process.id.clone(), version: None }).await?;
    println!("published  {} ({})", published.id, published.status);

    let Value::Object(variables) = json!({ "userId": "user-456", "amount": 5000 }) else { return Err("no object".into()) };
    let start = executions::Start { process_id: process.id, version: None, variables: Some(variables), initiator: None };
    let execution = client.send(&caller, &start).await?;
    println!("started    {} ({})", execution.execution_id, execution.status);

    let inbox = tasks::List { execution_id: Some(execution.execution_id), ..tasks::List::default() };
    for task in client.send(&caller, &inbox).await?.items {
        println!("waits for  {}: {}", task.assigned_to.as_deref().unwrap_or("nobody"), task.task_id);
    }

    // A failure has a stable code and a sentence.
    let missing = executions::Get { id: "exec-none".into() };
    if let Err(error) = client.send(&caller, &missing).await {
        println!("refused    {error}");
    }
    platform.close().await;
    Ok(())
}
