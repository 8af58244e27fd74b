//! Bad input, over MCP and over the platform's HTTP: a clear error with its code, nothing half written, and life goes on.

use std::path::{Path, PathBuf};

use flowmaster_mcp::platform::{Options, Platform};
use serde_json::{Value, json};

use crate::support::platform::TestPlatform;
use crate::support::program::{Host, REVISIONS, Revision, text_of};

/// Ids that try to leave their path segment, or are none at all.
const HOSTILE: [&str; 8] = ["a/b", "../users", "..%2f..%2fusers", "%2f", "a b", "x?y=1#z", "ä\u{202e}\r\nHost: evil", "task-404"];

/// How many rows of state the platform in a folder keeps; logs of refused calls are none.
fn rows(folder: &Path) -> Vec<i64> {
    let file = folder.join("platform.db");
    let connection = rusqlite::Connection::open(file).unwrap();
    [
        "processes",
        "process_versions",
        "executions",
        "execution_history",
        "tasks",
        "task_history",
        "entities",
        "entity_types",
        "events",
        "subscriptions",
    ]
    .iter()
    .map(|table| connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap())
    .collect()
}

fn data(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("data")
}

fn approval() -> Value {
    json!({ "name": "Approval Workflow", "nodes": [{ "id": "node-1", "type": "human_task", "config": {
        "assignee": "user-owner",
        "form": { "fields": [{ "name": "decision", "type": "enum", "options": ["approve", "reject"] }] },
    } }] })
}

/// Holds a text for models to begin with a stable code and to say what to do next.
#[track_caller]
fn is_clear(text: &str) {
    let code = text.split(':').next().unwrap();
    assert!(code.starts_with("FM-") && code.len() > 5 && !code.contains(' '), "no code: {text}");
    assert!(text.contains("Next:"), "no next step: {text}");
    assert!(text.len() < 2000, "too long: {text}");
}

#[tokio::test]
async fn wrong_arguments_are_told_to_the_model_and_change_nothing() {
    for revision in REVISIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host::start(&data(&folder), revision).await;
        let task = host.good("tasks_create", json!({ "title": "Sign", "assignee": "user-owner" })).await["taskId"].clone();
        let before = rows(&data(&folder));

        let unknown = host.request("tools/call", json!({ "name": "tasks_explode", "arguments": {} })).await;
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
        for (tool, arguments, named) in [
            ("tasks_get", json!({}), "id"),
            ("tasks_get", json!({ "id": task, "idd": 1 }), "idd"),
            ("tasks_get", json!({ "id": { "a": 1 } }), "id"),
            ("tasks_list", json!({ "limit": "many" }), "limit"),
            ("tasks_list", json!({ "limit": 100_000 }), "200"),
            ("tasks_list", json!({ "sla": "never" }), "breached"),
            ("tasks_list", json!({ "createdAfter": "yesterday" }), "RFC 3339"),
            ("tasks_list", json!({ "cursor": "made up" }), "cursor"),
            ("executions_start", json!({ "processId": null }), "processId"),
            ("executions_start", json!({ "processId": "proc-404" }), "proc-404"),
            ("processes_create", json!({ "name": "", "nodes": [] }), "name"),
            ("subscriptions_create", json!({ "topic": "task.*", "delivery": { "type": "queue" } }), "delivery/type"),
            ("events_publish", json!({ "topic": "task.created", "event": { "taskId": "x" } }), "FM-EBS-TOPIC-RESERVED"),
        ] {
            let text = host.bad(tool, arguments).await;
            is_clear(&text);
            assert!(text.contains(named), "{tool} does not name `{named}`: {text}");
        }
        let long = "x".repeat(10 * 1024);
        for id in HOSTILE.into_iter().chain([".", "..", "", &long]) {
            for tool in ["tasks_get", "executions_get", "processes_versions", "tasks_escalate", "subscriptions_delete"] {
                is_clear(&host.bad(tool, json!({ "id": id })).await);
            }
            is_clear(&host.bad("entities_get", json!({ "type": id, "id": id })).await);
        }
        assert_eq!(rows(&data(&folder)), before, "nothing is half written");

        // What a model means is taken.
        let taken = json!({ "limit": "5", "assignee": null, "status": "assigned", "cursor": null });
        assert_eq!(host.good("tasks_list", taken).await["items"].as_array().unwrap().len(), 1);
        assert!(host.end().await.success());
    }
}

#[tokio::test]
async fn a_process_that_cannot_run_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::start(&data(&folder), Revision::V2026_07_28).await;
    let bomb = format!("{}1{} > 0", "(".repeat(200), ")".repeat(200));
    let wide = format!("variables.x == 1{}", " || variables.x == 1".repeat(500));
    let comprehensions = "[1].all(a, [1].all(b, [1].all(c, [1].all(d, a + b + c + d > 0))))";
    let with_condition = |condition: &str| {
        json!({ "name": "p", "nodes": [{ "id": "start", "type": "start" }, { "id": "g", "type": "gateway" }, { "id": "end", "type": "end" }],
            "edges": [{ "from": "start", "to": "g" }, { "from": "g", "to": "end", "condition": condition }, { "from": "g", "to": "end" }] })
    };
    for (what, design) in [
        (
            "an endless loop",
            json!({ "name": "p", "nodes": [{ "id": "a", "type": "start" }, { "id": "b", "type": "script", "config": { "expression": "1", "output": "x" } }],
            "edges": [{ "from": "a", "to": "b" }, { "from": "b", "to": "b" }] }),
        ),
        ("an edge to nowhere", json!({ "name": "p", "nodes": [{ "id": "a", "type": "start" }], "edges": [{ "from": "a", "to": "zzz" }] })),
        ("a condition that does not compile", with_condition("variables. >")),
        ("a condition of brackets", with_condition(&bomb)),
        ("a condition that is too long", with_condition(&wide)),
        ("a condition of loops", with_condition(comprehensions)),
    ] {
        // It may be refused at once or kept as a draft that nobody can publish.
        let made = host.call("processes_create", design).await;
        if made["isError"] == json!(true) {
            is_clear(&text_of(&made));
            continue;
        }
        let id = made["structuredContent"]["id"].clone();
        let found = host.good("processes_validate", json!({ "id": id })).await;
        assert_eq!(found["valid"], json!(false), "{what}: {found}");
        assert!(!found["errors"].as_array().unwrap().is_empty(), "{what}: {found}");
        let refused = host.bad("processes_publish", json!({ "id": id })).await;
        is_clear(&refused);
        is_clear(&host.bad("executions_start", json!({ "processId": id })).await);
        assert!(refused.starts_with("FM-PDS-"), "{what}: {refused}");
    }
    assert_eq!(rows(&data(&folder))[2], 0, "no execution was started");
    assert!(host.end().await.success());
}

#[tokio::test]
async fn a_task_is_answered_once_and_by_its_options() {
    for revision in REVISIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host::start(&data(&folder), revision).await;
        let process = host.good("processes_create", approval()).await["id"].clone();
        is_clear(&host.bad("executions_start", json!({ "processId": process })).await);
        host.good("processes_publish", json!({ "id": process })).await;
        let execution = host.good("executions_start", json!({ "processId": process })).await["executionId"].clone();
        let task = host.good("tasks_list", json!({ "executionId": execution })).await["items"][0]["taskId"].clone();
        let before = rows(&data(&folder));
        let beyond = host.bad("tasks_respond", json!({ "id": task, "decision": "perhaps" })).await;
        assert!(beyond.contains("approve, reject"), "{beyond}");
        is_clear(&beyond);
        host.person = Some("decline");
        is_clear(&host.bad("tasks_respond", json!({ "id": task, "decision": "approve" })).await);
        is_clear(&host.bad("executions_cancel", json!({ "id": execution })).await);
        is_clear(&host.bad("executions_resume", json!({ "id": execution })).await);
        assert_eq!(rows(&data(&folder)), before, "nothing is half written");

        host.person = Some("accept");
        host.good("tasks_respond", json!({ "id": task, "decision": "approve" })).await;
        let again = host.bad("tasks_respond", json!({ "id": task, "decision": "reject" })).await;
        assert!(again.starts_with("FM-HTS-ALREADY-RESPONDED"), "{again}");
        for tool in ["executions_pause", "executions_resume", "executions_cancel"] {
            let refused = host.bad(tool, json!({ "id": execution })).await;
            assert!(refused.starts_with("FM-EES-") && refused.contains("completed"), "{tool}: {refused}");
        }
        let nothing = host.bad("executions_compensate", json!({ "id": execution })).await;
        assert!(nothing.starts_with("FM-EES-NOTHING-TO-COMPENSATE"), "{nothing}");
        assert!(host.end().await.success());
    }
}

#[tokio::test]
async fn broken_lines_on_stdio_are_passed_over() {
    for revision in REVISIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host::start(&data(&folder), revision).await;
        for line in ["{", "not json", "[]", "\u{7f}\u{0}", "{\"jsonrpc\":\"2.0\"}", &"[".repeat(100_000)] {
            host.send_line(line).await;
        }
        host.good("tasks_list", json!({})).await;
        let text = host.bad("tasks_create", json!({ "title": "x", "description": "y".repeat(1_200_000) })).await;
        is_clear(&text);
        assert!(text.contains("TOO-LARGE") || text.contains("too large") || text.contains("larger"), "{text}");
        host.good("tasks_list", json!({})).await;
        assert!(host.end().await.success());
    }
}

#[tokio::test]
async fn the_platform_tells_what_it_cannot_read() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    platform.get("/tasks", &owner).await.ok();
    let before = rows(&platform.folder.path().join("data"));
    let post = |path: &'static str, body: String| {
        platform.request(reqwest::Method::POST, path, &owner).header("content-type", "application/json").body(body)
    };
    for body in ["{", "[]", "null", "\"text\"", "{\"title\": \"x\"} trailing", "{\"title\":\"\u{1}\"}"] {
        let refused = platform.send(post("/tasks", body.to_owned())).await;
        assert_eq!((refused.status, refused.code()), (400, "FM-HTS-MALFORMED"), "{body}: {:#}", refused.body);
    }
    let deep = format!("{{\"title\":\"x\",\"form\":{}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
    platform.send(post("/tasks", deep)).await.refused(400, "FM-HTS-MALFORMED");
    platform.send(post("/tasks", format!("{{\"title\":\"{}\"}}", "x".repeat(1_100_000)))).await.refused(413, "FM-AGS-TOO-LARGE");
    let text = platform.request(reqwest::Method::POST, "/tasks", &owner).header("content-type", "text/plain").body("title=x");
    platform.send(text).await.refused(415, "FM-AGS-MEDIA-TYPE");
    // A body is read strictly: neither text for a number, nor null, nor an unknown field.
    for body in [
        json!({}),
        json!({ "title": 5 }),
        json!({ "title": "x", "assignee": null }),
        json!({ "title": "x", "asignee": "y" }),
        json!({ "title": "x", "sla": { "hoursToComplete": "5" } }),
    ] {
        let refused = platform.post("/tasks", &owner, body.clone()).await;
        assert_eq!(refused.status, 422, "{body}: {:#}", refused.body);
        assert!(refused.body["errors"][0]["pointer"].as_str().is_some_and(|pointer| pointer.starts_with('/')), "{:#}", refused.body);
    }
    for path in
        ["/tasks/..%2f..%2fusers", "/tasks/%2e%2e", "/tasks/a%00b", "/tasks/a%2Fb/history", "/executions/%ff%fe", "/entities/customer/%2f"]
    {
        let refused = platform.get(path, &owner).await;
        assert!(
            [400, 404, 422].contains(&refused.status) && refused.code().starts_with("FM-"),
            "{path}: {} {:#}",
            refused.status,
            refused.body
        );
    }
    assert_eq!(rows(&platform.folder.path().join("data")), before, "nothing is half written");
    platform.get("/tasks", &owner).await.ok();
}

#[tokio::test]
async fn what_is_anothers_is_not_there() {
    let platform = TestPlatform::start().await;
    let all = ["process:*", "execution:*", "task:*", "entity:*", "subscription:*", "event:*", "audit:*"];
    let mine = platform.signed_in("tenant-a", "a@a.example", &all).await;
    let theirs = platform.signed_in("tenant-b", "b@b.example", &all).await;
    let process = platform.post("/processes/designs", &mine, approval()).await.ok()["id"].as_str().unwrap().to_owned();
    platform.post(&format!("/processes/{process}/publish"), &mine, json!({})).await.ok();
    let execution =
        platform.post("/executions", &mine, json!({ "processId": process })).await.ok()["executionId"].as_str().unwrap().to_owned();
    let task = platform.get("/tasks", &mine).await.ok()["items"][0]["taskId"].as_str().unwrap().to_owned();
    let before = rows(&platform.folder.path().join("data"));
    for path in [
        format!("/processes/{process}/versions"),
        format!("/executions/{execution}"),
        format!("/executions/{execution}/history"),
        format!("/tasks/{task}"),
        format!("/tasks/{task}/history"),
    ] {
        let refused = platform.get(&path, &theirs).await;
        assert_eq!(refused.status, 404, "{path}: {:#}", refused.body);
        assert!(!refused.body.to_string().contains("tenant-a"), "{:#}", refused.body);
    }
    let absent = platform.get("/tasks/task-00000000-0000-7000-8000-000000000000", &theirs).await;
    let foreign = platform.get(&format!("/tasks/{task}"), &theirs).await;
    assert_eq!((absent.status, absent.code()), (foreign.status, foreign.code()), "another's task and none at all look the same");
    assert_eq!(platform.put(&format!("/tasks/{task}/respond"), &theirs, json!({ "decision": "approve" })).await.status, 404);
    assert_eq!(platform.put(&format!("/executions/{execution}/cancel"), &theirs, json!({})).await.status, 404);
    assert_eq!(platform.post("/executions", &theirs, json!({ "processId": process })).await.status, 404);
    assert_eq!(platform.get("/tasks", &theirs).await.ok()["items"], json!([]));
    assert_eq!(platform.get("/executions", &theirs).await.ok()["items"], json!([]));
    let cursor = platform.get("/events/replay?topic=*&limit=1", &mine).await.ok()["nextCursor"].as_str().unwrap().to_owned();
    let refused = platform.get(&format!("/events/replay?topic=*&limit=1&cursor={cursor}"), &theirs).await;
    assert!(
        [400, 422].contains(&refused.status) && refused.code().starts_with("FM-"),
        "a cursor is of use to its tenant alone: {:#}",
        refused.body
    );
    assert_eq!(rows(&platform.folder.path().join("data")), before, "nothing is half written");
}

#[tokio::test]
async fn a_folder_of_another_version_or_open_to_others_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::start(&data(&folder), Revision::V2025_11_25).await;
    host.good("tasks_create", json!({ "title": "Sign" })).await;
    assert!(host.end().await.success());
    let file = data(&folder).join("platform.db");
    let version = |sql: &str| rusqlite::Connection::open(&file).unwrap().execute_batch(sql).unwrap();
    let own: u32 = rusqlite::Connection::open(&file).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    version("PRAGMA user_version = 999");
    let refused = Platform::start(Options::new(data(&folder))).await.unwrap_err();
    assert_eq!(refused.code(), "FM-PLATFORM-SCHEMA-VERSION", "{refused}");
    let mut host = Host::start(&data(&folder), Revision::V2026_07_28).await;
    let text = host.bad("tasks_list", json!({})).await;
    is_clear(&text);
    assert!(text.starts_with("FM-PLATFORM-SCHEMA-VERSION") && text.contains("999"), "{text}");
    version(&format!("PRAGMA user_version = {own}"));
    assert_eq!(host.good("tasks_list", json!({})).await["items"][0]["title"], "Sign", "the same server goes on once it is mended");
    assert!(host.end().await.success());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(data(&folder), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut host = Host::start(&data(&folder), Revision::V2025_11_25).await;
        let text = host.bad("tasks_list", json!({})).await;
        is_clear(&text);
        assert!(text.starts_with("FM-PLATFORM-FOLDER-MODE") && text.contains("chmod 700"), "{text}");
        assert!(host.end().await.success());
    }
}
