//! The real program, killed in the middle of an import.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use flowmaster_mcp::platform::folder;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::{counts, inline, lines};
use crate::support::platform::http;
use crate::support::program::binary;

/// The program with its platform.
pub(super) struct Program {
    pub(super) child: Child,
    url: String,
    token: String,
}

impl Program {
    pub(super) async fn start(home: &Path) -> Self {
        let data = home.join("data");
        let mut command = binary(home);
        command.args(["platform", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = said.next_line().await.unwrap().expect("the program prints its address");
            if let Some(at) = line.find("http://") {
                break line[at..].trim().to_owned();
            }
        };
        let token = folder::owner_token(&data).unwrap().expose_secret().to_owned();
        Self { child, url, token }
    }

    pub(super) async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let request = http().request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    }

    /// Waits until the statistics of a job fulfil a condition.
    pub(super) async fn until(&self, job: &str, holds: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..6_000 {
            let stats = self.call(reqwest::Method::GET, &format!("/ingest/jobs/{job}/stats"), None).await;
            if holds(&stats) {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the import comes to no end");
    }

    /// The data of all records of a type.
    pub(super) async fn records(&self, kind: &str) -> Vec<Value> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.call(reqwest::Method::GET, &format!("/entities/{kind}?limit=200{cursor}"), None).await;
            found.extend(page["items"].as_array().unwrap().iter().map(|record| record["data"].clone()));
            let Some(next) = page["nextCursor"].as_str() else { return found };
            cursor = format!("&cursor={next}");
        }
    }
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_without_loss_or_doubles() {
    let home = tempfile::tempdir().unwrap();
    let mut program = Program::start(home.path()).await;
    let job = program.call(reqwest::Method::POST, "/ingest/jobs", Some(inline("jsonl", &lines(4_000), "reading"))).await;
    let job = job["jobId"].as_str().unwrap();
    program.call(reqwest::Method::PUT, &format!("/ingest/jobs/{job}/start"), Some(json!({}))).await;
    for rows in [1, 1_500] {
        program.until(job, |stats| stats["recordsRead"].as_u64().unwrap() >= rows).await;
        program.child.kill().await.unwrap();
        program = Program::start(home.path()).await;
    }
    let stats = program.until(job, |stats| stats["status"] == "completed").await;
    assert_eq!((counts(&stats), &stats["reconciled"], &stats["runs"]), ((4_000, 4_000, 0), &json!(true), &json!(1)));
    let mut ids: Vec<u64> = program.records("reading").await.iter().map(|data| data["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=4_000).collect::<Vec<_>>());
}
