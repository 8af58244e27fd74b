//! The real program, killed again and again while it writes: what was acknowledged is there, whole, and goes on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowmaster_mcp::platform::folder::{self, Opened};
use flowmaster_mcp::platform::{Options, verify_trails};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::support::platform::http;
use crate::support::program::binary;

/// How often it is killed; FLOWMASTER_KILLS sets another number.
const KILLS: u64 = 6;
/// How many clients write at once.
const WRITERS: usize = 4;

/// The program with its platform, in a process of its own.
struct Host {
    child: Child,
    client: Client,
}

impl Host {
    /// Starts the program on a folder and waits for its address.
    async fn start(home: &Path) -> Self {
        let data = home.join("data");
        let mut child = binary(home)
            .args(["platform", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the program prints its address");
                if let Some(at) = line.find("http://") {
                    return line[at..].trim().to_owned();
                }
            }
        };
        let url = tokio::time::timeout(Duration::from_secs(30), address).await.unwrap();
        let token = folder::owner_token(&data).unwrap().expose_secret().to_owned();
        Self { child, client: Client { http: http(), url, token } }
    }

    /// Ends the program at once, in the middle of whatever it does.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    /// Calls and answers the body; `None` when the program died before it answered whole. A refusal fails the test.
    async fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.ok()?;
        let status = response.status();
        let body = serde_json::from_slice(&response.bytes().await.ok()?).unwrap_or(Value::Null);
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        Some(body)
    }

    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_call(method, path, body).await.expect("the program answers")
    }

    /// All items of a list.
    async fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.call("GET", &format!("{path}{cursor}"), None).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["nextCursor"].as_str() else { return items };
            cursor = format!("&cursor={next}");
        }
    }

    /// Looks until something is there.
    async fn wait_for(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        for _ in 0..500 {
            seen = self.call("GET", path, None).await;
            if holds(&seen) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{path} stays at {seen}");
    }
}

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
    let process = text(&client.call("POST", "/processes/designs", Some(&design)).await["id"]);
    client.call("POST", &format!("/processes/{process}/publish"), Some(&json!({}))).await;
    process
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
    let mut host = Host::start(home.path()).await;
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
        host = Host::start(home.path()).await;
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
