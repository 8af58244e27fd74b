//! Dead letters of webhooks, as the operator sees them: how many events a receiver did not take, and why.
//!
//! A receiver's address may hold a secret in its path, so only its origin is shown, and nothing of the events.

use std::path::Path;

use reqwest::Url;
use serde::Serialize;

use crate::api::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::state::{self, DeadWebhookLetters, State};

/// Dead letters of one subscription that were given up for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadDeliveries {
    /// The subscription's id, which its host knows.
    pub subscription: String,
    /// The tenant.
    pub tenant: String,
    /// The origin of the receiver's address.
    pub receiver: String,
    /// The category of the failure, such as `http_5xx`.
    pub reason: String,
    /// How many events.
    pub count: u64,
}

impl From<DeadWebhookLetters> for DeadDeliveries {
    fn from(letters: DeadWebhookLetters) -> Self {
        let DeadWebhookLetters { subscription, tenant, url, reason, count } = letters;
        let receiver = Url::parse(&url).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization());
        Self { subscription, tenant, receiver, reason, count }
    }
}

/// Counts the dead letters of a data folder, without creating anything in it.
///
/// # Errors
/// The folder cannot be read.
pub fn dead_deliveries(data_dir: &Path) -> Result<Vec<DeadDeliveries>> {
    if !state::is_there(data_dir) {
        return Ok(Vec::new());
    }
    let letters = State::new(Some(data_dir)).webhooks().dead_letters(Timestamp::now())?;
    Ok(letters.into_iter().map(DeadDeliveries::from).collect())
}

/// Has dead letters of a subscription, or of all, sent again by the server on the folder; returns how many.
///
/// # Errors
/// The subscription has none, or the folder cannot be written.
pub fn resend_deliveries(data_dir: &Path, subscription: Option<&str>) -> Result<usize> {
    change(data_dir, subscription, |state| state.webhooks().revive(subscription, Timestamp::now()))
}

/// Removes dead letters of a subscription, or of all; returns how many.
///
/// # Errors
/// The subscription has none, or the folder cannot be written.
pub fn drop_deliveries(data_dir: &Path, subscription: Option<&str>) -> Result<usize> {
    change(data_dir, subscription, |state| state.webhooks().drop_dead(subscription))
}

fn change(data_dir: &Path, subscription: Option<&str>, change: impl FnOnce(&State) -> Result<usize>) -> Result<usize> {
    let changed = if state::is_there(data_dir) { change(&State::new(Some(data_dir)))? } else { 0 };
    match subscription {
        Some(id) if changed == 0 => {
            let shown: String = id.chars().filter(|c| !c.is_control()).take(80).collect();
            Err(Error::new(Kind::NotFound, "FM-MCP-WEBHOOK-DEAD-LETTER", format!("no subscription {shown} has dead letters"))
                .hint("`flowmaster-mcp webhooks` lists those that have."))
        }
        _ => Ok(changed),
    }
}
