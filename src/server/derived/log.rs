//! Which things event replay and the audit log name, newest first.

use std::collections::HashMap;

use super::Asking;
use crate::api::audit::{self, AuditEntry};
use crate::api::events::Replay;
use crate::api::{Event, PageRequest, Timestamp};
use crate::error::{Error, Result};

/// How far back is looked, in days: a time after the other, until enough is found.
const DAYS: [i64; 4] = [1, 7, 30, 365];
/// A day in milliseconds.
const DAY: i64 = 86_400_000;
/// Pages that are read of events, and of the audit log.
const MAX_PAGES: usize = 10;
/// Entries of a page.
const PAGE: u32 = 200;

/// What is looked for.
pub(super) struct Wanted<'w> {
    /// The topic, which is the action in the audit log, too.
    pub(super) topic: &'w str,
    /// The field of an event that has the id.
    pub(super) field: &'w str,
    /// No earlier than this.
    pub(super) after: Option<Timestamp>,
    /// No later than this.
    pub(super) before: Option<Timestamp>,
    /// How many are enough.
    pub(super) enough: usize,
}

/// The things that were named.
pub(super) struct Named {
    /// Their ids, newest first.
    pub(super) ids: Vec<String>,
    /// The earliest time that was looked at.
    pub(super) since: Timestamp,
    /// Whether there may be more, since the pages were used up or the look ended.
    pub(super) is_partial: bool,
}

/// The two logs, and how much of them may still be read.
pub(super) struct Log<'a> {
    asking: Asking<'a>,
    pages: [usize; 2],
    /// Why a log could not be read.
    failures: [Option<Error>; 2],
}

impl<'a> Log<'a> {
    pub(super) fn new(asking: Asking<'a>) -> Self {
        Self { asking, pages: [MAX_PAGES; 2], failures: [None, None] }
    }

    /// Looks back until enough is found or there is nothing more to look at.
    ///
    /// # Errors
    /// Neither log can be read: what replay said.
    pub(super) async fn look(mut self, wanted: &Wanted<'_>) -> Result<Named> {
        let now = Timestamp::now();
        let end = wanted.before.unwrap_or(now);
        let mut seen: HashMap<String, Timestamp> = HashMap::new();
        // Without an end, what clocks that go ahead have written is found, too.
        let (mut until, mut is_whole) = (wanted.before, true);
        for days in DAYS {
            let back = Timestamp::from_millis(end.millis().saturating_sub(days.saturating_mul(DAY)));
            let from = wanted.after.map_or(back, |after| after.max(back));
            if until.is_some_and(|until| from >= until) {
                break;
            }
            is_whole &= self.within(wanted, from, until, &mut seen).await;
            if let [Some(_), Some(_)] = &self.failures {
                let [replay, _] = self.failures;
                return Err(replay.unwrap_or_else(|| Error::internal("a failure was lost")));
            }
            until = Some(from);
            if seen.len() >= wanted.enough {
                break;
            }
        }
        let mut ids: Vec<(Timestamp, String)> = seen.into_iter().map(|(id, at)| (at, id)).collect();
        ids.sort_unstable_by(|one, other| other.cmp(one));
        let since = until.unwrap_or(end);
        let is_partial = !is_whole || wanted.after.is_none_or(|after| since > after);
        Ok(Named { ids: ids.into_iter().map(|(_, id)| id).collect(), since, is_partial })
    }

    /// Notes what both logs name in a time; false where there may be more.
    async fn within(
        &mut self,
        wanted: &Wanted<'_>,
        from: Timestamp,
        until: Option<Timestamp>,
        seen: &mut HashMap<String, Timestamp>,
    ) -> bool {
        let mut note = |id: Option<String>, at: Option<Timestamp>| {
            if let Some(id) = id {
                let at = at.unwrap_or(from);
                seen.entry(id).and_modify(|known| *known = at.max(*known)).or_insert(at);
            }
        };
        let events = self.events(wanted, from, until).await;
        for event in events.found {
            let id = event.data.get(wanted.field).and_then(serde_json::Value::as_str).map(str::to_owned).or(event.subject);
            note(id, event.time);
        }
        let rows = self.rows(wanted, from, until).await;
        for row in rows.found {
            note(Some(row.resource_id), Some(row.timestamp));
        }
        events.is_whole && rows.is_whole
    }

    async fn events(&mut self, wanted: &Wanted<'_>, from: Timestamp, until: Option<Timestamp>) -> Pages<Event> {
        let asking = self.asking.clone();
        let [pages, _] = &mut self.pages;
        let [failure, _] = &mut self.failures;
        let read = |page| {
            let replay =
                Replay { topic: wanted.topic.to_owned(), from: Some(from.to_string()), to: until.map(|until| until.to_string()), page };
            let asking = &asking;
            async move { asking.read(&replay).await.map(|page| (page.items, page.next_cursor)) }
        };
        all(pages, failure, read).await
    }

    async fn rows(&mut self, wanted: &Wanted<'_>, from: Timestamp, until: Option<Timestamp>) -> Pages<AuditEntry> {
        let asking = self.asking.clone();
        let [_, pages] = &mut self.pages;
        let [_, failure] = &mut self.failures;
        let read = |page| {
            let (action, created_after, created_before) = (Some(wanted.topic.to_owned()), Some(from), until);
            let query = audit::Query { action, created_after, created_before, page, ..audit::Query::default() };
            let asking = &asking;
            async move { asking.read(&query).await.map(|page| (page.items, page.next_cursor)) }
        };
        all(pages, failure, read).await
    }
}

/// What was read of a log.
struct Pages<T> {
    found: Vec<T>,
    is_whole: bool,
}

/// Reads pages up to a bound. A log that fails is left alone from then on: the other one may do.
async fn all<T, F>(left: &mut usize, failure: &mut Option<Error>, read: impl Fn(PageRequest) -> F) -> Pages<T>
where
    F: Future<Output = Result<(Vec<T>, Option<String>)>>,
{
    let mut pages = Pages { found: Vec::new(), is_whole: true };
    let mut cursor = None;
    while failure.is_none() {
        if *left == 0 {
            pages.is_whole = false;
            return pages;
        }
        *left -= 1;
        match read(PageRequest { limit: Some(PAGE), cursor: cursor.take() }).await {
            Ok((items, next)) => {
                pages.found.extend(items);
                if next.is_none() {
                    return pages;
                }
                cursor = next;
            }
            Err(error) => *failure = Some(error),
        }
    }
    pages.is_whole = false;
    pages
}
