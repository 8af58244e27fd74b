//! Replay: past events of the tenant's topics, in the order in which they were published.

use std::collections::BTreeSet;

use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use super::topics;
use crate::api::arguments::quote;
use crate::api::events::Replay;
use crate::api::page::PageRequest;
use crate::api::{Event, Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::first_of;
use crate::platform::events::{COLUMNS, event_of, size_in};
use crate::platform::http::context::{Cx, within_bytes};
use crate::platform::vocabulary::{ACTIONS, Names};

/// An event with its position, and the bytes of its data.
type Found = ((i64, Event), usize);

/// Most topics that are read one by one.
const MAX_RANGES: usize = 500;

pub(super) async fn replay(cx: Cx, request: Replay) -> Result<Page<Event>> {
    topics::check_pattern(&request.topic)?;
    let bounds = [bound("/from", ">=", request.from.as_deref())?, bound("/to", "<=", request.to.as_deref())?];
    let after = cx.cursor_number(&request.page)?.unwrap_or_default();
    let (tenant, page, topic) = (cx.tenant(), request.page, request.topic);
    let (found, page) = cx.read(move |connection| read(connection, tenant.as_str(), &topic, &bounds, after, &page)).await?;
    let page = cx.page_of(found, &page, |((position, _), _)| position.to_string());
    Ok(Page { items: page.items.into_iter().map(|((_, event), _)| event).collect(), next_cursor: page.next_cursor })
}

fn read(
    connection: &Connection,
    tenant: &str,
    topic: &str,
    bounds: &[Option<Bound>; 2],
    after: i64,
    page: &PageRequest,
) -> Result<(Vec<Found>, PageRequest)> {
    let limit = page.size() + 1;
    let topics = topics_of(connection, tenant, topic)?;
    let times = [0, 1].map(|place| bounds[place].as_ref().filter(|bound| bound.column == "time").map(|bound| bound.value));
    let has_time = times.iter().any(Option::is_some);
    // All topics are one range by position, unless times lead to a part of each; so are those of a pattern that stands for very many.
    let is_one_range = topics.len() > MAX_RANGES || (topic == "*" && !has_time);
    let (matches, topics) = if is_one_range { ("GLOB", vec![topic.to_owned()]) } else { ("=", topics) };
    let bounds = bounds.iter().flatten();
    let wanted: String = bounds.clone().map(|bound| bound.condition(matches == "=")).collect();
    let mut positions = BTreeSet::new();
    let mut find = |from: &str, ranges: Vec<(String, [i64; 2])>| {
        let sql = format!(
            "SELECT position FROM {from} WHERE tenant_id = ?1 AND topic {matches} ?2 AND position > ?3 AND position <= ?4{wanted}
             ORDER BY position LIMIT {limit}"
        );
        let ranges = ranges.into_iter().map(|(topic, [behind, last])| {
            let range = [Sql::Text(tenant.to_owned()), Sql::Text(topic), Sql::Integer(behind), Sql::Integer(last)];
            range.into_iter().chain(bounds.clone().map(|bound| Sql::Integer(bound.value))).collect()
        });
        first_of(connection, &sql, ranges, &mut positions)
    };
    if has_time && !is_one_range {
        let (mut in_time, mut late) = (Vec::new(), Vec::new());
        for topic in topics {
            let Some([first, last]) = span(connection, tenant, &topic, times)? else { continue };
            in_time.push((topic.clone(), [after.max(first - 1), last]));
            late.push((topic, [after.max(last), i64::MAX]));
        }
        find("events", in_time)?;
        find("(SELECT * FROM events INDEXED BY events_late WHERE time < latest)", late)?;
    } else {
        find("events", topics.into_iter().map(|topic| (topic, [after, i64::MAX])).collect())?;
    }
    let mut event = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE position = ?"))?;
    let read = |position: i64| {
        let (event, bytes) = event.query_row([position], |row| Ok((event_of(row), size_in(row)?)))?;
        Ok((event?, bytes))
    };
    within_bytes(positions.into_iter().take(limit).map(read), page, |(_, bytes)| *bytes)
}

/// The first and the last position between which all events of a topic are whose times lie within bounds, apart from those behind
/// that were published late. None if no event has such a time.
fn span(connection: &Connection, tenant: &str, topic: &str, [from, to]: [Option<i64>; 2]) -> Result<Option<[i64; 2]>> {
    let first = match from {
        Some(from) => first_where(connection, tenant, topic, |latest| latest >= from)?,
        None => Some(1),
    };
    let behind = match to {
        Some(to) => first_where(connection, tenant, topic, |latest| latest > to)?,
        None => None,
    };
    Ok(first.map(|first| [first, behind.map_or(i64::MAX, |position| position - 1)]))
}

/// The position of a topic's first event up to which the latest time meets a condition; it does for all behind it.
fn first_where(connection: &Connection, tenant: &str, topic: &str, meets: impl Fn(i64) -> bool) -> Result<Option<i64>> {
    let mut next = connection.prepare_cached(
        "SELECT sequence, latest, position FROM events WHERE tenant_id = ? AND topic = ? AND sequence >= ? ORDER BY sequence LIMIT 1",
    )?;
    let last = "SELECT max(sequence) FROM events WHERE tenant_id = ? AND topic = ?";
    let last: Option<i64> = connection.prepare_cached(last)?.query_row((tenant, topic), |row| row.get(0))?;
    let (mut low, mut high, mut found) = (1, last.unwrap_or(0), None);
    while low <= high {
        let middle = low + (high - low) / 2;
        let (sequence, latest, position): (i64, i64, i64) =
            next.query_row((tenant, topic, middle), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if meets(latest) {
            (high, found) = (middle - 1, Some(position));
        } else {
            low = sequence + 1;
        }
    }
    Ok(found)
}

/// The topics that a name or a pattern stands for, each a range of an index; refuses what no event can have.
fn topics_of(connection: &Connection, tenant: &str, topic: &str) -> Result<Vec<String>> {
    let names = Names { table: "events", column: "topic", own: ACTIONS };
    let Some(prefix) = topic.strip_suffix('*') else {
        let unknown = names.unknown(connection, tenant, topic)?;
        return unknown.map_or_else(|| Ok(vec![topic.to_owned()]), |detail| Err(no_event(topic, detail)));
    };
    let present: Vec<String> = names.beginning(connection, tenant, prefix, MAX_RANGES + 1)?;
    if present.is_empty() && !ACTIONS.iter().any(|own| own.starts_with(prefix)) {
        return Err(no_event(topic, names.unknown(connection, tenant, topic)?.unwrap_or_default()));
    }
    Ok(present)
}

fn no_event(topic: &str, detail: String) -> Error {
    Error::new(Kind::Invalid, "FM-EBS-TOPIC-UNKNOWN", format!("there is no event on {}", quote(topic)))
        .hint("A topic exists from its first event on.")
        .field("/topic", "unknown", detail)
}

/// Where the replay begins or ends: at an offset in each topic, or at a time.
#[derive(Debug, PartialEq)]
struct Bound {
    compare: &'static str,
    column: &'static str,
    value: i64,
}

impl Bound {
    /// The bound as SQL. Offsets and positions of one topic rise together, and an index leads from one to the other.
    fn condition(&self, is_one_topic: bool) -> String {
        let Self { compare, column, .. } = self;
        if *column != "sequence" || !is_one_topic {
            return format!(" AND {column} {compare} ?");
        }
        let order = if *compare == ">=" { "ASC" } else { "DESC" };
        format!(
            " AND position {compare} \
             (SELECT position FROM events WHERE tenant_id = ?1 AND topic = ?2 AND sequence {compare} ? ORDER BY sequence {order} LIMIT 1)"
        )
    }
}

/// Reads a bound: whole numbers are offsets in each topic, the rest must be times.
fn bound(pointer: &str, compare: &'static str, text: Option<&str>) -> Result<Option<Bound>> {
    let Some(text) = text.map(str::trim) else { return Ok(None) };
    if let Ok(offset) = text.parse::<u32>() {
        return Ok(Some(Bound { compare, column: "sequence", value: i64::from(offset) }));
    }
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(Some(Bound { compare, column: "time", value: time.millis() })),
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
        let read = |compare, column, value| Some(Bound { compare, column, value });
        assert_eq!(bound("/from", ">=", Some("7")).unwrap(), read(">=", "sequence", 7));
        assert_eq!(bound("/to", "<=", Some("1970-01-01T00:00:01Z")).unwrap(), read("<=", "time", 1_000));
        assert_eq!(bound("/to", "<=", None).unwrap(), None);
        for neither in ["", "soon", "-1", "1.5", "2025-02-07"] {
            assert_eq!(bound("/from", ">=", Some(neither)).unwrap_err().code(), "FM-EBS-REPLAY", "{neither}");
        }
    }
}
