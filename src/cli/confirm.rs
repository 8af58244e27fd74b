//! `confirm`: a person's consent outside the model, for the calls of the same caller alone. It is given at a terminal.

mod remote;

use super::Outcome;
use super::setup::connection::Connection;
use super::terminal::{Paint, ask, is_attended, plain, say};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::server::consent::approvals::{Pending, approve, list, unknown};
use remote::{Server, Waiting};

/// Which call.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The call to approve, at a terminal; without it those that wait are listed.
    id: Option<String>,
    /// The calls that wait on a server elsewhere, by the URL that hosts call it by.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<Outcome> {
    let connection = Connection::new(config)?;
    let outcome = consent(arguments, config, &connection).await;
    // Only now: a login of this process alone ends with the connection, and its token with it.
    connection.close().await;
    outcome
}

async fn consent(arguments: &Arguments, config: &Config, connection: &Connection) -> Result<Outcome> {
    let caller = connection.caller().await?;
    let server = arguments.server.as_deref().map(|url| Server::new(url, &caller, config)).transpose()?;
    let paint = Paint;
    let waiting: Vec<Waiting> = match &server {
        Some(server) => server.list().await?,
        None => list(&config.data_dir, &caller)?.into_iter().map(Waiting::from).collect(),
    };
    if let Some(id) = &arguments.id {
        let pending = waiting.iter().find(|pending| pending.id == *id).ok_or_else(unknown)?;
        // A shell that an agent runs has no terminal: a person reads the question and answers it.
        if !is_attended() {
            return Err(Error::configuration(Kind::Refused, "FM-CLI-CONFIRM-TERMINAL", "a call is approved by a person at a terminal")
                .hint(format!("Run `flowmaster-mcp confirm {id}` yourself, in a terminal of your own.")));
        }
        let question: Vec<String> = pending.question.lines().map(plain).collect();
        if !ask(&format!("{}\n\nApprove {}?", question.join("\n"), plain(&pending.tool))) {
            return Err(Error::configuration(Kind::Refused, "FM-CLI-CONFIRM-DECLINED", "not approved; nothing was done"));
        }
        let approved = match &server {
            Some(server) => server.approve(id).await?,
            None => approve(&config.data_dir, &caller, id)?.into(),
        };
        if arguments.json {
            say(serde_json::json!(approved));
        } else {
            say(format_args!("{} the same call goes through once, until {}", paint.good("approved:"), approved.expires_at));
        }
        return Ok(Outcome::Done);
    }
    if arguments.json {
        say(serde_json::json!({ "pending": waiting }));
    } else if waiting.is_empty() {
        say(format_args!("No call of {} in {} waits for consent.", plain(&caller.subject), plain(caller.tenant.as_str())));
    } else {
        for pending in &waiting {
            show(pending, paint);
        }
        let there = arguments.server.as_ref().map(|url| format!(" --server {}", plain(url))).unwrap_or_default();
        say(format_args!("Approve one with: flowmaster-mcp confirm{there} ID"));
    }
    Ok(Outcome::Done)
}

impl From<Pending> for Waiting {
    fn from(pending: Pending) -> Self {
        let Pending { id, tool, question, created_at, expires_at, approved_at, .. } = pending;
        Self { id, tool, question, created_at, expires_at, approved_at }
    }
}

fn show(pending: &Waiting, paint: Paint) {
    let state = if pending.approved_at.is_some() { paint.good("approved") } else { paint.care("waits") };
    say(format_args!("{}  {}  {state}, since {}", paint.strong(plain(&pending.id)), plain(&pending.tool), pending.created_at));
    for line in pending.question.lines() {
        say(format_args!("  {}", plain(line)));
    }
    say("");
}
