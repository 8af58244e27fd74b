//! The real program, killed again and again while it writes: what was acknowledged is there, whole, and goes on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowmaster_mcp::platform::folder::{self, Opened};
use flowmaster_mcp::platform::{Options, verify_trails};
use serde_json::{Value, json};

use crate::support::child::{ChildPlatform, Client};

/// How often it is killed; FLOWMASTER_KILLS sets another number.
const KILLS: u64 = 6;
/// How many clients write at once.
const WRITERS: usize = 4;

/// What the program said it had done.
#[derive(Default)]
struct Acknowledged {
    /// The last count acknowledged for a record.
    records: BTreeMap<String, u64>,
    events: Vec<String>,
    rows: Vec<String>,
    executions: Vec<String>,
}

/// Writes until the program dies, and notes what was acknowledged.
async fn write(client: Client, process: String, acknowledged: Arc<Mutex<Acknowledged>>) -> Option<()> {
    for number in 1_u64.. {
        let record =
            client.try_call("POST", "/entities/ledger", Some(&json!({ "data": { "count": 0, "text": "a line of a ledger" } }))).await?;
        let id = text(&record["id"]);
        acknowledged.lock().unwrap().records.insert(id.clone(), 0);
        let changed = json!({ "data": { "count": number } });
        client.try_call("PUT", &format!("/entities/ledger/{id}"), Some(&changed)).await?;
        acknowledged.lock().unwrap().records.insert(id, number);
        let event = json!({ "topic": "ledger.written", "event": { "number": number } });
        let event = client.try_call("POST", "/events", Some(&event)).await?;
        acknowledged.lock().unwrap().events.push(text(&event["id"]));
        let row = json!({ "actor": "user-1", "action": "ledger.written", "resourceType": "ledger", "resourceId": number.to_string() });
        let row = client.try_call("POST", "/audit-logs", Some(&row)).await?;
        acknowledged.lock().unwrap().rows.push(text(&row["id"]));
        if number % 4 == 1 {
            let start = json!({ "processId": process, "variables": { "amount": number } });
            let execution = client.try_call("POST", "/executions", Some(&start)).await?;
            acknowledged.lock().unwrap().executions.push(text(&execution["executionId"]));
        }
    }
    None
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn publish_process(client: &Client) -> String {
    let design = json!({
        "name": "Approval Workflow",
        "nodes": [{ "id": "node-1", "type": "human_task", "config": { "assignee": "user-owner" } }],
        "version": "1.0.0",
    });
    client.publish(&design).await
}

/// Answers the task that an execution waits at, and sees it through.
async fn complete(client: &Client, execution: &str) {
    let tasks = format!("/tasks?executionId={execution}");
    let found = client.wait_for(&tasks, |page| page["items"].as_array().is_some_and(|items| !items.is_empty())).await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "an execution comes to its task once: {found}");
    let task = text(&found["items"][0]["taskId"]);
    client.call("PUT", &format!("/tasks/{task}/respond"), Some(&json!({ "decision": "approve" }))).await;
    client.wait_for(&format!("/executions/{execution}"), |execution| execution["status"] == "completed").await;
}

/// Everything acknowledged is there, nothing is there by halves, and the trail is whole.
async fn verify(client: &Client, acknowledged: &Acknowledged) {
    let records: HashMap<String, Value> =
        client.all("/entities/ledger?limit=200").await.into_iter().map(|record| (text(&record["id"]), record)).collect();
    for (id, count) in &acknowledged.records {
        let record = records.get(id).unwrap_or_else(|| panic!("the record {id} is lost"));
        assert!(record["data"]["count"].as_u64().unwrap() >= *count, "a change of {id} is lost");
    }
    let inserted = client.all("/events/replay?topic=entity.inserted&limit=200").await;
    assert_eq!(inserted.len(), records.len(), "each record has its event, and each event its record");
    for topic in ["ledger.written", "entity.inserted", "entity.updated", "execution.started"] {
        let events = client.all(&format!("/events/replay?topic={topic}&limit=200")).await;
        let sequences: Vec<u64> = events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
        assert!(sequences.iter().copied().eq(1..=sequences.len() as u64), "{topic} has a gap");
        if topic == "ledger.written" {
            let ids: Vec<String> = events.iter().map(|event| text(&event["id"])).collect();
            for id in &acknowledged.events {
                assert!(ids.contains(id), "the event {id} is lost");
            }
        }
    }
    let rows: HashSet<String> =
        client.all("/audit-logs?action=ledger.written&limit=200").await.iter().map(|row| text(&row["id"])).collect();
    for id in &acknowledged.rows {
        assert!(rows.contains(id), "the row {id} is lost");
    }
    let report = client.call("POST", "/reports/compliance", Some(&json!({ "standard": "soc2" }))).await;
    assert_eq!(report["chain"]["verified"], true, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_however_often_it_is_killed() {
    let kills = std::env::var("FLOWMASTER_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let home = tempfile::tempdir().unwrap();
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let mut host = ChildPlatform::start(home.path()).await;
    let process = publish_process(&host.client).await;
    for kill in 0..kills {
        let writers: Vec<_> =
            (0..WRITERS).map(|_| tokio::spawn(write(host.client.clone(), process.clone(), Arc::clone(&acknowledged)))).collect();
        // Counted in acknowledged events, so that a slow machine has written as much: somewhere after the next few.
        let (wanted, moment) = (RandomState::new().hash_one(kill) % 12, RandomState::new().hash_one(kill) % 30);
        let before = acknowledged.lock().unwrap().events.len() as u64;
        let written = async {
            while (acknowledged.lock().unwrap().events.len() as u64) < before + wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), written).await.unwrap();
        tokio::time::sleep(Duration::from_millis(moment)).await;
        host.kill().await;
        for writer in writers {
            writer.await.unwrap();
        }
        host = ChildPlatform::start(home.path()).await;
        let waiting = acknowledged.lock().unwrap().executions.pop();
        if let Some(execution) = waiting {
            complete(&host.client, &execution).await;
        }
        println!("kill {}: {} records acknowledged", kill + 1, acknowledged.lock().unwrap().records.len());
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!(!acknowledged.events.is_empty() && !acknowledged.rows.is_empty(), "the program had time to write");
    verify(&host.client, &acknowledged).await;
    for execution in &acknowledged.executions {
        complete(&host.client, execution).await;
    }
    verify(&host.client, &acknowledged).await;
    host.kill().await;

    // Whoever comes next takes the folder over at once, though the address of the dead is still there.
    let data = home.path().join("data");
    let Opened::Leader(running) = folder::open(Options::new(&data)).await.unwrap() else { panic!("nobody holds the lock") };
    let verdict = verify_trails(&data).unwrap().remove(0);
    assert!(verdict.verified, "{verdict:?}");
    running.shutdown().await;
}
