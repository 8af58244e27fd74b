//! How long it is waited before a source of events is tried again.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

/// Longest wait.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Waits that double from the first one up to the longest, with jitter and without end.
pub(super) fn waits(first: Duration) -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::new().with_min_delay(first).with_max_delay(LONGEST_WAIT).with_factor(2.0).with_jitter().without_max_times().build()
}
