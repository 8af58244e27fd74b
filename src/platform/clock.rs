//! Where the platform's time comes from, so that tests can pass a day in a moment.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::api::Timestamp;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Ends when the moment has come.
    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'_, ()>;
}

/// The system's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let left = moment.millis().saturating_sub(Timestamp::now().millis());
                if left <= 0 {
                    return;
                }
                // In short naps: the system's time may be set, and a timer must not sleep through that.
                tokio::time::sleep(Duration::from_millis(left.unsigned_abs().min(30_000))).await;
            }
        })
    }
}

/// A clock that stands still until it is moved on.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// A clock that stands at a moment.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self(watch::Sender::new(at))
    }

    /// Advances by seconds and wakes the waiters whose time has come.
    pub fn advance(&self, seconds: f64) {
        self.0.send_modify(|now| *now = now.plus_seconds(seconds));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'_, ()> {
        let mut changes = self.0.subscribe();
        Box::pin(async move {
            // The sender lives as long as the clock, so waiting can only end by the moment's coming.
            let _ = changes.wait_for(|now| *now >= moment).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_when_it_is_moved() {
        let clock = ManualClock::new(Timestamp::from_millis(0));
        let moment = Timestamp::from_millis(1_000);
        let slept = clock.sleep_until(moment);
        clock.advance(1.0);
        slept.await;
        assert_eq!(clock.now(), moment);
    }
}
