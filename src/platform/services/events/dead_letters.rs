//! Dead letters: the events that a subscriber did not take. An extension of the contract, which keeps them and shows none.

use rusqlite::params;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::subscriptions;
use crate::api::ids::SubscriptionId;
use crate::api::{Effect, Event, Operation, Page, PageRequest, Permission, Spec, Timestamp};
use crate::error::Result;
use crate::platform::events::{COLUMNS, event_of, size_in};
use crate::platform::http::context::{Cx, within_bytes};

/// Lists the events that could not be delivered to a subscription, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct ListDeadLetters {
    /// The subscription.
    id: SubscriptionId,
    /// How much to answer.
    #[serde(flatten)]
    page: PageRequest,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetter {
    /// The event.
    event: Event,
    /// How often it was tried.
    attempts: u32,
    /// What was wrong the last time.
    reason: String,
    /// When it was given up.
    failed_at: Timestamp,
}

impl Operation for ListDeadLetters {
    type Output = Page<DeadLetter>;
    const SPEC: Spec = Spec::get("subscriptions_dead_letters", "/subscriptions/{id}/dead-letters", Effect::Read)
        .titled("List dead letters")
        .requires(Permission::SUBSCRIPTION_VIEW);
}

pub(super) async fn list(cx: Cx, request: ListDeadLetters) -> Result<Page<DeadLetter>> {
    let after = cx.cursor_number(&request.page)?.unwrap_or_default();
    let (tenant, limit) = (cx.tenant(), i64::try_from(request.page.size()).unwrap_or_default() + 1);
    let asked = request.page.clone();
    let (found, page) = cx
        .read(move |connection| {
            subscriptions::find(connection, tenant.as_str(), request.id.as_str())?;
            let sql = format!(
                "SELECT {COLUMNS}, attempts, reason, failed_at FROM dead_letters JOIN events USING (position, tenant_id)
                 WHERE subscription_id = ? AND position > ? ORDER BY position LIMIT ?"
            );
            let mut letters = connection.prepare_cached(&sql)?;
            let rows = letters.query_and_then(params![request.id.as_str(), after, limit], |row| {
                let (position, event) = event_of(row)?;
                let (attempts, reason) = (row.get("attempts")?, row.get("reason")?);
                let failed_at = Timestamp::from_millis(row.get("failed_at")?);
                Ok((position, DeadLetter { event, attempts, reason, failed_at }, size_in(row)?))
            })?;
            within_bytes(rows, &asked, |(_, _, bytes)| *bytes)
        })
        .await?;
    let page = cx.page_of(found, &page, |(position, ..)| position.to_string());
    Ok(Page { items: page.items.into_iter().map(|(_, letter, _)| letter).collect(), next_cursor: page.next_cursor })
}
