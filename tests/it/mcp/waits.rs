//! Tools that wait: for an execution and for a task, with another process doing what is waited for.

use std::sync::{Arc, Mutex};

use flowmaster_mcp::auth::Caller;
use flowmaster_mcp::server::Settings;
use rmcp::model::{CallToolRequestParams, ProgressNotificationParam};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Value, json};

use crate::support::mcp::{Host, app, call, ok, over_stdio, owner, revisions, text};
use crate::support::platform::TestPlatform;

/// A host that keeps what it is told of a call's progress.
#[derive(Clone, Default)]
struct Watcher(Arc<Mutex<Vec<String>>>);

impl ClientHandler for Watcher {
    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.0.lock().unwrap().push(progress.message.unwrap_or_default());
    }
}

impl Watcher {
    /// Waits for a message, which may come after the answer.
    async fn hears(&self, message: &str) {
        for _ in 0..200 {
            if self.0.lock().unwrap().iter().any(|told| told == message) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it was not told {message}: {:?}", self.0.lock().unwrap());
    }
}

/// A process of a computation and an approval, published.
async fn process(platform: &TestPlatform) -> Value {
    let owner = platform.owner();
    let design = json!({
        "name": "Two steps",
        "nodes": [
            { "id": "sum", "type": "script", "config": { "expression": "1 + 1", "output": "total" } },
            { "id": "ask", "type": "human_task", "config": { "assignee": "manager", "title": "Approve" } },
        ],
        "edges": [{ "from": "sum", "to": "ask" }],
    });
    let id = platform.post("/processes/designs", &owner, design).await.ok()["id"].clone();
    platform.post(&format!("/processes/{}/publish", id.as_str().unwrap()), &owner, json!({})).await.ok();
    id
}

async fn start(platform: &TestPlatform, process: &Value) -> String {
    let started = platform.post("/executions", &platform.owner(), json!({ "processId": process })).await.ok();
    started["executionId"].as_str().unwrap().to_owned()
}

async fn wait(session: &RunningService<RoleClient, Watcher>, tool: &str, arguments: Value) -> Value {
    let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments.as_object().cloned().unwrap());
    ok(session.call_tool(request).await.unwrap())
}

#[tokio::test]
async fn a_wait_ends_when_another_process_answers() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    for revision in revisions() {
        let id = start(&platform, &process).await;
        let watcher = Watcher::default();
        let (session, _server) = over_stdio(app(&platform, Settings::default()), owner(), revision, watcher.clone()).await;
        let person = wait(&session, "executions_wait", json!({ "id": id })).await;
        assert_eq!(
            (&person["reached"], &person["reason"], &person["execution"]["status"]),
            (&json!(true), &json!("person"), &json!("waiting"))
        );
        let node = wait(&session, "executions_wait", json!({ "id": id, "until": "end", "nodeId": "sum" })).await;
        assert_eq!(node["reason"], "node");

        let task = person["taskId"].as_str().unwrap();
        let (ended, settled, answered) = tokio::join!(
            wait(&session, "executions_wait", json!({ "id": id, "until": "end", "timeoutSeconds": 60 })),
            wait(&session, "tasks_wait", json!({ "id": task, "timeoutSeconds": 60 })),
            async {
                // Only once the waits have a stream, so that they are woken by it.
                while platform.get("/subscriptions", &platform.owner()).await.ok()["items"].as_array().unwrap().is_empty() {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                platform.put(&format!("/tasks/{task}/respond"), &platform.owner(), json!({ "decision": "approve" })).await
            }
        );
        answered.ok();
        assert_eq!(
            (&ended["reached"], &ended["reason"], &ended["execution"]["status"]),
            (&json!(true), &json!("ended"), &json!("completed"))
        );
        assert_eq!(
            (&settled["reached"], &settled["reason"], &settled["task"]["status"]),
            (&json!(true), &json!("completed"), &json!("completed"))
        );
        let again = wait(&session, "tasks_wait", json!({ "id": task })).await;
        assert_eq!(again["reached"], true, "what has come needs no wait");
        for message in ["sum: completed", "ask: completed"] {
            watcher.hears(message).await;
        }
    }
}

#[tokio::test]
async fn a_wait_is_bounded_and_says_so() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    let id = start(&platform, &process).await;
    for revision in revisions() {
        let (session, _server) = over_stdio(app(&platform, Settings::default()), owner(), revision, Host::new(None)).await;
        let late = ok(call(&session, "executions_wait", json!({ "id": id, "until": "end", "timeoutSeconds": 1 })).await);
        assert_eq!(
            (&late["reached"], &late["reason"], &late["execution"]["status"]),
            (&json!(false), &json!("timeout"), &json!("waiting"))
        );
        for (arguments, named) in [
            (json!({ "id": "exec-unknown" }), "FM-EES-NOT-FOUND"),
            (json!({ "id": id, "timeoutSeconds": 0 }), "timeoutSeconds"),
            (json!({ "id": id, "timeoutSeconds": 301 }), "300"),
            (json!({ "id": id, "until": "tomorrow" }), "until"),
            (json!({}), "id"),
        ] {
            let refused = call(&session, "executions_wait", arguments.clone()).await;
            assert!(refused.is_error == Some(true) && text(&refused).contains(named), "{arguments}: {}", text(&refused));
        }
        let refused = call(&session, "tasks_wait", json!({ "id": "task-unknown" })).await;
        assert!(text(&refused).contains("FM-HTS-NOT-FOUND"), "{}", text(&refused));
    }
}

#[tokio::test]
async fn events_are_waited_for_from_a_cursor_on() {
    let platform = TestPlatform::start().await;
    let publish = async |n: u64| {
        let event = json!({ "topic": "order.opened", "event": { "n": n } });
        platform.post("/events", &platform.owner(), event).await.ok();
    };
    publish(0).await;
    let [revision, _] = revisions();
    let (session, _server) = over_stdio(app(&platform, Settings::default()), owner(), revision, Host::new(None)).await;
    let begun = ok(call(&session, "events_since", json!({ "topic": "order.*" })).await);
    assert_eq!((&begun["items"], &begun["more"]), (&json!([]), &json!(false)), "without a cursor it begins now");
    publish(1).await;
    platform.post("/events", &platform.owner(), json!({ "topic": "invoice.paid", "event": {} })).await.ok();
    publish(2).await;
    let first = ok(call(&session, "events_since", json!({ "topic": "order.*", "cursor": begun["cursor"], "limit": 1 })).await);
    assert_eq!((&first["items"][0]["data"]["n"], &first["more"]), (&json!(1), &json!(true)));
    let second = ok(call(&session, "events_since", json!({ "topic": "order.*", "cursor": first["cursor"] })).await);
    assert_eq!((&second["items"][0]["data"]["n"], &second["items"][1], &second["more"]), (&json!(2), &json!(null), &json!(false)));

    let waited = json!({ "topic": "order.*", "cursor": second["cursor"], "timeoutSeconds": 60 });
    let (waited, ()) = tokio::join!(call(&session, "events_wait", waited), publish(3));
    let waited = ok(waited);
    assert_eq!((&waited["reached"], &waited["items"][0]["data"]["n"]), (&json!(true), &json!(3)));
    let late = ok(call(&session, "events_wait", json!({ "topic": "order.paid", "timeoutSeconds": 1 })).await);
    assert_eq!((&late["reached"], &late["items"]), (&json!(false), &json!([])));

    let foreign = platform.signed_in("globex", "eve@globex.example", &["event:view"]).await;
    let path = format!("/events/since?topic=order.*&cursor={}", second["cursor"].as_str().unwrap());
    platform.get(&path, &foreign).await.refused(422, "FM-AGS-CURSOR");
    let other = json!({ "topic": "*", "cursor": second["cursor"] });
    assert!(text(&call(&session, "events_since", other).await).contains("cursor"));
    assert!(text(&call(&session, "events_wait", json!({ "topic": "order*" })).await).contains("FM-EBS-TOPIC"));
}

#[tokio::test]
async fn a_wait_takes_the_rights_of_what_it_reads() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    let id = start(&platform, &process).await;
    let stranger = platform.signed_in("globex", "eve@globex.example", &["execution:view", "event:view", "subscription:create"]).await;
    let clerk = platform.signed_in("tenant-local", "bob@acme.example", &["task:view"]).await;
    for (token, named) in [(stranger, "FM-EES-NOT-FOUND"), (clerk, "execution:view")] {
        let caller: Arc<Caller> = Arc::new(Caller::of_unverified_token(token.into(), None).unwrap());
        let [revision, _] = revisions();
        let (session, _server) = over_stdio(app(&platform, Settings::default()), Arc::new(caller), revision, Host::new(None)).await;
        let refused = call(&session, "executions_wait", json!({ "id": id })).await;
        assert!(refused.is_error == Some(true) && text(&refused).contains(named), "{}", text(&refused));
    }
}

#[tokio::test]
async fn a_start_waits_where_it_is_asked_to() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    for revision in revisions() {
        let (session, _server) = over_stdio(app(&platform, Settings::default()), owner(), revision, Host::new(None)).await;
        let started = ok(call(&session, "executions_start", json!({ "processId": process, "waitSeconds": 30 })).await);
        assert_eq!((&started["status"], &started["waited"]["reason"]), (&json!("waiting"), &json!("person")), "{started}");
        let task = platform.get(&format!("/tasks/{}", started["waited"]["taskId"].as_str().unwrap()), &platform.owner()).await.ok();
        assert_eq!(task["executionId"], started["executionId"]);
        let at_once = ok(call(&session, "executions_start", json!({ "processId": process })).await);
        assert!(at_once.get("waited").is_none(), "{at_once}");
        for seconds in [json!(0), json!(301), json!("soon")] {
            let refused = call(&session, "executions_start", json!({ "processId": process, "waitSeconds": seconds })).await;
            assert!(refused.is_error == Some(true) && text(&refused).contains("waitSeconds"), "{}", text(&refused));
        }
    }
}
