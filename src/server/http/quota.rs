//! Places that are counted: in all, and of each one who takes them, some at once. Nothing is kept of whoever has none.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places, so many in all and so many for each.
pub(super) struct Counted<K: Eq + Hash> {
    most: usize,
    each: usize,
    taken: Mutex<Taken<K>>,
}

struct Taken<K> {
    all: usize,
    by: HashMap<K, usize>,
}

/// Places, until they are dropped.
pub(super) struct Place<K: Eq + Hash> {
    places: Arc<Counted<K>>,
    of: K,
    much: usize,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Whoever asked has as many as one may have.
    Each,
    /// All are taken.
    All,
}

impl<K: Eq + Hash> Counted<K> {
    pub(super) fn new(most: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { most, each, taken: Mutex::new(Taken { all: 0, by: HashMap::new() }) })
    }

    /// So many more places, if they are there.
    pub(super) fn take(self: &Arc<Self>, of: K, much: usize) -> Result<Place<K>, Full>
    where
        K: Clone,
    {
        let mut taken = self.taken();
        if taken.by.get(&of).copied().unwrap_or_default().saturating_add(much) > self.each {
            return Err(Full::Each);
        }
        if taken.all.saturating_add(much) > self.most {
            return Err(Full::All);
        }
        taken.all += much;
        *taken.by.entry(of.clone()).or_default() += much;
        Ok(Place { places: Arc::clone(self), of, much })
    }

    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all = taken.all.saturating_sub(self.much);
        if let Some(by) = taken.by.get_mut(&self.of) {
            *by = by.saturating_sub(self.much);
            if *by == 0 {
                taken.by.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped_and_nothing_is_kept_of_it() {
        let places = Counted::new(3, 2);
        let (first, second) = (places.take("anna", 1).unwrap(), places.take("anna", 1).unwrap());
        assert_eq!(places.take("anna", 1).err(), Some(Full::Each));
        let third = places.take("bert", 1).unwrap();
        assert_eq!(places.take("bert", 1).err(), Some(Full::All));
        drop(first);
        let again = places.take("bert", 1).unwrap();
        drop((second, third, again));
        let taken = places.taken();
        assert!(taken.all == 0 && taken.by.is_empty());
    }
}
