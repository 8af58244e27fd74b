//! Windows of time in which so many calls are allowed, each begun by its first call.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::Timestamp;

/// So many windows are kept before those that are over are dropped.
const MAX_WINDOWS: usize = 4_096;

/// The windows under way, by what is counted.
#[derive(Debug)]
pub(crate) struct Windows<K>(Mutex<HashMap<K, Window>>);

impl<K> Default for Windows<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: i64,
    calls: u32,
    millis: i64,
}

impl Window {
    fn is_over(&self, now: Timestamp) -> bool {
        now.millis() - self.began >= self.millis || now.millis() < self.began
    }
}

/// What is left of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// The calls that it still takes.
    pub(crate) calls: u32,
    /// The time until another begins.
    pub(crate) time: Duration,
}

impl<K: Eq + Hash> Windows<K> {
    /// Counts a call, and returns what is left.
    ///
    /// # Errors
    /// No call is left: how long to wait.
    pub(crate) fn count(&self, key: K, most: u32, length: Duration, now: Timestamp) -> Result<Left, Duration> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_WINDOWS {
            windows.retain(|_, window| !window.is_over(now));
        }
        let fresh = Window { began: now.millis(), calls: 0, millis: i64::try_from(length.as_millis()).unwrap_or(i64::MAX) };
        let window = windows.entry(key).or_insert(fresh);
        if window.is_over(now) {
            *window = fresh;
        }
        let time = Duration::from_millis((window.millis - (now.millis() - window.began)).max(1).unsigned_abs());
        if window.calls >= most {
            return Err(time);
        }
        window.calls += 1;
        Ok(Left { calls: most - window.calls, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_key_and_begin_again_with_each_window() {
        let (windows, now, minute) = (Windows::default(), Timestamp::from_millis(1_000_000), Duration::from_mins(1));
        let count = |key: &'static str, seconds: f64| windows.count(key, 2, minute, now.plus_seconds(seconds));
        assert_eq!(count("a", 0.0), Ok(Left { calls: 1, time: minute }));
        assert_eq!(count("a", 15.0), Ok(Left { calls: 0, time: Duration::from_secs(45) }));
        assert_eq!(count("a", 20.0), Err(Duration::from_secs(40)));
        assert_eq!(count("b", 20.0), Ok(Left { calls: 1, time: minute }));
        assert_eq!(count("a", 60.0), Ok(Left { calls: 1, time: minute }));
        assert_eq!(count("a", -1.0), Ok(Left { calls: 1, time: minute }), "a clock that was set back begins another");
    }
}
