//! A gate for work that has a thread, a process or much memory of its own: so much at once, and each tenant in its turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Turns;
use crate::error::{Error, Result};

/// A gate with a number of places; clones share it.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Turns<oneshot::Sender<Pass>>>);

/// A place behind the gate, free again when it is dropped.
pub(crate) struct Pass {
    gate: Gate,
    turn: Option<super::Turn<oneshot::Sender<Pass>>>,
}

impl Gate {
    /// A gate with this many places.
    pub(crate) fn new(places: usize) -> Self {
        Self(Arc::new(Turns::new(places)))
    }

    /// Waits for a place, at most so long; none when it took longer.
    ///
    /// # Errors
    /// The tenant has too many waiting.
    pub(crate) async fn pass(&self, tenant: &str, longest: Duration) -> Result<Option<Pass>> {
        let (given, waiting) = oneshot::channel();
        self.0.bring(tenant, given)?;
        self.let_in();
        match tokio::time::timeout(longest, waiting).await {
            Ok(pass) => pass.map(Some).map_err(Error::internal),
            Err(_) => Ok(None),
        }
    }

    fn let_in(&self) {
        while let Some(mut turn) = self.0.try_next() {
            let Some(given) = turn.job() else { continue };
            if let Err(mut unwanted) = given.send(Pass { gate: self.clone(), turn: Some(turn) }) {
                // Whoever waited has gone. The loop goes on with the next, so the place need not.
                unwanted.turn = None;
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.turn.take().is_some() {
            self.gate.let_in();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_turn_and_not_to_those_who_left() {
        let gate = Gate::new(1);
        let held = gate.pass("flood", LONG).await.unwrap().unwrap();
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for (tenant, number) in [("flood", 1), ("flood", 2), ("flood", 3), ("quiet", 1)] {
            let (gate, order) = (gate.clone(), Arc::clone(&order));
            waiting.push(tokio::spawn(async move {
                let pass = gate.pass(tenant, LONG).await.unwrap().unwrap();
                order.lock().unwrap().push((tenant, number));
                drop(pass);
            }));
            tokio::task::yield_now().await;
        }
        waiting[1].abort();
        tokio::task::yield_now().await;
        drop(held);
        for task in waiting {
            let _ = task.await;
        }
        assert_eq!(*order.lock().unwrap(), [("flood", 1), ("quiet", 1), ("flood", 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_does_not_come_is_not_waited_for_for_ever() {
        let gate = Gate::new(2);
        let first = gate.pass("slow", LONG).await.unwrap().unwrap();
        assert!(gate.pass("slow", LONG).await.unwrap().is_none(), "a tenant has not all places");
        let other = gate.pass("other", LONG).await.unwrap().unwrap();
        drop((first, other));
        assert!(gate.pass("slow", LONG).await.unwrap().is_some());
    }
}
