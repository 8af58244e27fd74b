//! Parcels: entries that are sent together, as far as the platform takes batches and nothing failed on one of them before.

use std::time::Duration;

use super::entry::AuditEntry;
use super::sender::{self, Outcome};
use crate::api::audit::MAX_BATCH;
use crate::client::Client;
use crate::state::Letter;

/// Most bytes of a parcel of several entries.
const MAX_BYTES: usize = 256 * 1024;

/// See the module.
pub(super) struct Parcel {
    entries: Vec<AuditEntry>,
    bytes: usize,
    /// Whether the platform failed on its one entry before.
    pub(super) has_failed: bool,
    is_batch: bool,
}

/// Puts letters into parcels, in their order. Returns the ids of those that are not entries as well, and why.
pub(super) fn of(letters: &[Letter], takes_batches: bool) -> (Vec<Parcel>, Vec<(String, String)>) {
    let (mut parcels, mut unreadable) = (Vec::<Parcel>::new(), Vec::new());
    for letter in letters {
        let Ok(entry) = serde_json::from_str::<AuditEntry>(&letter.body) else {
            unreadable.push((letter.id.clone(), "FM-INTERNAL: it is not an entry of the audit log".to_owned()));
            continue;
        };
        let bytes = letter.body.len();
        let has_room = |parcel: &&mut Parcel| {
            takes_batches
                && !letter.has_failed
                && !parcel.has_failed
                && parcel.entries.len() < MAX_BATCH
                && parcel.bytes + bytes <= MAX_BYTES
        };
        if let Some(parcel) = parcels.last_mut().filter(has_room) {
            parcel.entries.push(entry);
            parcel.bytes += bytes;
        } else {
            parcels.push(Parcel { entries: vec![entry], bytes, has_failed: letter.has_failed, is_batch: takes_batches });
        }
    }
    (parcels, unreadable)
}

impl Parcel {
    pub(super) fn is_many(&self) -> bool {
        self.entries.len() > 1
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = String> {
        self.entries.iter().map(|entry| entry.id.clone())
    }

    /// Its entries, each in a parcel of its own.
    pub(super) fn apart(self) -> impl DoubleEndedIterator<Item = Self> {
        let Self { has_failed, is_batch, bytes, .. } = self;
        self.entries.into_iter().map(move |entry| Self { entries: vec![entry], bytes, has_failed, is_batch })
    }

    /// Sends it for a tenant, within a time.
    pub(super) async fn send(&self, client: &Client, tenant: &str, within: Duration) -> Outcome {
        match self.entries.as_slice() {
            // A platform that drops entries by their ids is told of one in the same way, so that none is there twice.
            [entry] if !self.is_batch => sender::send(client, tenant, entry, within).await,
            entries => sender::send_batch(client, tenant, entries, within).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audit::entry::{Action, Transport};

    fn letter(size: usize, has_failed: bool) -> Letter {
        let mut entry = AuditEntry::new(Action::Called, None, Transport::Http, "tool", "tasks_list");
        entry.answer_body = Some("x".repeat(size));
        Letter { id: entry.id.clone(), body: serde_json::to_string(&entry).unwrap(), has_failed }
    }

    #[test]
    fn entries_go_together_up_to_a_bound_and_those_that_failed_alone() {
        let sizes = |letters: &[Letter], takes_batches| {
            let (parcels, unreadable) = of(letters, takes_batches);
            assert!(unreadable.is_empty());
            assert!(parcels.iter().flat_map(Parcel::ids).eq(letters.iter().map(|letter| letter.id.clone())), "in their order");
            parcels.iter().map(|parcel| parcel.entries.len()).collect::<Vec<_>>()
        };
        let small: Vec<Letter> = (0..MAX_BATCH + 2).map(|_| letter(1, false)).collect();
        assert_eq!(sizes(&small, true), [MAX_BATCH, 2]);
        assert_eq!(sizes(&small[..3], false), [1, 1, 1]);
        let large: Vec<Letter> = (0..3).map(|_| letter(MAX_BYTES / 2 - 1000, false)).collect();
        assert_eq!(sizes(&large, true), [2, 1]);
        let failed = [letter(1, false), letter(1, false), letter(1, true), letter(1, true), letter(1, false)];
        assert_eq!(sizes(&failed, true), [2, 1, 1, 1]);
    }

    #[test]
    fn a_parcel_comes_apart_in_order_and_what_is_no_entry_is_named() {
        let broken = Letter { id: "x".to_owned(), body: "{}".to_owned(), has_failed: false };
        let letters = [letter(1, false), broken, letter(1, false)];
        let (mut parcels, unreadable) = of(&letters, true);
        assert_eq!((parcels.len(), unreadable[0].0.as_str()), (1, "x"));
        let apart: Vec<String> = parcels.remove(0).apart().flat_map(|one| one.ids().collect::<Vec<_>>()).collect();
        assert_eq!(apart, [letters[0].id.clone(), letters[2].id.clone()]);
    }
}
