//! How many attempts beyond the first a service may cost: a tenth of its calls, and a small reserve.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Retries that may be waiting to be spent.
const RESERVE: u64 = 100;
/// What a retry costs, in units; a call earns a tenth of it.
const RETRY: u64 = 1_000;
const EARNED_BY_CALL: u64 = RETRY / 10;
/// What comes back by itself: a retry a second, so that a service that is seldom called has one.
const EARNED_BY_MILLISECOND: u64 = 1;

/// The budget of one service. It is full at first.
#[derive(Debug)]
pub(super) struct Budget(Mutex<Account>);

#[derive(Debug)]
struct Account {
    units: u64,
    as_of: Instant,
}

impl Default for Budget {
    fn default() -> Self {
        Self(Mutex::new(Account { units: RESERVE * RETRY, as_of: Instant::now() }))
    }
}

impl Budget {
    /// A call was made.
    pub(super) fn earn(&self) {
        self.change(|account| account.earn(EARNED_BY_CALL));
    }

    /// Pays for a retry, if there is enough.
    pub(super) fn spend(&self) -> bool {
        let now = Instant::now();
        self.change(|account| {
            let passed = now.saturating_duration_since(account.as_of);
            let whole = Duration::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
            account.as_of += whole;
            account.earn(u64::try_from(whole.as_millis()).unwrap_or(u64::MAX).saturating_mul(EARNED_BY_MILLISECOND));
            match account.units.checked_sub(RETRY) {
                Some(left) => {
                    account.units = left;
                    true
                }
                None => false,
            }
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Account {
    fn earn(&mut self, units: u64) {
        self.units = self.units.saturating_add(units).min(RESERVE * RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &Budget) -> usize {
        std::iter::from_fn(|| budget.spend().then_some(())).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_its_reserve_a_tenth_of_calls_and_one_a_second() {
        let budget = Budget::default();
        assert_eq!((spent(&budget), spent(&budget)), (100, 0));
        (0..50).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), 5);
        tokio::time::advance(Duration::from_millis(3_500)).await;
        assert_eq!(spent(&budget), 3);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(spent(&budget), 1, "the half of a retry is kept");
        (0..100_000).for_each(|_| budget.earn());
        tokio::time::advance(Duration::from_hours(10)).await;
        assert_eq!(spent(&budget), 100, "no more is saved than the reserve");
    }
}
