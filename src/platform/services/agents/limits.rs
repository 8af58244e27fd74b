//! Limits: calls of a model in a minute and tokens of a model in a day, for each tenant.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::Timestamp;
use crate::error::{Error, Kind, Result};

/// Length of a window, in milliseconds.
const MINUTE: i64 = 60_000;
/// So many windows are kept before those that are over are dropped.
const MAX_WINDOWS: usize = 4_096;

/// The calls of the present minute.
#[derive(Debug, Default)]
pub(super) struct Limits {
    windows: Mutex<HashMap<(String, String), Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: i64,
    calls: u32,
}

impl Limits {
    /// Counts a call of a model, or rejects it.
    pub(super) fn count(&self, tenant: &str, model: &str, most: u32, now: Timestamp) -> Result<()> {
        if most == 0 {
            return Ok(());
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |window: &Window| now.millis() - window.began >= MINUTE || now.millis() < window.began;
        if windows.len() >= MAX_WINDOWS {
            windows.retain(|_, window| !is_over(window));
        }
        let window = windows.entry((tenant.to_owned(), model.to_owned())).or_insert(Window { began: now.millis(), calls: 0 });
        if is_over(window) {
            *window = Window { began: now.millis(), calls: 0 };
        }
        if window.calls >= most {
            let left = (MINUTE - (now.millis() - window.began)).max(1).unsigned_abs();
            return Err(Error::new(
                Kind::RateLimited,
                "FM-AIS-RATE-LIMITED",
                format!("the tenant called {model} {most} times in a minute"),
            )
            .hint("Wait, or ask another model.")
            .retry_after(Duration::from_millis(left)));
        }
        window.calls += 1;
        Ok(())
    }
}

/// Rejects a call where a tenant has used up a model's tokens of a day.
pub(super) fn check_tokens(model: &str, used: u64, most: u64) -> Result<()> {
    if most == 0 || used < most {
        return Ok(());
    }
    Err(Error::new(
        Kind::RateLimited,
        "FM-AIS-TOKEN-LIMIT",
        format!("the tenant used {used} tokens of {model} in 24 hours; {most} are allowed"),
    )
    .hint("Wait, ask another model, or have the operator raise the limit.")
    .retry_after(Duration::from_hours(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_tenant_and_model_and_begin_again_each_minute() {
        let limits = Limits::default();
        let now = Timestamp::from_millis(1_000_000);
        for _ in 0..2 {
            limits.count("a", "m", 2, now).unwrap();
        }
        let refused = limits.count("a", "m", 2, now.plus_seconds(20.0)).unwrap_err();
        assert_eq!((refused.code(), refused.when_to_retry()), ("FM-AIS-RATE-LIMITED", Some(Duration::from_secs(40))));
        limits.count("b", "m", 2, now).unwrap();
        limits.count("a", "n", 2, now).unwrap();
        limits.count("a", "m", 2, now.plus_seconds(60.0)).unwrap();
        for _ in 0..100 {
            limits.count("a", "m", 0, now).unwrap();
        }
    }
}
