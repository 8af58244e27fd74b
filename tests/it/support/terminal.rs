//! A terminal with a person at it, who reads what the program writes to stderr and types an answer.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Runs a command at a terminal where somebody types a line, and returns what it put out and what the terminal showed.
pub fn at_terminal(mut command: Command, line: &str) -> (Output, String) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let terminal = File::from(rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
    command.stdin(terminal.try_clone().unwrap()).stderr(terminal.try_clone().unwrap()).stdout(Stdio::piped());
    let mut person = File::from(person);
    person.write_all(format!("{line}\n").as_bytes()).unwrap();
    let child = command.spawn().unwrap();
    drop((command, terminal));
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        // The end of a terminal is an error: nothing has it open any more.
        let _ = person.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let output = child.wait_with_output().unwrap();
    (output, reader.join().unwrap())
}

/// As [`at_terminal`], beside other work.
pub async fn beside_at_terminal(command: tokio::process::Command, line: &'static str) -> (Output, String) {
    tokio::task::spawn_blocking(move || at_terminal(command.into_std(), line)).await.unwrap()
}
