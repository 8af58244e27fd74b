//! From the settings to a server or a client: credentials, the way upstream, callers over HTTP, who calls.

pub(super) mod bounds;
pub(super) mod connection;
pub(super) mod credentials;
pub(super) mod discovery;
pub(super) mod events;
pub(super) mod http_auth;
pub(super) mod identity;
pub(super) mod kafka;
pub(super) mod telemetry;
pub(super) mod upstream;

use crate::config::Config;

/// What the platform is called in questions and reports.
pub(crate) fn name_of(config: &Config) -> String {
    config.url.clone().unwrap_or_else(|| "the embedded FlowMaster".to_owned())
}
