//! Something for each service of the catalogue, found by the service's index.

use crate::api::{Entry, SERVICES};

/// One value for each service.
#[derive(Debug)]
pub(super) struct PerService<T>(Box<[T]>);

impl<T> PerService<T> {
    /// Makes the value of each service.
    pub(super) fn new(make: impl FnMut() -> T) -> Self {
        Self(std::iter::repeat_with(make).take(SERVICES.len()).collect())
    }

    /// The value of an operation's service.
    pub(super) fn of(&self, entry: &Entry) -> &T {
        &self.0[entry.service_index]
    }

    /// Each value with the name of its service.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        SERVICES.iter().map(|service| service.name).zip(&self.0)
    }
}
