//! Jobs that wait for a thread, in turn: one of a tenant after one of another, however many each has waiting.
//!
//! The writer, the readers and the threads that compute ([`compute`]) each take their jobs from such a line; work that has
//! threads or processes of its own passes a [`gate`]. A tenant that sends more than its share waits behind itself alone.
//! Where several jobs are done at once, no tenant has all of their places.

pub(crate) mod compute;
pub(crate) mod gate;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// Most jobs of one tenant that wait in a line; far more than its callers keep in flight.
const MOST_WAITING: usize = 4096;

/// A line of jobs, shared by those who bring them and the threads that take them.
pub(crate) struct Turns<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
    /// Most jobs that are done at once.
    places: usize,
}

struct State<J> {
    tenants: HashMap<Arc<str>, Waiting<J>>,
    /// The tenants with waiting jobs, the next one first.
    order: VecDeque<Arc<str>>,
    at_work: usize,
    closed: bool,
}

struct Waiting<J> {
    jobs: VecDeque<J>,
    at_work: usize,
}

/// A job whose turn it is. Its tenant's place among the threads is free again when it is dropped.
pub(crate) struct Turn<J> {
    turns: Arc<Turns<J>>,
    tenant: Arc<str>,
    job: Option<J>,
}

impl<J> Turns<J> {
    /// A line for this many jobs at once.
    pub(crate) fn new(places: usize) -> Self {
        let state = State { tenants: HashMap::new(), order: VecDeque::new(), at_work: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), places }
    }

    /// Brings a job of a tenant; the platform's own go by the empty name.
    ///
    /// # Errors
    /// The tenant has too many waiting, or nobody takes jobs any more.
    pub(crate) fn bring(&self, tenant: &str, job: J) -> Result<()> {
        let mut state = self.state();
        if state.closed {
            return Err(stopped());
        }
        let State { tenants, order, .. } = &mut *state;
        let tenant: Arc<str> = tenants.get_key_value(tenant).map_or_else(|| Arc::from(tenant), |(known, _)| Arc::clone(known));
        let waiting = tenants.entry(Arc::clone(&tenant)).or_insert_with(|| Waiting { jobs: VecDeque::new(), at_work: 0 });
        if waiting.jobs.len() >= MOST_WAITING {
            return Err(Error::new(Kind::RateLimited, "FM-PLATFORM-BUSY", "too much of this tenant's work waits already")
                .retry_after(Duration::from_secs(1)));
        }
        if waiting.jobs.is_empty() {
            order.push_back(tenant);
        }
        waiting.jobs.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next job; none when the line was closed and is empty.
    pub(crate) fn next(self: &Arc<Self>) -> Option<Turn<J>> {
        let mut state = self.state();
        loop {
            if let Some((tenant, job)) = state.take(self.places) {
                drop(state);
                return Some(Turn { turns: Arc::clone(self), tenant, job: Some(job) });
            }
            if state.closed && state.order.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next job, if one can be done now.
    pub(crate) fn try_next(self: &Arc<Self>) -> Option<Turn<J>> {
        let (tenant, job) = self.state().take(self.places)?;
        Some(Turn { turns: Arc::clone(self), tenant, job: Some(job) })
    }

    /// Takes no more jobs; those that wait are still done.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> State<J> {
    /// The job of the first tenant in line that has not its whole share of the places already. No more tenants than there
    /// are places can have that, so few are passed over.
    fn take(&mut self, places: usize) -> Option<(Arc<str>, J)> {
        if self.at_work >= places {
            return None;
        }
        let share = places.saturating_sub(1).max(1);
        let has_room = |tenant: &Arc<str>| self.tenants.get(tenant).is_some_and(|waiting| waiting.at_work < share);
        let place = self.order.iter().position(has_room)?;
        let tenant = self.order.remove(place)?;
        let waiting = self.tenants.get_mut(&tenant)?;
        let job = waiting.jobs.pop_front()?;
        waiting.at_work += 1;
        self.at_work += 1;
        if !waiting.jobs.is_empty() {
            self.order.push_back(Arc::clone(&tenant));
        }
        Some((tenant, job))
    }
}

impl<J> Turn<J> {
    /// The job; a second time there is none.
    pub(crate) fn job(&mut self) -> Option<J> {
        self.job.take()
    }
}

impl<J> Drop for Turn<J> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.at_work -= 1;
        if let Some(waiting) = state.tenants.get_mut(&self.tenant) {
            waiting.at_work -= 1;
            if waiting.at_work == 0 && waiting.jobs.is_empty() {
                state.tenants.remove(&self.tenant);
            }
        }
        drop(state);
        // A job of this tenant may have been passed over, or the line may be empty and closed now.
        self.turns.changed.notify_one();
    }
}

/// The error of work for a platform that ends.
pub(crate) fn stopped() -> Error {
    Error::new(Kind::Unavailable, "FM-PLATFORM-STOPPING", "the platform is shutting down").hint("Try again in a moment.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(threads: usize) -> Arc<Turns<u32>> {
        Arc::new(Turns::new(threads))
    }

    fn served(turns: &Arc<Turns<u32>>) -> Vec<(String, u32)> {
        turns.close();
        std::iter::from_fn(|| turns.next().map(|mut turn| (turn.tenant.to_string(), turn.job().unwrap()))).collect()
    }

    #[test]
    fn a_flood_delays_another_tenant_by_one_turn_each() {
        let turns = line(1);
        for job in 0..1000 {
            turns.bring("flood", job).unwrap();
        }
        for job in 0..3 {
            turns.bring("quiet", job).unwrap();
        }
        let served = served(&turns);
        let places: Vec<usize> = served.iter().enumerate().filter(|(_, (tenant, _))| tenant == "quiet").map(|(place, _)| place).collect();
        assert_eq!(places, [1, 3, 5]);
        assert!(served.iter().filter(|(tenant, _)| tenant == "flood").map(|(_, job)| *job).eq(0..1000), "each tenant's own order is kept");
    }

    #[test]
    fn no_tenant_has_all_threads() {
        let turns = line(3);
        for job in 0..5 {
            turns.bring("slow", job).unwrap();
        }
        let (first, second) = (turns.next().unwrap(), turns.next().unwrap());
        turns.bring("other", 9).unwrap();
        let mut third = turns.next().unwrap();
        assert_eq!((third.job(), &*third.tenant), (Some(9), "other"));
        assert_eq!((&*first.tenant, &*second.tenant), ("slow", "slow"));
        drop(first);
        assert_eq!(&*turns.next().unwrap().tenant, "slow");
    }

    #[test]
    fn what_is_idle_is_forgotten_and_what_is_too_much_refused() {
        let turns = line(1);
        for job in 0..u32::try_from(MOST_WAITING).unwrap() {
            turns.bring("flood", job).unwrap();
        }
        assert_eq!(turns.bring("flood", 0).unwrap_err().code(), "FM-PLATFORM-BUSY");
        turns.bring("quiet", 0).unwrap();
        assert_eq!(served(&turns).len(), MOST_WAITING + 1);
        assert!(turns.state().tenants.is_empty());
        assert_eq!(turns.bring("quiet", 0).unwrap_err().code(), "FM-PLATFORM-STOPPING");
    }

    #[test]
    fn a_thread_that_waits_is_woken() {
        let turns = line(2);
        let taking = Arc::clone(&turns);
        let taker = std::thread::spawn(move || std::iter::from_fn(|| taking.next().and_then(|mut turn| turn.job())).sum::<u32>());
        for job in 1..=10 {
            turns.bring(if job % 2 == 0 { "even" } else { "odd" }, job).unwrap();
        }
        turns.close();
        assert_eq!(taker.join().unwrap(), 55);
    }
}
