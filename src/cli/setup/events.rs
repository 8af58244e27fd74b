//! From the settings to MCP Events.

use crate::config::{Config, ErrorNumbers};
use crate::server::{self, EventOptions};

/// How MCP Events are served.
pub(crate) fn options(config: &Config) -> EventOptions {
    EventOptions {
        numbers: match config.events.error_numbers.unwrap_or_default() {
            ErrorNumbers::Draft => server::ErrorNumbers::Draft,
            ErrorNumbers::Final => server::ErrorNumbers::Final,
        },
        allowed_hosts: config.events.webhooks.allowed_hosts.clone(),
        ..EventOptions::default()
    }
}
