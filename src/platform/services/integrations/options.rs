//! How outside systems are called: attempts, times and the breaker.

use std::time::Duration;

/// How outside systems are called.
#[derive(Debug, Clone)]
pub struct Integrations {
    /// How often a call is tried that its caller waits for.
    pub attempts: u32,
    /// How long to wait after its first failure; it doubles with each.
    pub first_delay: Duration,
    /// How often a queued call or that of a process's node is tried.
    pub queued_attempts: u32,
    /// How long to wait after its first failure; it doubles with each.
    pub queued_first_delay: Duration,
    /// The longest wait between two attempts.
    pub longest_delay: Duration,
    /// How long a system may take to answer.
    pub timeout: Duration,
    /// How many failures in a row open an integration's breaker.
    pub breaker_failures: u32,
    /// How long the breaker stays open before one call tries again.
    pub breaker_pause: Duration,
}

impl Default for Integrations {
    fn default() -> Self {
        Self {
            attempts: 3,
            first_delay: Duration::from_millis(250),
            queued_attempts: 10,
            queued_first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_mins(5),
            timeout: Duration::from_secs(20),
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(30),
        }
    }
}

impl Integrations {
    /// How long to wait after so many failures of a call that its caller waits for.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        self.bounded(self.first_delay, failures)
    }

    /// How long to wait after so many failures of a queued call.
    pub(crate) fn queued_delay(&self, failures: u32) -> Duration {
        self.bounded(self.queued_first_delay, failures)
    }

    fn bounded(&self, first: Duration, failures: u32) -> Duration {
        first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(self.longest_delay)
    }
}
