//! Lists that an agent begins with: their order, filters, cursors, tenants and permissions; and schemas that change.

use serde_json::{Value, json};

use crate::platform::executions::{decide, publish, start};
use crate::support::platform::TestPlatform;

/// The lists with the permission to see them, and the field that tells their items apart.
const LISTS: [(&str, &str, &str); 16] = [
    ("/processes", "process:view", "id"),
    ("/executions", "execution:view", "executionId"),
    ("/entities", "entity:view", "entityType"),
    ("/roles", "role:view", "roleId"),
    ("/users", "user:view", "id"),
    ("/prompts", "prompt:view", "promptId"),
    ("/documents", "document:view", "documentId"),
    ("/templates", "notification:view", "templateId"),
    ("/portals", "portal:view", "portalId"),
    ("/companies", "portal:view", "companyId"),
    ("/schedules", "schedule:view", "scheduleId"),
    ("/dashboards", "dashboard:view", "dashboardId"),
    ("/integrations", "integration:view", "integrationId"),
    ("/ingest/jobs", "ingest:view", "jobId"),
    ("/channels", "channel:view", "channelId"),
    ("/conversations", "conversation:view", "conversationId"),
];

async fn list(bench: &TestPlatform, path: &str) -> Vec<Value> {
    bench.get(path, &bench.owner()).await.ok()["items"].as_array().unwrap().clone()
}

fn ids(items: &[Value], field: &str) -> Vec<String> {
    items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

/// Designs a process of a name, and answers its id.
async fn design(bench: &TestPlatform, name: &str) -> String {
    let steps = json!([{ "id": "a", "type": "start" }, { "id": "b", "type": "end" }]);
    let design = json!({ "name": name, "nodes": steps });
    bench.post("/processes/designs", &bench.owner(), design).await.ok()["id"].as_str().unwrap().to_owned()
}

/// A platform with three things of each kind.
async fn filled() -> TestPlatform {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let human = json!([{ "id": "node-1", "type": "human_task", "config": { "assignee": "manager" } }]);
    for number in 1..=3 {
        let process = publish(&bench, human.clone(), json!([])).await;
        start(&bench, &process, json!({})).await;
        for (path, body) in [
            ("/entities", json!({ "entityType": format!("type-{number}-of-three") })),
            ("/roles", json!({ "name": format!("role number {number} of three"), "permissions": ["task:view"] })),
            ("/prompts", json!({ "name": format!("Prompt {number}"), "template": "Hello" })),
            ("/documents/upload", json!({ "document": "SW52b2ljZQ==", "documentType": "letter" })),
            ("/templates", json!({ "name": format!("Greeting {number}"), "body": "Hello" })),
            ("/portals", json!({ "name": format!("Portal {number}") })),
            ("/companies", json!({ "name": format!("Company {number}") })),
            ("/schedules", json!({ "processId": process, "cronExpression": "0 9 * * *" })),
        ] {
            let reply = bench.post(path, &owner, body).await;
            assert!(reply.status < 300, "{path}: {:#}", reply.body);
        }
        bench.user("tenant-local", &format!("user{number}@example.com"), &[], &[]).await;
        let there = "http://127.0.0.1:9/";
        let system = json!({ "name": format!("System {number}"), "connectorType": "rest_api", "baseUrl": there });
        bench.post("/integrations", &owner, system).await.ok();
        let import = json!({
            "sourceType": "csv", "sourceConfig": { "content": "id\n1\n" }, "destination": "internal-data-hub", "entityType": "lead",
        });
        bench.post("/ingest/jobs", &owner, import).await.ok();
        let channel = bench.post("/channels/register", &owner, json!({ "channel": "sms", "baseUrl": there })).await.ok();
        let message = json!({ "recipientId": format!("+1415{number}"), "message": "Hello" });
        bench.post(&format!("/channels/{}/send", channel["channelId"].as_str().unwrap()), &owner, message).await;
    }
    bench
}

#[tokio::test]
async fn every_list_is_read_page_by_page_with_its_permission_alone() {
    let bench = filled().await;
    for (path, permission, field) in LISTS {
        let whole = ids(&list(&bench, path).await, field);
        assert!(whole.len() >= 2, "{path} has only {whole:?}");
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = bench.get(&format!("{path}?limit=1{cursor}"), &bench.owner()).await.ok();
            paged.extend(ids(page["items"].as_array().unwrap(), field));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, whole, "{path}");

        let name = path.trim_start_matches('/').replace('/', "-");
        let near = bench.signed_in("tenant-local", &format!("near-{name}@example.com"), &[permission]).await;
        bench.get(path, &near).await.ok();
        let barred = bench.signed_in("tenant-local", &format!("barred-{name}@example.com"), &["thing:view"]).await;
        bench.get(path, &barred).await.refused(403, "FM-AAS-FORBIDDEN");
        let stranger = bench.signed_in("tenant-other", &format!("far-{name}@example.com"), &[permission]).await;
        let foreign = bench.get(path, &stranger).await.ok();
        let seen = ids(foreign["items"].as_array().unwrap(), field);
        assert!(seen.iter().all(|id| !whole.contains(id) || id.starts_with("dash-")), "{path}: {seen:?}");
        bench.get(&format!("{path}?limit=1{cursor}"), &stranger).await.refused(422, "FM-AGS-CURSOR");
    }
}

#[tokio::test]
async fn conversations_are_those_of_a_channel_or_with_a_person() {
    let bench = filled().await;
    let all = list(&bench, "/conversations").await;
    assert_eq!(all.iter().map(|one| one["participantId"].as_str().unwrap()).collect::<Vec<_>>(), ["+14153", "+14152", "+14151"]);
    let channel = all[1]["channelId"].as_str().unwrap();
    assert_eq!(list(&bench, &format!("/conversations?channelId={channel}")).await, [all[1].clone()]);
    assert_eq!(list(&bench, "/conversations?participantId=%2B14151").await, [all[2].clone()]);
    assert!(list(&bench, &format!("/conversations?channelId={channel}&participantId=%2B14151")).await.is_empty());
}

#[tokio::test]
async fn processes_are_found_by_words_of_their_name_and_by_status() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let leave = design(&bench, "Approval of a Leave request").await;
    let order = design(&bench, "Bestellung über 1.000 Euro").await;
    let han = design(&bench, "休假审批").await;
    bench.post(&format!("/processes/{order}/publish"), &owner, json!({})).await.ok();
    let found = async |query: &str| ids(&list(&bench, &format!("/processes?{query}")).await, "id");
    assert_eq!(found("").await, [han.as_str(), order.as_str(), leave.as_str()]);
    assert_eq!(found("name=leave").await, [leave.as_str()]);
    assert_eq!(found("name=LEA%20appr").await, [leave.as_str()]);
    assert_eq!(found("name=uber").await, [order.as_str()]);
    assert_eq!(found("name=%E5%AE%A1%E6%89%B9").await, [han.as_str()]);
    assert!(found("name=leave&status=published").await.is_empty());
    assert_eq!(found("status=published").await, [order.as_str()]);
    assert!(found("status=draft&name=leave%22%20OR%20x").await.is_empty());
    bench.get("/processes?name=%2A", &owner).await.refused(422, "FM-PDS-INVALID");
    bench.get("/processes?status=lost", &owner).await.refused(422, "FM-PDS-INVALID");

    // A new draft is what the list shows from then on, under its new name.
    bench.put(&format!("/processes/{order}"), &owner, json!({ "name": "Purchase" })).await.ok();
    assert_eq!((found("name=bestellung").await, found("name=purchase&status=draft").await), (vec![], vec![order.clone()]));
    let stranger = bench.signed_in("tenant-other", "eve@example.com", &["process:view"]).await;
    assert_eq!(bench.get("/processes?name=leave", &stranger).await.ok()["items"], json!([]));

    // One process with its steps, as it is or as it was.
    let now = bench.get(&format!("/processes/{order}"), &owner).await;
    assert_eq!((now.headers["etag"].to_str().unwrap(), &now.body["name"]), ("\"1.1.0-1\"", &json!("Purchase")));
    assert_eq!(now.body["nodes"].as_array().unwrap().len(), 2);
    let before = bench.get(&format!("/processes/{order}?version=1.0.0"), &owner).await.ok();
    assert_eq!((&before["status"], &before["name"]), (&json!("published"), &json!("Bestellung über 1.000 Euro")));
    bench.get(&format!("/processes/{order}"), &stranger).await.refused(404, "FM-PDS-NOT-FOUND");

    let bench = bench.restart().await;
    assert_eq!(ids(&list(&bench, "/processes?name=purch").await, "id"), [order]);
}

#[tokio::test]
async fn executions_are_found_by_process_state_and_time() {
    let bench = TestPlatform::start().await;
    let human = json!([{ "id": "node-1", "type": "human_task", "config": { "assignee": "manager" } }]);
    let process = publish(&bench, human, json!([])).await;
    let broken = publish(&bench, json!([{ "id": "s", "type": "script", "config": { "expression": "1 / 0" } }]), json!([])).await;
    let mut started = Vec::new();
    for process in [&process, &broken, &process, &broken] {
        started.push(start(&bench, process, json!({ "secret": "of the variables" })).await);
        bench.clock.advance(3600.0);
    }
    decide(&bench, &started[0], "approve").await;
    let id = |place: usize| started[place]["executionId"].as_str().unwrap().to_owned();
    let found = async |query: &str| ids(&list(&bench, &format!("/executions?{query}")).await, "executionId");
    assert_eq!(found("").await, [id(3), id(2), id(1), id(0)]);
    assert_eq!(found("status=failed").await, [id(3), id(1)]);
    assert_eq!(found("status=failed,waiting").await, [id(3), id(2), id(1)]);
    assert_eq!(found("status=waiting,waiting,completed").await, [id(2), id(0)]);
    assert_eq!(found(&format!("processId={process}")).await, [id(2), id(0)]);
    assert_eq!(found(&format!("processId={process}&status=completed,failed")).await, [id(0)]);
    let second = started[1]["startedAt"].as_str().unwrap();
    assert_eq!(found(&format!("createdAfter={second}")).await, [id(3), id(2)]);
    assert_eq!(found(&format!("createdBefore={second}&status=completed")).await, [id(0)]);

    // Pages of several states go on where they ended.
    let page = bench.get("/executions?status=failed,waiting&limit=2", &bench.owner()).await.ok();
    let next = page["nextCursor"].as_str().unwrap();
    assert_eq!(found(&format!("status=failed,waiting&limit=2&cursor={next}")).await, [id(1)]);
    bench.get(&format!("/executions?status=failed&cursor={next}"), &bench.owner()).await.refused(422, "FM-AGS-CURSOR");

    // An item names its process and its fault, and holds no variables.
    let item = &list(&bench, "/executions?status=failed&limit=1").await[0];
    assert_eq!((&item["processName"], &item["processId"]), (&json!("Test"), &json!(broken)));
    assert!(item["error"]["code"].is_string() && !item.to_string().contains("of the variables"), "{item:#}");
}

#[tokio::test]
async fn documents_are_found_by_type_and_time() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let mut stored = Vec::new();
    for kind in ["letter", "invoice", "letter"] {
        let body = json!({ "document": "SW52b2ljZQ==", "documentType": kind });
        stored.push(bench.post("/documents/upload", &owner, body).await.ok());
        bench.clock.advance(60.0);
    }
    let id = |place: usize| stored[place]["documentId"].as_str().unwrap().to_owned();
    let found = async |query: &str| ids(&list(&bench, &format!("/documents?{query}")).await, "documentId");
    assert_eq!(found("").await, [id(2), id(1), id(0)]);
    assert_eq!(found("documentType=Letter").await, [id(2), id(0)]);
    let second = stored[1]["createdAt"].as_str().unwrap();
    assert_eq!(
        (found(&format!("createdAfter={second}")).await, found(&format!("createdBefore={second}")).await),
        (vec![id(2)], vec![id(0)])
    );
    let item = &list(&bench, "/documents").await[0];
    assert!(item["metadata"]["sha256"].is_string() && item.get("embedding").is_none(), "{item:#}");
}

#[tokio::test]
async fn users_are_found_by_how_their_names_begin() {
    let bench = TestPlatform::start().await;
    for name in ["anna@example.com", "anton@example.com", "berta@example.com"] {
        bench.user("tenant-local", name, &[], &[]).await;
    }
    let found = async |query: &str| ids(&list(&bench, &format!("/users?{query}")).await, "email");
    assert_eq!(found("startsWith=AN").await, ["anna@example.com", "anton@example.com"]);
    assert_eq!(found("username=anna@example.com").await, ["anna@example.com"]);
    assert!(found("startsWith=c").await.is_empty());
    let anna = &list(&bench, "/users?startsWith=anna").await[0];
    let id = anna["id"].as_str().unwrap();
    assert_eq!(&bench.get(&format!("/users/{id}"), &bench.owner()).await.ok(), anna);
    let stranger = bench.signed_in("tenant-other", "eve@example.com", &["user:view"]).await;
    bench.get(&format!("/users/{id}"), &stranger).await.refused(404, "FM-AAS-NO-USER");
}

#[tokio::test]
async fn types_are_listed_with_their_schemas() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    bench.post("/entities", &owner, json!({ "entityType": "customer", "schema": schema })).await.ok();
    bench.post("/entities/note", &owner, json!({ "data": { "text": "x" } })).await.ok();
    let types = list(&bench, "/entities").await;
    assert_eq!(ids(&types, "entityType"), ["customer", "note"]);
    assert_eq!((&types[0]["schema"], types[1].get("schema")), (&schema, None));
    assert_eq!(ids(&list(&bench, "/entities?entityType=note").await, "entityType"), ["note"]);
    bench.get("/entities?entityType=custmer", &owner).await.refused(404, "FM-IDHS-TYPE-NOT-FOUND");
}

#[tokio::test]
async fn a_schema_changes_where_all_records_keep_to_it() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let with = |required: &[&str]| {
        let properties = json!({ "name": { "type": "string" }, "email": { "type": "string" } });
        json!({ "schema": { "type": "object", "properties": properties, "required": required } })
    };
    bench.post("/entities", &owner, json!({ "entityType": "customer" })).await.ok();
    for data in [json!({ "name": "Acme", "email": "a@example.com" }), json!({ "name": "Bolt" }), json!({ "name": "Coil" })] {
        bench.post("/entities/customer", &owner, json!({ "data": data })).await.ok();
    }
    let changed = bench.put("/entities/customer", &owner, with(&["name"])).await;
    assert_eq!((changed.status, changed.headers["etag"].to_str().unwrap()), (200, "\"2\""));
    assert_eq!(changed.body["schema"]["required"], json!(["name"]));
    bench.post("/entities/customer", &owner, json!({ "data": { "email": "x" } })).await.refused(422, "FM-IDHS-RECORD-INVALID");

    // What stands against it is named, and nothing changes.
    let refused = bench.put("/entities/customer", &owner, with(&["name", "email"])).await.refused(409, "FM-IDHS-RECORDS-DO-NOT-FIT");
    let faults = refused["errors"].as_array().unwrap();
    assert!(faults.len() == 2 && faults.iter().all(|fault| fault["detail"].as_str().unwrap().starts_with("record entity-")), "{refused:#}");
    assert!(!refused.to_string().contains("Bolt"), "a value is shown: {refused:#}");
    assert_eq!(list(&bench, "/entities?entityType=customer").await[0]["schema"]["required"], json!(["name"]));

    for (schema, status, code) in [
        (json!({ "schema": { "type": "nothing" } }), 422, "FM-IDHS-SCHEMA"),
        (json!({ "schema": { "$ref": "https://example.com/x" } }), 422, "FM-IDHS-SCHEMA"),
        (json!({}), 422, "FM-IDHS-INVALID"),
    ] {
        bench.put("/entities/customer", &owner, schema).await.refused(status, code);
    }
    bench.put("/entities/nothing", &owner, with(&[])).await.refused(404, "FM-IDHS-TYPE-NOT-FOUND");
    let reader = bench.signed_in("tenant-local", "rob@example.com", &["entity:view"]).await;
    bench.put("/entities/customer", &reader, with(&[])).await.refused(403, "FM-AAS-FORBIDDEN");
    let stranger = bench.signed_in("tenant-other", "eve@example.com", &["entity:view", "entity:define"]).await;
    bench.put("/entities/customer", &stranger, with(&[])).await.refused(404, "FM-IDHS-TYPE-NOT-FOUND");

    let trail = bench.get("/audit-logs?resourceType=entity_type&action=entity.redefined", &owner).await.ok();
    assert_eq!(trail["items"].as_array().unwrap().len(), 1, "{trail:#}");
}
