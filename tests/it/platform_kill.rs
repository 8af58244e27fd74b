//! Killed at any moment, under writes: what was acknowledged is there, and the trail verifies.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowmaster_mcp::platform::folder::{self, Opened};
use flowmaster_mcp::platform::{Options, verify_trails};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::support::platform::http;

/// How often it is killed; FLOWMASTER_TEST_KILLS sets another number.
const KILLS: u32 = 6;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program's platform on a folder, and waits until this very run answers.
async fn start(data: &Path, after: &str) -> (Killed, String, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_flowmaster-mcp"))
        .args(["platform", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = Killed(child);
    let begun = Instant::now();
    loop {
        let address = std::fs::read(data.join("address")).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        if let Some(address) = address.filter(|address| address["instance"] != after) {
            return (child, address["url"].as_str().unwrap().to_owned(), address["instance"].as_str().unwrap().to_owned());
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not start");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_it_is_killed() {
    let kills = std::env::var("FLOWMASTER_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let owner = folder::owner_token(&data).unwrap().expose_secret().to_owned();
    let client = http();
    let mut acknowledged: HashSet<String> = HashSet::new();
    let mut instance = String::new();
    let number = Arc::new(AtomicU64::new(0));
    for kill in 0..kills {
        let (mut child, url, this) = start(&data, &instance).await;
        instance = this;
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (client, url, owner, number) = (client.clone(), url.clone(), owner.clone(), Arc::clone(&number));
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    loop {
                        let number = number.fetch_add(1, Ordering::Relaxed);
                        let row = json!({ "actor": "user-1", "action": "ledger.changed", "resourceType": "ledger", "resourceId": number.to_string() });
                        let sent = client.post(format!("{url}/audit-logs")).bearer_auth(&owner).json(&row).send().await;
                        let Ok(answer) = sent else { return seen };
                        if answer.status() != 201 {
                            return seen;
                        }
                        let Ok(row) = answer.json::<Value>().await else { return seen };
                        seen.push(row["id"].as_str().unwrap().to_owned());
                    }
                })
            })
            .collect();
        // Another moment each time, without a die: a failure comes again. Not before it answers, or nothing is tried.
        let first = json!({ "actor": "user-1", "action": "ledger.opened", "resourceType": "ledger", "resourceId": kill.to_string() });
        let answer = client.post(format!("{url}/audit-logs")).bearer_auth(&owner).json(&first).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        tokio::time::sleep(Duration::from_millis(40 + u64::from(kill * 37 % 160))).await;
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
    }
    assert!(acknowledged.len() > kills as usize, "{} rows were written", acknowledged.len());

    // Whoever comes next takes the folder over at once, though the address of the dead is still there.
    let Opened::Host(running) = folder::open(Options::new(&data)).await.unwrap() else { panic!("nobody holds the lock") };
    let verdict = verify_trails(&data).unwrap().remove(0);
    assert!(verdict.verified, "{verdict:?}");
    let mut cursor = String::new();
    loop {
        let page = client.get(format!("{}/audit-logs?limit=200{cursor}", running.url())).bearer_auth(&owner).send().await.unwrap();
        let page: Value = page.json().await.unwrap();
        for row in page["items"].as_array().unwrap() {
            acknowledged.remove(row["id"].as_str().unwrap());
        }
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert!(acknowledged.is_empty(), "lost: {acknowledged:?}");
    running.shutdown().await;
}
