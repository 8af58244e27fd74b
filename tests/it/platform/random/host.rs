//! The program as a child with little memory, and what is asked of each of its answers.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::support::child::{ChildPlatform, Client};

/// What the program may take beyond what it begins with, its threads' stacks of 64 MiB included.
const MEMORY: u64 = 512 << 20;
/// How long an answer may take before the program counts as held; far more than its budgets allow, on any machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program that the cases share, until one of them ends it.
pub struct Host {
    folder: tempfile::TempDir,
    program: Mutex<Option<Arc<Limited>>>,
}

/// A running program.
pub struct Limited {
    child: tokio::sync::Mutex<Child>,
    client: Client,
}

impl Host {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), program: Mutex::default() }
    }

    /// The program; a new one, if there is none any more.
    pub async fn program(&self) -> Arc<Limited> {
        let running = self.program.lock().unwrap().clone();
        if let Some(program) = running {
            return program;
        }
        let program = Arc::new(Limited::start(self.folder.path()).await);
        *self.program.lock().unwrap() = Some(Arc::clone(&program));
        program
    }

    /// Ends the program, so that the next case has a new one.
    pub fn give_up(&self) {
        self.program.lock().unwrap().take();
    }
}

impl Limited {
    async fn start(home: &Path) -> Self {
        let ChildPlatform { child, client } = ChildPlatform::start(home).await;
        limit(&child);
        Self { child: tokio::sync::Mutex::new(child), client }
    }

    /// Whether it runs on.
    pub async fn is_alive(&self) -> Result<(), String> {
        match self.child.lock().await.try_wait().unwrap() {
            Some(status) => Err(format!("the program ended: {status}")),
            None => Ok(()),
        }
    }

    /// Sends a request as the owner, and holds the answer to be a success or a refusal with a reason.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        self.send_as(&self.client.token, method, path, body).await
    }

    /// Sends a request with a token.
    pub async fn send_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        let Client { http, url, .. } = &self.client;
        let mut request = http.request(method.parse().unwrap(), format!("{url}{path}")).bearer_auth(token).timeout(PATIENCE);
        if !body.is_null() {
            request = request.json(body);
        }
        let answered = async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status().as_u16(), response.bytes().await?))
        };
        let (status, bytes) = answered.await.map_err(|error| format!("{method} {path} is not answered: {error:?}"))?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        judge(status, &body).map_err(|what| format!("{method} {path}: {what}"))?;
        Ok(Answer { status, body })
    }

    /// Makes a user, and answers its token.
    pub async fn user(&self, name: &str, roles: &[&str]) -> Result<String, String> {
        let user = json!({ "username": name, "password": PASSWORD, "tenantId": "tenant-local", "roles": roles });
        self.send("POST", "/users", &user).await?;
        let login = json!({ "username": name, "password": PASSWORD, "tenantId": "tenant-local" });
        let signed_in = self.send_as("", "POST", "/auth/login", &login).await?;
        signed_in.text("accessToken").ok_or_else(|| format!("no token: {}", signed_in.body))
    }
}

const PASSWORD: &str = "a long enough secret";

/// Lets it have so much memory and no more: an allocation beyond that fails, which ends the program.
fn limit(child: &Child) {
    let id = child.id().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let now = status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    let most = now.unwrap() * 1024 + MEMORY;
    let pid = Pid::from_raw(id.try_into().unwrap());
    prlimit(pid, Resource::Data, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
}

/// An answer that is as answers must be.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.status < 300
    }

    /// A field of it that is a text.
    pub fn text(&self, field: &str) -> Option<String> {
        self.body[field].as_str().map(str::to_owned)
    }
}

/// A success, or a refusal by the caller's own fault, with a stable code; what went wrong within is neither.
fn judge(status: u16, body: &Value) -> Result<(), String> {
    let code = body["code"].as_str().unwrap_or_default();
    let is_refusal = (400..500).contains(&status) && code.starts_with("FM-") && !body["detail"].as_str().unwrap_or_default().is_empty();
    let failed = body["error"]["code"].as_str().unwrap_or_default();
    if (is_refusal || (200..300).contains(&status)) && ![code, failed].contains(&"FM-INTERNAL") {
        return Ok(());
    }
    Err(format!("{status} {}", body.to_string().chars().take(2000).collect::<String>()))
}
