//! Waiting for the next events of a topic.

use super::Waiting;
use crate::api::PageRequest;
use crate::api::cloud_event::topic_matches;
use crate::api::events::{News, Since, Wait, Waited};
use crate::error::{Kind, Result};

/// Most events of an answer.
const PAGE: u32 = 50;

pub(super) async fn wait(mut waiting: Waiting<'_>, wait: Wait) -> Result<Waited> {
    let since = |cursor| Since { topic: wait.topic.clone(), page: PageRequest { limit: Some(PAGE), cursor } };
    let mut news = waiting.read(&since(wait.cursor.clone())).await?;
    loop {
        let News { items, cursor, more } = news;
        if !items.is_empty() {
            return Ok(Waited { reached: true, items, cursor, more });
        }
        if !waiting.goes_on(|event| topic_matches(&wait.topic, &event.topic)).await {
            return Ok(Waited { reached: false, items, cursor, more });
        }
        news = match waiting.read(&since(Some(cursor.clone()))).await {
            Ok(now) => now,
            // A platform that is away for a moment does not end a wait.
            Err(error) if error.is_transient() || error.kind() == Kind::Unavailable => News { items, cursor, more },
            Err(error) => return Err(error),
        };
    }
}
