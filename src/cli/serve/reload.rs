//! Reads the configuration again while the server runs: on SIGHUP, and when its file has changed.
//!
//! What may change is replaced as a whole, and sessions go on. Settings that need another start are named in the log. A
//! configuration that is broken changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::cli::setup::connection::Connection;
use crate::config::{Config, Settings};
use crate::error::Result;
use crate::server::App;
use crate::telemetry;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Settings that take effect without another start.
const RELOADED: &[&str] = &[
    "log",
    "http.allowed_hosts",
    "http.allowed_origins",
    "discovery.allowed_hosts",
    "permissions.filter",
    "permissions.names",
    "policy",
    "secrets",
    "toolsets",
    "tools",
    "exclude_tools",
    "read_only",
    "limits.caller",
    "limits.tenant",
];

/// Where the configuration was read from, so that it can be read again.
#[derive(Debug)]
pub(crate) struct Source {
    /// The flags.
    pub(crate) flags: Settings,
    /// The file that a flag names.
    pub(crate) file: Option<PathBuf>,
    /// What is logged unless somebody says otherwise.
    pub(crate) log: &'static str,
}

impl Source {
    fn read(&self) -> Result<Config> {
        Config::load(&self.flags, self.file.as_deref(), &|name| std::env::var(name).ok())
    }
}

/// Follows the configuration of a server until it ends.
pub(super) async fn follow(source: Source, config: Config, connection: Arc<Connection>, app: Arc<App>, shutdown: CancellationToken) {
    let mut in_force = config;
    let mut hangup = Hangup::new();
    let mut seen = look(in_force.file.as_deref()).await;
    let mut changing = seen;
    loop {
        let is_told = tokio::select! {
            () = shutdown.cancelled() => return,
            () = hangup.told() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let now = look(in_force.file.as_deref()).await;
        // A file that is being written is left alone until it has been the same at two looks.
        let is_settled = now == std::mem::replace(&mut changing, now);
        if !is_told && (now == seen || !is_settled) {
            continue;
        }
        seen = now;
        match source.read().and_then(|config| replace(&source, &in_force, config, &connection, &app)) {
            Ok(config) => in_force = config,
            Err(error) => {
                tracing::error!(code = error.code(), "the configuration was read again and changes nothing: {error}");
            }
        }
    }
}

/// Puts a configuration in force, or leaves everything as it is.
fn replace(source: &Source, before: &Config, mut config: Config, connection: &Connection, app: &App) -> Result<Config> {
    let changed = config.changed_since(before);
    let is_default = !config.sources.contains_key("permissions.filter");
    if is_default && changed.iter().any(|setting| ["url", "upstream.mode"].contains(setting)) {
        // The default follows from the platform, which stays the one of before.
        config.filter = before.filter;
    }
    let filter = telemetry::Filter::read(config.log.as_deref().unwrap_or(source.log))?;
    connection.replace_rules(&config, app)?;
    filter.apply();
    // Another way to find services waits for another start, and its hosts with it.
    let finds_otherwise = changed.contains(&"discovery.mode");
    let is_taken = |setting: &&str| RELOADED.contains(setting) && !(finds_otherwise && *setting == "discovery.allowed_hosts");
    let (taken, waiting): (Vec<&str>, Vec<&str>) = changed.into_iter().partition(is_taken);
    tracing::info!(changed = taken.join(", "), "the configuration was read again");
    if !waiting.is_empty() {
        tracing::warn!(settings = waiting.join(", "), "these settings have changed too and take effect at the next start");
    }
    if taken.contains(&"permissions.names") && !config.auth.authorization_servers.is_empty() {
        tracing::warn!("hosts are told the scopes of before, as to permissions.names, until the next start");
    }
    Ok(config)
}

/// What tells that a file is another one: when it was written, and its length.
async fn look(file: Option<&Path>) -> Option<(SystemTime, u64)> {
    let found = tokio::fs::metadata(file?).await.ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// SIGHUP, where there is such a signal.
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    fn new() -> Self {
        Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    async fn told(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ENVIRONMENT, FILE_ONLY};

    #[test]
    fn what_is_reloaded_is_a_setting() {
        let known: Vec<&str> = ENVIRONMENT.iter().map(|(setting, _)| *setting).chain(FILE_ONLY.iter().copied()).collect();
        assert!(RELOADED.iter().all(|setting| known.contains(setting)));
    }
}
