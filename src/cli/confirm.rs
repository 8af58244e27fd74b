//! `confirm`: a person's consent outside the model, where the host cannot ask, for the calls of the same caller alone.

use super::Outcome;
use super::connect::Connection;
use super::terminal::{Paint, plain, say};
use crate::config::Config;
use crate::error::Result;
use crate::server::confirm::{Pending, approve, list};

/// Which call.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The call to approve; without it those that wait are listed.
    id: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<Outcome> {
    let connection = Connection::new(config)?;
    let caller = connection.caller().await;
    connection.close().await;
    let caller = caller?;
    let paint = Paint::stdout();
    if let Some(id) = &arguments.id {
        let approved = approve(&config.data_dir, &caller, id)?;
        if arguments.json {
            say(serde_json::json!(approved));
        } else {
            show(&approved, paint);
            say(format_args!("{} the same call goes through once, until {}", paint.good("approved:"), approved.expires_at));
        }
        return Ok(Outcome::Done);
    }
    let waiting = list(&config.data_dir, &caller)?;
    if arguments.json {
        say(serde_json::json!({ "pending": waiting }));
    } else if waiting.is_empty() {
        say(format_args!("No call of {} waits for consent.", plain(&caller.subject)));
    } else {
        for pending in &waiting {
            show(pending, paint);
        }
        say("Approve one with: flowmaster-mcp confirm ID");
    }
    Ok(Outcome::Done)
}

fn show(pending: &Pending, paint: Paint) {
    let state = if pending.approved_at.is_some() { paint.good("approved") } else { paint.care("waits") };
    say(format_args!("{}  {}  {state}", paint.strong(&pending.id), pending.tool));
    say(format_args!("  by {} of {}, {}", plain(&pending.subject), plain(&pending.tenant), pending.created_at));
    for line in pending.question.lines() {
        say(format_args!("  {}", plain(line)));
    }
    say("");
}
