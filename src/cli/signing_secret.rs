//! `signing-secret`: a person gets the key that a webhook's deliveries are signed with, which no model is ever shown.

use super::Outcome;
use super::setup::connection::Connection;
use super::terminal::{Paint, is_attended, plain, say, tell};
use crate::api::Secret;
use crate::api::events::{Delivery, RotateSigningSecret};
use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// Whose.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The subscription, such as sub-…; `call subscriptions_list` lists them.
    subscription: String,
}

pub(super) async fn run(arguments: Arguments, config: &Config) -> Result<Outcome> {
    if !is_attended() {
        return Err(Error::configuration(Kind::Invalid, "FM-CLI-NO-TERMINAL", "a signing secret is shown to a person at a terminal alone")
            .hint("Run the command in a terminal, and give the secret to the receiver by hand."));
    }
    let connection = Connection::new(config)?;
    let replaced = replace(&connection, arguments.subscription).await;
    connection.close().await;
    let subscription = replaced?;
    let secret = subscription
        .signing_secret
        .as_ref()
        .map(Secret::expose)
        .ok_or_else(|| Error::new(Kind::Unsupported, "FM-CLI-NO-SECRET", "the platform answered without a signing secret"))?;
    say(secret);
    let paint = Paint;
    let receiver = match &subscription.delivery {
        Delivery::Webhook { url } => plain(url),
        Delivery::Channel => "its channel".to_owned(),
    };
    tell(format_args!(
        "{} what goes to {receiver} is signed with this key from now on, and with the one before no more.",
        paint.good("New:")
    ));
    tell(paint.note("It is not shown again. Receivers verify with any Standard Webhooks library."));
    Ok(Outcome::Done)
}

async fn replace(connection: &Connection, subscription: String) -> Result<crate::api::events::Subscription> {
    let caller = connection.caller().await?;
    connection.client.send(&caller, &RotateSigningSecret { id: subscription.into() }).await
}
