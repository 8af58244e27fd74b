//! `whoami`: who this program speaks for, until when, and what that caller may do.

use super::Outcome;
use super::setup::connection::Connection;
use super::setup::identity::Identity;
use super::setup::name_of;
use super::terminal::{Paint, complain, say, tell};
use crate::config::Config;
use crate::error::Result;

/// How it is shown.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<Outcome> {
    let connection = Connection::new(config)?;
    let found = Identity::find(&connection).await;
    connection.close().await;
    let standing = found?;
    if arguments.json {
        let mut json = standing.json();
        json["platform"] = name_of(config).into();
        say(json);
    } else {
        let paint = Paint;
        say(paint.strong(standing.who()));
        say(format_args!("  at     {}", name_of(config)));
        say(format_args!("  by     {}", standing.credential));
        say(format_args!("  time   {}", standing.until()));
        say(format_args!("  may    {}", standing.may()));
    }
    if let Some(error) = &standing.unconfirmed {
        tell(format_args!("{} the platform could not be asked; this is what the credential says", Paint.care("care:")));
        complain(error);
        return Ok(Outcome::Failed);
    }
    Ok(Outcome::Done)
}
