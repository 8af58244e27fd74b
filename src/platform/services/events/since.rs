//! What is new since a cursor, which is a place in the log and bound to its tenant and its topics.

use rusqlite::{Connection, params};

use super::topics;
use crate::api::Event;
use crate::api::events::{News, Since};
use crate::error::Result;
use crate::platform::events::{COLUMNS, event_of};
use crate::platform::http::context::Cx;

pub(super) async fn since(cx: Cx, request: Since) -> Result<News> {
    topics::check_pattern(&request.topic)?;
    let after = cx.cursor_number(&request.page)?;
    let (tenant, size, topic) = (cx.tenant(), request.page.size(), request.topic);
    let (items, place, more) = cx.read(move |connection| read(connection, tenant.as_str(), &topic, after, size)).await?;
    Ok(News { items, cursor: cx.seal(&place.to_string()), more })
}

/// The events after a place, the place to go on at, and whether there are more already.
fn read(connection: &Connection, tenant: &str, topic: &str, after: Option<i64>, size: usize) -> Result<(Vec<Event>, i64, bool)> {
    let head: i64 = connection.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get(0))?;
    let Some(after) = after else { return Ok((Vec::new(), head, false)) };
    // Topics hold no character that GLOB knows but the star of a pattern.
    let matches = if topic.ends_with('*') { "GLOB" } else { "=" };
    let sql = format!("SELECT {COLUMNS} FROM events WHERE tenant_id = ? AND position > ? AND topic {matches} ? ORDER BY position LIMIT ?");
    let mut events = connection.prepare_cached(&sql)?;
    let mut rows = events.query(params![tenant, after, topic, size + 1])?;
    let (mut found, mut place) = (Vec::new(), head.max(after));
    while let Some(row) = rows.next()? {
        if found.len() == size {
            return Ok((found, place, true));
        }
        let (position, event) = event_of(row)?;
        found.push(event);
        place = position;
    }
    Ok((found, head.max(after), false))
}
