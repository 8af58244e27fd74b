//! `audit`: what waits for the platform's audit service, and entries that it did not take.

use std::time::Duration;

use serde_json::{Value, json};

use super::Outcome;
use super::setup::connection::Connection;
use super::setup::upstream;
use super::terminal::{Paint, plain, say, wrap};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::server::audit::{self, Backlog, DeadLetter};

/// How many dead letters are read at once.
const PAGE: usize = 200;
/// How long entries are sent that were asked for, before a server sends the rest.
const SENDING: Duration = Duration::from_secs(30);

/// What to show or do.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Lists the entries that the platform did not take (dead letters), with its reasons.
    #[arg(long, conflicts_with = "resend")]
    dead: bool,
    /// Sends a dead letter again, or all of them without an id.
    #[arg(long, value_name = "ID")]
    #[expect(clippy::option_option, reason = "the flag's value may be left out")]
    resend: Option<Option<String>>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<Outcome> {
    if arguments.dead {
        return dead(arguments.json, config);
    }
    if let Some(id) = &arguments.resend {
        return resend(id.as_deref(), arguments.json, config).await;
    }
    let backlog = audit::backlog(&config.data_dir)?;
    if arguments.json {
        say(told(backlog));
    } else {
        show(backlog);
    }
    Ok(Outcome::Done)
}

fn told(backlog: Backlog) -> Value {
    let Backlog { waiting, backing_off, dead, lost } = backlog;
    json!({ "waiting": waiting, "backingOff": backing_off, "dead": dead, "lost": lost })
}

fn show(backlog: Backlog) {
    let Backlog { waiting, backing_off, dead, lost } = backlog;
    say(format_args!("{waiting:>8}  wait for the platform, {backing_off} of them of tenants whose entries it does not take now"));
    say(format_args!("{dead:>8}  were not taken (`flowmaster-mcp audit --dead` lists them, --resend sends them again)"));
    say(format_args!("{lost:>8}  were lost for want of room since the last entry that tells of it"));
}

fn dead(as_json: bool, config: &Config) -> Result<Outcome> {
    let mut after = 0;
    let mut all = Vec::new();
    loop {
        let page = audit::dead_letters(&config.data_dir, after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.position;
        if as_json {
            all.extend(page);
        } else {
            page.iter().for_each(show_letter);
        }
    }
    if as_json {
        say(json!({ "items": all }));
    } else if after == 0 {
        say("There are no dead letters.");
    }
    Ok(Outcome::Done)
}

fn show_letter(letter: &DeadLetter) {
    let text = |name: &str| plain(letter.entry[name].as_str().unwrap_or("-"));
    let (at, tenant, subject, resource) = (text("at"), text("tenant"), text("subject"), text("resource"));
    say(format_args!("{}  {at}  {tenant}  {subject}  {resource}", Paint.strong(plain(&letter.id))));
    say(wrap(format_args!("  {}", plain(&letter.reason)), 2));
}

async fn resend(id: Option<&str>, as_json: bool, config: &Config) -> Result<Outcome> {
    let resent = audit::resend(&config.data_dir, id)?;
    if let (Some(id), 0) = (id, resent) {
        return Err(Error::new(Kind::NotFound, "FM-MCP-AUDIT-DEAD-LETTER", format!("there is no dead letter {}", plain(id)))
            .hint("`flowmaster-mcp audit --dead` lists them."));
    }
    if resent > 0
        && let Some(options) = upstream::record(config)?.filter(|options| options.platform)
    {
        let connection = Connection::new(config)?;
        audit::send_now(options, &connection.client, SENDING).await;
        connection.close().await;
    }
    let backlog = audit::backlog(&config.data_dir)?;
    if as_json {
        say(json!({ "resent": resent, "backlog": told(backlog) }));
    } else {
        say(format_args!("{resent} put back into the queue"));
        show(backlog);
    }
    Ok(Outcome::Done)
}
