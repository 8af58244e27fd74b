//! The contract's own request examples, letter by letter, against the platform's HTTP API.
//!
//! `contract/` holds the examples as the contract prints them: requests, and answers for the names of their fields.

use flowmaster_mcp::api::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::platform::{Reply, TestPlatform};

macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("contract/", $name, ".json"))
    };
}

/// What a user of the examples may do.
const PERMISSIONS: [&str; 8] = ["process:*", "execution:*", "task:*", "entity:*", "event:publish", "event:view", "audit:log", "audit:view"];

/// The platform with the tenant and the user of the contract's examples.
struct Contract {
    platform: TestPlatform,
    token: String,
    user: String,
}

impl Contract {
    async fn start() -> Self {
        let platform = TestPlatform::start().await;
        let login: Value = serde_json::from_str(example!("login")).unwrap();
        let user = json!({
            "username": login["username"], "password": login["password"], "tenantId": "tenant-123",
            "roles": ["manager", "approver"], "permissions": PERMISSIONS,
        });
        let user = platform.post("/users", &platform.owner(), user).await.ok()["id"].as_str().unwrap().to_owned();
        let login = post(&platform, "/auth/login", "", example!("login")).await;
        assert_eq!(login.status, 200, "{:#}", login.body);
        let token = login.body["accessToken"].as_str().unwrap().to_owned();
        has_fields_of(&login.body, example!("login.answer"));
        assert_eq!(login.body["user"]["id"], user.as_str());
        assert_eq!(login.body["user"]["email"], "user@company.com");
        for role in ["manager", "approver"] {
            assert!(login.body["user"]["roles"].as_array().unwrap().contains(&json!(role)), "{:#}", login.body);
        }
        assert!(login.body["expiresIn"].as_u64().is_some_and(|seconds| seconds > 0));
        Self { platform, token, user }
    }

    async fn post(&self, path: &str, example: &'static str) -> Reply {
        post(&self.platform, path, &self.token, example).await
    }

    /// Runs SQL on the platform's file: how an object gets the very id that an example names.
    fn fixture(&self, sql: &str) {
        let file = self.platform.folder.path().join("data/platform.db");
        let connection = rusqlite::Connection::open(file).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

/// Sends an example as it is printed, with the headers of the contract's authentication pattern.
async fn post(platform: &TestPlatform, path: &str, token: &str, example: &'static str) -> Reply {
    let request = platform
        .request(Method::POST, path, token)
        .header("Content-Type", "application/json")
        .header("X-Tenant-Id", "tenant-123")
        .header("X-Service-Name", "flowmaster-mcp")
        .body(example);
    platform.send(request).await
}

/// Whether an answer has every field that the contract's example of it has, down to what is free-form.
#[track_caller]
fn has_fields_of(answer: &Value, example: &str) {
    let example: Value = serde_json::from_str(example).unwrap();
    compare("", answer, &example);
}

#[track_caller]
fn compare(path: &str, answer: &Value, example: &Value) {
    let (Some(found), Some(expected)) = (answer.as_object(), example.as_object()) else { return };
    for (name, value) in expected {
        let path = format!("{path}/{name}");
        let Some(there) = found.get(name) else { panic!("the answer lacks {path}: {answer:#}") };
        let same_kind = std::mem::discriminant(there) == std::mem::discriminant(value);
        assert!(same_kind, "{path} is {there}, in the contract {value}");
        // What belongs to the one who wrote it has no names of its own.
        if !["data", "relationships", "nodeStates"].contains(&name.as_str()) {
            compare(&path, there, value);
        }
    }
}

#[tokio::test]
async fn a_design_is_created_and_an_execution_of_it_started() {
    let contract = Contract::start().await;
    let design = contract.post("/processes/designs", example!("process-design")).await;
    assert_eq!(design.status, 201, "{:#}", design.body);
    has_fields_of(&design.body, example!("process-design.answer"));
    assert_eq!((&design.body["version"], &design.body["status"]), (&json!("1.0.0"), &json!("draft")));
    assert_eq!(design.body["metadata"]["nodes"], 1);
    let id = design.body["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("proc-"), "{id}");
    let published = contract.platform.post(&format!("/processes/{id}/publish"), &contract.token, json!({})).await;
    assert_eq!((published.status, &published.body["status"]), (200, &json!("published")));
    has_fields_of(&published.body, example!("process-design.answer"));

    let unknown = contract.post("/executions", example!("execution")).await;
    assert!([404, 422].contains(&unknown.status) && unknown.code().starts_with("FM-"), "{:#}", unknown.body);
    contract.fixture(&copy("processes", "id", &id, "proc-123"));
    contract.fixture(&copy("process_versions", "process_id", &id, "proc-123"));
    let execution = contract.post("/executions", example!("execution")).await;
    assert_eq!(execution.status, 201, "{:#}", execution.body);
    has_fields_of(&execution.body, example!("execution.answer"));
    assert_eq!(execution.body["processId"], "proc-123");
    assert_eq!(execution.body["currentNode"], "node-1");
    assert_eq!(execution.body["state"]["variables"], json!({ "userId": "user-456", "amount": 5000 }));
    assert_eq!(execution.body["initiator"], "system");
    let id = execution.body["executionId"].as_str().unwrap();
    assert_eq!(execution.headers["location"], format!("/executions/{id}"));
    let read = contract.platform.get(&format!("/executions/{id}"), &contract.token).await.ok();
    has_fields_of(&read, example!("execution.answer"));
}

#[tokio::test]
async fn a_task_is_created_and_answered_by_one_of_its_options() {
    let contract = Contract::start().await;
    // The execution that the task belongs to.
    let design = contract.post("/processes/designs", example!("process-design")).await.ok();
    let id = design["id"].as_str().unwrap();
    contract.platform.post(&format!("/processes/{id}/publish"), &contract.token, json!({})).await.ok();
    let execution = contract.platform.post("/executions", &contract.token, json!({ "processId": id })).await.ok();
    contract.fixture(&copy("executions", "id", execution["executionId"].as_str().unwrap(), "exec-789"));

    let task = contract.post("/tasks", example!("task")).await;
    assert_eq!(task.status, 201, "{:#}", task.body);
    has_fields_of(&task.body, example!("task.answer"));
    assert_eq!((&task.body["status"], &task.body["assignedTo"]), (&json!("assigned"), &json!("manager-123")));
    assert_eq!(task.body["response"], Value::Null);
    let time = |name: &str| task.body[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!((time("slaDeadline").seconds_since(time("createdAt")) - 86_400.0).abs() < 0.01, "the deadline is 24 hours away");
    let path = format!("/tasks/{}", task.body["taskId"].as_str().unwrap());
    assert_eq!(task.headers["location"], path.as_str());

    let platform = &contract.platform;
    let foreign = platform.put(&format!("{path}/respond"), &contract.token, json!({ "decision": "approve" })).await;
    assert_eq!(foreign.status, 403, "only the assignee or an admin responds: {:#}", foreign.body);
    platform.put(&format!("{path}/assign"), &contract.token, json!({ "assignee": contract.user })).await.ok();
    let beyond = platform.put(&format!("{path}/respond"), &contract.token, json!({ "decision": "perhaps" })).await;
    assert_eq!(beyond.status, 422, "{:#}", beyond.body);
    assert!(beyond.body["errors"].to_string().contains("approve, reject, revise"), "the options are told: {:#}", beyond.body);
    let answer = json!({ "decision": "approve", "comments": "Within the budget." });
    let done = platform.put(&format!("{path}/respond"), &contract.token, answer).await.ok();
    assert_eq!((&done["status"], &done["response"]["decision"]), (&json!("completed"), &json!("approve")));
    let again = platform.put(&format!("{path}/respond"), &contract.token, json!({ "decision": "reject" })).await;
    again.refused(409, "FM-HTS-ALREADY-RESPONDED");
}

#[tokio::test]
async fn a_record_is_inserted_in_its_type() {
    let contract = Contract::start().await;
    let record = contract.post("/entities/customer", example!("entity")).await;
    assert_eq!(record.status, 201, "{:#}", record.body);
    has_fields_of(&record.body, example!("entity.answer"));
    let expected: Value = serde_json::from_str(example!("entity")).unwrap();
    assert_eq!(record.body["data"], expected["data"]);
    assert_eq!((&record.body["entityType"], &record.body["tenantId"]), (&json!("customer"), &json!("tenant-123")));
    let other = contract.post("/entities/order", example!("entity")).await;
    assert_eq!(other.status, 422, "the entityType in the body must equal the path's: {:#}", other.body);
}

#[tokio::test]
async fn an_audit_row_keeps_the_claimed_actor_beside_the_true_one() {
    let contract = Contract::start().await;
    let row = contract.post("/audit-logs", example!("audit-log")).await;
    assert_eq!(row.status, 201, "{:#}", row.body);
    has_fields_of(&row.body, example!("audit-log"));
    assert_eq!(row.body["claimed"], true, "what a caller logs is a claim");
    assert_eq!((&row.body["actor"], &row.body["recordedBy"]), (&json!("user-123"), &json!(contract.user)));
    assert_eq!(row.body["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap(), "2025-02-07T10:30:00Z".parse().unwrap());
    assert_eq!(row.body["changes"], json!({ "before": { "status": "assigned" }, "after": { "status": "completed" } }));
    let found = contract.platform.get("/audit-logs?resourceId=task-111", &contract.token).await.ok();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);

    // The same row, claimed for another tenant.
    let other = example!("audit-log").replace("tenant-123", "tenant-666");
    let body =
        contract.platform.request(Method::POST, "/audit-logs", &contract.token).header("Content-Type", "application/json").body(other);
    contract.platform.send(body).await.refused(403, "FM-AAS-TENANT-MISMATCH");
}

/// SQL that copies a row under another id.
fn copy(table: &str, column: &str, from: &str, to: &str) -> String {
    format!(
        "CREATE TEMP TABLE copied AS SELECT * FROM {table} WHERE {column} = '{from}';
         UPDATE copied SET {column} = '{to}'; INSERT INTO {table} SELECT * FROM copied; DROP TABLE copied;"
    )
}

#[tokio::test]
async fn an_event_of_the_platforms_topics_is_published_by_a_service() {
    let contract = Contract::start().await;
    let refused = contract.post("/events", example!("event")).await;
    refused.refused(403, "FM-EBS-TOPIC-RESERVED");
    let platform = &contract.platform;
    let service = json!({ "name": "execution-engine", "permissions": ["event:publish", "event:view"], "tenantId": "tenant-123" });
    let service = platform.post("/service-tokens", &platform.owner(), service).await.ok();
    let token = service["token"].as_str().unwrap();
    let event = post(platform, "/events", token, example!("event")).await;
    assert_eq!(event.status, 201, "{:#}", event.body);
    assert_eq!((&event.body["type"], &event.body["tenantid"]), (&json!("execution.completed"), &json!("tenant-123")));
    assert_eq!(event.body["data"]["duration"], 3600);
    let replayed = platform.get("/events/replay?topic=execution.completed", &contract.token).await.ok();
    assert_eq!(replayed["items"][0]["id"], event.body["id"]);
    assert_eq!(replayed["items"][0]["data"]["executionId"], "exec-789");
}

#[tokio::test]
async fn every_operation_is_served_by_the_embedded_platform() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    for entry in flowmaster_mcp::api::catalogue().iter() {
        let path = entry.spec.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
        let request = platform.request(entry.spec.method.name().parse().unwrap(), &path, &owner);
        let reply = platform.send(if entry.spec.body { request.json(&json!({})) } else { request }).await;
        let code = reply.body["code"].as_str().unwrap_or_default();
        assert!(reply.status != 501 && code != "FM-AGS-NO-ROUTE" && code != "FM-AGS-METHOD", "{}: {reply:?}", entry.spec.name);
    }
}
