//! `completions` and `man`: what shells and readers know of the command line.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use super::Outcome;
use crate::error::{Error, Kind, Result};

/// Which shell.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell to write a completion script for.
    shell: Shell,
}

/// Where the pages go.
#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// A folder to write one page for each command to; without it the main page goes to stdout.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes a completion script to stdout.
pub(super) fn run(arguments: &Arguments, mut command: Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "flowmaster-mcp", &mut script);
    write(&script)
}

/// Writes the man page to stdout, or all pages to a folder.
pub(super) fn man(arguments: &ManArguments, command: Command) -> Result<Outcome> {
    let unwritable = |error: std::io::Error| {
        Error::configuration(Kind::Invalid, "FM-CLI-MAN", format!("the man pages cannot be written: {error}"))
            .hint("Name a folder that you may write to.")
    };
    if let Some(folder) = &arguments.dir {
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder)).map_err(unwritable)?;
        return Ok(Outcome::Done);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(unwritable)?;
    Ok(write(&page))
}

fn write(bytes: &[u8]) -> Outcome {
    // A reader that went away is not a failure of this program.
    let _ = std::io::stdout().lock().write_all(bytes);
    Outcome::Done
}
