//! The health of providers, and whose turn it is: smooth weighted round robin over those that work.

use std::time::Duration;

use super::talk::Cause;
use crate::api::Timestamp;

/// So many failures in a row take a provider out.
const MAX_FAILURES: u32 = 3;
/// How long it is out the first time; the time doubles with each failure after that.
const FIRST_PAUSE: f64 = 30.0;
const LONGEST_PAUSE: f64 = 300.0;
/// How long it is out where it says that there were too many calls, and not for how long.
const LIMITED_PAUSE: f64 = 5.0;
/// How long it is out where it does not accept the platform's key or model.
const MISCONFIGURED_PAUSE: f64 = 60.0;

/// The health of one provider.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    failures: u32,
    out_until: Option<Timestamp>,
    turn: i64,
}

impl Health {
    /// Whether it may be called.
    pub(super) fn is_good(&self, now: Timestamp) -> bool {
        self.out_until.is_none_or(|until| until <= now)
    }

    /// How long it is still out.
    pub(super) fn out_for(&self, now: Timestamp) -> Duration {
        let seconds = self.out_until.map_or(0.0, |until| until.seconds_since(now));
        Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_PAUSE))
    }

    /// It answered.
    pub(super) fn succeeded(&mut self) {
        (self.failures, self.out_until) = (0, None);
    }

    /// It failed.
    pub(super) fn failed(&mut self, cause: Cause, now: Timestamp) {
        let pause = match cause {
            Cause::Limited(after) => after.map_or(LIMITED_PAUSE, |after| after.as_secs_f64().clamp(1.0, LONGEST_PAUSE)),
            Cause::Misconfigured => MISCONFIGURED_PAUSE,
            Cause::Broken | Cause::Late => {
                self.failures = self.failures.saturating_add(1);
                let Some(more) = self.failures.checked_sub(MAX_FAILURES) else { return };
                (FIRST_PAUSE * f64::from(2_u32.saturating_pow(more))).min(LONGEST_PAUSE)
            }
            // The question's own fault, and ours, say nothing of the provider.
            Cause::Refused | Cause::Down(_) | Cause::Busy | Cause::Cancelled => return,
        };
        self.out_until = Some(now.plus_seconds(pause));
    }
}

/// The order in which the providers at these places are tried: first whose turn it is.
pub(super) fn order(healths: &mut [Health], weights: &[(usize, u32)], now: Timestamp) -> Vec<usize> {
    let mut turns = Vec::new();
    let mut total = 0;
    for (place, weight) in weights {
        let Some(health) = healths.get_mut(*place).filter(|health| health.is_good(now)) else { continue };
        health.turn += i64::from(*weight);
        total += i64::from(*weight);
        turns.push((health.turn, *place));
    }
    turns.sort_by_key(|(turn, place)| (std::cmp::Reverse(*turn), *place));
    if let Some(first) = turns.first().and_then(|(_, place)| healths.get_mut(*place)) {
        first.turn -= total;
    }
    turns.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_by_weight_among_those_that_work() {
        let now = Timestamp::from_millis(0);
        let mut healths = vec![Health::default(); 3];
        let weights = [(0, 3), (1, 1), (2, 2)];
        let firsts = |healths: &mut [Health], at| (0..6).map(|_| order(healths, &weights, at)[0]).collect::<Vec<_>>();
        let mut counted = firsts(&mut healths, now);
        counted.sort_unstable();
        assert_eq!(counted, [0, 0, 0, 1, 2, 2]);
        healths[0].failed(Cause::Limited(Some(Duration::from_secs(10))), now);
        assert_eq!(order(&mut healths, &weights, now).len(), 2);
        assert!(!firsts(&mut healths, now.plus_seconds(9.0)).contains(&0));
        assert!(firsts(&mut healths, now.plus_seconds(10.0)).contains(&0));
    }

    #[test]
    fn a_provider_is_out_after_three_failures_and_for_longer_after_each() {
        let now = Timestamp::from_millis(0);
        let mut health = Health::default();
        health.failed(Cause::Broken, now);
        health.failed(Cause::Late, now);
        assert!(health.is_good(now));
        health.failed(Cause::Broken, now);
        assert_eq!(health.out_for(now), Duration::from_secs(30));
        health.failed(Cause::Broken, now);
        assert_eq!(health.out_for(now), Duration::from_mins(1));
        for _ in 0..50 {
            health.failed(Cause::Broken, now);
        }
        assert_eq!(health.out_for(now), Duration::from_mins(5));
        health.succeeded();
        assert!(health.is_good(now));
        health.failed(Cause::Refused, now);
        health.failed(Cause::Broken, now);
        assert!(health.is_good(now));
    }
}
