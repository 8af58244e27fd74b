//! `token`: the embedded platform's owner token, for the hosts of `serve --http`.

#![cfg(feature = "platform")]

use secrecy::ExposeSecret as _;

use super::Outcome;
use super::terminal::say;
use crate::config::Config;
use crate::error::{Error, Kind, Result};

pub(super) fn run(config: &Config) -> Result<Outcome> {
    if config.url.is_some() {
        return Err(Error::configuration(
            Kind::Invalid,
            "FM-CLI-TOKEN",
            "with FLOWMASTER_URL the token is the platform's, and yours already",
        )
        .hint("Leave FLOWMASTER_URL out to see the embedded platform's owner token."));
    }
    say(crate::platform::folder::owner_token(&config.data_dir)?.expose_secret());
    Ok(Outcome::Done)
}
