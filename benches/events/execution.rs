//! The embedded platform as a program by itself, and its executions, each of which asks a person.

use std::path::Path;
use std::process::Stdio;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::Failure;
use crate::program::{Program, released};

/// The embedded platform in a folder.
pub fn platform(home: &Path) -> Result<Program, Failure> {
    let mut command = released(home)?;
    Program::start(command.args(["platform", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null()))
}

/// A caller of the embedded platform itself.
pub struct Executions<'a> {
    http: Client,
    platform: &'a Program,
    token: &'a str,
    process: String,
}

impl<'a> Executions<'a> {
    /// Publishes the process.
    pub async fn new(platform: &'a Program, token: &'a str) -> Result<Self, Failure> {
        let http = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let mut executions = Self { http, platform, token, process: String::new() };
        let nodes = json!([{ "id": "ask", "type": "human_task", "config": { "assignee": "user-owner", "title": "Approve" } }]);
        let process = executions.send(Method::POST, "/processes/designs", json!({ "name": "Approval", "nodes": nodes })).await?;
        executions.process = text(&process["id"])?;
        let published = format!("/processes/{}/publish", executions.process);
        executions.send(Method::POST, &published, json!({})).await?;
        Ok(executions)
    }

    /// Starts one; returns its id.
    pub async fn start(&self) -> Result<String, Failure> {
        text(&self.send(Method::POST, "/executions", json!({ "processId": self.process })).await?["executionId"])
    }

    /// The task that an execution waits for.
    pub async fn task(&self, execution: &str) -> Result<String, Failure> {
        text(&self.send(Method::GET, &format!("/tasks?executionId={execution}"), Value::Null).await?["items"][0]["taskId"])
    }

    /// Answers a task, which ends its execution.
    pub async fn answer(&self, task: &str) -> Result<(), Failure> {
        self.send(Method::PUT, &format!("/tasks/{task}/respond"), json!({ "decision": "approve" })).await.map(drop)
    }

    pub async fn send(&self, method: Method, path: &str, body: Value) -> Result<Value, Failure> {
        let mut request = self.http.request(method, format!("{}{path}", self.platform.url)).bearer_auth(self.token);
        if !body.is_null() {
            request = request.json(&body);
        }
        Ok(request.send().await?.error_for_status()?.json().await?)
    }
}

fn text(value: &Value) -> Result<String, Failure> {
    value.as_str().map(str::to_owned).ok_or_else(|| "an answer without an id".into())
}
