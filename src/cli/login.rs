//! `login`: signs a user in and keeps the login for the hosts that start this program.

use std::io::{BufRead as _, Read as _, Write as _};

use secrecy::{ExposeSecret as _, SecretString};

use super::Outcome;
use super::setup::connection::Connection;
use super::setup::credentials::store;
use super::setup::name_of;
use super::terminal::{Paint, is_attended, plain, say, tell};
use crate::api::auth::Logout;
use crate::auth::OWNER_TENANT;
use crate::client::credentials::login::{Grant, sign_in};
use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// The longest line that is read, in bytes.
const MAX_PASSWORD_BYTES: u64 = 2048;

/// Who signs in; what is missing is asked for on the terminal.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The user's name, an e-mail address.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Reads the password from stdin instead of asking for it.
    #[arg(long)]
    password_stdin: bool,
}

pub(super) async fn run(arguments: Arguments, config: &Config) -> Result<Outcome> {
    let store = store(config)?;
    let platform = name_of(config);
    let can_ask = is_attended() && !arguments.password_stdin;
    if can_ask {
        tell(format_args!("Signing in to {platform}."));
    }
    let username = match arguments.user.or_else(|| config.username.clone()) {
        Some(username) => username,
        None if can_ask => asked("User", None)?,
        None => return Err(missing("the user", "--user NAME")),
    };
    let own = config.url.is_none().then_some(OWNER_TENANT);
    let tenant = match (&config.tenant, own) {
        (Some(tenant), _) => tenant.clone(),
        (None, own) if can_ask => asked("Tenant", own)?,
        (None, Some(own)) => own.to_owned(),
        (None, None) => return Err(missing("the tenant", "--tenant TENANT")),
    };
    let password = if arguments.password_stdin { from_stdin()? } else { from_terminal()? };

    let connection = Connection::to_sign_in(config)?;
    let kept = async {
        // A login without a place is not kept.
        let locked = store.lock().await?;
        let grant = sign_in(&connection.client, &platform, &username, &password, &tenant).await?;
        // A file that is not a login gives way to one that is.
        let replaced = store.read().ok().flatten();
        let kept = locked.write(&grant);
        let nobodys = if kept.is_ok() { replaced.as_ref() } else { Some(&grant) };
        if let Some(nobodys) = nobodys {
            end(&connection, nobodys).await;
        }
        kept.map(|()| grant)
    }
    .await;
    connection.close().await;
    let grant = kept?;

    let paint = Paint;
    let user = grant.user.as_ref().map(|user| user.id.to_string()).unwrap_or_default();
    say(format_args!("{} as {} ({user}) of {} at {platform}", paint.good("Signed in"), plain(&username), plain(&tenant)));
    say(paint.note(format_args!("The login is in {}; `flowmaster-mcp logout` ends it.", store.file().display())));
    for (set, variable) in [(config.token.is_some(), "FLOWMASTER_TOKEN"), (config.password.is_some(), "FLOWMASTER_PASSWORD")] {
        if set {
            tell(format_args!("{} {variable} is set and goes before the stored login", Paint.care("care:")));
        }
    }
    Ok(Outcome::Done)
}

/// Ends a login that is kept nowhere, as far as the platform still knows it: one that another replaced, or that could not
/// be written.
async fn end(connection: &Connection, nobodys: &Grant) {
    let ended = match nobodys.caller(None) {
        Ok(caller) => connection.client.send(&caller.into(), &Logout {}).await.map(|_| ()),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a login that is kept nowhere was not ended");
    }
}

/// A line from the person at the terminal.
fn asked(what: &str, default: Option<&str>) -> Result<String> {
    let shown = default.map(|default| format!(" [{default}]")).unwrap_or_default();
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{what}{shown}: ").and_then(|()| stderr.flush());
    let mut line = String::new();
    let read = std::io::stdin().lock().take(MAX_PASSWORD_BYTES).read_line(&mut line);
    read.map_err(|error| missing("an answer", "--user and --tenant").caused_by(error))?;
    match (line.trim(), default) {
        ("", Some(default)) => Ok(default.to_owned()),
        ("", None) => Err(missing(&format!("the {}", what.to_lowercase()), "--user and --tenant")),
        (line, _) => Ok(line.to_owned()),
    }
}

fn from_terminal() -> Result<SecretString> {
    let password = rpassword::prompt_password("Password: ")
        .map_err(|error| missing("a terminal to ask for the password", "--password-stdin").caused_by(error))?;
    checked(password.into())
}

fn from_stdin() -> Result<SecretString> {
    let mut line = String::new();
    let read = std::io::stdin().lock().take(MAX_PASSWORD_BYTES).read_line(&mut line);
    // What was read is not a part of the error.
    read.map_err(|_| missing("a password on stdin", "--password-stdin with one line of text"))?;
    let password = SecretString::from(line.trim_end_matches(['\r', '\n']));
    checked(password)
}

fn checked(password: SecretString) -> Result<SecretString> {
    match password.expose_secret().chars().count() {
        0 => Err(missing("the password", "--password-stdin with one line of text")),
        1..=1024 => Ok(password),
        _ => Err(Error::configuration(Kind::Invalid, "FM-CLI-LOGIN", "a password has at most 1024 characters")),
    }
}

fn missing(what: &str, way: &str) -> Error {
    Error::configuration(Kind::Invalid, "FM-CLI-LOGIN", format!("{what} is missing")).hint(format!("Run it on a terminal, or give {way}."))
}
