//! The configuration changes while the program serves: sessions go on by the new rules, and a broken configuration changes
//! nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::response::IntoResponse as _;
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::auth::tokens::{ISSUER, RESOURCE, claims, signed};
use crate::support::raw::{Served, answer};
use crate::support::served::ServedProgram;
use crate::support::standin::{StandIn, becomes};

/// The program with a configuration file, and a session of 2025-11-25 that listens.
struct Office {
    program: ServedProgram,
    served: Served,
    session: String,
    file: PathBuf,
    _home: tempfile::TempDir,
}

impl Office {
    async fn new(configuration: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("office.toml");
        std::fs::write(&file, configuration).unwrap();
        let program = ServedProgram::start(home.path(), &[], &["--no-token", "--config", file.to_str().unwrap()]);
        let served = Served::at(program.address);
        let session = served.open("").await;
        Self { program, served, session, file, _home: home }
    }

    /// Puts another configuration in place of the file at once, as editors do.
    fn write(&self, configuration: &str) {
        let beside = Path::new(&self.file).with_extension("new");
        std::fs::write(&beside, configuration).unwrap();
        std::fs::rename(beside, &self.file).unwrap();
    }

    async fn tools(&self) -> Vec<String> {
        let listed = answer(self.served.legacy("", &self.session, "tools/list", &json!({}))).await;
        listed.result()["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn call(&self, tool: &str) -> Value {
        let params = json!({ "name": tool, "arguments": {} });
        answer(self.served.legacy("", &self.session, "tools/call", &params)).await.body
    }

    /// The status of a request that is made to a name.
    async fn by_name(&self, host: &str) -> u16 {
        answer(self.served.legacy("", &self.session, "tools/list", &json!({})).header("host", host)).await.status
    }

    async fn logs(&self, what: &str) {
        becomes(|| self.program.log().contains(what)).await.unwrap_or_else(|_| panic!("{what} is not in {}", self.program.log()));
    }
}

#[tokio::test]
async fn a_session_goes_on_by_what_sighup_puts_in_force() {
    let office = Office::new("toolsets = ['tasks']\n").await;
    let announced = answer(office.served.initialize("", &json!({}))).await;
    assert_eq!(announced.result()["capabilities"]["tools"]["listChanged"], json!(true), "{:#}", announced.body);
    let stream = office.served.on_session(Method::GET, "", &office.session).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert!(office.tools().await.iter().all(|name| name.starts_with("tasks_")));
    assert_eq!(office.by_name("flow.example").await, 403);

    office.write(
        "toolsets = ['documents']\nlog = 'warn,flowmaster_mcp=debug'\n[http]\nlisten = '127.0.0.1:9'\nallowed_hosts = ['flow.example']\n[limits.caller]\nread = 1\n",
    );
    office.program.hang_up();
    let mut events = stream.bytes_stream();
    let told = async {
        let mut text = String::new();
        while !text.contains("notifications/tools/list_changed") {
            text.push_str(&String::from_utf8_lossy(&events.next().await.unwrap().unwrap()));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("the host is told that its tools are others");
    let tools = office.tools().await;
    assert!(!tools.is_empty() && tools.iter().all(|name| name.starts_with("documents_")), "{tools:?}");
    assert_eq!(office.call("tasks_list").await["error"]["data"]["code"], "FM-MCP-TOOLSET");
    assert_eq!(office.by_name("flow.example").await, 200);
    assert_eq!(office.call("documents_list").await["result"]["isError"], json!(false), "{}", office.program.log());
    let limited = office.call("documents_list").await;
    assert!(limited["result"]["content"][0]["text"].as_str().unwrap().starts_with("FM-MCP-CALLER-LIMIT"), "{limited}");
    office.logs("the configuration was read again").await;
    office.logs("take effect at the next start").await;
    assert!(office.program.log().contains("http.listen"), "{}", office.program.log());
    office.logs("DEBUG").await;
}

#[tokio::test]
async fn hosts_that_the_registry_may_lead_to_are_replaced_while_the_server_runs() {
    let tasks = StandIn::start(|_| async { axum::Json(json!({ "items": [] })).into_response() }).await;
    let port: u16 = tasks.url.rsplit_once(':').unwrap().1.parse().unwrap();
    let instance = json!({ "instanceId": "tasks-1", "serviceName": "human-task", "host": "127.0.0.1", "port": port, "status": "healthy" });
    let registry = StandIn::start(move |asked| {
        let items = if asked.path.starts_with("/services/human-task") { json!([instance]) } else { json!([]) };
        async move { axum::Json(json!({ "items": items })).into_response() }
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let (file, secret) = (home.path().join("office.toml"), "a shared secret of forty bytes or so, to hide");
    let write = |hosts: &str| std::fs::write(&file, format!("[discovery]\nmode = 'registry'\nallowed_hosts = [{hosts}]\n")).unwrap();
    write("'tasks.internal'");
    let settings = [
        ("FLOWMASTER_URL", registry.url.as_str()),
        ("FLOWMASTER_AUTH_MODE", "resource-server"),
        ("FLOWMASTER_PUBLIC_URL", RESOURCE),
        ("FLOWMASTER_AUTH_ISSUERS", ISSUER),
        ("FLOWMASTER_AUTH_SECRET", secret),
        ("FLOWMASTER_UPSTREAM_MODE", "service"),
        ("FLOWMASTER_SERVICE_TOKEN", "account"),
    ];
    let program = ServedProgram::start(home.path(), &settings, &["--config", file.to_str().unwrap()]);
    let served = Served::at(program.address);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let token = signed(&json!({ "alg": "HS256" }), &claims(), |message| hmac::sign(&key, message).as_ref().to_vec());
    let call = async || answer(served.modern(&token, "tools/call", &json!({ "name": "tasks_list", "arguments": {} }))).await.body;
    let refused =
        |answer: &Value| answer["result"]["content"][0]["text"].as_str().is_some_and(|text| text.starts_with("FM-MCP-DISCOVERY-HOST"));
    let answer = call().await;
    assert!(refused(&answer) && tasks.asked().is_empty(), "{answer}");

    write("'127.0.0.1'");
    program.hang_up();
    becomes(|| program.log().contains("changed=\"discovery.allowed_hosts\"")).await.unwrap_or_else(|_| panic!("{}", program.log()));
    assert!(!program.log().contains("next start"), "{}", program.log());
    let answer = call().await;
    assert_eq!(answer["result"]["isError"], json!(false), "{answer}");

    // By itself, too, and for instances that are known.
    write("'tasks.internal'");
    becomes(|| program.log().matches("discovery.allowed_hosts").count() == 2).await.unwrap_or_else(|_| panic!("{}", program.log()));
    let before = tasks.asked().len();
    let answer = call().await;
    assert!(refused(&answer) && tasks.asked().len() == before, "{answer}");
    // Another mode waits for another start, and so do the hosts.
    std::fs::write(&file, "").unwrap();
    program.hang_up();
    becomes(|| program.log().contains("next start")).await.unwrap_or_else(|_| panic!("{}", program.log()));
    assert!(program.log().contains("discovery.mode, discovery.allowed_hosts"), "{}", program.log());
}

#[tokio::test]
async fn a_changed_file_is_read_by_itself_and_a_broken_one_changes_nothing() {
    let office = Office::new("toolsets = ['tasks']\n").await;
    for broken in [
        "toolsets = [\n",
        "toolsets = ['payroll']\n",
        "[limits.caller]\nread = 0\n",
        "[http]\nallowed_hosts = ['*']\n",
        "log = 'flowmaster_mcp=loud'\n",
    ] {
        let before = office.program.log().len();
        office.write(broken);
        office.program.hang_up();
        becomes(|| office.program.log()[before..].contains("changes nothing"))
            .await
            .unwrap_or_else(|_| panic!("{broken}: {}", office.program.log()));
        assert!(office.tools().await.iter().all(|name| name.starts_with("tasks_")), "{broken}");
    }
    office.write("toolsets = ['documents']\n");
    for _ in 0..100 {
        if office.tools().await.iter().all(|name| name.starts_with("documents_")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the file was not read again: {}", office.program.log());
}
