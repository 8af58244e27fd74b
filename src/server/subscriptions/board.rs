//! Who waits for which resources: one board for each caller's stream of events, and on it an index by address.
//!
//! A subscription is marked rather than sent to. So a host that does not read costs a few bytes and slows nobody, and what
//! happened to a resource ten times meanwhile is told once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::concerns::{Address, Mark, concerned};
use crate::api::Event;
use crate::auth::Caller;
use crate::client::events::{Follower, Hub, Notice, StreamKey};
use crate::error::{Error, Kind, Result};

/// Most subscriptions of one caller, over all its sessions and streams.
const MAX_OF_CALLER: usize = 512;

/// The boards by the stream that tells them.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Boards(Arc<Mutex<HashMap<StreamKey, Board>>>);

/// The subscriptions that one stream tells.
#[derive(Debug, Default)]
struct Board {
    places: HashMap<Address, Vec<(usize, Arc<Inbox>)>>,
    taken: usize,
    /// Ends the task that reads the stream.
    stop: CancellationToken,
}

/// What a subscriber has not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    marks: Mutex<Marks>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Marks {
    by_place: BTreeMap<usize, Mark>,
    is_over: bool,
}

/// Places on a board, which are given up when it is dropped.
pub(super) struct Places {
    boards: Boards,
    key: StreamKey,
    addresses: Vec<Address>,
    inbox: Arc<Inbox>,
}

impl Boards {
    /// Takes a place for each address on the board of a caller.
    ///
    /// # Errors
    /// The caller has as many subscriptions as it may.
    pub(super) fn take(&self, hub: &Hub, caller: &Arc<Caller>, addresses: Vec<Address>, inbox: &Arc<Inbox>) -> Result<Places> {
        let key = StreamKey::of(caller);
        let mut boards = self.lock();
        let board = boards.entry(key).or_insert_with(|| {
            let stop = CancellationToken::new();
            tokio::spawn(self.clone().tell(key, hub.follow(caller), stop.clone()));
            Board { stop, ..Board::default() }
        });
        if board.taken + addresses.len() > MAX_OF_CALLER {
            return Err(Error::new(
                Kind::RateLimited,
                "FM-MCP-SUBSCRIPTIONS-CALLER",
                format!("this caller has {} of {MAX_OF_CALLER} subscriptions already", board.taken),
            )
            .hint("End some of them, or subscribe to a list such as flowmaster://tasks/inbox."));
        }
        board.join(&addresses, inbox);
        Ok(Places { boards: self.clone(), key, addresses, inbox: Arc::clone(inbox) })
    }

    /// Marks what a stream tells of, until it ends or nobody is left on the board.
    async fn tell(self, key: StreamKey, mut follower: Follower, stop: CancellationToken) {
        loop {
            let notice = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                notice = follower.next() => notice,
            };
            let mut boards = self.lock();
            // A board that nobody was left on was removed, and another may have its place by now.
            if stop.is_cancelled() {
                return;
            }
            let Some(board) = boards.get(&key) else { return };
            match notice {
                Some(Notice::Event(event)) => board.mark_concerned(&event),
                // What happened meanwhile is not told.
                Some(Notice::Hint | Notice::Started(_)) => board.all().for_each(|(place, inbox)| inbox.mark(*place, Mark::Maybe)),
                None => {
                    board.all().for_each(|(_, inbox)| inbox.is_over());
                    boards.remove(&key);
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, Board>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// Marks who waits for what an event tells of, and looks at nobody else.
    fn mark_concerned(&self, event: &Event) {
        for (address, mark) in concerned(event) {
            for (place, inbox) in self.places.get(&address).into_iter().flatten() {
                inbox.mark(*place, mark);
            }
        }
    }

    fn join(&mut self, addresses: &[Address], inbox: &Arc<Inbox>) {
        self.taken += addresses.len();
        for (place, address) in addresses.iter().enumerate() {
            self.places.entry(address.clone()).or_default().push((place, Arc::clone(inbox)));
        }
    }

    fn all(&self) -> impl Iterator<Item = &(usize, Arc<Inbox>)> {
        self.places.values().flatten()
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let mut boards = self.boards.lock();
        let Some(board) = boards.get_mut(&self.key) else { return };
        for address in &self.addresses {
            let Some(waiting) = board.places.get_mut(address) else { continue };
            let before = waiting.len();
            waiting.retain(|(_, inbox)| !Arc::ptr_eq(inbox, &self.inbox));
            board.taken -= before - waiting.len();
            if waiting.is_empty() {
                board.places.remove(address);
            }
        }
        if board.taken == 0 {
            board.stop.cancel();
            boards.remove(&self.key);
        }
    }
}

impl Inbox {
    /// Marks a place, unless more is known of it already.
    pub(super) fn mark(&self, place: usize, mark: Mark) {
        let mut marks = self.lock();
        let known = marks.by_place.entry(place).or_insert(mark);
        *known = mark.max(*known);
        self.wake.notify_one();
    }

    /// Puts a mark back that could not be looked into for now.
    pub(super) fn put_back(&self, place: usize, mark: Mark) {
        let mut marks = self.lock();
        let known = marks.by_place.entry(place).or_insert(mark);
        *known = mark.max(*known);
    }

    /// Takes what is marked, and whether the stream has ended.
    pub(super) fn take(&self) -> (BTreeMap<usize, Mark>, bool) {
        let mut marks = self.lock();
        let is_over = std::mem::take(&mut marks.is_over);
        (std::mem::take(&mut marks.by_place), is_over)
    }

    /// Waits until something is marked.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    fn is_over(&self) {
        self.lock().is_over = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::api::SERVICES;

    fn address(task: &str) -> Address {
        let mut resources = SERVICES.iter().flat_map(|service| service.resources);
        let resource = resources.find(|resource| resource.path == "tasks/{id}").unwrap();
        Address::of(resource, &Map::from_iter([("id".to_owned(), task.into())])).unwrap()
    }

    #[test]
    fn of_a_thousand_subscribers_those_concerned_are_marked_once() {
        let mut board = Board::default();
        let inboxes: Vec<Arc<Inbox>> = (0..1000).map(|_| Arc::default()).collect();
        for (number, inbox) in inboxes.iter().enumerate() {
            board.join(&[address("another"), address(&format!("task-{}", number / 10))], inbox);
        }
        assert_eq!(board.taken, 2000);
        let event = json!({ "id": "evt-1", "type": "task.responded", "data": { "taskId": "task-7" } });
        let event: Event = serde_json::from_value(event).unwrap();
        for _ in 0..10 {
            board.mark_concerned(&event);
        }
        for (number, inbox) in inboxes.iter().enumerate() {
            let expected = if number / 10 == 7 { BTreeMap::from([(1, Mark::Changed)]) } else { BTreeMap::new() };
            assert_eq!(inbox.take(), (expected, false), "{number}");
        }
    }

    #[test]
    fn what_is_known_to_have_changed_stays_so() {
        let inbox = Inbox::default();
        inbox.mark(0, Mark::Changed);
        inbox.put_back(0, Mark::Maybe);
        inbox.mark(1, Mark::Maybe);
        inbox.mark(1, Mark::Changed);
        assert_eq!(inbox.take().0, BTreeMap::from([(0, Mark::Changed), (1, Mark::Changed)]));
    }
}
