//! The command line. It is the only module that names both the server and the embedded platform.

mod audit;
mod call;
mod completions;
mod confirm;
mod doctor;
#[cfg(feature = "platform")]
mod embedded;
mod events;
pub mod export;
mod host;
mod login;
mod logout;
mod password;
#[cfg(feature = "platform")]
mod platform;
mod serve;
mod setup;
mod signing_secret;
mod terminal;
mod token;
mod tools;
#[cfg(feature = "platform")]
mod tour;
mod webhooks;
mod whoami;

use std::env::VarError;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::api::Timestamp;
use crate::config::{Config, ENVIRONMENT, Settings, environment_of};
use crate::error::{Error, Kind, Origin, Result};
use crate::telemetry;

#[cfg(feature = "platform")]
pub use embedded::Embedded;

/// How a command ended: 0 done, 1 failed, 2 called wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it was asked.
    Done,
    /// It could not, and said why.
    Failed,
}

/// An MCP server that lets an LLM agent run a company's processes on FlowMaster.
///
/// Without a command it serves MCP on stdio, as hosts start it. Without FLOWMASTER_URL it brings a FlowMaster of its own.
#[derive(Debug, Parser)]
#[command(name = "flowmaster-mcp", version, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Arguments,
    /// The configuration file; config.toml in the user's configuration folder if absent [env: FLOWMASTER_CONFIG].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves MCP, on stdio or over HTTP.
    Serve(serve::Arguments),
    /// Runs the embedded platform by itself, for others to use by its URL, or manages its users.
    #[cfg(feature = "platform")]
    Platform(platform::Arguments),
    /// Shows the tools that a host of this caller gets.
    Tools(tools::Arguments),
    /// Calls a tool as a host would.
    Call(call::Arguments),
    /// Follows what happens on the platform, on a terminal or as lines of JSON.
    Events(events::Arguments),
    /// Signs a user in and keeps the login, for hosts to use.
    Login(login::Arguments),
    /// Ends the stored login.
    Logout,
    /// Shows who is signed in, until when, and what they may do.
    Whoami(whoami::Arguments),
    /// Prints the owner's token of the embedded platform, which `serve --http` asks hosts for.
    #[cfg(feature = "platform")]
    Token,
    /// Gives a webhook's subscription a new signing secret and shows it.
    SigningSecret(signing_secret::Arguments),
    /// Lists the calls that wait for a person's consent, or approves one.
    Confirm(confirm::Arguments),
    /// Shows what this is: a process is designed, run and approved through MCP, step by step.
    #[cfg(feature = "platform")]
    Tour(tour::Arguments),
    /// Checks the set-up: settings, data folder, platform, login, confirmation, audit trail.
    Doctor(doctor::Arguments),
    /// Shows what waits for the platform's audit log, lists entries that it did not take, or sends them again.
    Audit(audit::Arguments),
    /// Lists events that the receivers of webhooks did not take (dead letters), sends them again or drops them.
    Webhooks(webhooks::Arguments),
    /// Writes the tools and schemas as files.
    Export(export::Arguments),
    /// Writes a completion script for a shell.
    Completions(completions::Arguments),
    /// Writes the man page.
    Man(completions::ManArguments),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match start(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Err(error) => {
            terminal::complain(&error);
            let usage = error.origin() == Origin::Configuration;
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

/// The whole command line; the help of a setting also names its variable.
fn command_line() -> clap::Command {
    Cli::command().mut_args(|argument| {
        let setting = argument.get_id().to_string();
        match (environment_of(&setting), argument.get_help().cloned()) {
            (Some(variable), Some(help)) => argument.help(format!("{} [env: {variable}]", help.to_string().trim_end_matches('.'))),
            _ => argument,
        }
    })
}

/// Reads the arguments.
fn parse() -> std::result::Result<Cli, clap::Error> {
    let command = command_line();
    let cli = Cli::from_arg_matches(&command.clone().get_matches())?;
    if !cli.serve.is_empty() && cli.command.as_ref().is_some_and(|command| !matches!(command, Command::Serve(_))) {
        let mut command = command;
        return Err(command.error(ErrorKind::ArgumentConflict, "--http and --no-token belong to `serve`"));
    }
    Ok(cli)
}

fn start(cli: Cli) -> Result<Outcome> {
    let environment = |name: &str| std::env::var(name).ok();
    // What needs no settings works with broken ones.
    match &cli.command {
        Some(Command::Export(arguments)) => return export::run(arguments),
        Some(Command::Completions(arguments)) => return Ok(completions::run(arguments, command_line())),
        Some(Command::Man(arguments)) => return completions::man(arguments, command_line()),
        _ => {}
    }
    let (config, found) = Config::examine(&cli.settings, cli.config.as_deref(), &environment);
    let mut faults: Vec<Error> = before_time(Timestamp::now()).into_iter().chain(not_unicode()).chain(found).collect();
    let command = match cli.command {
        None => Command::Serve(cli.serve),
        Some(Command::Serve(arguments)) => Command::Serve(arguments.or(cli.serve)),
        Some(command) => command,
    };
    let names_tenants = config.telemetry.tenant_label.unwrap_or_default();
    if let Err(error) = telemetry::init(config.log.as_deref().unwrap_or(command.log()), config.log_format, names_tenants) {
        faults.push(error);
        telemetry::init(command.log(), config.log_format, names_tenants)?;
    }
    // Only `doctor` works with faults: it shows them.
    if !matches!(command, Command::Doctor(_)) && !faults.is_empty() {
        return Err(faults.swap_remove(0));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Internal, "FM-MCP-RUNTIME", format!("the system gives no threads or files: {error}")))?;
    let source = serve::Source { log: command.log(), flags: cli.settings, file: cli.config };
    let outcome = runtime.block_on(run(command, config, faults, source));
    telemetry::flush();
    // A read of stdin cannot be cancelled: it must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// HTTP has no dates before 1970: a server could answer nothing.
fn before_time(now: Timestamp) -> Option<Error> {
    let message = format!("the system's clock stands at {now}");
    (now.millis() < 0).then(|| {
        Error::configuration(Kind::Invalid, "FM-CONFIG-CLOCK", message).hint("Set the clock of this machine; tokens need the time, too.")
    })
}

/// Variables whose values cannot be read.
fn not_unicode() -> impl Iterator<Item = Error> {
    let unreadable = ENVIRONMENT.iter().filter(|(_, variable)| matches!(std::env::var(variable), Err(VarError::NotUnicode(_))));
    unreadable.map(|(_, variable)| Error::configuration(Kind::Invalid, "FM-CONFIG-INVALID", format!("{variable} is not Unicode text")))
}

async fn run(command: Command, config: Config, faults: Vec<Error>, source: serve::Source) -> Result<Outcome> {
    match command {
        Command::Serve(arguments) => serve::run(&arguments, &config, source).await,
        #[cfg(feature = "platform")]
        Command::Platform(arguments) => platform::run(arguments, &config).await,
        Command::Tools(arguments) => tools::run(&arguments, &config).await,
        Command::Call(arguments) => call::run(arguments, &config).await,
        Command::Events(arguments) => events::run(&arguments, &config).await,
        Command::Login(arguments) => login::run(arguments, &config).await,
        Command::Logout => logout::run(&config).await,
        Command::Whoami(arguments) => whoami::run(&arguments, &config).await,
        #[cfg(feature = "platform")]
        Command::Token => token::run(&config),
        Command::SigningSecret(arguments) => signing_secret::run(arguments, &config).await,
        Command::Confirm(arguments) => confirm::run(&arguments, &config).await,
        #[cfg(feature = "platform")]
        Command::Tour(arguments) => tour::run(&arguments, &config).await,
        Command::Doctor(arguments) => doctor::run(&arguments, &config, &faults).await,
        Command::Audit(arguments) => audit::run(&arguments, &config).await,
        Command::Webhooks(arguments) => webhooks::run(&arguments, &config),
        Command::Export(arguments) => export::run(&arguments),
        Command::Completions(arguments) => Ok(completions::run(&arguments, command_line())),
        Command::Man(arguments) => completions::man(&arguments, command_line()),
    }
}

impl Command {
    /// What is logged unless somebody says otherwise: on stdio a host shows the log to its user, so little.
    fn log(&self) -> &'static str {
        match self {
            Self::Serve(arguments) if arguments.over_http() => "warn,flowmaster_mcp=info",
            #[cfg(feature = "platform")]
            Self::Platform(arguments) if arguments.serves() => "warn,flowmaster_mcp=info",
            Self::Serve(_) => "warn",
            _ => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
