//! `platform`: the embedded platform by itself, and its users.

mod users;

use std::net::SocketAddr;

use super::Outcome;
use super::embedded::platform_options;
use super::serve::{require_loopback, shutdown_by_signal};
use super::terminal::{Paint, say, tell};
use crate::config::{Config, listen_address};
use crate::error::Result;
use crate::platform::{Options, Platform};

/// Where it listens, or what is done to it.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    /// The address, on this machine alone; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8322", value_parser = listen_address)]
    listen: SocketAddr,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What is done to it, as its owner.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Creates and lists the users of a tenant, and sets their roles and passwords.
    Users(users::Arguments),
}

impl Arguments {
    /// Whether it runs until it is ended.
    pub(super) const fn serves(&self) -> bool {
        self.command.is_none()
    }
}

pub(super) async fn run(arguments: Arguments, config: &Config) -> Result<Outcome> {
    if let Some(Command::Users(arguments)) = arguments.command {
        return users::run(arguments, config).await;
    }
    require_loopback(arguments.listen)?;
    let shutdown = shutdown_by_signal();
    let running = Platform::start(Options { listen: arguments.listen, ..platform_options(config) }).await?;
    say(running.url());
    let paint = Paint;
    tell(format_args!(
        "FlowMaster's data is in {}; {} prints the owner's token.",
        config.data_dir.display(),
        paint.strong("flowmaster-mcp token")
    ));
    tell(paint.note("ctrl-c ends it."));
    shutdown.cancelled().await;
    running.shutdown().await;
    Ok(Outcome::Done)
}
