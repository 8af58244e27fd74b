//! Human Task over HTTP: forms, who may answer, deadlines, escalation, filters and history.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::platform::executions::{open_tasks, publish, start};
use crate::support::platform::TestPlatform;

async fn make(bench: &TestPlatform, task: Value) -> String {
    bench.post("/tasks", &bench.owner(), task).await.ok()["taskId"].as_str().unwrap().to_owned()
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|task| task["taskId"].as_str().unwrap()).collect()
}

async fn actions(bench: &TestPlatform, task: &str) -> Vec<String> {
    let page = bench.get(&format!("/tasks/{task}/history"), &bench.owner()).await.ok();
    page["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_contracts_example_is_made_assigned_answered_and_remembered() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let process = publish(&bench, json!([{ "id": "a", "type": "human_task", "config": { "assignee": "x" } }]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await["executionId"].as_str().unwrap().to_owned();
    let example = json!({
        "executionId": execution,
        "title": "Approve Budget Request",
        "description": "Review $5000 request for project X",
        "assignee": "manager-123",
        "form": { "fields": [
            { "name": "decision", "type": "enum", "options": ["approve", "reject", "revise"] },
            { "name": "comments", "type": "text" },
        ] },
        "sla": { "hoursToComplete": 24 },
        "escalationChain": ["manager-123", "director-456"],
    });
    let made = bench.post("/tasks", &owner, example.clone()).await;
    assert_eq!(made.status, 201);
    let id = made.body["taskId"].as_str().unwrap().to_owned();
    assert_eq!(made.headers["location"], format!("/tasks/{id}"));
    assert_eq!(
        (&made.body["status"], &made.body["assignedTo"], &made.body["response"]),
        (&json!("assigned"), &json!("manager-123"), &Value::Null)
    );
    let time = |name: &str| made.body[name].as_str().unwrap().parse::<flowmaster_mcp::api::Timestamp>().unwrap();
    assert!((time("slaDeadline").seconds_since(time("createdAt")) - 86_400.0).abs() < 0.01);
    assert_eq!((&made.body["slaStatus"], &made.body["form"]), (&json!("ok"), &example["form"]));

    let given = bench.put(&format!("/tasks/{id}/assign"), &owner, json!({ "assignee": "clerk" })).await.ok();
    assert_eq!(given["assignedTo"], "clerk");
    let refused = bench
        .put(&format!("/tasks/{id}/respond"), &owner, json!({ "decision": "maybe", "data": { "x": 1 } }))
        .await
        .refused(422, "FM-HTS-FORM");
    let pointers: Vec<&str> = refused["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/decision", "/data/x"]);
    let answer = json!({ "decision": "approve", "comments": "fine" });
    let done = bench.put(&format!("/tasks/{id}/respond"), &owner, answer.clone()).await.ok();
    assert_eq!(
        (&done["status"], &done["response"]["decision"], &done["response"]["comments"]),
        (&json!("completed"), &json!("approve"), &json!("fine"))
    );
    bench.put(&format!("/tasks/{id}/respond"), &owner, answer).await.refused(409, "FM-HTS-ALREADY-RESPONDED");
    bench.put(&format!("/tasks/{id}/assign"), &owner, json!({ "assignee": "x" })).await.refused(409, "FM-HTS-CLOSED");
    bench.put(&format!("/tasks/{id}/escalate"), &owner, json!({})).await.refused(409, "FM-HTS-CLOSED");
    assert_eq!(actions(&bench, &id).await, ["created", "assigned", "completed"]);
    let trail = bench.get(&format!("/audit-logs?resourceId={id}&action=task.responded"), &owner).await.ok();
    assert_eq!(trail["items"][0]["changes"]["after"], json!({ "status": "completed", "assignedTo": "clerk", "decision": "approve" }));
    // The task was made by hand: the execution waits for its own.
    assert_eq!(bench.get(&format!("/executions/{execution}"), &owner).await.ok()["status"], "waiting");
}

#[tokio::test]
async fn a_task_that_makes_no_sense_is_refused_field_by_field() {
    let bench = TestPlatform::start().await;
    let task = json!({
        "title": "x", "form": { "fields": [{ "name": "a", "type": "choice" }] }, "sla": { "hoursToComplete": 0 }, "escalationChain": [""],
    });
    let refused = bench.post("/tasks", &bench.owner(), task).await.refused(422, "FM-HTS-INVALID");
    let pointers: Vec<&str> = refused["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/form/fields/0/type", "/sla/hoursToComplete", "/escalationChain"]);
    let unknown = json!({ "title": "x", "executionId": "exec-789" });
    bench.post("/tasks", &bench.owner(), unknown).await.refused(422, "FM-HTS-EXECUTION-UNKNOWN");
    bench.get("/tasks/task-none", &bench.owner()).await.refused(404, "FM-HTS-NOT-FOUND");
    assert_eq!(bench.get("/tasks", &bench.owner()).await.ok()["items"], json!([]));
}

#[tokio::test]
async fn tasks_are_found_by_what_is_asked_for() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let late = make(&bench, json!({ "title": "late", "assignee": "ann", "sla": { "hoursToComplete": 1 } })).await;
    let soon = make(&bench, json!({ "title": "soon", "assignee": "admin", "sla": { "hoursToComplete": 5 } })).await;
    let fine = make(&bench, json!({ "title": "fine", "assignee": "user-owner", "sla": { "hoursToComplete": 100 } })).await;
    bench.clock.advance(4.0 * 3600.0);
    let free = make(&bench, json!({ "title": "free" })).await;
    let when = bench.get(&format!("/tasks/{free}"), &owner).await.ok()["createdAt"].as_str().unwrap().to_owned();
    for (query, expected) in [
        (String::new(), vec![&free, &fine, &soon, &late]),
        ("?sort=createdAt".to_owned(), vec![&late, &soon, &fine, &free]),
        ("?assignee=ann".to_owned(), vec![&late]),
        ("?assignee=me".to_owned(), vec![&fine, &soon]),
        ("?status=created".to_owned(), vec![&free]),
        ("?status=created,assigned&sla=ok".to_owned(), vec![&fine]),
        ("?sla=breached".to_owned(), vec![&late]),
        ("?sla=due_soon".to_owned(), vec![&soon]),
        (format!("?createdBefore={when}"), vec![&fine, &soon, &late]),
        (format!("?createdAfter={when}"), vec![]),
    ] {
        assert_eq!(ids(&bench.get(&format!("/tasks{query}"), &owner).await.ok()), expected, "{query}");
    }
    for task in [&late, &fine] {
        bench.put(&format!("/tasks/{task}/respond"), &owner, json!({ "decision": "approve" })).await.ok();
    }
    bench.clock.advance(100.0 * 3600.0);
    for (query, expected) in [
        ("?sla=breached", vec![&soon, &late]),
        ("?sla=breached&sort=createdAt&limit=1", vec![&late]),
        ("?sla=breached&status=completed", vec![&late]),
        ("?sla=breached&status=assigned", vec![&soon]),
        ("?sla=breached&assignee=ann", vec![&late]),
        ("?sla=breached&assignee=me", vec![&soon]),
        ("?sla=ok", vec![&fine]),
        ("?sla=ok&assignee=me&status=completed,cancelled", vec![&fine]),
        ("?sla=ok&status=created,assigned", vec![]),
        ("?sla=due_soon", vec![]),
        ("?sla=due_soon&status=completed", vec![]),
    ] {
        assert_eq!(ids(&bench.get(&format!("/tasks{query}"), &owner).await.ok()), expected, "{query}");
    }
    let first = bench.get("/tasks?limit=3", &owner).await.ok();
    let rest = bench.get(&format!("/tasks?limit=3&cursor={}", first["nextCursor"].as_str().unwrap()), &owner).await.ok();
    assert_eq!((ids(&first).len(), ids(&rest), rest.get("nextCursor")), (3, vec![late.as_str()], None));
    bench.get("/tasks?status=sleeping", &owner).await.refused(422, "FM-HTS-INVALID");
    bench.get("/tasks?sort=title", &owner).await.refused(422, "FM-HTS-INVALID");
}

#[tokio::test]
async fn a_late_task_goes_up_the_chain_by_itself() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let task = json!({
        "title": "x", "assignee": "manager-123", "sla": { "hoursToComplete": 24 }, "escalationChain": ["manager-123", "director-456", "ceo-1"],
    });
    let id = make(&bench, task).await;
    let until = async |assignee: &str| {
        for _ in 0..500 {
            let task = bench.get(&format!("/tasks/{id}"), &owner).await.ok();
            if task["assignedTo"] == assignee {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not go to {assignee}")
    };
    bench.clock.advance(24.0 * 3600.0);
    let up = until("director-456").await;
    assert_eq!((&up["status"], &up["escalationLevel"], &up["slaStatus"]), (&json!("escalated"), &json!(1), &json!("breached")));
    let by_hand = bench.put(&format!("/tasks/{id}/escalate"), &owner, json!({ "reason": "stuck" })).await.ok();
    assert_eq!((&by_hand["assignedTo"], &by_hand["escalationLevel"]), (&json!("ceo-1"), &json!(2)));
    bench.put(&format!("/tasks/{id}/escalate"), &owner, json!({})).await.refused(409, "FM-HTS-CHAIN-END");
    bench.clock.advance(24.0 * 3600.0);
    for _ in 0..500 {
        if actions(&bench, &id).await.len() == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(actions(&bench, &id).await, ["created", "escalated", "escalated", "breached"]);
    let history = bench.get(&format!("/tasks/{id}/history"), &owner).await.ok();
    assert_eq!((&history["items"][1]["actor"], &history["items"][2]["data"]["reason"]), (&json!("system"), &json!("stuck")));
}

#[tokio::test]
async fn only_whoever_has_a_task_answers_it() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let rights = ["task:view", "task:approve"];
    let ann = bench.user("tenant-local", "ann", &[], &rights).await;
    let (ann_token, ben) = (bench.login("tenant-local", "ann").await, bench.signed_in("tenant-local", "ben", &rights).await);
    let id = make(&bench, json!({ "title": "x", "assignee": ann })).await;
    let path = format!("/tasks/{id}/respond");
    let refused = bench.put(&path, &ben, json!({ "decision": "approve" })).await.refused(403, "FM-HTS-NOT-ASSIGNEE");
    assert!(refused["detail"].as_str().unwrap().contains(&ann), "{refused}");
    assert_eq!(ids(&bench.get("/tasks?assignee=me", &ann_token).await.ok()), [id.as_str()]);
    assert_eq!(ids(&bench.get("/tasks?assignee=me", &ben).await.ok()), Vec::<&str>::new());
    let done = bench.put(&path, &ann_token, json!({ "decision": "approve" })).await.ok();
    assert_eq!(done["response"]["respondedBy"], ann);
    let free = make(&bench, json!({ "title": "free" })).await;
    bench.put(&format!("/tasks/{free}/respond"), &ben, json!({ "decision": "approve" })).await.refused(403, "FM-HTS-NOT-ASSIGNEE");
    bench.put(&format!("/tasks/{free}/respond"), &owner, json!({ "decision": "approve" })).await.ok();
}

#[tokio::test]
async fn a_node_can_ask_for_a_permission() {
    let bench = TestPlatform::start().await;
    let rights = ["task:view", "task:approve"];
    let ann = bench.user("tenant-local", "ann", &[], &rights).await;
    let token = bench.login("tenant-local", "ann").await;
    let node = json!({ "id": "a", "type": "human_task", "config": { "assignee": ann, "requires": "invoice:approve" } });
    let process = publish(&bench, json!([node]), json!([])).await;
    let execution = start(&bench, &process, json!({})).await;
    let task = open_tasks(&bench, &execution).await.remove(0);
    let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
    let refused = bench.put(&path, &token, json!({ "decision": "approve" })).await.refused(403, "FM-HTS-PERMISSION");
    assert!(refused["detail"].as_str().unwrap().contains("invoice:approve"), "{refused}");
    bench.put(&path, &bench.owner(), json!({ "decision": "approve" })).await.ok();
}

#[tokio::test]
async fn of_many_answers_at_once_one_is_taken() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let nodes = json!([
        { "id": "a", "type": "human_task", "config": { "assignee": "x", "output": "answer" } },
        { "id": "b", "type": "script", "config": { "expression": "variables.count + 1", "output": "count" } },
    ]);
    let process = publish(&bench, nodes, json!([])).await;
    let execution = start(&bench, &process, json!({ "count": 0 })).await;
    let task = open_tasks(&bench, &execution).await.remove(0);
    let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
    let answers = (0..8).map(|place| bench.put(&path, &owner, json!({ "decision": format!("choice {place}") })));
    let replies = futures_util::future::join_all(answers).await;
    let mut taken: Vec<&Value> =
        replies.iter().filter(|reply| reply.status == 200).map(|reply| &reply.body["response"]["decision"]).collect();
    assert_eq!(replies.iter().filter(|reply| reply.code() == "FM-HTS-ALREADY-RESPONDED").count(), 7);
    let ended = bench.get(&format!("/executions/{}", execution["executionId"].as_str().unwrap()), &owner).await.ok();
    assert_eq!(ended["state"]["variables"]["count"], 1);
    assert_eq!(taken.pop(), Some(&ended["state"]["variables"]["answer"]["decision"]));
}

#[tokio::test]
async fn a_change_of_a_task_that_is_not_as_it_was_read_is_412() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let chain = json!({ "title": "Sign", "assignee": "ann", "escalationChain": ["ann", "bob"] });
    let id = make(&bench, chain).await;
    let tag = async || bench.get(&format!("/tasks/{id}"), &owner).await.headers["etag"].to_str().unwrap().to_owned();
    let change = async |what: &str, body: Value, tag: &str| {
        let request = bench.request(Method::PUT, &format!("/tasks/{id}/{what}"), &owner);
        bench.send(request.header("if-match", tag).json(&body)).await
    };
    let first = tag().await;
    let assigned = change("assign", json!({ "assignee": "eve" }), &first).await;
    assert_eq!((assigned.status, assigned.headers["etag"].to_str().unwrap()), (200, tag().await.as_str()));
    assert_ne!(tag().await, first);
    for (what, body) in [("assign", json!({ "assignee": "dan" })), ("escalate", json!({})), ("respond", json!({ "decision": "yes" }))] {
        change(what, body, &first).await.refused(412, "FM-AGS-CHANGED");
    }
    let now = tag().await;
    assert_eq!(change("respond", json!({ "decision": "yes" }), &now).await.status, 200);
    change("respond", json!({ "decision": "no" }), &now).await.refused(412, "FM-AGS-CHANGED");
    assert_eq!(bench.get(&format!("/tasks/{id}"), &owner).await.body["response"]["decision"], "yes");
}

#[tokio::test]
async fn each_candidate_may_answer_until_the_task_is_given_to_one() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let rights = ["task:view", "task:approve"];
    let ann = bench.user("tenant-local", "ann", &[], &rights).await;
    bench.user("tenant-local", "fay", &["finance"], &rights).await;
    let (ann_token, fay) = (bench.login("tenant-local", "ann").await, bench.login("tenant-local", "fay").await);
    let stranger = bench.signed_in("tenant-local", "ben", &rights).await;
    let candidates = json!(["finance", "=variables.more", ""]);
    let sign = json!({ "id": "sign", "type": "human_task", "config": { "assignee": candidates, "title": "Sign" } });
    let refused = json!({ "name": "Test", "nodes": [sign] });
    let id = bench.post("/processes/designs", &owner, refused).await.ok()["id"].as_str().unwrap().to_owned();
    let found = bench.post(&format!("/processes/{id}/validate"), &owner, json!({})).await.ok();
    assert_eq!(found["errors"][0]["pointer"], "/nodes/0/config/assignee", "{found:#}");

    let sign = json!({ "id": "sign", "type": "human_task", "config": { "assignee": ["finance", "=variables.more"], "title": "Sign" } });
    let process = publish(&bench, json!([sign]), json!([])).await;
    let begin = async || start(&bench, &process, json!({ "more": [ann, "finance"] })).await;
    let (first, second, third) = (begin().await, begin().await, begin().await);
    let task = async |execution: &Value| open_tasks(&bench, execution).await.remove(0);
    let path = async |execution: &Value| format!("/tasks/{}", task(execution).await["taskId"].as_str().unwrap());
    let made = task(&first).await;
    assert_eq!((made.get("assignedTo"), &made["candidates"]), (None, &json!(["finance", ann])), "{made:#}");
    for (token, count) in [(&ann_token, 3), (&fay, 3), (&stranger, 0)] {
        assert_eq!(ids(&bench.get("/tasks?assignee=me", token).await.ok()).len(), count);
    }
    assert_eq!(ids(&bench.get("/tasks?assignee=finance", &owner).await.ok()).len(), 3);
    let refused = bench.put(&format!("{}/respond", path(&first).await), &stranger, json!({ "decision": "yes" })).await;
    assert!(refused.refused(403, "FM-HTS-NOT-ASSIGNEE")["detail"].as_str().unwrap().contains("finance"));
    for (token, execution) in [(&ann_token, &first), (&fay, &second)] {
        let done = bench.put(&format!("{}/respond", path(execution).await), token, json!({ "decision": "yes" })).await.ok();
        assert_eq!(done["status"], "completed");
    }
    // One has it, and the others are no candidates any more.
    let given = bench.put(&format!("{}/assign", path(&third).await), &owner, json!({ "assignee": ann })).await.ok();
    assert_eq!((&given["assignedTo"], given.get("candidates")), (&json!(ann), None));
    bench.put(&format!("{}/respond", path(&third).await), &fay, json!({ "decision": "yes" })).await.refused(403, "FM-HTS-NOT-ASSIGNEE");
}

#[tokio::test]
async fn a_candidate_who_does_not_exist_is_told_beforehand() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let gone = "user-0198c9a0-0000-7000-8000-000000000000";
    let sign = json!({ "id": "sign", "type": "human_task", "config": { "assignee": ["admin", gone] } });
    let id =
        bench.post("/processes/designs", &owner, json!({ "name": "Test", "nodes": [sign] })).await.ok()["id"].as_str().unwrap().to_owned();
    let found = bench.post(&format!("/processes/{id}/validate"), &owner, json!({})).await.ok();
    let said = (&found["warnings"][0]["code"], &found["warnings"][0]["pointer"]);
    assert_eq!(said, (&json!("UNKNOWN_ASSIGNEE"), &json!("/nodes/0/config/assignee/1")), "{found:#}");
}

#[tokio::test]
async fn nobody_gets_at_a_users_tasks_by_a_role_of_the_same_name() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let may = ["task:view", "task:approve"];
    let anna = bench.user("tenant-local", "anna@b.c", &[], &may).await;
    let task = make(&bench, json!({ "title": "Sign", "assignee": anna })).await;
    let maker = bench.signed_in("tenant-local", "maker@b.c", &["user:create", "role:create", "role:grant", "task:view"]).await;
    // No role is called like a user, by whatever way, and nobody but the owner names roles that there are not.
    for name in [anna.as_str(), "anna@b.c", "user-owner", "user-0198c9a0-0000-7000-8000-000000000000"] {
        bench.post("/roles", &maker, json!({ "name": name })).await.refused(422, "FM-AAS-ROLE-NAME");
    }
    let password = "correct horse battery";
    for role in [anna.as_str(), "director"] {
        let user = json!({ "username": "thief@b.c", "password": password, "roles": [role], "permissions": ["task:view"] });
        bench.post("/users", &maker, user).await.refused(422, "FM-AAS-ROLE-UNKNOWN");
    }
    let user = json!({ "username": "thief@b.c", "password": password, "tenantId": "tenant-local", "roles": [anna] });
    bench.post("/users", &owner, user).await.refused(422, "FM-AAS-ROLE-NAME");

    // A task for a role that there is not yet waits for whoever holds it once it is made.
    let early = make(&bench, json!({ "title": "Later", "assignee": "director" })).await;
    bench.user("tenant-local", "dora@b.c", &["director"], &may).await;
    let dora = bench.login("tenant-local", "dora@b.c").await;
    assert_eq!(ids(&bench.get("/tasks?assignee=me", &dora).await.ok()), [early]);
    let path = format!("/tasks/{task}/respond");
    bench.put(&path, &dora, json!({ "decision": "approve" })).await.refused(403, "FM-HTS-NOT-ASSIGNEE");
    let anna = bench.login("tenant-local", "anna@b.c").await;
    assert_eq!(ids(&bench.get("/tasks?assignee=me", &anna).await.ok()), [task]);
    bench.put(&path, &anna, json!({ "decision": "approve" })).await.ok();
}
