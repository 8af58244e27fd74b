//! A host that starts the real program and speaks JSON-RPC over its stdio line by line, in either revision of the protocol.
//!
//! What a well-behaved host never sends and never sees is tried here: broken lines, a killed server, what stdout holds.
//! Where that is not the point, the library's own client in `mcp` is the host.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a host waits for one line.
const PATIENCE: Duration = Duration::from_mins(1);

/// Which protocol a host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// 2025-11-25: initialize, then requests; the server asks back.
    V2025_11_25,
    /// 2026-07-28: every request carries its version and the host's capabilities.
    V2026_07_28,
}

/// The two revisions, for tests that hold in both.
pub const REVISIONS: [Revision; 2] = [Revision::V2025_11_25, Revision::V2026_07_28];

/// A host with its server.
pub struct Host {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    revision: Revision,
    last: u64,
    /// What the person answers when asked: `accept`, `decline` or `cancel`; `None` is a host that cannot ask.
    pub person: Option<&'static str>,
    /// The questions the person was asked.
    pub asked: Vec<String>,
}

/// The program in a home of its own, with none of the settings of whoever runs the tests.
pub fn program(home: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_flowmaster-mcp"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| ["FLOWMASTER_", "OTEL_", "XDG_"].iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("XDG_CONFIG_HOME", home).env("XDG_DATA_HOME", home).stdin(Stdio::null());
    command
}

/// The program on a data folder, beside other work; it does not outlive its test.
pub fn binary(folder: &Path) -> Command {
    let mut command = Command::from(program(folder));
    command.env("FLOWMASTER_DATA_DIR", folder).env("FLOWMASTER_LOG", "warn").kill_on_drop(true);
    command
}

impl Host {
    /// Starts the server; in the old revision the handshake is done.
    pub async fn start(folder: &Path, revision: Revision) -> Self {
        Self::start_with(folder, revision, Some("accept"), &[]).await
    }

    /// Starts the server with a person and further settings.
    pub async fn start_with(folder: &Path, revision: Revision, person: Option<&'static str>, settings: &[(&str, &str)]) -> Self {
        let mut command = binary(folder);
        command.envs(settings.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut host = Self { child, stdin, lines, revision, last: 0, person, asked: Vec::new() };
        if revision == Revision::V2025_11_25 {
            let hello = json!({
                "protocolVersion": "2025-11-25", "capabilities": host.capabilities(), "clientInfo": { "name": "test", "version": "1" },
            });
            let answer = host.request("initialize", hello).await;
            assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}");
            host.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        }
        host
    }

    fn capabilities(&self) -> Value {
        if self.person.is_some() { json!({ "elicitation": { "form": {} } }) } else { json!({}) }
    }

    /// Sends a request and waits for its answer; questions in between are answered by the person.
    pub async fn request(&mut self, method: &str, mut params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        if self.revision == Revision::V2026_07_28 {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": self.capabilities(),
            });
        }
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        loop {
            let message = self.receive().await;
            if message["method"] == "elicitation/create" {
                let answer = self.ask(&message["params"]);
                self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": answer })).await;
            } else if message.get("method").is_none() && message["id"] == json!(id) {
                return message;
            }
        }
    }

    /// Listens by `subscriptions/listen`, until the server has acknowledged it.
    pub async fn listen(&mut self, notifications: Value) {
        self.last += 1;
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({ "notifications": notifications, "_meta": meta });
        self.send(&json!({ "jsonrpc": "2.0", "id": self.last, "method": "subscriptions/listen", "params": params })).await;
        let acknowledged = self.receive().await;
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{acknowledged}");
    }

    fn ask(&mut self, question: &Value) -> Value {
        self.asked.push(question["message"].as_str().unwrap_or_default().to_owned());
        let action = self.person.unwrap_or("cancel");
        if action == "accept" { json!({ "action": action, "content": {} }) } else { json!({ "action": action }) }
    }

    /// Calls a tool until it is done, and gives its result.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let mut params = json!({ "name": tool, "arguments": arguments });
        for _ in 0..4 {
            let answer = self.request("tools/call", params.clone()).await;
            let result = answer.get("result").unwrap_or_else(|| panic!("{tool}: {answer}")).clone();
            if result["resultType"] != "input_required" {
                return result;
            }
            let mut responses = Map::new();
            for (name, request) in result["inputRequests"].as_object().unwrap() {
                responses.insert(name.clone(), self.ask(&request["params"]));
            }
            params["inputResponses"] = Value::Object(responses);
            params["requestState"] = result["requestState"].clone();
        }
        panic!("{tool} asks without end");
    }

    /// The structured answer of a call that must succeed.
    pub async fn good(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_ne!(result["isError"], json!(true), "{tool}: {}", text_of(&result));
        let text: Value = serde_json::from_str(&text_of(&result)).unwrap();
        assert_eq!(text, result["structuredContent"], "{tool}: the text is the same JSON");
        text
    }

    /// The text of a call that must fail as a tool error.
    pub async fn bad(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], json!(true), "{tool} succeeded: {result}");
        assert!(result.get("structuredContent").is_none_or(Value::is_null), "{tool}: an error has no structured content");
        text_of(&result)
    }

    /// Sends one message as a line.
    pub async fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string()).await;
    }

    /// Sends a line as it stands.
    pub async fn send_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).await.unwrap();
        stdin.write_all(b"\n").await.unwrap();
        stdin.flush().await.unwrap();
    }

    /// The next message; each line of stdout must be one.
    pub async fn receive(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("the server answers in time").unwrap();
        let line = line.expect("the server lives on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("stdout holds `{line}`: {error}"))
    }

    /// Closes stdin and waits for the server to end.
    pub async fn end(mut self) -> ExitStatus {
        self.stdin = None;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the server ends at the end of its input").unwrap()
    }

    /// Ends the server by SIGTERM, as a service manager does.
    #[cfg(unix)]
    pub async fn terminate(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the server ends when it is told to").unwrap();
    }

    /// Ends the server by SIGKILL, in the middle of whatever it does.
    pub async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }
}

/// The text of a tool's result.
pub fn text_of(result: &Value) -> String {
    result["content"].as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect()
}
