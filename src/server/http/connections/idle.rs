//! Connections on which no request is, in the order of their age, so that the oldest of them gives way to a newcomer.
//!
//! A client without a token can hold connections, but not keep other clients out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// All of a server.
#[derive(Default)]
pub(super) struct Idle {
    waiting: Mutex<Waiting>,
    /// Told of each that comes.
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    /// The next one's number; a smaller one has waited longer.
    next: u64,
    by_age: BTreeMap<u64, CancellationToken>,
}

impl Idle {
    /// Closes the longest-idle connection; false if all are busy.
    pub(super) fn close_oldest(&self) -> bool {
        let oldest = self.waiting().by_age.pop_first();
        oldest.inspect(|(_, close)| close.cancel()).is_some()
    }

    /// Waits for one more.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    fn enter(&self, close: CancellationToken) -> u64 {
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.by_age.insert(number, close);
        drop(waiting);
        self.more.notify_one();
        number
    }

    /// Whether it was still there.
    fn leave(&self, number: u64) -> bool {
        self.waiting().by_age.remove(&number).is_some()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, which waits from its beginning.
pub(super) struct Connection {
    idle: Arc<Idle>,
    close: CancellationToken,
    /// Its number while it waits.
    waits: Mutex<Option<u64>>,
}

/// A request on a connection, until it is answered.
pub(super) struct Busy(Arc<Connection>);

impl Connection {
    pub(super) fn new(idle: &Arc<Idle>) -> Arc<Self> {
        let close = CancellationToken::new();
        let number = idle.enter(close.clone());
        Arc::new(Self { idle: Arc::clone(idle), close, waits: Mutex::new(Some(number)) })
    }

    /// Waits until it has to give way.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Begins with a request; nothing where the connection has given way meanwhile.
    pub(super) fn busy(self: &Arc<Self>) -> Option<Busy> {
        let number = self.waits().take();
        number.is_none_or(|number| self.idle.leave(number)).then(|| Busy(Arc::clone(self)))
    }

    /// Whether there is a request on it.
    pub(super) fn is_busy(&self) -> bool {
        self.waits().is_none()
    }

    /// Is as good as new, since the other side takes what is written.
    pub(super) fn stirred(&self) {
        let mut waits = self.waits();
        if let Some(number) = *waits
            && self.idle.leave(number)
        {
            *waits = Some(self.idle.enter(self.close.clone()));
        }
    }

    fn waits(&self) -> MutexGuard<'_, Option<u64>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(number) = self.waits().take() {
            self.idle.leave(number);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.waits() = Some(self.0.idle.enter(self.0.close.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_waited_longest_gives_way_and_nothing_is_kept_of_it() {
        let idle = Arc::<Idle>::default();
        let [first, second, third, fourth] = [(); 4].map(|()| Connection::new(&idle));
        drop(first.busy().unwrap());
        let working = second.busy().unwrap();
        third.stirred();
        fourth.stirred();
        for (closed, others) in [(&first, [&third, &fourth]), (&third, [&fourth, &second])] {
            assert!(idle.close_oldest() && closed.close.is_cancelled());
            assert!(others.iter().all(|other| !other.close.is_cancelled()));
            assert!(closed.busy().is_none(), "a request that came too late is not begun");
        }
        drop(fourth);
        assert!(!idle.close_oldest() && !second.close.is_cancelled());
        drop((working, first, third));
        assert_eq!(idle.waiting().by_age.len(), 1);
        drop(second);
        assert!(idle.waiting().by_age.is_empty());
    }
}
