//! Long work as tasks of MCP: begun in one server, asked for in another, and nobody else's.

mod calls;
mod jobs;

use std::time::Duration;

use flowmaster_mcp::server::Settings;
use serde_json::{Value, json};

use crate::support::mcp::{admission, app};
use crate::support::platform::TestPlatform;
use crate::support::raw::{Served, answer, serve};

/// A server on a data folder, as one of several processes.
async fn server(platform: &TestPlatform, data: &std::path::Path) -> Served {
    let settings = Settings { data_dir: Some(data.to_owned()), ..Settings::default() };
    serve(app(platform, settings), admission(platform, Duration::from_mins(1)), |_| {}).await
}

/// A request of a host that knows tasks.
async fn request(served: &Served, token: &str, method: &str, params: Value) -> Value {
    request_of(json!({}), served, token, method, params).await
}

/// The same of a host that can do more.
async fn request_of(mut capabilities: Value, served: &Served, token: &str, method: &str, mut params: Value) -> Value {
    capabilities["extensions"] = json!({ "io.modelcontextprotocol/tasks": {} });
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    let mut request =
        served.request(reqwest::Method::POST, "/mcp", token).header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
    if let Some(name) = params["name"].as_str().or(params["taskId"].as_str()) {
        request = request.header("mcp-name", name);
    }
    answer(request.body(json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string())).await.body
}

async fn wait(served: &Served, token: &str, arguments: Value) -> Value {
    request(served, token, "tools/call", json!({ "name": "executions_wait", "arguments": arguments })).await["result"].clone()
}

/// Begins a tool as a host that knows tasks does.
async fn begin(served: &Served, token: &str, tool: &str, arguments: Value) -> Value {
    request(served, token, "tools/call", json!({ "name": tool, "arguments": arguments })).await["result"].clone()
}

/// Where a task stands.
async fn state(served: &Served, token: &str, begun: &Value) -> Value {
    request(served, token, "tasks/get", json!({ "taskId": begun["taskId"] })).await["result"].clone()
}

/// Asks for a task until it has ended.
async fn ended(served: &Served, token: &str, begun: &Value) -> Value {
    for _ in 0..600 {
        let state = state(served, token, begun).await;
        if state["status"] != "working" {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the task did not end in time: {begun}");
}

/// The one question of a task.
fn only(requests: &Value) -> (String, Value) {
    let requests = requests.as_object().unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.iter().next().map(|(key, request)| (key.clone(), request.clone())).unwrap()
}

/// An execution that waits for the owner, and its task.
async fn execution(platform: &TestPlatform) -> (String, String) {
    let owner = platform.owner();
    let nodes = json!([{ "id": "ask", "type": "human_task", "config": { "assignee": "user-owner", "title": "Approve" } }]);
    let id = platform.post("/processes/designs", &owner, json!({ "name": "Approval", "nodes": nodes })).await.ok()["id"].clone();
    platform.post(&format!("/processes/{}/publish", id.as_str().unwrap()), &owner, json!({})).await.ok();
    let started = platform.post("/executions", &owner, json!({ "processId": id })).await.ok();
    let execution = started["executionId"].as_str().unwrap().to_owned();
    let tasks = platform.get(&format!("/tasks?executionId={execution}"), &owner).await.ok();
    (execution, tasks["items"][0]["taskId"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_task_is_its_owners_and_outlives_its_server() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let owner = platform.owner();
    let stranger = platform.signed_in("globex", "eve@globex.example", &["*"]).await;
    let (execution, task) = execution(&platform).await;
    let first = server(&platform, folder.path()).await;
    let begun = wait(&first, &owner, json!({ "id": execution, "until": "end" })).await;
    assert_eq!((&begun["resultType"], &begun["status"]), (&json!("task"), &json!("working")), "{begun}");
    let id = json!({ "taskId": begun["taskId"] });
    assert_eq!(request(&first, &owner, "tasks/get", id.clone()).await["result"]["status"], "working");
    drop(first);

    let second = server(&platform, folder.path()).await;
    for method in ["tasks/get", "tasks/cancel"] {
        let refused = request(&second, &stranger, method, id.clone()).await;
        assert_eq!(refused["error"]["data"]["code"], "FM-MCP-TASK-UNKNOWN", "{method}: {refused}");
    }
    assert_eq!(request(&second, &owner, "tasks/get", id.clone()).await["result"]["status"], "working");
    platform.put(&format!("/tasks/{task}/respond"), &owner, json!({ "decision": "approve" })).await.ok();
    for _ in 0..2 {
        let done = request(&second, &owner, "tasks/get", id.clone()).await["result"].clone();
        assert_eq!(done["status"], "completed", "{done}");
        let answer = &done["result"]["structuredContent"];
        assert_eq!((&answer["reached"], &answer["execution"]["status"]), (&json!(true), &json!("completed")), "{done}");
    }
    // What has come needs no task.
    assert_eq!(wait(&second, &owner, json!({ "id": execution })).await["structuredContent"]["reached"], true);
}

#[tokio::test]
async fn a_task_is_cancelled_once_and_ends_with_its_time() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let owner = platform.owner();
    let (execution, task) = execution(&platform).await;
    let served = server(&platform, folder.path()).await;
    let begun = wait(&served, &owner, json!({ "id": execution, "until": "end" })).await;
    let id = json!({ "taskId": begun["taskId"] });
    assert_eq!(request(&served, &owner, "tasks/cancel", id.clone()).await["result"]["resultType"], "complete");
    let short = wait(&served, &owner, json!({ "id": execution, "until": "end", "timeoutSeconds": 1 })).await;
    let short_id = json!({ "taskId": short["taskId"] });
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let late = request(&served, &owner, "tasks/get", short_id).await["result"].clone();
    assert_eq!((&late["status"], &late["result"]["structuredContent"]["reached"]), (&json!("completed"), &json!(false)), "{late}");
    platform.put(&format!("/tasks/{task}/respond"), &owner, json!({ "decision": "approve" })).await.ok();
    assert_eq!(request(&served, &owner, "tasks/get", id.clone()).await["result"]["status"], "cancelled");
    let answered = json!({ "taskId": begun["taskId"], "inputResponses": {} });
    assert_eq!(request(&served, &owner, "tasks/update", answered).await["error"]["data"]["code"], "FM-MCP-TASK-ASKS-NOTHING");
}

#[tokio::test]
async fn a_start_that_waits_is_a_task_and_answers_the_execution() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let owner = platform.owner();
    let (execution, _) = execution(&platform).await;
    let process = platform.get(&format!("/executions/{execution}"), &owner).await.ok()["processId"].clone();
    let served = server(&platform, folder.path()).await;
    // A person's turn has come at once.
    let person = begin(&served, &owner, "executions_start", json!({ "processId": process, "waitSeconds": 60 })).await;
    let answer = &person["structuredContent"];
    assert_eq!((&answer["status"], &answer["waited"]["reason"]), (&json!("waiting"), &json!("person")), "{person}");

    let nodes = json!([{ "id": "nap", "type": "timer", "config": { "seconds": 1 } }]);
    let slow = platform.post("/processes/designs", &owner, json!({ "name": "Slow", "nodes": nodes })).await.ok()["id"].clone();
    platform.post(&format!("/processes/{}/publish", slow.as_str().unwrap()), &owner, json!({})).await.ok();
    let begun = begin(&served, &owner, "executions_start", json!({ "processId": slow, "waitSeconds": 60 })).await;
    assert_eq!((&begun["resultType"], &begun["status"]), (&json!("task"), &json!("working")), "{begun}");
    assert!(begun["statusMessage"].as_str().unwrap().contains("of 1 nodes done"), "{begun}");
    platform.clock.advance(2.0);
    let done = ended(&served, &owner, &begun).await;
    let answer = &done["result"]["structuredContent"];
    assert_eq!((&answer["status"], &answer["waited"]["reached"]), (&json!("completed"), &json!(true)), "{done}");
    assert_eq!(done["statusMessage"], "completed, 1 of 1 nodes done", "{done}");
}

#[tokio::test]
async fn a_person_is_asked_for_the_decision_that_a_wait_stands_still_for() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let owner = platform.owner();
    let (execution, task) = execution(&platform).await;
    let served = server(&platform, folder.path()).await;
    let ask = async |method: &str, params: Value| request_of(json!({ "elicitation": {} }), &served, &owner, method, params).await;
    let wait = json!({ "name": "executions_wait", "arguments": { "id": execution, "until": "end" } });
    let id = json!({ "taskId": ask("tools/call", wait.clone()).await["result"]["taskId"] });
    let asked = ask("tasks/get", id.clone()).await["result"].clone();
    assert_eq!(asked["status"], "input_required", "{asked}");
    let (key, question) = only(&asked["inputRequests"]);
    assert_eq!(question["method"], "elicitation/create", "{asked}");
    assert!(question["params"]["message"].as_str().unwrap().contains("- title: Approve"), "{asked}");
    assert_eq!(question["params"]["requestedSchema"]["properties"]["decision"]["type"], "string", "{asked}");
    // A host that cannot ask is not told to, and one that answers something else is told so.
    assert_eq!(request(&served, &owner, "tasks/get", id.clone()).await["result"]["status"], "working");
    assert_eq!(ask("tasks/get", id.clone()).await["result"]["status"], "input_required");
    let other = json!({ "taskId": id["taskId"], "inputResponses": { "other": { "action": "accept" } } });
    assert_eq!(ask("tasks/update", other).await["error"]["data"]["code"], "FM-MCP-TASK-ASKS-NOTHING");

    let answer = |key: &str, content: Value| json!({ "taskId": id["taskId"], "inputResponses": { key: { "action": "accept", "content": content } } });
    assert_eq!(ask("tasks/update", answer(&key, json!({ "decision": "" }))).await["result"]["resultType"], "complete");
    let again = ask("tasks/get", id.clone()).await["result"].clone();
    let (second, question) = only(&again["inputRequests"]);
    assert_ne!(second, key, "it is another question");
    assert!(question["params"]["message"].as_str().unwrap().starts_with("The last answer was not taken: decision"), "{again}");
    ask("tasks/update", answer(&second, json!({ "decision": "approve", "comments": "fine" }))).await;
    let done = ask("tasks/get", id.clone()).await["result"].clone();
    assert_eq!((&done["status"], &done["result"]["structuredContent"]["execution"]["status"]), (&json!("completed"), &json!("completed")));
    let answered = platform.get(&format!("/tasks/{task}"), &owner).await.ok();
    assert_eq!((&answered["response"]["decision"], &answered["response"]["comments"]), (&json!("approve"), &json!("fine")), "{answered}");
}

#[tokio::test]
async fn who_does_not_want_to_decide_is_asked_once_and_others_are_not() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let owner = platform.owner();
    let clerk = platform.signed_in("tenant-local", "clerk@example.com", &["execution:view", "task:view"]).await;
    let (execution, task) = execution(&platform).await;
    let served = server(&platform, folder.path()).await;
    let ask =
        async |token: &str, method: &str, params: Value| request_of(json!({ "elicitation": {} }), &served, token, method, params).await;
    for (token, tool, arguments) in [
        (&owner, "executions_wait", json!({ "id": execution, "until": "end" })),
        (&owner, "tasks_wait", json!({ "id": task })),
        (&clerk, "executions_wait", json!({ "id": execution, "until": "end" })),
    ] {
        let begun = ask(token, "tools/call", json!({ "name": tool, "arguments": arguments })).await["result"].clone();
        let id = json!({ "taskId": begun["taskId"] });
        if *token == owner {
            let asked = ask(token, "tasks/get", id.clone()).await["result"].clone();
            assert_eq!(asked["status"], "input_required", "{tool}");
            let (key, _) = only(&asked["inputRequests"]);
            let declined = json!({ "taskId": id["taskId"], "inputResponses": { key: { "action": "decline" } } });
            ask(token, "tasks/update", declined).await;
        }
        assert_eq!(ask(token, "tasks/get", id.clone()).await["result"]["status"], "working", "{tool}");
    }
    assert_eq!(platform.get(&format!("/tasks/{task}"), &owner).await.ok()["status"], "assigned", "nothing was decided");
}

#[tokio::test]
async fn a_host_that_knows_no_tasks_waits_for_the_answer() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let (execution, _) = execution(&platform).await;
    let served = server(&platform, folder.path()).await;
    let params = json!({ "name": "executions_wait", "arguments": { "id": execution, "until": "end", "timeoutSeconds": 1 } });
    let waited = answer(served.modern(&platform.owner(), "tools/call", &params)).await;
    assert_eq!(waited.result()["structuredContent"]["reason"], "timeout");
    let refused = answer(served.modern(&platform.owner(), "tasks/get", &json!({ "taskId": "x" }))).await;
    assert!(refused.body.get("error").is_some(), "{:#}", refused.body);
}
