//! `tour`: the story of the contract's examples, told by doing it through MCP, a chapter for each layer of the contract.
//!
//! The tour starts this program once more as a server on stdio, as a host would, and is its host. Before a platform at a
//! URL it looks around, and tells the whole story where the caller may do all of it and somebody says yes.

mod core;
mod elsewhere;
mod finale;
mod layers;
mod outside;

use std::path::{Path, PathBuf};
use std::time::Instant;

use rmcp::model::CallToolResult;
use rmcp::transport::TokioChildProcess;
use serde_json::{Map, Value};
use tokio::process::Command;

use super::Outcome;
use super::host::{Answers, Asked, Session, text_of};
use super::setup::connection::{Connection, access};
use super::setup::credentials::login_command;
use super::terminal::{Paint, ask, begin, complain, is_attended, plain, say};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use outside::Outside;

/// How it is told; `--data DIR` keeps what it makes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Tells the whole story on the platform at FLOWMASTER_URL too, where it stays in the tenant.
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<Outcome> {
    if let Some(url) = &config.url
        && let Err(error) = check_login(config).await
    {
        if error.kind() == Kind::Unauthenticated {
            explain_login(url, &login_command(config));
        }
        return Err(error);
    }
    let folder = tempfile::tempdir()
        .map_err(|error| Error::new(Kind::Internal, "FM-MCP-TOUR", "no temporary folder can be made").caused_by(error))?;
    let paint = Paint;
    let mut tour = Tour { paint, step: 0, session: None, asked: Asked::default() };
    let told = match &config.url {
        None => tour.embedded(config, folder.path()).await,
        Some(url) => tour.elsewhere(arguments, config, url).await,
    };
    if let Some(session) = tour.session.take() {
        session.close().await;
    }
    match told {
        Ok(()) => {
            say("");
            say(format_args!("{} That was the tour. Next:", paint.good("Done.")));
            say("  flowmaster-mcp tools        what a model can do");
            say("  flowmaster-mcp doctor       whether everything is set up");
            say("  claude mcp add flowmaster -- flowmaster-mcp");
            Ok(Outcome::Done)
        }
        Err(error) => {
            say(format_args!("  {}", paint.bad("failed")));
            complain(&error);
            Ok(Outcome::Failed)
        }
    }
}

/// Whether a host that starts this program has a caller.
async fn check_login(config: &Config) -> Result<()> {
    let connection = Connection::new(config)?;
    let caller = connection.caller().await;
    connection.close().await;
    caller.map(drop)
}

/// Says what the tour needs before a platform elsewhere.
fn explain_login(url: &str, command: &str) {
    let paint = Paint;
    say(format_args!("At {url} the tour looks around as the user who is signed in, and nobody is."));
    say(format_args!("  {}  signs in; then run the tour again", paint.strong(command)));
    say(format_args!("  {}  without FLOWMASTER_URL tells the whole story on a platform of its own", paint.strong("flowmaster-mcp tour")));
}

struct Tour {
    paint: Paint,
    step: usize,
    session: Option<Session>,
    asked: Asked,
}

impl Tour {
    /// The whole story on an embedded platform.
    async fn embedded(&mut self, config: &Config, scratch: &Path) -> Result<()> {
        let kept = config.sources.contains_key("data_dir").then(|| config.data_dir.clone());
        let data = kept.clone().unwrap_or_else(|| scratch.join("data"));
        say(self.paint.strong("What FlowMaster does, layer by layer, all through MCP."));
        match &kept {
            Some(data) => say(format_args!("The embedded FlowMaster keeps its data in {}.", data.display())),
            None => say("The embedded FlowMaster keeps its data in a temporary folder, which is gone afterwards."),
        }
        say("");
        self.connect(embedded_server(&data, scratch)?).await?;
        let outside = Outside::open().await?;
        self.chapter("Core: a process is designed, run and approved");
        self.tell("manager").await?;
        self.intelligence().await?;
        self.integration(&outside).await?;
        self.foundation().await?;
        self.support().await?;
        self.finale(&outside).await
    }

    /// A look around on a platform elsewhere, and the whole story where the caller may and somebody agrees.
    async fn elsewhere(&mut self, arguments: &Arguments, config: &Config, url: &str) -> Result<()> {
        let access = access(config)?;
        say(self.paint.strong(format_args!("What you see on {url}, all through MCP.")));
        say("");
        self.connect(server_of(config)?).await?;
        let caller = self.who().await?;
        let question = format!("Tell the whole story here? A process is designed, run and approved on {url}, and stays there.");
        if caller.may_tell_all(&access) && (arguments.yes || (is_attended() && ask(&question))) {
            return self.tell(&caller.subject).await;
        }
        self.look_around(&caller, &access).await?;
        if caller.may_tell_all(&access) {
            say("");
            say("`flowmaster-mcp tour --yes` designs, runs and approves a process here; it stays in the tenant.");
        }
        Ok(())
    }

    /// Starts the server as a host does and sees what it offers.
    async fn connect(&mut self, server: Command) -> Result<()> {
        self.begin("Start the server and list its tools", "tools/list");
        let begun = Instant::now();
        let transport = TokioChildProcess::new(server).map_err(|error| failed("the server did not start").caused_by(error))?;
        let session = self.session.insert(Session::open(transport, Answers::Yes(Asked::clone(&self.asked))).await?);
        let tools = session.tools().await?;
        self.end(begun);
        note(counted(tools.len(), "tool"));
        Ok(())
    }

    /// One step of the story: its title, the tool, and how long it took.
    async fn call(&mut self, title: &str, tool: &str, arguments: Value) -> Result<Value> {
        self.begin(title, tool);
        let begun = Instant::now();
        let answer = self.ask(tool, arguments).await?;
        self.end(begun);
        Ok(answer)
    }

    /// Calls a tool, whatever comes of it.
    async fn send(&self, tool: &str, arguments: Value) -> Result<CallToolResult> {
        let session = self.session.as_ref().ok_or_else(|| failed("there is no connection"))?;
        let Value::Object(arguments) = arguments else { return Err(failed("the arguments are not an object")) };
        session.call(tool, arguments).await
    }

    async fn ask(&self, tool: &str, arguments: Value) -> Result<Value> {
        let result = self.send(tool, arguments).await?;
        if result.is_error == Some(true) {
            return Err(failed(format!("{tool}: {}", text_of(&result))));
        }
        Ok(result.structured_content.unwrap_or_else(|| Value::Object(Map::new())))
    }

    fn chapter(&self, title: &str) {
        say("");
        say(self.paint.strong(title));
    }

    fn begin(&mut self, title: &str, tool: &str) {
        self.step += 1;
        let tool = self.paint.note(tool);
        begin(format_args!("{:>2}  {}  {tool}", self.step, self.paint.strong(title)));
    }

    fn end(&self, begun: Instant) {
        say(format_args!("  {}", self.paint.good(format_args!("{:.1} ms", begun.elapsed().as_secs_f64() * 1000.0))));
    }
}

impl Tour {
    /// Ends a step that was not taken.
    fn skip(&self, word: &str) {
        say(format_args!("  {}", self.paint.care(word)));
    }
}

/// What a step showed.
fn note(line: impl std::fmt::Display) {
    say(format_args!("    {line}"));
}

/// This program as a server of its own, whatever is set for the one at hand.
fn embedded_server(data: &Path, scratch: &Path) -> Result<Command> {
    let settings: PathBuf = scratch.join("config.toml");
    std::fs::write(&settings, "").map_err(|error| failed("the temporary folder cannot be written").caused_by(error))?;
    let mut command = program()?;
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("FLOWMASTER_") && name != "FLOWMASTER_LOG") {
            command.env_remove(name);
        }
    }
    command.arg("serve").arg("--config").arg(settings).arg("--data").arg(data);
    Ok(command)
}

/// This program with the settings at hand: the child inherits the environment, and what flags said is said again.
fn server_of(config: &Config) -> Result<Command> {
    let mut command = program()?;
    command.arg("serve").arg("--data").arg(&config.data_dir);
    if let Some(url) = &config.url {
        command.arg("--url").arg(url);
    }
    if let Some(tenant) = &config.tenant {
        command.arg("--tenant").arg(tenant);
    }
    if let (Some(file), true) = (&config.file, config.file_found) {
        command.arg("--config").arg(file);
    }
    Ok(command)
}

fn program() -> Result<Command> {
    std::env::current_exe().map(Command::new).map_err(|error| failed("this program does not find itself").caused_by(error))
}

fn items(page: &Value) -> &[Value] {
    page.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, name: &str) -> Result<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| failed(format!("the answer has no {name}: {value}")))
}

/// A field for people, empty where there is none.
fn short(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).map(plain).unwrap_or_default()
}

fn counted(count: usize, what: &str) -> String {
    format!("{} {what}{}", if count == 0 { "no".to_owned() } else { count.to_string() }, if count == 1 { "" } else { "s" })
}

fn failed(what: impl Into<String>) -> Error {
    Error::new(Kind::Internal, "FM-MCP-TOUR", what).hint("`flowmaster-mcp doctor` looks for the cause.")
}
