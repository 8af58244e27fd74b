//! `login`: signs a user in and keeps the login for the hosts that start this program.

use super::Outcome;
use super::password::{asked, from_stdin, from_terminal, missing};
use super::setup::connection::Connection;
use super::setup::credentials::store;
use super::setup::name_of;
use super::terminal::{Paint, is_attended, plain, say, tell};
use crate::api::auth::Logout;
use crate::auth::OWNER_TENANT;
use crate::client::credentials::login::{Grant, sign_in};
use crate::config::Config;
use crate::error::Result;

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
    let own = config.url.is_none().then_some(OWNER_TENANT);
    let tenant = match (&config.tenant, own) {
        (Some(tenant), _) => tenant.clone(),
        (None, own) if can_ask => {
            tell(format_args!("Sign in at {platform}."));
            asked("Tenant", own)?
        }
        (None, Some(own)) => own.to_owned(),
        (None, None) => return Err(missing("the tenant", "--tenant TENANT")),
    };
    if can_ask {
        tell(format_args!("Sign in to {} at {platform}.", plain(&tenant)));
    }
    let username = match arguments.user.or_else(|| config.username.clone()) {
        Some(username) => username,
        None if can_ask => asked("User", None)?,
        None => return Err(missing("the user", "--user NAME")),
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
