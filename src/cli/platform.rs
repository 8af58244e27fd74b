//! `platform`: the embedded platform by itself, and its users.

mod demo;
mod users;

use std::net::SocketAddr;

use self::demo::Demo;
use super::Outcome;
use super::embedded::platform_options;
use super::serve::{require_loopback, shutdown_by_signal};
use super::terminal::{Paint, say, tell};
use crate::config::{Config, listen_address};
use crate::error::Result;
use crate::platform::{Fault, Options, Platform};

/// Where it listens, or what is done to it.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    /// The address, on this machine alone; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8322", value_parser = listen_address)]
    listen: SocketAddr,
    /// A fault to try callers out with, such as `human-task:status=503:0.3`: a service or `*`; latency=MS, status=CODE,
    /// cut, cut-after or garbage; and the share of requests. Can be repeated.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    /// The number that the drawing of faults begins with.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "faults")]
    fault_seed: u64,
    /// Fills the data folder with a small company that has a fortnight behind it, if there is none in it yet.
    #[arg(long)]
    demo: bool,
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
    let options = Options { listen: arguments.listen, ..platform_options(config) };
    let paint = Paint;
    if !arguments.faults.is_empty() {
        for fault in &arguments.faults {
            tell(paint.note(format_args!("fault on request: {fault}")));
        }
        options.faults.set(arguments.fault_seed, arguments.faults);
    }
    if arguments.demo {
        match demo::fill(platform_options(config)).await? {
            Demo::Made { executions, records } => {
                tell(paint.note(format_args!("a company was made: {executions} executions, {records} records, and what goes with them")));
            }
            Demo::There => tell(paint.note("the company is there already")),
        }
    }
    let running = Platform::start(options).await?;
    say(running.url());
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
