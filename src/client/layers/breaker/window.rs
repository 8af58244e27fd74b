//! What became of the calls of the last ten seconds.

use tokio::time::Instant;

/// Seconds that count.
const SECONDS: u64 = 10;
/// A slot for each.
type Slots = [Slot; 10];

/// Calls and failures, second by second.
#[derive(Debug)]
pub(super) struct Window {
    began: Instant,
    /// The second that the newest slot is of.
    newest: u64,
    slots: Slots,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    calls: u32,
    failures: u32,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, newest: 0, slots: Slots::default() }
    }

    /// Adds a call.
    pub(super) fn add(&mut self, now: Instant, failed: bool) {
        self.advance(now);
        let newest = self.newest;
        if let Some(slot) = self.slot(newest) {
            slot.calls = slot.calls.saturating_add(1);
            slot.failures = slot.failures.saturating_add(u32::from(failed));
        }
    }

    /// The calls, and how many of them failed.
    pub(super) fn totals(&mut self, now: Instant) -> (u32, u32) {
        self.advance(now);
        self.slots.iter().fold((0, 0), |(calls, failures), slot| (slot.calls.saturating_add(calls), slot.failures.saturating_add(failures)))
    }

    /// Empties the slots of the seconds that have passed.
    fn advance(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.began).as_secs();
        if second.saturating_sub(self.newest) >= SECONDS {
            self.slots = Slots::default();
        } else {
            for passed in self.newest + 1..=second {
                if let Some(slot) = self.slot(passed) {
                    *slot = Slot::default();
                }
            }
        }
        self.newest = self.newest.max(second);
    }

    fn slot(&mut self, second: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(second % SECONDS).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_counts_for_ten_seconds() {
        let mut window = Window::new(Instant::now());
        for second in 0..15 {
            window.add(Instant::now(), second % 2 == 0);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(window.totals(Instant::now()), (9, 5), "seconds 6 to 14 are left");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(window.totals(Instant::now()), (6, 3));
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(window.totals(Instant::now()), (0, 0));
    }
}
