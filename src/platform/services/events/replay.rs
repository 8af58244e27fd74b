//! Replay: past events of the tenant's topics, in the order in which they were published.

use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use super::topics;
use crate::api::arguments::quote;
use crate::api::events::Replay;
use crate::api::{Event, Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::events::{COLUMNS, event_of};
use crate::platform::http::context::Cx;
use crate::platform::vocabulary::{ACTIONS, Names};

pub(super) async fn replay(cx: Cx, request: Replay) -> Result<Page<Event>> {
    topics::check_pattern(&request.topic)?;
    let bounds = [bound("/from", ">=", request.from.as_deref())?, bound("/to", "<=", request.to.as_deref())?];
    let after = cx.cursor_number(&request.page)?.unwrap_or_default();
    let (tenant, limit) = (cx.tenant(), request.page.size() + 1);
    let topic = request.topic;
    let found = cx.read(move |connection| read(connection, tenant.as_str(), &topic, bounds, after, limit)).await?;
    let page = cx.page_of(found, &request.page, |(position, _)| position.to_string());
    Ok(Page { items: page.items.into_iter().map(|(_, event)| event).collect(), next_cursor: page.next_cursor })
}

fn read(
    connection: &Connection,
    tenant: &str,
    topic: &str,
    bounds: [Option<(String, i64)>; 2],
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Event)>> {
    check_topic(connection, tenant, topic)?;
    // A topic by its name is found by index; a pattern is matched as topics hold no character that GLOB knows.
    let matches = if topic.ends_with('*') { "GLOB" } else { "=" };
    let mut sql = format!("SELECT {COLUMNS} FROM events WHERE tenant_id = ? AND position > ? AND topic {matches} ?");
    let mut values = vec![Sql::Text(tenant.to_owned()), Sql::Integer(after), Sql::Text(topic.to_owned())];
    for (condition, value) in bounds.into_iter().flatten() {
        sql.push_str(&condition);
        values.push(Sql::Integer(value));
    }
    sql.push_str(" ORDER BY position LIMIT ?");
    values.push(Sql::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    let mut events = connection.prepare_cached(&sql)?;
    let mut rows = events.query(rusqlite::params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(event_of(row)?);
    }
    Ok(found)
}

/// Refuses a topic, or a pattern of topics, that no event can have.
fn check_topic(connection: &Connection, tenant: &str, topic: &str) -> Result<()> {
    let names = Names { table: "events", column: "topic", own: ACTIONS };
    let known = match topic.strip_suffix('*') {
        None => names.unknown(connection, tenant, topic)?.is_none(),
        Some(prefix) => {
            ACTIONS.iter().any(|own| own.starts_with(prefix)) || names.of(connection, tenant)?.iter().any(|name| name.starts_with(prefix))
        }
    };
    if known {
        return Ok(());
    }
    let detail = names.unknown(connection, tenant, topic)?.unwrap_or_default();
    Err(Error::new(Kind::Invalid, "FM-EBS-TOPIC-UNKNOWN", format!("there is no event on {}", quote(topic)))
        .hint("A topic exists from its first event on.")
        .field("/topic", "unknown", detail))
}

/// A bound as SQL: whole numbers are offsets in each topic, the rest must be times.
fn bound(pointer: &str, compare: &str, text: Option<&str>) -> Result<Option<(String, i64)>> {
    let Some(text) = text.map(str::trim) else { return Ok(None) };
    if let Ok(offset) = text.parse::<u32>() {
        return Ok(Some((format!(" AND sequence {compare} ?"), i64::from(offset))));
    }
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(Some((format!(" AND time {compare} ?"), time.millis()))),
        Err(_) => Err(Error::new(Kind::Invalid, "FM-EBS-REPLAY", "the events to replay cannot be told")
            .hint("Give a time such as 2025-02-07T10:00:00Z, or an offset in the topic such as 1.")
            .field(pointer, "bound", format!("is {}, neither a time nor an offset", quote(text)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_an_offset_or_a_time() {
        assert_eq!(bound("/from", ">=", Some("7")).unwrap(), Some((" AND sequence >= ?".to_owned(), 7)));
        assert_eq!(bound("/to", "<=", Some("1970-01-01T00:00:01Z")).unwrap(), Some((" AND time <= ?".to_owned(), 1_000)));
        assert_eq!(bound("/to", "<=", None).unwrap(), None);
        for neither in ["", "soon", "-1", "1.5", "2025-02-07"] {
            assert_eq!(bound("/from", ">=", Some(neither)).unwrap_err().code(), "FM-EBS-REPLAY", "{neither}");
        }
    }
}
