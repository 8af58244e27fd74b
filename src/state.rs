//! What the server keeps between calls: records of callers, webhooks of hosts, and the outbox of the audit log.
//!
//! [`Store`] is the whole of it, in verbs of one atomic step each, so that another backend can stand behind it. Today's is
//! SQLite in the data folder, shared by all processes on that folder.

mod outbox;
mod records;
mod sqlite;
mod webhooks;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::api::Timestamp;
use crate::error::{Error, Result};

pub use outbox::Backlog;
pub(crate) use outbox::{Claim, DeadLetter, Lease, Letter, NewLetter, Room, Settlement};
pub(crate) use records::{Bounds, Change, Put, Record, RecordKind};
pub(crate) use sqlite::is_there;
pub(crate) use webhooks::{DeadWebhookLetters, Delivery, Kept, Outcome, Webhook, WebhookBounds, WebhookClaim, WebhookLetter, WebhookStore};

/// The verbs of the store. Each is one atomic step, also between processes.
pub(crate) trait Store: Send + Sync {
    /// Keeps a record, if its id is new and there is room. The oldest record of its owner gives way to it.
    fn put(&self, kind: RecordKind, record: &Record, bounds: Bounds, now: Timestamp) -> Result<Put>;
    /// Removes and returns a live record with that tag. Of all who ask, one gets it.
    fn take(&self, kind: RecordKind, owner: &str, id: &str, tag: &str, now: Timestamp) -> Result<Option<Record>>;
    /// Replaces the value and the end of a live record by what is made of its value; false where there is no record, or nothing
    /// is made of it.
    fn amend(&self, kind: RecordKind, owner: &str, id: &str, now: Timestamp, change: &mut Change<'_>) -> Result<bool>;
    /// Returns a live record of an owner.
    fn get(&self, kind: RecordKind, owner: &str, id: &str, now: Timestamp) -> Result<Option<Record>>;
    /// Returns the live records of an owner, oldest first.
    fn list(&self, kind: RecordKind, owner: &str, now: Timestamp) -> Result<Vec<Record>>;

    /// Appends letters to the outbox, each id once. Where a tenant has no room its largest caller loses, else that of the largest
    /// tenant.
    fn append(&self, letters: &[NewLetter], room: Room) -> Result<()>;
    /// Leases the tenant that has waited longest and returns its next letters, at most so many.
    fn claim(&self, most: usize, lease: Duration, now: Timestamp) -> Result<Option<Claim>>;
    /// Ends a claim with what came of its letters.
    fn settle(&self, claim: &Claim, settlement: &Settlement, now: Timestamp) -> Result<()>;
    /// Returns when a tenant can be claimed next, if any letter waits.
    fn next_due(&self) -> Result<Option<Timestamp>>;
    /// Keeps a claim for so long from now on.
    fn renew(&self, lease: &Lease, time: Duration, now: Timestamp) -> Result<()>;
    /// Whether letters wait that another claimant has leased.
    fn is_leased(&self, now: Timestamp) -> Result<bool>;
    /// Makes every tenant due that no claim holds.
    fn hasten(&self) -> Result<()>;
    /// Adds to the counts of lost letters, by tenant.
    fn count_lost(&self, lost: &BTreeMap<String, u64>) -> Result<()>;
    /// Returns the counts of lost letters that no letter tells of yet, by tenant.
    fn lost(&self) -> Result<Vec<(String, u64)>>;
    /// Takes counts of lost letters off, each with the letter that tells of it, which is appended if it is to be sent. Returns
    /// the places of those whose counts were still there.
    fn tell_lost(&self, losses: &[NewLetter], send: bool, room: Room) -> Result<Vec<usize>>;
    /// Adds dead letters, each id once.
    fn bury(&self, letters: &[(NewLetter, String)]) -> Result<()>;
    /// Returns dead letters behind a position, oldest first.
    fn dead(&self, after: i64, most: usize) -> Result<Vec<DeadLetter>>;
    /// Sends dead letters again, all of them without an id; returns how many.
    fn resend(&self, id: Option<&str>) -> Result<usize>;
    /// Counts the letters.
    fn backlog(&self) -> Result<Backlog>;
}

/// A handle to the store; clones share it. Nothing is opened before the first verb.
#[derive(Clone)]
pub(crate) struct State {
    store: Arc<dyn Store>,
    webhooks: Arc<dyn WebhookStore>,
    /// Whose turn it is to write. Where another process writes long, one thread of this process waits for it.
    turn: Arc<Mutex<()>>,
}

impl State {
    /// Returns the state of a data folder; without one it lives and ends with the process.
    pub(crate) fn new(data_dir: Option<&Path>) -> Self {
        let sqlite = Arc::new(sqlite::Sqlite::new(data_dir));
        Self { store: Arc::<sqlite::Sqlite>::clone(&sqlite), webhooks: sqlite, turn: Arc::default() }
    }

    /// Returns the store itself, for a caller that may block.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the webhooks in it, for a caller that may block.
    pub(crate) fn webhooks(&self) -> &dyn WebhookStore {
        &*self.webhooks
    }

    /// Runs work on webhooks, where it may block and when it is its turn.
    pub(crate) async fn with_webhooks<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn WebhookStore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let webhooks = Arc::clone(&self.webhooks);
        self.write(move |_| work(&*webhooks)).await
    }

    /// Runs work that writes, where it may block and when it is its turn.
    pub(crate) async fn write<T: Send + 'static>(&self, work: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static) -> Result<T> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.read(move |store| {
            let _turn = turn;
            work(store)
        })
        .await
    }

    /// Runs work that only reads, where it may block.
    pub(crate) async fn read<T: Send + 'static>(&self, work: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static) -> Result<T> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || work(&*store)).await.map_err(Error::internal)?
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}
