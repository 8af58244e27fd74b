//! The program as a newcomer, a host and an operator run it.

mod demo;
mod doctor;
mod events;
mod files;
mod readme;
mod signing_secret;
mod tools;
mod traces;
mod users;

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use flowmaster_mcp::cli::export;
use serde_json::{Value, json};

use crate::support::program::program;
#[cfg(unix)]
use crate::support::terminal::at_terminal;

fn run(home: &Path, arguments: &[&str]) -> Output {
    program(home).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// The first line that a stream says with this in it.
    fn line_with(stream: &mut impl std::io::BufRead, text: &str) -> String {
        let mut line = String::new();
        while stream.read_line(&mut line).unwrap() > 0 {
            if line.contains(text) {
                return line.trim().to_owned();
            }
            line.clear();
        }
        panic!("it never said {text:?}")
    }

    #[cfg(unix)]
    fn terminate(&mut self) -> std::process::ExitStatus {
        assert!(Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status().unwrap().success());
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn help_names_every_command_and_setting() {
    let home = tempfile::tempdir().unwrap();
    let help = stdout(&run(home.path(), &["--help"]));
    for word in [
        "serve",
        "platform",
        "tools",
        "call",
        "login",
        "logout",
        "whoami",
        "token",
        "confirm",
        "tour",
        "doctor",
        "export",
        "--http",
        "--no-token",
    ] {
        assert!(help.contains(word), "{word}");
    }
    for variable in ["FLOWMASTER_URL", "FLOWMASTER_TENANT", "FLOWMASTER_DATA_DIR", "FLOWMASTER_LOG", "FLOWMASTER_CONFIRM"] {
        assert!(help.contains(variable), "{variable}");
    }
}

#[test]
fn a_wrong_setting_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("flowmaster")).unwrap();
    std::fs::write(home.path().join("flowmaster/config.toml"), "tokn = 'secret'\n").unwrap();
    let output = run(home.path(), &["tools"]);
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output);
    assert!(told.contains("FM-CONFIG-KEY") && told.contains("tokn") && told.contains("`token`"), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

#[test]
fn tools_are_printed_as_hosts_see_them() {
    let home = tempfile::tempdir().unwrap();
    let listed: Value = serde_json::from_slice(&run(home.path(), &["tools", "--json"]).stdout).unwrap();
    let names: Vec<&str> = listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"tasks_respond") && !names.contains(&"auth_login"), "{names:?}");
    let one: Value = serde_json::from_slice(&run(home.path(), &["tools", "tasks_respond", "--json"]).stdout).unwrap();
    assert_eq!(one["annotations"]["destructiveHint"], true);
    let wrong = run(home.path(), &["tools", "task_respond"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("tasks_respond"));
}

#[test]
fn the_end_of_input_as_the_first_thing_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!((stdout(&output), stderr(&output)), (String::new(), String::new()));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_tool_is_called_as_a_host_would() {
    let home = tempfile::tempdir().unwrap();
    let who: Value = serde_json::from_slice(&run(home.path(), &["call", "auth_validate"]).stdout).unwrap();
    assert_eq!(who["claims"]["tenantId"], "tenant-local");

    let defined = run(home.path(), &["call", "entities_define", "entityType=customer"]);
    assert!(defined.status.success(), "{}", stderr(&defined));
    let made: Value = serde_json::from_slice(
        &run(home.path(), &["call", "entities_insert", "type=customer", "data.name=Acme Corp", "data.employees=12"]).stdout,
    )
    .unwrap();
    assert_eq!(made["data"], json!({ "name": "Acme Corp", "employees": 12 }));
    let whole = run(home.path(), &["call", "entities_query", r#"{"type": "customer", "limit": "5"}"#, "--json"]);
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(whole["structuredContent"]["items"].as_array().unwrap().len(), 1);

    let refused = run(home.path(), &["call", "entities_get", "type=customer", "id=entity-none"]);
    assert_eq!((refused.status.code(), stdout(&refused).as_str()), (Some(1), ""));
    assert!(stderr(&refused).contains("FM-IDHS-"), "{}", stderr(&refused));
    for wrong in [&["call", "no_such_tool"][..], &["call", "auth_validate", "word"], &["call"], &["--http", "0", "call", "auth_validate"]] {
        assert_eq!(run(home.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[cfg(unix)]
#[test]
fn consent_is_given_outside_the_model() {
    let home = tempfile::tempdir().unwrap();
    run(home.path(), &["call", "entities_define", "entityType=customer"]);
    let made: Value =
        serde_json::from_slice(&run(home.path(), &["call", "entities_insert", "type=customer", "data.name=Acme"]).stdout).unwrap();
    let id = format!("id={}", made["id"].as_str().unwrap());
    let delete = ["call", "entities_delete", "type=customer", &id, "--confirm", "refuse"];

    let refused = run(home.path(), &delete);
    assert_eq!(refused.status.code(), Some(1), "{}", stdout(&refused));
    assert!(stderr(&refused).contains("flowmaster-mcp confirm"), "{}", stderr(&refused));
    let waiting: Value = serde_json::from_slice(&run(home.path(), &["confirm", "--json"]).stdout).unwrap();
    let pending = waiting["pending"][0]["id"].as_str().unwrap();
    let alone = run(home.path(), &["confirm", pending]);
    assert_eq!(alone.status.code(), Some(2), "an agent's shell has no terminal");
    assert!(stderr(&alone).contains("FM-CLI-CONFIRM-TERMINAL"), "{}", stderr(&alone));
    let confirm = |answer: &str| {
        let mut command = program(home.path());
        command.args(["confirm", pending]);
        at_terminal(command, answer)
    };
    let (declined, shown) = confirm("");
    assert!(!declined.status.success() && shown.contains("Delete a record") && shown.contains("Acme"), "{shown}");
    assert_eq!(run(home.path(), &delete).status.code(), Some(1));
    let (approved, shown) = confirm("yes");
    assert!(approved.status.success(), "{shown}");
    assert!(run(home.path(), &delete).status.success());
    assert!(!confirm("yes").0.status.success(), "an approval is used once");
}

#[test]
fn http_is_for_whom_the_operator_chose() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (&["serve", "--http", "0.0.0.0:0"][..], "FM-CLI-HTTP-ADDRESS"),
        (&["platform", "--listen", "0.0.0.0:0"], "FM-CLI-HTTP-ADDRESS"),
        (&["serve", "--no-token"], "FM-CLI-NO-TOKEN"),
        (&["serve", "--no-token", "--http", "0.0.0.0:0"], "FM-CLI-HTTP-ADDRESS"),
        (&["serve", "--http", "--url", "http://127.0.0.1:1"], "FM-CONFIG-AUTH-MODE"),
        (&["serve", "--http", "--no-token", "--url", "http://127.0.0.1:1"], "FM-CLI-NO-TOKEN"),
        (&["--url", "http://127.0.0.1:1"], "FM-CONFIG-NO-TOKEN"),
    ] {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(code), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is made for what is refused");
}

#[test]
fn over_http_a_token_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Running::start(program(home.path()).args(["serve", "--http", "0"]));
    let mut log = BufReader::new(server.0.stderr.take().unwrap());
    let line = Running::line_with(&mut log, "flowmaster-mcp serves");
    let address = line.split("http://").nth(1).unwrap().trim_end_matches("/mcp").to_owned();
    let ask = |token: &str| {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } })
        .to_string();
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nHost: {address}\r\n{token}Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("").starts_with("HTTP/1.1 401"));
    let token = stdout(&run(home.path(), &["token"])).trim().to_owned();
    let answer = ask(&format!("Authorization: Bearer {token}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("flowmaster-mcp"), "{answer}");
    #[cfg(unix)]
    assert_eq!(server.terminate().code(), Some(0));
}

#[cfg(unix)]
#[test]
fn sigterm_ends_what_runs_and_leaves_the_folder_free() {
    let home = tempfile::tempdir().unwrap();
    let mut platform = Running::start(program(home.path()).args(["platform", "--listen", "0"]));
    let url = Running::line_with(&mut BufReader::new(platform.0.stdout.take().unwrap()), "http://");
    assert!(TcpStream::connect(url.trim_start_matches("http://")).is_ok());
    // Meanwhile another process uses the same folder by attaching to it.
    assert!(run(home.path(), &["call", "auth_validate"]).status.success());
    assert_eq!(platform.terminate().code(), Some(0));
    assert!(run(home.path(), &["call", "auth_validate"]).status.success());

    let mut server = Running::start(program(home.path()).stdin(Stdio::piped()));
    let mut input = server.0.stdin.take().unwrap();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
    writeln!(input, "{call}").unwrap();
    Running::line_with(&mut BufReader::new(server.0.stdout.take().unwrap()), "serverInfo");
    assert_eq!(server.terminate().code(), Some(0), "with its input still open");
}

#[test]
fn doctor_tells_what_is_set_and_what_works() {
    let home = tempfile::tempdir().unwrap();
    let output =
        program(home.path()).args(["doctor", "--json"]).env("FLOWMASTER_CALL_TIMEOUT", "30").env("FLOWMASTER_TOKN", "x").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["ok"]), (Some(0), &json!(true)), "{report}");
    assert_eq!(report["set"], json!({ "call.timeout": "environment" }));
    assert_eq!(report["confirm"], "host");
    let checks = report["checks"].as_array().unwrap();
    for name in ["settings", "data folder", "platform", "login", "audit trail", "confirmation"] {
        assert!(checks.iter().any(|check| check["name"] == name), "{name}: {report}");
    }
    assert!(checks.iter().any(|check| check["hint"] == "Was FLOWMASTER_TOKEN meant?"), "{report}");

    let unreachable = program(home.path())
        .args(["doctor", "--json"])
        .env("FLOWMASTER_URL", "http://127.0.0.1:1")
        .env("FLOWMASTER_TOKEN", "token-of-nobody")
        .output()
        .unwrap();
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(!stdout(&unreachable).contains("token-of-nobody"));
}

#[test]
fn the_tour_tells_its_story_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let begun = std::time::Instant::now();
    let output = program(home.path()).arg("tour").env("TMPDIR", home.path()).output().unwrap();
    let story = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{story}{}", stderr(&output));
    for step in
        ["processes_create", "processes_publish", "executions_start", "tasks_respond", "the server asked", "completed at", "audit_query"]
    {
        assert!(story.contains(step), "{step}: {story}");
    }
    // A chapter for each layer of the contract, and what they do together.
    for chapter in ["\nCore: ", "\nIntelligence: ", "\nIntegration: ", "\nFoundation: ", "\nSupport: ", "\nAll together: "] {
        assert!(story.contains(chapter), "{chapter}: {story}");
    }
    for step in ["executions_wait", "tasks_wait", "it started exec-", "agents_stream", "booked order-1", "notifications_get"] {
        assert!(story.contains(step), "{step}: {story}");
    }
    assert_eq!(story.matches("completed at").count(), 2, "{story}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(40), "{:?}", begun.elapsed());
    assert!(!story.contains('\u{1b}'), "no colours in a pipe");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn goldens_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let expected = export::files().unwrap();
    for (path, text) in &expected {
        let found = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(found == *text, "{} is not current: run `flowmaster-mcp export .` and look at the difference", path.display());
    }
    for folder in ["tools", "schemas"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            assert!(expected.contains_key(&path), "{} belongs to nothing", path.display());
        }
    }
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(export::fill_in(&readme) == readme, "the README's tables are not current: run `flowmaster-mcp export .`");
    let entry = std::fs::read_to_string(root.join("mcp.json")).unwrap();
    assert!(readme.contains(entry.trim()), "the README shows mcp.json as it is");
}

#[test]
fn completions_and_man_pages_name_every_command_without_any_settings() {
    let home = tempfile::tempdir().unwrap();
    let commands = ["serve", "call", "confirm", "audit", "doctor", "completions", "man"];
    let broken = |arguments: &[&str]| program(home.path()).env("FLOWMASTER_CALL_TIMEOUT", "soon").args(arguments).output().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = broken(&["completions", shell]);
        assert!(output.status.success(), "{}", stderr(&output));
        let script = stdout(&output);
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    assert_eq!(broken(&["completions", "cmd"]).status.code(), Some(2));
    let page = stdout(&broken(&["man"]));
    assert!(page.starts_with(".ie") || page.contains(".TH flowmaster\\-mcp") || page.contains(".TH flowmaster-mcp"), "{page}");
    assert!(commands.iter().all(|command| page.contains(command)));
    let folder = home.path().join("pages");
    assert!(broken(&["man", "--dir", folder.to_str().unwrap()]).status.success());
    assert!(folder.join("flowmaster-mcp-audit.1").exists());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing but the pages was written");
}

#[test]
fn a_slip_in_a_tools_name_is_met_with_the_name_that_was_meant() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &["tools", "task_list"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Did you mean tasks_list?"), "{}", stderr(&output));
    let listed = stdout(&run(home.path(), &["tools"]));
    assert!(!listed.contains('\u{1b}') && listed.lines().any(|line| line.len() > 100), "what is piped is neither coloured nor broken");
}
