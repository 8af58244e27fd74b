//! What a person leaves behind who works with the platform, and whom others write about.

use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flowmaster_mcp::platform::Clock as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::platform::TestPlatform;

pub const ADDRESS: &str = "jo.doe@b.c";
const TENANT: &str = "tenant-123";
const AUDITOR: &str = "auditor@b.c";

/// The things that the person is in.
pub struct Traces {
    pub person: String,
    task: String,
    execution: String,
    feedback: String,
}

/// Posts, and answers a field of what came of it.
async fn made(platform: &TestPlatform, path: &str, token: &str, body: Value, field: &str) -> String {
    let made = platform.post(path, token, body).await.ok();
    made[field].as_str().unwrap_or_else(|| panic!("{path}: {made}")).to_owned()
}

/// Waits until a thing has a status.
async fn until(platform: &TestPlatform, path: &str, token: &str, statuses: &[&str]) {
    for _ in 0..1_000 {
        let shown = platform.get(path, token).await.ok();
        if statuses.iter().any(|status| shown["status"] == *status) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{path} stays as it is: {}", platform.get(path, token).await.body);
}

impl Traces {
    /// Leaves traces of the person in every service that keeps any.
    pub async fn leave(platform: &TestPlatform) -> Self {
        platform.user(TENANT, AUDITOR, &[], &["audit:*", "record:delete", "task:view", "execution:view", "feedback:view"]).await;
        let person = platform.user(TENANT, ADDRESS, &[], &["*"]).await;
        let token = platform.login(TENANT, ADDRESS).await;
        let boss = platform.signed_in(TENANT, "boss@b.c", &["*"]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outside = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(async || "{}")).await });

        let (execution, task) = Self::work(platform, &token, &boss, &person).await;
        Self::data(platform, &token, &boss).await;
        let feedback = Self::learning(platform, &token, &execution).await;
        Self::messages(platform, &token, &boss, &person, &outside).await;
        Self { person, task, execution, feedback }
    }

    /// Processes, executions, tasks, schedules, events, approvals.
    async fn work(platform: &TestPlatform, token: &str, boss: &str, person: &str) -> (String, String) {
        let design = json!({
            "name": "Leave", "version": "1.0.0",
            "nodes": [{ "id": "ask", "type": "human_task", "config": { "assignee": person, "title": "Leave of {{variables.who}}" } }],
        });
        let process = made(platform, "/processes/designs", token, design, "id").await;
        platform.post(&format!("/processes/{process}/publish"), token, json!({})).await.ok();
        let start = json!({ "processId": process, "variables": { "who": ADDRESS, "days": 3 } });
        let execution = made(platform, "/executions", token, start, "executionId").await;
        let tasks = platform.get(&format!("/tasks?executionId={execution}"), token).await.ok();
        let task = tasks["items"][0]["taskId"].as_str().unwrap().to_owned();
        let answer = json!({ "decision": "approve", "comments": format!("as {ADDRESS} asked") });
        platform.put(&format!("/tasks/{task}/respond"), token, answer).await.ok();
        // Half a year away, so that nothing is started while the request waits.
        let month: u32 = platform.clock.now().to_string()[5..7].parse().unwrap();
        let cron = format!("0 6 1 {} *", (month + 5) % 12 + 1);
        let schedule = json!({ "processId": process, "cronExpression": cron, "variables": { "who": ADDRESS } });
        platform.post("/schedules", token, schedule).await.ok();
        let event = json!({ "topic": "person.met", "event": { "who": ADDRESS } });
        platform.post("/events", boss, event).await.ok();
        let company = made(platform, "/companies", boss, json!({ "name": "Acme" }), "companyId").await;
        let chains = json!({ "approvalChains": [{ "name": "budget", "steps": [{ "approver": person }] }] });
        let chains = platform.put(&format!("/companies/{company}/approvals"), boss, chains).await;
        assert!(chains.status < 300, "{:#}", chains.body);
        (execution, task)
    }

    /// Records, imports, documents, metrics.
    async fn data(platform: &TestPlatform, token: &str, boss: &str) {
        let record = json!({ "data": { "name": "Jo", "email": ADDRESS } });
        platform.post("/entities/customer", boss, record).await.ok();
        let schema = json!({ "properties": { "age": { "type": "integer" } } });
        platform.post("/entities", boss, json!({ "entityType": "guest", "schema": schema })).await.ok();
        let rows = format!("{}\n{}\n", json!({ "mail": ADDRESS, "age": 7 }), json!({ "mail": ADDRESS, "age": "old" }));
        let job = json!({
            "sourceType": "jsonl", "sourceConfig": { "content": rows }, "destination": "internal-data-hub", "entityType": "guest",
            "keyField": "mail",
        });
        let job = made(platform, "/ingest/jobs", token, job, "jobId").await;
        platform.put(&format!("/ingest/jobs/{job}/start"), token, json!({})).await.ok();
        until(platform, &format!("/ingest/jobs/{job}"), token, &["completed", "failed"]).await;
        let letter = format!("Dear Sirs, please write to {ADDRESS} about the invoice.");
        let document = json!({ "document": STANDARD.encode(letter), "metadata": { "from": ADDRESS } });
        platform.post("/documents/upload", token, document).await.ok();
        let widgets = json!([{ "title": "Runs", "metric": "process.execution_count" }]);
        platform.post("/dashboards", token, json!({ "name": "Mine", "widgets": widgets })).await.ok();
        platform.post("/kpis", token, json!({ "name": "Runs", "metric": "process.execution_count", "target": 5 })).await.ok();
    }

    /// Prompts, agents, feedback, datasets.
    async fn learning(platform: &TestPlatform, token: &str, execution: &str) -> String {
        let prompt = json!({ "name": "Reply", "template": "Write to {{who}}", "variables": [{ "name": "who", "type": "string" }] });
        let prompt = made(platform, "/prompts", token, prompt, "promptId").await;
        platform.post(&format!("/prompts/{prompt}/publish"), token, json!({})).await.ok();
        platform.post("/agents", token, json!({ "agentId": "agent-own", "name": "Own" })).await.ok();
        platform.post("/agents/agent-assistant/invoke", token, json!({ "prompt": format!("Who is {ADDRESS}?") })).await.ok();
        let rating = json!({
            "executionId": execution, "agentId": "agent-own", "promptId": prompt,
            "feedback": { "accuracy": 0.9, "actualOutput": "Dear Jo", "notes": format!("{ADDRESS} was pleased") },
        });
        let feedback = made(platform, "/feedback", token, rating, "feedbackId").await;
        platform.post("/datasets", token, json!({ "name": "Replies", "agentId": "agent-own" })).await.ok();
        feedback
    }

    /// Notifications, messages, calls of other systems, subscriptions.
    async fn messages(platform: &TestPlatform, token: &str, boss: &str, person: &str, outside: &str) {
        let template =
            json!({ "templateId": "hello", "name": "Hello", "subject": "Hello", "body": "Hello {{who}}", "channels": ["email"] });
        platform.post("/templates", boss, template).await.ok();
        let to = json!({
            "templateId": "hello", "recipient": { "email": ADDRESS, "userId": person }, "variables": { "who": ADDRESS }, "channels": ["email"],
        });
        let notification = made(platform, "/notifications/send", boss, to, "notificationId").await;
        until(platform, &format!("/notifications/{notification}"), boss, &["sent"]).await;
        let channel = json!({ "channel": "sms", "name": "Desk", "account": "+14155550100", "baseUrl": outside });
        let channel = made(platform, "/channels/register", boss, channel, "channelId").await;
        let message = json!({ "recipientId": ADDRESS, "message": format!("Hello {ADDRESS}") });
        platform.post(&format!("/channels/{channel}/send"), boss, message).await.ok();
        let integration = json!({ "name": "CRM", "connectorType": "rest_api", "baseUrl": outside });
        let integration = made(platform, "/integrations", boss, integration, "integrationId").await;
        let call = json!({ "method": "GET", "path": format!("/people/{ADDRESS}") });
        platform.post(&format!("/integrations/{integration}/execute"), token, call).await.ok();
        let subscription = json!({ "topic": "person.*", "delivery": { "type": "webhook", "url": outside } });
        platform.post("/subscriptions", token, subscription).await.ok();
    }

    /// Signs in whoever sees to deletion.
    pub async fn auditor(&self, platform: &TestPlatform) -> String {
        platform.login(TENANT, AUDITOR).await
    }

    /// What was decided is still there, by the pseudonym.
    pub async fn decisions_stand(&self, platform: &TestPlatform, token: &str, pseudonym: &str) {
        let task = platform.get(&format!("/tasks/{}", self.task), token).await.ok();
        let seen = (&task["status"], &task["assignedTo"], &task["response"]["decision"], &task["response"]["comments"]);
        assert_eq!(seen, (&json!("completed"), &json!(pseudonym), &json!("approve"), &json!(format!("as {pseudonym} asked"))), "{task:#}");
        let execution = platform.get(&format!("/executions/{}", self.execution), token).await.ok();
        let seen = (&execution["status"], &execution["initiator"], &execution["state"]["variables"]);
        assert_eq!(seen, (&json!("completed"), &json!(pseudonym), &json!({ "who": pseudonym, "days": 3 })), "{execution:#}");
        let feedback = platform.get("/feedback?agentId=agent-own", token).await.ok()["items"][0].clone();
        let seen = (&feedback["feedbackId"], &feedback["submittedBy"], &feedback["feedback"]["accuracy"]);
        assert_eq!(seen, (&json!(self.feedback), &json!(pseudonym), &json!(0.9)), "{feedback:#}");
        let decided = platform.get(&format!("/audit-logs?action=task.responded&actor={pseudonym}"), token).await.ok();
        assert_eq!(decided["items"][0]["resourceId"], json!(self.task), "{decided:#}");
        let report = platform.post("/reports/compliance", token, json!({ "standard": "gdpr" })).await.ok();
        assert_eq!(report["chain"]["verified"], true, "{report:#}");
    }
}
