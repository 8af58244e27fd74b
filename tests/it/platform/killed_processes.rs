//! Executions of all constructs, while the real program is killed again and again: each goes on where it was, and what is
//! undone is undone once.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::child::{ChildPlatform, Client};

/// How often it is killed while executions run, and again while they are undone; FLOWMASTER_KILLS sets another number.
const KILLS: u64 = 4;
/// Items of the list that a script works through: several transactions.
const ITEMS: usize = 700;
/// Executions at least.
const EXECUTIONS: usize = 4;

fn undone(mut node: Value) -> Value {
    node["config"]["compensate"] = json!({ "type": "script", "expression": "1" });
    node
}

fn node(id: &str, kind: &str, config: &Value) -> Value {
    json!({ "id": id, "type": kind, "config": config })
}

fn edge(from: &str, to: &str) -> Value {
    json!({ "from": from, "to": to })
}

/// A process with a node of every kind and every construct.
async fn publish(client: &Client) -> String {
    let below = json!({
        "name": "Below",
        "nodes": [undone(node("step", "script", &json!({ "expression": "variables.n + 1", "output": "n" })))],
    });
    let below = client.publish(&below).await;
    let items = json!({ "forEach": "variables.items", "expression": "each.item * 2", "output": "doubled" });
    let nodes = [
        node("start", "start", &json!({})),
        undone(node("each", "script", &items)),
        node("fork", "gateway", &json!({ "mode": "and" })),
        undone(node("ask", "human_task", &json!({ "assignee": ["user-owner", "admin"], "timeout": { "after": "P1D", "to": "asked" } }))),
        node("asked", "script", &json!({ "expression": "1", "output": "asked" })),
        node(
            "call",
            "subprocess",
            &json!({ "processId": below, "variables": { "n": "=each.item" }, "forEach": "[1, 2, 3]", "parallel": 2 }),
        ),
        node("think", "ai_agent", &json!({ "agentId": "agent-assistant", "prompt": "Judge it", "output": "advice" })),
        node("fetch", "integration", &json!({ "integrationId": "int-none", "method": "GET", "path": "/x", "onError": "mend" })),
        node("mend", "script", &json!({ "expression": "1", "output": "mended" })),
        node("pause", "timer", &json!({ "seconds": 0.05 })),
        node("meet", "gateway", &json!({ "mode": "and" })),
        node("choose", "gateway", &json!({ "mode": "or" })),
        undone(node("left", "script", &json!({ "expression": "1", "output": "left" }))),
        undone(node("right", "script", &json!({ "expression": "1", "output": "right" }))),
        node("merge", "gateway", &json!({ "mode": "or" })),
        node("end", "end", &json!({})),
    ];
    let mut edges = vec![
        edge("start", "each"),
        edge("each", "fork"),
        edge("fetch", "mend"),
        edge("ask", "asked"),
        edge("merge", "end"),
        edge("meet", "choose"),
    ];
    for branch in ["ask", "call", "think", "fetch", "pause"] {
        edges.push(edge("fork", branch));
    }
    for last in ["asked", "call", "think", "mend", "pause"] {
        edges.push(edge(last, "meet"));
    }
    for way in ["left", "right"] {
        edges.push(json!({ "from": "choose", "to": way, "condition": "true" }));
        edges.push(edge(way, "merge"));
    }
    client.publish(&json!({ "name": "Everything", "nodes": nodes, "edges": edges })).await
}

/// Starts executions and answers their tasks until the program dies.
async fn work(client: Client, process: String, started: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let items: Vec<usize> = (0..ITEMS).collect();
    loop {
        let start = json!({ "processId": process, "variables": { "items": items } });
        let execution = client.try_call("POST", "/executions", Some(&start)).await?;
        started.lock().unwrap().push(execution["executionId"].as_str().unwrap().to_owned());
        answer(&client).await?;
    }
}

/// Answers each task that is open.
async fn answer(client: &Client) -> Option<()> {
    let open = client.try_call("GET", "/tasks?status=created,assigned,escalated&limit=50", None).await?;
    for task in open["items"].as_array().unwrap() {
        let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
        // It may have been answered before the program died.
        let (status, body) = client.send("PUT", &path, Some(&json!({ "decision": "yes" }))).await?;
        assert!(matches!(status, 200 | 409), "{status} {body}");
    }
    Some(())
}

/// Lets the program run for a while, then kills it and starts another.
async fn interrupt(program: ChildPlatform, home: &tempfile::TempDir, round: u64, at_most: u64) -> ChildPlatform {
    tokio::time::sleep(Duration::from_millis(RandomState::new().hash_one(round) % at_most)).await;
    program.kill().await;
    ChildPlatform::start(home.path()).await
}

/// Looks at an execution until it has a status, answering what is asked.
async fn until(client: &Client, execution: &str, status: &str) -> Value {
    for _ in 0..1_000 {
        let now = client.call("GET", &format!("/executions/{execution}"), None).await;
        assert_ne!(now["status"], "failed", "{now:#}");
        if now["status"] == status {
            return now;
        }
        answer(client).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{execution} does not come to {status}");
}

/// How often each thing happened at each node.
async fn counts(client: &Client, execution: &str) -> HashMap<(String, String), usize> {
    let mut counts = HashMap::new();
    for entry in client.all(&format!("/executions/{execution}/history?limit=200")).await {
        let key = (entry["type"].as_str().unwrap().to_owned(), entry["nodeId"].as_str().unwrap_or_default().to_owned());
        *counts.entry(key).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_of_all_constructs_go_on_and_are_undone_however_often_it_is_killed() {
    let kills = std::env::var("FLOWMASTER_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let home = tempfile::tempdir().unwrap();
    let mut program = ChildPlatform::start(home.path()).await;
    let process = publish(&program.client).await;
    let started = Arc::new(Mutex::new(Vec::new()));
    let mut round = 0;
    while round < kills || started.lock().unwrap().len() < EXECUTIONS {
        let worker = tokio::spawn(work(program.client.clone(), process.clone(), Arc::clone(&started)));
        program = interrupt(program, &home, round, 1_500).await;
        worker.await.unwrap();
        round += 1;
    }
    let started = std::mem::take(&mut *started.lock().unwrap());
    for execution in &started {
        let done = until(&program.client, execution, "completed").await;
        let variables = &done["state"]["variables"];
        assert_eq!(variables["doubled"].as_array().map(Vec::len), Some(ITEMS), "{done:#}");
        assert_eq!((&variables["doubled"][ITEMS - 1], &variables["mended"]), (&json!((ITEMS - 1) * 2), &json!(1)));
        let counts = counts(&program.client, execution).await;
        for (what, node, times) in [("item.completed", "each", ITEMS), ("item.completed", "call", 3), ("node.completed", "meet", 1)] {
            assert_eq!(counts.get(&(what.to_owned(), node.to_owned())), Some(&times), "{what} {node}: {counts:?}");
        }
    }
    let undoing: Vec<&String> = started.iter().take(EXECUTIONS).collect();
    for (round, execution) in undoing.iter().enumerate() {
        let path = format!("/executions/{execution}/compensate");
        program.client.call("POST", &path, Some(&json!({}))).await;
        program = interrupt(program, &home, round as u64, 300).await;
    }
    for execution in undoing {
        until(&program.client, execution, "compensated").await;
        let counts = counts(&program.client, execution).await;
        for (node, times) in [("each", ITEMS), ("ask", 1), ("call", 3), ("left", 1), ("right", 1)] {
            let key = ("node.compensated".to_owned(), node.to_owned());
            assert_eq!(counts.get(&key), Some(&times), "{node}: {counts:?}");
        }
    }
    program.kill().await;
}
