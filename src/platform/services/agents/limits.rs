//! Limits: calls of a model in a minute and tokens of a model in a day, for each tenant.

use std::time::Duration;

use crate::api::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::platform::windows::Windows;

const MINUTE: Duration = Duration::from_mins(1);

/// The calls of the present minute, by tenant and model.
#[derive(Debug, Default)]
pub(super) struct Limits {
    windows: Windows<(String, String)>,
}

impl Limits {
    /// Counts a call of a model, or rejects it.
    pub(super) fn count(&self, tenant: &str, model: &str, most: u32, now: Timestamp) -> Result<()> {
        if most == 0 {
            return Ok(());
        }
        self.windows.count((tenant.to_owned(), model.to_owned()), most, MINUTE, now).map(drop).map_err(|wait| {
            Error::new(Kind::RateLimited, "FM-AIS-RATE-LIMITED", format!("the tenant called {model} {most} times in a minute"))
                .hint("Wait, or ask another model.")
                .retry_after(wait)
        })
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
