//! `webhooks`: events that receivers of hosts did not take (dead letters), to be sent again or dropped.

use serde_json::json;

use super::Outcome;
use super::terminal::{Paint, plain, say};
use crate::config::Config;
use crate::error::Result;
use crate::server::{DeadDeliveries, dead_deliveries, drop_deliveries, resend_deliveries};

/// What to show or do.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Has the dead letters of a subscription sent again by the server on this data folder, or all without an id.
    #[arg(long, value_name = "SUBSCRIPTION", conflicts_with = "drop")]
    #[expect(clippy::option_option, reason = "the flag's value may be left out")]
    resend: Option<Option<String>>,
    /// Drops the dead letters of a subscription, or all without an id.
    #[arg(long, value_name = "SUBSCRIPTION")]
    #[expect(clippy::option_option, reason = "the flag's value may be left out")]
    drop: Option<Option<String>>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: &Config) -> Result<Outcome> {
    let folder = &config.data_dir;
    let changed = match (&arguments.resend, &arguments.drop) {
        (Some(id), _) => Some(("resent", resend_deliveries(folder, id.as_deref())?)),
        (None, Some(id)) => Some(("dropped", drop_deliveries(folder, id.as_deref())?)),
        (None, None) => None,
    };
    let dead = dead_deliveries(folder)?;
    if arguments.json {
        let mut told = json!({ "items": dead });
        if let Some((what, count)) = changed {
            told[what] = json!(count);
        }
        say(told);
        return Ok(Outcome::Done);
    }
    if let Some((what, count)) = changed {
        say(format_args!("{count} {what}"));
    }
    dead.iter().for_each(show);
    if dead.is_empty() {
        say("There are no dead letters.");
    }
    Ok(Outcome::Done)
}

fn show(letters: &DeadDeliveries) {
    let DeadDeliveries { subscription, tenant, receiver, reason, count } = letters;
    say(format_args!("{}  {}  {}  {count} {reason}", Paint.strong(plain(subscription)), plain(tenant), plain(receiver)));
}
