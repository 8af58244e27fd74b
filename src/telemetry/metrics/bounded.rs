//! Figures by a value that comes from outside: the first so many values have their own, the others share one.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// The value that stands for all beyond the bound.
const OTHERS: &str = "others";

/// Handles by value.
pub(super) struct Bounded<T> {
    most: usize,
    known: RwLock<HashMap<Box<str>, T>>,
}

impl<T> Bounded<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, known: RwLock::default() }
    }

    /// Uses the handle of a value, which is registered at its first use.
    pub(super) fn with(&self, value: &str, register: impl FnOnce(&str) -> T, use_it: impl FnOnce(&T)) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let value = if known.len() >= self.most && !known.contains_key(value) { OTHERS } else { value };
        if let Some(handle) = known.get(value) {
            return use_it(handle);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        use_it(known.entry(value.into()).or_insert_with(|| register(value)));
    }
}
