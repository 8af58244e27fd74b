//! Process Design over HTTP: drafts, versions, validation, publishing and trial runs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::platform::executions::{human, publish, start};
use crate::support::platform::TestPlatform;

/// The contract's example, as it stands there.
pub fn contract_example() -> Value {
    json!({
        "name": "Approval Workflow",
        "nodes": [{ "id": "node-1", "type": "human_task", "config": { "assignee": "manager" } }],
        "version": "1.0.0",
    })
}

#[tokio::test]
async fn the_contracts_example_is_designed_validated_and_published() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let created = bench.post("/processes/designs", &owner, contract_example()).await;
    assert_eq!((created.status, &created.headers["etag"]), (201, &"\"1.0.0-1\"".parse().unwrap()));
    let id = created.body["id"].as_str().unwrap().to_owned();
    assert_eq!(created.headers["location"], format!("/processes/{id}/versions"));
    assert!(id.starts_with("proc-"));
    assert_eq!((&created.body["status"], &created.body["version"]), (&json!("draft"), &json!("1.0.0")));
    assert_eq!(created.body["metadata"], json!({ "nodes": 1, "variables": 0 }));

    let checked = bench.post(&format!("/processes/{id}/validate"), &owner, json!({})).await.ok();
    assert_eq!(checked, json!({ "valid": true, "version": "1.0.0", "errors": [], "warnings": [], "suggestedMappings": [] }));

    let published = bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await.ok();
    assert_eq!(published["status"], "published");
    assert!(published["publishedAt"].is_string());
    let again = bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await.refused(409, "FM-PDS-PUBLISHED");
    assert!(again["detail"].as_str().unwrap().contains("processes_update"), "{again}");

    let replayed = bench.get("/events/replay?topic=process.*", &owner).await.ok();
    let topics: Vec<&str> = replayed["items"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(topics, ["process.created"]);
    assert_eq!(replayed["items"][0]["data"]["processId"], id);
    let trail = bench.get(&format!("/audit-logs?resourceId={id}"), &owner).await.ok();
    let actions: Vec<&str> = trail["items"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert!(actions.contains(&"process.created") && actions.contains(&"process.published"), "{actions:?}");
}

#[tokio::test]
async fn a_change_of_what_is_published_opens_a_draft() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let id = publish(&bench, json!([human("a")]), json!([])).await;
    let running = start(&bench, &id, json!({})).await;

    let draft = bench.put(&format!("/processes/{id}"), &owner, json!({ "nodes": [human("b"), human("c")] })).await.ok();
    assert_eq!((&draft["status"], &draft["version"], &draft["metadata"]["nodes"]), (&json!("draft"), &json!("1.1.0"), &json!(2)));
    let changed = bench.put(&format!("/processes/{id}"), &owner, json!({ "name": "Renamed" })).await.ok();
    assert_eq!((&changed["version"], &changed["name"], &changed["metadata"]["nodes"]), (&json!("1.1.0"), &json!("Renamed"), &json!(2)));

    let listed = bench.get(&format!("/processes/{id}/versions"), &owner).await.ok();
    let versions: Vec<(&str, &str, usize)> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["version"].as_str().unwrap(), one["status"].as_str().unwrap(), one["nodes"].as_array().unwrap().len()))
        .collect();
    assert_eq!(versions, [("1.1.0", "draft", 2), ("1.0.0", "published", 1)]);
    let first = bench.get(&format!("/processes/{id}/versions?limit=1"), &owner).await.ok();
    let second =
        bench.get(&format!("/processes/{id}/versions?limit=1&cursor={}", first["nextCursor"].as_str().unwrap()), &owner).await.ok();
    assert_eq!((&second["items"][0]["version"], second.get("nextCursor")), (&json!("1.0.0"), None));

    // Without a version the published one is started; the draft is not for starting.
    assert_eq!(start(&bench, &id, json!({})).await["version"], "1.0.0");
    bench.post("/executions", &owner, json!({ "processId": id, "version": "1.1.0" })).await.refused(409, "FM-EES-NOT-PUBLISHED");
    bench.post("/executions", &owner, json!({ "processId": id, "version": "7.0.0" })).await.refused(404, "FM-EES-VERSION-NOT-FOUND");
    bench.post(&format!("/processes/{id}/publish"), &owner, json!({ "version": "1.1.0" })).await.ok();
    assert_eq!(start(&bench, &id, json!({})).await["version"], "1.1.0");
    let kept = bench.get(&format!("/executions/{}", running["executionId"].as_str().unwrap()), &owner).await.ok();
    assert_eq!((&kept["version"], &kept["currentNode"]), (&json!("1.0.0"), &json!("a")));
}

#[tokio::test]
async fn a_stale_designer_is_refused() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let id = bench.post("/processes/designs", &owner, contract_example()).await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/processes/{id}");
    let change = |tag: &'static str| bench.request(Method::PUT, &path, &owner).header("if-match", tag).json(&json!({ "name": "New" }));
    let changed = bench.send(change("\"1.0.0-1\"")).await;
    assert_eq!((changed.status, &changed.headers["etag"]), (200, &"\"1.0.0-2\"".parse().unwrap()));
    assert_eq!(bench.send(change("\"1.0.0-1\"")).await.status, 412);
}

#[tokio::test]
async fn versions_are_semantic_and_go_up() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let mut bad = contract_example();
    bad["version"] = json!("one");
    let refused = bench.post("/processes/designs", &owner, bad).await.refused(422, "FM-PDS-VERSION");
    assert_eq!(refused["errors"][0]["pointer"], "/version");
    let id = publish(&bench, json!([human("a")]), json!([])).await;
    let path = format!("/processes/{id}");
    bench.put(&path, &owner, json!({ "version": "1.0.0" })).await.refused(409, "FM-PDS-VERSION-EXISTS");
    bench.put(&path, &owner, json!({ "version": "0.9.0" })).await.refused(409, "FM-PDS-VERSION-EXISTS");
    assert_eq!(bench.put(&path, &owner, json!({ "version": "2.0.0" })).await.ok()["version"], "2.0.0");
    bench.put("/processes/proc-none", &owner, json!({ "name": "x" })).await.refused(404, "FM-PDS-NOT-FOUND");
}

#[tokio::test]
async fn a_process_that_cannot_end_or_does_not_compile_is_not_published() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    for (nodes, edges, code) in [
        (
            json!([{ "id": "s", "type": "start" }, human("a"), human("b")]),
            json!([{ "from": "s", "to": "a" }, { "from": "a", "to": "b" }, { "from": "b", "to": "a" }]),
            "ENDLESS_LOOP",
        ),
        (json!([{ "id": "a", "type": "script", "config": { "expression": "1 +" } }]), json!([]), "EXPRESSION_SYNTAX"),
        (
            json!([{ "id": "a", "type": "script", "config": { "expression": format!("{}1{}", "(".repeat(900), ")".repeat(900)) } }]),
            json!([]),
            "EXPRESSION_DEPTH",
        ),
        (json!([]), json!([]), "NO_NODES"),
    ] {
        let design = json!({ "name": "Bad", "nodes": nodes, "edges": edges });
        let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
        let checked = bench.post(&format!("/processes/{id}/validate"), &owner, json!({})).await.ok();
        assert_eq!((&checked["valid"], &checked["errors"][0]["code"]), (&json!(false), &json!(code)));
        let refused = bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await.refused(422, "FM-PDS-INVALID-PROCESS");
        assert_eq!(refused["errors"][0]["code"], code);
        bench.post("/executions", &owner, json!({ "processId": id })).await.refused(409, "FM-EES-NOT-PUBLISHED");
    }
}

#[tokio::test]
async fn a_trial_runs_the_real_engine_and_leaves_nothing() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let design = json!({
        "name": "Refund",
        "nodes": [
            { "id": "review", "type": "human_task", "config": {
                "assignee": "manager",
                "form": { "fields": [{ "name": "decision", "type": "enum", "options": ["approve", "reject"] }] },
            } },
            { "id": "wait", "type": "timer", "config": { "seconds": 86400 } },
            { "id": "score", "type": "ai_agent", "config": { "agentId": "agent-assistant", "prompt": "Score it" } },
            { "id": "rejected", "type": "end" },
        ],
        "edges": [
            { "from": "review", "to": "wait", "condition": "nodes.review.decision == 'approve'" },
            { "from": "review", "to": "rejected" },
            { "from": "wait", "to": "score" },
        ],
    });
    let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/processes/{id}/sandbox");

    let waits = bench.post(&path, &owner, json!({})).await.ok();
    assert_eq!((&waits["status"], &waits["currentNode"], &waits["version"]), (&json!("waiting"), &json!("review"), &json!("1.0.0")));
    let passes =
        bench.post(&path, &owner, json!({ "answers": { "review": { "decision": "approve" }, "score": { "risk": 1 } } })).await.ok();
    assert_eq!((&passes["status"], &passes["state"]["nodeStates"]["score"]), (&json!("completed"), &json!("completed")), "{passes:#}");
    let kinds: Vec<&str> = passes["trace"].as_array().unwrap().iter().map(|entry| entry["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.first().zip(kinds.last()), Some((&"execution.started", &"execution.completed")));
    let rejected = bench.post(&path, &owner, json!({ "answers": { "review": { "decision": "reject" } } })).await.ok();
    assert_eq!((&rejected["status"], rejected["state"]["nodeStates"].get("wait")), (&json!("completed"), None));
    let asks = bench.post(&path, &owner, json!({ "answers": { "review": { "decision": "approve" } } })).await.ok();
    assert_eq!((&asks["status"], &asks["currentNode"]), (&json!("waiting"), &json!("score")), "no agent is asked in a trial");
    let unfit = bench.post(&path, &owner, json!({ "answers": { "review": { "decision": "maybe" } } })).await.ok();
    assert_eq!((&unfit["error"]["code"], &unfit["error"]["nodeId"]), (&json!("FM-EES-ANSWER"), &json!("review")));
    bench.post(&path, &owner, json!({ "answers": { "reveiw": {} } })).await.refused(422, "FM-PDS-INVALID");

    for path in ["/tasks", "/executions", "/events/replay?topic=execution.*", "/events/replay?topic=task.*"] {
        assert_eq!(bench.get(path, &owner).await.ok()["items"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn a_rehearsal_is_told_what_is_answered_in_each_pass() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let design = json!({
        "name": "Rework",
        "nodes": [{ "id": "start", "type": "start" }, human("approve"), human("correct"), { "id": "end", "type": "end" }],
        "edges": [
            { "from": "start", "to": "approve" }, { "from": "approve", "to": "correct", "condition": "nodes.approve.decision == 'no'" },
            { "from": "approve", "to": "end" }, { "from": "correct", "to": "approve" },
        ],
    });
    let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/processes/{id}/sandbox");
    let tried = async |answers: Value| bench.post(&path, &owner, json!({ "answers": answers })).await.ok();

    let passes = tried(json!({ "approve": ["no", { "decision": "no" }, "yes"], "correct": "done" })).await;
    assert_eq!(passes["status"], "completed", "{passes:#}");
    let corrected =
        passes["trace"].as_array().unwrap().iter().filter(|entry| entry["nodeId"] == "correct" && entry["type"] == "node.completed");
    assert_eq!(corrected.count(), 2, "one answer without a list is for every pass");

    let short = tried(json!({ "approve": ["no"], "correct": "done" })).await;
    assert_eq!((&short["status"], &short["error"]["code"]), (&json!("failed"), &json!("FM-EES-ANSWERS-SHORT")), "{short:#}");
    assert_eq!(short["error"]["nodeId"], "approve");
    assert!(short["error"]["message"].as_str().unwrap().contains("passed 2 times, but the list has 1 answers"), "{short:#}");
}

#[tokio::test]
async fn branches_that_cannot_meet_are_told_before_they_run() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let gateway = |id: &str, mode: &str| json!({ "id": id, "type": "gateway", "config": { "mode": mode } });
    let way = |from: &str, to: &str| json!({ "from": from, "to": to });
    let findings = async |nodes: Value, edges: Value| {
        let design = json!({ "name": "Shape", "nodes": nodes, "edges": edges });
        let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
        let found = bench.post(&format!("/processes/{id}/validate"), &owner, json!({})).await.ok();
        let published = bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await.status;
        (found["errors"][0]["code"].clone(), found["warnings"][0]["code"].clone(), published)
    };
    let when = json!({ "from": "choose", "to": "a", "condition": "execution.initiator == 'ada'" });
    let missed = [when, way("choose", "b"), way("a", "join"), way("b", "join")];
    let nodes = json!([gateway("choose", "xor"), human("a"), human("b"), gateway("join", "and")]);
    assert_eq!(findings(nodes, json!(missed)).await, (json!("JOIN_NEVER_COMPLETE"), Value::Null, 422));

    let twice = [way("fork", "a"), way("fork", "b"), way("a", "pay"), way("b", "pay")];
    let nodes = json!([gateway("fork", "and"), human("a"), human("b"), human("pay")]);
    assert_eq!(findings(nodes, json!(twice)).await, (Value::Null, json!("RUNS_TWICE"), 200));
}

#[tokio::test]
async fn another_tenant_sees_no_process() {
    let bench = TestPlatform::start().await;
    let id = publish(&bench, json!([human("a")]), json!([])).await;
    let stranger = bench.signed_in("tenant-other", "eve", &["*"]).await;
    bench.get(&format!("/processes/{id}/versions"), &stranger).await.refused(404, "FM-PDS-NOT-FOUND");
    bench.post(&format!("/processes/{id}/publish"), &stranger, json!({})).await.refused(404, "FM-PDS-NOT-FOUND");
    bench.post("/executions", &stranger, json!({ "processId": id })).await.refused(404, "FM-EES-PROCESS-NOT-FOUND");
    assert_eq!(bench.get("/processes", &stranger).await.ok()["items"], json!([]));
    assert_eq!(bench.get("/processes", &bench.owner()).await.ok()["items"][0]["id"], id);
}

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test]
async fn whatever_is_designed_is_refused_or_runs_to_a_known_state() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let mut dice = Dice(7);
    let undone = json!({ "type": "script", "expression": "1" });
    let steps = json!([
        { "id": "s", "type": "script", "config": { "expression": "1", "output": "m", "compensate": undone } }, human("t")
    ]);
    let below = publish(&bench, steps, json!([{ "from": "s", "to": "t" }])).await;
    let (mut published, mut ended) = (0, 0);
    for _ in 0..60 {
        let count = 2 + dice.roll(6);
        let nodes: Vec<Value> = (0..count)
            .map(|place| {
                let other = format!("n{}", 1 + dice.roll(count - 1));
                let config = match dice.roll(16) {
                    0 | 1 => ("human_task", json!({ "assignee": "x", "compensate": undone })),
                    2 => ("gateway", json!({ "mode": "and" })),
                    3 => ("gateway", json!({ "mode": "xor" })),
                    4 => ("timer", json!({ "seconds": dice.roll(2) * 60 })),
                    5 if place + 1 == count => ("end", json!({})),
                    6 => ("gateway", json!({ "mode": "or" })),
                    7 => ("human_task", json!({ "assignee": "x", "timeout": { "after": 60, "to": other } })),
                    8 => ("script", json!({ "expression": "variables.none", "onError": other })),
                    9 => ("script", json!({ "expression": "each.item", "forEach": "[1, 2, 3]", "compensate": undone })),
                    10 => {
                        ("human_task", json!({ "assignee": "x", "forEach": "[1, 2]", "parallel": 1 + dice.roll(2), "compensate": undone }))
                    }
                    11 => ("subprocess", json!({ "processId": below, "variables": { "n": "=1" }, "output": "below" })),
                    12 => ("ai_agent", json!({ "agentId": "agent-assistant", "prompt": "Judge it", "compensate": undone })),
                    13 => ("integration", json!({ "integrationId": "int-none", "method": "GET", "path": "/x", "onError": other })),
                    _ => ("script", json!({ "expression": "has(variables.n) ? variables.n + 1 : 1", "output": "n" })),
                };
                json!({ "id": format!("n{place}"), "type": if place == 0 { "start" } else { config.0 }, "config": config.1 })
            })
            .collect();
        // Most follow one another; some branch off, and those say when.
        let mut edges: Vec<Value> = (1..count)
            .map(|to| match dice.roll(to) {
                from if from + 1 == to || dice.roll(2) == 0 => json!({ "from": format!("n{}", to - 1), "to": format!("n{to}") }),
                from => json!({ "from": format!("n{from}"), "to": format!("n{to}"), "condition": "has(variables.n)" }),
            })
            .collect();
        for _ in 0..dice.roll(4) {
            let condition = ["variables.n > 2", "has(variables.n)", "true"][usize::try_from(dice.roll(3)).unwrap()];
            let (from, to) = (dice.roll(count), 1 + dice.roll(count - 1));
            edges.push(json!({ "from": format!("n{from}"), "to": format!("n{to}"), "condition": condition }));
        }
        let design = json!({ "name": "Chance", "nodes": nodes, "edges": edges });
        let id = bench.post("/processes/designs", &owner, design.clone()).await.ok()["id"].as_str().unwrap().to_owned();
        let valid = bench.post(&format!("/processes/{id}/validate"), &owner, json!({})).await.ok()["valid"].as_bool().unwrap();
        let answer = bench.post(&format!("/processes/{id}/publish"), &owner, json!({})).await;
        assert_eq!(answer.status, if valid { 200 } else { 422 }, "{design:#} {:#}", answer.body);
        bench.post(&format!("/processes/{id}/sandbox"), &owner, json!({})).await.ok();
        if !valid {
            continue;
        }
        published += 1;
        let mut execution = start(&bench, &id, json!({})).await;
        for _ in 0..6 {
            let tasks = crate::platform::executions::open_tasks(&bench, &execution).await;
            for task in &tasks {
                let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
                let answered = bench.put(&path, &owner, json!({ "decision": "go" })).await;
                assert!(matches!(answered.status, 200 | 409), "{:#}", answered.body);
            }
            if tasks.is_empty() {
                break;
            }
            execution = bench.get(&format!("/executions/{}", execution["executionId"].as_str().unwrap()), &owner).await.ok();
        }
        match execution["status"].as_str().unwrap() {
            "completed" => ended += 1,
            "failed" => {
                ended += 1;
                assert!(execution["error"]["code"].as_str().unwrap().starts_with("FM-EES-"), "{execution:#}");
                assert!(crate::platform::executions::open_tasks(&bench, &execution).await.is_empty());
            }
            "waiting" => assert!(execution["currentNode"].is_string(), "{execution:#}"),
            other => panic!("{other}: {execution:#} {design:#}"),
        }
        // What failed is retried into a known state, and undoing leaves nothing done.
        let path = format!("/executions/{}", execution["executionId"].as_str().unwrap());
        if execution["status"] == "failed" {
            execution = bench.put(&format!("{path}/resume"), &owner, json!({})).await.ok();
        }
        while !["completed", "failed", "cancelled"].contains(&execution["status"].as_str().unwrap()) {
            // A long list goes on by itself, so it may have ended meanwhile.
            let cancelled = bench.put(&format!("{path}/cancel"), &owner, json!({})).await;
            assert!(matches!(cancelled.status, 200 | 409), "{:#}", cancelled.body);
            execution = bench.get(&path, &owner).await.ok();
        }
        let undone = bench.post(&format!("{path}/compensate"), &owner, json!({})).await;
        if undone.status == 202 {
            execution = undone.body;
            for _ in 0..500 {
                if execution["status"] != "compensating" {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                execution = bench.get(&path, &owner).await.ok();
            }
            assert_eq!(execution["status"], "compensated", "{execution:#} {design:#}");
        } else {
            undone.refused(409, "FM-EES-NOTHING-TO-COMPENSATE");
        }
        assert!(crate::platform::executions::open_tasks(&bench, &execution).await.is_empty());
    }
    assert!(published > 5 && ended > 3, "{published} published, {ended} ended");
}
