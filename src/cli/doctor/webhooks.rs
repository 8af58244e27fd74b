//! Whether the receivers of webhooks take what is sent to them.

use std::collections::BTreeMap;

use super::Finding;
use crate::config::Config;
use crate::server::dead_deliveries;

const HINT: &str = "`flowmaster-mcp webhooks` shows whose they are; --resend sends them again, --drop drops them.";

/// How many events were given up and why; nothing where there are neither receivers nor dead letters.
pub(super) fn of_folder(config: &Config) -> Option<Finding> {
    let hosts = config.events.webhooks.allowed_hosts.len();
    let dead = match dead_deliveries(&config.data_dir) {
        Ok(dead) => dead,
        Err(error) => return Some(Finding::bad("webhooks", &error)),
    };
    if dead.is_empty() {
        return (hosts > 0).then(|| Finding::good("webhooks", format!("no event was given up; hosts that events may be sent to: {hosts}")));
    }
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for letters in &dead {
        *reasons.entry(&letters.reason).or_default() += letters.count;
    }
    let all: u64 = reasons.values().sum();
    let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    Some(Finding::care("webhooks", format!("{all} events were not taken by their receivers: {}", reasons.join(", ")), HINT))
}
