//! The ids of the last events, by which repeats are dropped.

use std::collections::{HashSet, VecDeque};

use crate::api::ids::EventId;

/// Most ids that are remembered.
const MAX_REMEMBERED: usize = 8192;

/// See the module.
#[derive(Default)]
pub(super) struct Repeats {
    known: HashSet<EventId>,
    order: VecDeque<EventId>,
}

impl Repeats {
    /// Whether an id is new; it is remembered.
    pub(super) fn is_new(&mut self, id: &EventId) -> bool {
        if !self.known.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id.clone());
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_known_within_the_bound() {
        let mut repeats = Repeats::default();
        let id = |n: usize| EventId(format!("evt-{n}"));
        assert!(repeats.is_new(&id(0)) && !repeats.is_new(&id(0)));
        for n in 1..=MAX_REMEMBERED {
            assert!(repeats.is_new(&id(n)));
        }
        assert!(repeats.is_new(&id(0)), "the oldest is forgotten");
        assert!(!repeats.is_new(&id(MAX_REMEMBERED)));
        assert_eq!(repeats.known.len(), MAX_REMEMBERED);
    }
}
