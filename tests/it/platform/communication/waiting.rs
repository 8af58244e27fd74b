//! Executions that wait for a message of somebody outside.

use serde_json::{Value, json};

use super::{deliver, register, until};
use crate::platform::executions::{human, publish, start};
use crate::support::platform::TestPlatform;

/// A conversation with somebody, and an execution that it is linked to.
struct Linked {
    platform: TestPlatform,
    channel: String,
    secret: String,
    execution: String,
}

/// Waits for an answer, or for three days.
fn waits() -> Value {
    json!({ "id": "answer", "type": "message", "config": { "output": "reply", "timeout": { "after": "P3D", "to": "call" } } })
}

impl Linked {
    async fn open(node: Value) -> Self {
        let platform = TestPlatform::start().await;
        let (channel, secret) = register(&platform, "whatsapp", "http://127.0.0.1:9/").await;
        let edges = json!([{ "from": node["id"], "to": "end" }, { "from": "call", "to": "end" }]);
        let nodes = json!([{ "id": "start", "type": "start" }, node, human("call"), { "id": "end", "type": "end" }]);
        let mut edges = edges.as_array().unwrap().clone();
        edges.push(json!({ "from": "start", "to": node["id"] }));
        if node["type"] != "message" {
            edges.push(json!({ "from": node["id"], "to": "call", "condition": "nodes.answer.decision == 'no'" }));
        }
        let process = publish(&platform, nodes, json!(edges)).await;
        let execution = start(&platform, &process, json!({})).await["executionId"].as_str().unwrap().to_owned();
        let linked = Self { platform, channel, secret, execution };
        let first = linked.hear("msg-0", "Hello").await;
        let place = format!("/conversations/{}/context", first["conversationId"].as_str().unwrap());
        linked.platform.put(&place, &linked.platform.owner(), json!({ "executionId": linked.execution })).await.ok();
        linked
    }

    async fn hear(&self, id: &str, text: &str) -> Value {
        let body = json!({ "senderId": "+1415", "message": text, "data": { "order": 7 } });
        deliver(&self.platform, &self.channel, &self.secret, id, 0, &body).await.ok()
    }

    async fn read(&self) -> Value {
        self.platform.get(&format!("/executions/{}", self.execution), &self.platform.owner()).await.ok()
    }

    async fn steer(&self, action: &str) {
        self.platform.put(&format!("/executions/{}/{action}", self.execution), &self.platform.owner(), json!({})).await.ok();
    }
}

#[tokio::test]
async fn a_message_has_the_waiting_execution_go_on_once() {
    let mut linked = Linked::open(waits()).await;
    let waiting = linked.read().await;
    assert_eq!((&waiting["status"], &waiting["currentNode"]), (&json!("waiting"), &json!("answer")), "{waiting:#}");
    linked.platform = linked.platform.restart().await;
    let came = linked.hear("msg-1", "On Friday").await;
    let done = linked.read().await;
    let reply = &done["state"]["variables"]["reply"];
    assert_eq!((&done["status"], &reply["message"], &reply["senderId"]), (&json!("completed"), &json!("On Friday"), &json!("+1415")));
    assert_eq!((&reply["messageId"], &reply["data"]["order"]), (&came["messageId"], &json!(7)));
    linked.hear("msg-1", "On Friday").await;
    linked.hear("msg-2", "Or on Monday").await;
    assert_eq!(linked.read().await, done, "a repeat and a later message change nothing");
}

#[tokio::test]
async fn a_message_that_no_step_waits_for_changes_nothing() {
    let linked = Linked::open(human("answer")).await;
    linked.hear("msg-1", "yes").await;
    let waiting = linked.read().await;
    assert_eq!((&waiting["status"], &waiting["currentNode"]), (&json!("waiting"), &json!("answer")), "nobody outside answers a task");
}

#[tokio::test]
async fn a_held_execution_takes_the_message_and_goes_on_when_resumed() {
    let linked = Linked::open(waits()).await;
    linked.steer("pause").await;
    linked.hear("msg-1", "On Friday").await;
    assert_eq!(linked.read().await["status"], "paused");
    linked.steer("resume").await;
    until(async || linked.read().await["status"] == "completed").await;
    assert_eq!(linked.read().await["state"]["variables"]["reply"]["message"], "On Friday");
}

#[tokio::test]
async fn a_wait_for_a_message_ends_with_its_time() {
    let linked = Linked::open(waits()).await;
    linked.platform.clock.advance(3.0 * 86_400.0 + 1.0);
    until(async || linked.read().await["currentNode"] == "call").await;
    let over = linked.read().await;
    assert_eq!(over["state"]["nodeStates"]["answer"], "timed_out", "{over:#}");
    linked.hear("msg-1", "Sorry, on Friday").await;
    assert_eq!(linked.read().await["currentNode"], "call");
    linked.steer("cancel").await;
    linked.hear("msg-2", "Hello?").await;
}
