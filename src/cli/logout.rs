//! `logout`: ends the stored login, at the platform and here.

use super::Outcome;
use super::setup::connection::Connection;
use super::setup::credentials::{login_command, store};
use super::setup::name_of;
use super::terminal::{Paint, say, tell};
use crate::api::auth::Logout;
use crate::auth::Principal as _;
use crate::client::credentials::login::{Login, Source, Store};
use crate::config::Config;
use crate::error::{Error, Kind, Result};

pub(super) async fn run(config: &Config) -> Result<Outcome> {
    let store = store(config)?;
    let platform = name_of(config);
    if !store.exists() {
        return Err(Error::new(Kind::NotFound, "FM-MCP-NO-LOGIN", format!("no login at {platform} is stored"))
            .hint(format!("`{}` makes one; a token in FLOWMASTER_TOKEN is not ended here.", login_command(config))));
    }
    let connection = Connection::to_sign_in(config)?;
    let told = end(&connection, &store, platform.clone()).await;
    connection.close().await;
    // Whatever the platform says, the login is not kept here.
    store.lock().await?.remove()?;

    match told {
        Ok(()) => say(format_args!("{} of {platform}", Paint.good("Signed out"))),
        Err(error) if error.kind() == Kind::Unauthenticated => {
            say(format_args!("The login at {platform} had ended already; it is forgotten here"));
        }
        Err(error) => {
            say(format_args!("The login at {platform} is forgotten here"));
            tell(format_args!(
                "{} the platform could not be told: {} ({}). There the login lasts until it ends by itself.",
                Paint.care("care:"),
                error.message(),
                error.code()
            ));
        }
    }
    Ok(Outcome::Done)
}

/// Ends the login at the platform; a token that is over is renewed for that.
async fn end(connection: &Connection, store: &Store, platform: String) -> Result<()> {
    let login = Login::new(connection.client.clone(), Source::Stored(store.clone()), None, platform, String::new());
    let caller = login.caller().await?;
    match connection.client.send(&caller, &Logout {}).await {
        Err(error) if error.kind() == Kind::Unauthenticated => {
            let caller = login.renewed(caller).await?;
            connection.client.send(&caller, &Logout {}).await?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}
