//! The embedded platform in a process of its own, which can be killed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use flowmaster_mcp::platform::folder;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::platform::http;
use super::program::binary;

/// How long the program may take to begin.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running program.
pub struct ChildPlatform {
    pub child: Child,
    pub client: Client,
}

impl ChildPlatform {
    /// Starts the program on a folder and waits for its address.
    pub async fn start(home: &Path) -> Self {
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
        let url = tokio::time::timeout(PATIENCE, address).await.unwrap();
        let token = folder::owner_token(&data).unwrap().expose_secret().to_owned();
        Self { child, client: Client { http: http(), url, token } }
    }

    /// Ends the program at once, in the middle of whatever it does.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The owner of a program's folder, who calls it.
#[derive(Clone)]
pub struct Client {
    pub http: reqwest::Client,
    pub url: String,
    pub token: String,
}

impl Client {
    /// Calls and answers status and body; `None` when the program died before it answered whole.
    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, serde_json::from_slice(&response.bytes().await.ok()?).unwrap_or(Value::Null)))
    }

    /// As [`Client::send`]; a refusal fails the test.
    pub async fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let (status, body) = self.send(method, path, body).await?;
        assert!((200..300).contains(&status), "{method} {path}: {status} {body}");
        Some(body)
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_call(method, path, body).await.expect("the program answers")
    }

    /// All items of a list.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.call("GET", &format!("{path}{cursor}"), None).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["nextCursor"].as_str() else { return items };
            cursor = format!("&cursor={next}");
        }
    }

    /// Looks until something is there.
    pub async fn wait_for(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
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

    /// Designs and publishes a process, and answers its id.
    pub async fn publish(&self, design: &Value) -> String {
        let process = self.call("POST", "/processes/designs", Some(design)).await["id"].as_str().unwrap().to_owned();
        self.call("POST", &format!("/processes/{process}/publish"), Some(&Value::Object(serde_json::Map::new()))).await;
        process
    }
}
