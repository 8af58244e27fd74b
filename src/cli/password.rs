//! How passwords and other answers are read: from the terminal, without echo where they are secret, or from stdin.

use std::io::{BufRead, Read as _, Write};

use secrecy::{ExposeSecret as _, SecretString};

use super::terminal::tell;
use crate::error::{Error, Kind, Result};

/// The longest line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 2048;
/// How often a question without an answer is asked.
const MAX_ATTEMPTS: usize = 3;

/// Asks the person at the terminal for a line, again where the answer is empty.
pub(super) fn asked(what: &str, default: Option<&str>) -> Result<String> {
    answer(&mut std::io::stdin().lock(), &mut std::io::stderr().lock(), what, default)
}

fn answer(input: &mut impl BufRead, output: &mut impl Write, what: &str, default: Option<&str>) -> Result<String> {
    let shown = default.map(|default| format!(" [{default}]")).unwrap_or_default();
    let absent = || missing(&format!("the {}", what.to_lowercase()), "--user and --tenant");
    for _ in 0..MAX_ATTEMPTS {
        let _ = write!(output, "{what}{shown}: ").and_then(|()| output.flush());
        let mut line = String::new();
        let read = input.by_ref().take(MAX_LINE_BYTES).read_line(&mut line).map_err(|error| absent().caused_by(error))?;
        match (read, line.trim(), default) {
            (0, _, _) => break,
            (_, "", Some(default)) => return Ok(default.to_owned()),
            (_, "", None) => {
                let _ = writeln!(output, "An answer is needed.");
            }
            (_, line, _) => return Ok(line.to_owned()),
        }
    }
    Err(absent())
}

/// Asks the person at the terminal for a password that exists.
pub(super) fn from_terminal() -> Result<SecretString> {
    for _ in 1..MAX_ATTEMPTS {
        let password = hidden("Password: ")?;
        if !password.expose_secret().is_empty() {
            return checked(password);
        }
        tell("An answer is needed.");
    }
    checked(hidden("Password: ")?)
}

/// Asks the person at the terminal for a new password, twice.
#[cfg(feature = "platform")]
pub(super) fn new_from_terminal(what: &str) -> Result<SecretString> {
    for _ in 0..MAX_ATTEMPTS {
        let (first, second) = (hidden(&format!("{what}: "))?, hidden("Again: ")?);
        match (first.expose_secret().is_empty(), first.expose_secret() == second.expose_secret()) {
            (false, true) => return checked(first),
            (true, _) => tell("An answer is needed."),
            (false, false) => tell("The two differ."),
        }
    }
    Err(missing("the password", "--password-stdin"))
}

/// Reads a password from stdin, one line.
pub(super) fn from_stdin() -> Result<SecretString> {
    let mut line = String::new();
    let read = std::io::stdin().lock().take(MAX_LINE_BYTES).read_line(&mut line);
    // What was read is not a part of the error.
    read.map_err(|_| missing("a password on stdin", "--password-stdin with one line of text"))?;
    checked(SecretString::from(line.trim_end_matches(['\r', '\n'])))
}

fn hidden(prompt: &str) -> Result<SecretString> {
    rpassword::prompt_password(prompt)
        .map(SecretString::from)
        .map_err(|error| missing("a terminal to ask for the password", "--password-stdin").caused_by(error))
}

fn checked(password: SecretString) -> Result<SecretString> {
    match password.expose_secret().chars().count() {
        0 => Err(missing("the password", "--password-stdin with one line of text")),
        1..=1024 => Ok(password),
        _ => Err(Error::configuration(Kind::Invalid, "FM-CLI-LOGIN", "a password has at most 1024 characters")),
    }
}

/// The error of an answer that could not be had.
pub(super) fn missing(what: &str, way: &str) -> Error {
    Error::configuration(Kind::Invalid, "FM-CLI-LOGIN", format!("{what} is missing")).hint(format!("Run it on a terminal, or give {way}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(input: &str, default: Option<&str>) -> (Result<String>, usize) {
        let mut output = Vec::new();
        let answer = answer(&mut input.as_bytes(), &mut output, "User", default);
        (answer, String::from_utf8(output).unwrap().matches("User").count())
    }

    #[test]
    fn an_empty_answer_is_asked_for_again() {
        let (answer, times) = answered("\n  \nada@acme.example\n", None);
        assert_eq!((answer.unwrap().as_str(), times), ("ada@acme.example", 3));
        let (answer, times) = answered("\n", Some("acme"));
        assert_eq!((answer.unwrap().as_str(), times), ("acme", 1));
    }

    #[test]
    fn an_end_of_input_or_no_answer_at_all_is_an_error() {
        let (answer, times) = answered("", None);
        assert_eq!((answer.unwrap_err().code(), times), ("FM-CLI-LOGIN", 1));
        let (answer, times) = answered(&"\n".repeat(100), None);
        assert_eq!((answer.unwrap_err().code(), times), ("FM-CLI-LOGIN", MAX_ATTEMPTS));
    }
}
