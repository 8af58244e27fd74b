//! A caller whose token ends or whose permission is taken away while it waits: whichever way it listens by, it hears of
//! nothing that happens from then on. Resource updates and webhooks have the same in their own suites.

use std::time::Duration;

use flowmaster_mcp::server::Settings;
use serde_json::{Value, json};

use crate::support::mcp::{admission, app};
use crate::support::platform::TestPlatform;
use crate::support::raw::{Answer, Served, answer, serve};

const RIGHTS: [&str; 5] = ["execution:view", "task:view", "event:view", "subscription:create", "subscription:delete"];

/// How a caller ceases to be one who may hear.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Permission,
    Token,
}

/// A watcher, and an execution that waits for the owner's approval.
struct Watch {
    platform: TestPlatform,
    served: Served,
    role: String,
    token: String,
    execution: String,
    task: String,
}

impl Watch {
    async fn begin() -> Self {
        let platform = TestPlatform::start().await;
        let boss = platform.owner();
        let role = platform.post("/roles", &boss, json!({ "name": "watcher", "permissions": RIGHTS })).await.ok();
        platform.user("tenant-local", "wanda@acme.example", &["watcher"], &[]).await;
        let token = platform.login("tenant-local", "wanda@acme.example").await;
        let nodes = json!([{ "id": "ask", "type": "human_task", "config": { "assignee": "user-owner", "title": "Approve" } }]);
        let process = platform.post("/processes/designs", &boss, json!({ "name": "Approval", "nodes": nodes })).await.ok()["id"].clone();
        platform.post(&format!("/processes/{}/publish", process.as_str().unwrap()), &boss, json!({})).await.ok();
        let execution = platform.post("/executions", &boss, json!({ "processId": process })).await.ok()["executionId"].clone();
        let execution = execution.as_str().unwrap().to_owned();
        let tasks = platform.get(&format!("/tasks?executionId={execution}"), &boss).await.ok();
        let task = tasks["items"][0]["taskId"].as_str().unwrap().to_owned();
        let served = serve(app(&platform, Settings::default()), admission(&platform, Duration::from_secs(1)), |options| {
            options.validate_interval = Duration::from_secs(1);
        })
        .await;
        Self { role: role["roleId"].as_str().unwrap().to_owned(), platform, served, token, execution, task }
    }

    async fn end(&self, end: End) {
        let boss = self.platform.owner();
        match end {
            End::Permission => {
                let path = format!("/roles/{}/permissions", self.role);
                self.platform.put(&path, &boss, json!({ "permissions": ["process:view"] })).await.ok();
            }
            End::Token => drop(self.platform.post("/auth/logout", &self.token, json!({})).await.ok()),
        }
        // Now something happens.
        self.platform.put(&format!("/tasks/{}/respond", self.task), &boss, json!({ "decision": "approve" })).await.ok();
    }

    /// A request of a host that knows tasks.
    async fn ask(&self, method: &str, mut params: Value) -> Answer {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": { "extensions": { "io.modelcontextprotocol/tasks": {} } },
        });
        let name = params["name"].as_str().or(params["taskId"].as_str()).unwrap_or_default().to_owned();
        let request = self
            .served
            .request(reqwest::Method::POST, "/mcp", &self.token)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method)
            .header("mcp-name", name)
            .body(json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string());
        answer(request).await
    }

    /// Holds an answer to tell nothing of what happened, and to be a refusal.
    fn tells_nothing(answer: &Answer, end: End) {
        let text = answer.body.to_string();
        assert!(
            !text.contains("completed\\\"") && !text.contains("\"approve\"") && !text.contains("execution.completed"),
            "{end:?}: {text}"
        );
        let is_refused = answer.status == 401 || answer.body.get("error").is_some() || text.contains("\"isError\":true");
        assert!(is_refused, "{end:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_tool_that_waits_ends_and_tells_nothing() {
    for end in [End::Permission, End::Token] {
        let watch = Watch::begin().await;
        let wait = |tool: &str, arguments: Value| {
            answer(watch.served.modern(&watch.token, "tools/call", &json!({ "name": tool, "arguments": arguments })))
        };
        let (execution, task, events, ()) = tokio::join!(
            wait("executions_wait", json!({ "id": watch.execution, "until": "end", "timeoutSeconds": 60 })),
            wait("tasks_wait", json!({ "id": watch.task, "timeoutSeconds": 60 })),
            wait("events_wait", json!({ "topic": "execution.completed", "timeoutSeconds": 60 })),
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                watch.end(end).await;
            }
        );
        for answer in [execution, task, events] {
            Watch::tells_nothing(&answer, end);
        }
    }
}

#[tokio::test]
async fn a_poll_that_is_held_open_ends_and_tells_nothing() {
    for end in [End::Permission, End::Token] {
        let watch = Watch::begin().await;
        let params = json!({ "name": "event.published", "arguments": { "topic": "execution.*" } });
        let begun = answer(watch.served.modern(&watch.token, "events/poll", &params)).await.result().clone();
        let mut held = params.clone();
        (held["cursor"], held["timeoutMs"]) = (begun["cursor"].clone(), json!(50_000));
        let (polled, ()) = tokio::join!(answer(watch.served.modern(&watch.token, "events/poll", &held)), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            watch.end(end).await;
        });
        Watch::tells_nothing(&polled, end);
        if end == End::Permission {
            assert_eq!(polled.body["error"]["code"], -32012, "{polled:?}");
        }
    }
}

#[tokio::test]
async fn a_task_ends_for_its_caller_and_tells_nothing() {
    for end in [End::Permission, End::Token] {
        let watch = Watch::begin().await;
        let call = json!({ "name": "executions_wait", "arguments": { "id": watch.execution, "until": "end" } });
        let begun = watch.ask("tools/call", call).await.result().clone();
        assert_eq!(begun["resultType"], "task", "{begun}");
        let id = json!({ "taskId": begun["taskId"] });
        assert_eq!(watch.ask("tasks/get", id.clone()).await.result()["status"], "working");
        watch.end(end).await;
        for _ in 0..2 {
            Watch::tells_nothing(&watch.ask("tasks/get", id.clone()).await, end);
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
    }
}
