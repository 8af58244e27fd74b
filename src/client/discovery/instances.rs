//! The instances of a service: how busy each is with our calls, and which one takes the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

use crate::client::origin::{Fixed, Located};

/// One instance of a service.
#[derive(Debug)]
pub(in crate::client) struct Instance {
    /// What the breaker and people know it by: its address.
    name: Arc<str>,
    located: Located,
    metadata: Map<String, Value>,
    in_flight: AtomicUsize,
}

impl Instance {
    /// The only instance of a service with a URL of its own.
    pub(super) fn of(place: &Fixed) -> Self {
        Self::new(place, Map::new())
    }

    /// An instance with attributes.
    pub(super) fn new(place: &Fixed, metadata: Map<String, Value>) -> Self {
        let located = place.located().clone();
        let name = located.base.split_once("://").map_or(&*located.base, |(_, rest)| rest).into();
        Self { name, located, metadata, in_flight: AtomicUsize::new(0) }
    }

    /// What it is known by.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it has an attribute.
    pub(super) fn has(&self, attribute: &str, value: &str) -> bool {
        match self.metadata.get(attribute) {
            Some(Value::String(text)) => text == value,
            Some(other) => value.parse::<Value>().is_ok_and(|value| value == *other),
            None => false,
        }
    }

    /// Whether it is the same place with the same attributes: what is known of the one holds for the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.located.base == other.located.base && self.metadata == other.metadata
    }

    /// Our calls in flight there, by its `capacity` where it says one.
    fn load(&self) -> f64 {
        let capacity = self.metadata.get("capacity").and_then(Value::as_f64).filter(|capacity| *capacity > 0.0).unwrap_or(1.0);
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 calls are in flight")]
        let in_flight = self.in_flight.load(Ordering::Relaxed) as f64;
        (in_flight + 1.0) / capacity
    }
}

/// The less busy one of two, which are another pair each time: so the calls of many processes spread, and none looks at all.
pub(super) fn choose<'i>(instances: &[&'i Arc<Instance>], turn: usize) -> Option<&'i Arc<Instance>> {
    let count = instances.len();
    let first = *instances.get(turn.checked_rem(count)?)?;
    let Some(steps) = (turn / count).checked_rem(count - 1) else { return Some(first) };
    let second = instances[(turn + 1 + steps) % count];
    Some(if second.load() < first.load() { second } else { first })
}

/// An instance that a call is on its way to; it counts as busy until this is dropped.
#[derive(Debug)]
pub(in crate::client) struct InUse(Arc<Instance>);

impl InUse {
    pub(super) fn of(instance: &Arc<Instance>) -> Self {
        instance.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(instance))
    }

    /// What it is known by.
    pub(in crate::client) fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// Where it is.
    pub(in crate::client) fn located(&self) -> &Located {
        &self.0.located
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn instances(capacities: &[u32]) -> Vec<Arc<Instance>> {
        let instance = |(place, capacity): (usize, &u32)| {
            let metadata = Map::from_iter([("capacity".to_owned(), json!(capacity))]);
            Arc::new(Instance::new(&Fixed::new(&format!("http://127.0.0.1:{}", 1000 + place)).unwrap(), metadata))
        };
        capacities.iter().enumerate().map(instance).collect()
    }

    #[test]
    fn calls_spread_by_load_and_capacity() {
        let all = instances(&[1, 1, 2]);
        let listed: Vec<_> = all.iter().collect();
        let held: Vec<_> = (0..400).map(|turn| InUse::of(choose(&listed, turn).unwrap())).collect();
        let busy: Vec<_> = all.iter().map(|instance| instance.in_flight.load(Ordering::Relaxed)).collect();
        assert!((80..=120).contains(&busy[0]) && (80..=120).contains(&busy[1]) && (170..=230).contains(&busy[2]), "{busy:?}");
        drop(held);
        assert!(all.iter().all(|instance| instance.in_flight.load(Ordering::Relaxed) == 0));
        assert!(choose(&listed[..1], 7).is_some() && choose(&[], 7).is_none());
    }
}
