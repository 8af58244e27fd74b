//! Refusals that come in floods: the first is an entry at once, those like it within ten seconds are counted into one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::NOT_SEEN;
use super::entry::AuditEntry;
use crate::api::{Timestamp, ids};

/// How long refusals that are alike are counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// How many kinds of refusals are told apart at once.
const KINDS: usize = 1024;

/// What makes refusals alike: who, what and why.
type Likeness = (Option<String>, String, String, String);

/// See the module.
#[derive(Default)]
pub(super) struct Coalescer(Mutex<HashMap<Likeness, Flood>>);

struct Flood {
    since: Instant,
    more: u64,
    entry: AuditEntry,
}

impl Coalescer {
    /// The entry, if it is the first of its kind; any other is counted.
    pub(super) fn first(&self, entry: AuditEntry, now: Instant) -> Option<AuditEntry> {
        let likeness = (entry.tenant.clone(), entry.subject.clone(), entry.outcome.clone(), resource_of(&entry));
        let mut floods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flood) = floods.get_mut(&likeness) {
            flood.more += 1;
            return None;
        }
        if floods.len() < KINDS {
            floods.insert(likeness, Flood { since: now, more: 0, entry: entry.clone() });
        }
        Some(entry)
    }

    /// The entries of those floods that began before a moment.
    pub(super) fn begun_before(&self, moment: Instant) -> Vec<AuditEntry> {
        let mut floods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = floods.extract_if(|_, flood| flood.since <= moment);
        over.filter(|(_, flood)| flood.more > 0)
            .map(|(_, flood)| {
                let at = Timestamp::now();
                AuditEntry { id: ids::mint("call", at), at, count: Some(flood.more), ..flood.entry }
            })
            .collect()
    }

    /// When the oldest flood began.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(|flood| flood.since).min()
    }
}

/// The name of what does not exist is whatever the caller makes up.
fn resource_of(entry: &AuditEntry) -> String {
    if matches!(entry.outcome.as_str(), "FM-MCP-TOOL" | NOT_SEEN) { String::new() } else { entry.resource.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audit::entry::{Action, Transport};

    #[test]
    fn a_flood_is_one_row_at_once_and_one_that_counts_the_rest() {
        let coalescer = Coalescer::default();
        let now = Instant::now();
        let entry = |code: &str| {
            let mut entry = AuditEntry::new(Action::Refused, None, Transport::Http, "endpoint", "/mcp");
            code.clone_into(&mut entry.outcome);
            entry
        };
        let first = coalescer.first(entry("a"), now).unwrap();
        for _ in 0..99 {
            assert!(coalescer.first(entry("a"), now).is_none());
        }
        assert!(coalescer.first(entry("b"), now).is_some(), "another reason is another flood");
        assert!(coalescer.begun_before(now.checked_sub(WINDOW).unwrap()).is_empty());
        assert_eq!(coalescer.oldest(), Some(now));
        let rest = coalescer.begun_before(now);
        assert_eq!((rest.len(), rest[0].count), (1, Some(99)));
        assert_ne!(rest[0].id, first.id);
        assert_eq!(coalescer.oldest(), None);
        assert!(coalescer.first(entry("a"), now).is_some());
    }
}
