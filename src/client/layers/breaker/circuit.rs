//! The state of one instance: closed, open for a time, and half-open with one call that probes it.
//!
//! | it opens when | so that |
//! |---|---|
//! | five attempts in a row had no answer at all | a dead instance is known after five, however well it did before |
//! | ten attempts in a row failed, or all of the last ten seconds' calls, at least five | errors that follow one another count later: a few do so by chance |
//! | two thirds of the last ten seconds' calls, at least twenty, failed or were slow | one that fails a third of the time, which retries make up for, stays in use |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::window::Window;

/// Weight of failures in a row that opens a circuit.
const STREAK: u32 = 10;
/// Calls that must all have failed.
const FEWEST_FAILURES: u32 = 5;
/// Calls of which two thirds must have failed.
const FEWEST_CALLS: u32 = 20;
/// The longest that a circuit stays open between two probes.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// When those who come while a probe is under way may come again.
const PROBED_WITHIN: Duration = Duration::from_secs(1);

/// What an attempt says of its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answers.
    Good,
    /// It answers too slowly.
    Slow,
    /// It says that it failed.
    Failed,
    /// It says nothing.
    Unanswered,
    /// The attempt ended on this side.
    Unknown,
}

/// What is known of an instance.
#[derive(Debug)]
pub(super) struct Circuit {
    first_wait: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Rises with every change of the phase: what an attempt of an earlier phase says counts no more.
    epoch: u64,
    window: Window,
    streak: u32,
    /// How often it opened since it was last good.
    openings: u32,
    /// The code of the last failure, and when it was.
    last_error: Option<(Arc<str>, Instant)>,
}

/// Where a circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { is_probed: bool },
}

/// An attempt that is let through. What it says is counted when it is dropped; a cancelled one says nothing.
pub(super) struct Pass<'a> {
    circuit: &'a Circuit,
    epoch: u64,
    pub(super) outcome: Outcome,
    /// The code of its error, where that is the instance's.
    pub(super) code: Option<Arc<str>>,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.circuit.record(self.epoch, self.outcome, self.code.take());
    }
}

impl Circuit {
    /// A closed circuit that opens for so long at first.
    pub(super) fn new(first_wait: Duration) -> Self {
        let window = Window::new(Instant::now());
        let state = State { phase: Phase::Closed, epoch: 0, window, streak: 0, openings: 0, last_error: None };
        Self { first_wait, state: Mutex::new(state) }
    }

    /// Lets an attempt through, or says when one may come again.
    pub(super) fn admit(&self, now: Instant) -> Result<Pass<'_>, Duration> {
        let mut state = self.state();
        match state.phase {
            Phase::Closed => {}
            Phase::Open { until } if now < until => return Err(until - now),
            Phase::HalfOpen { is_probed: true } => return Err(PROBED_WITHIN),
            Phase::Open { .. } | Phase::HalfOpen { is_probed: false } => state.enter(Phase::HalfOpen { is_probed: true }),
        }
        Ok(Pass { circuit: self, epoch: state.epoch, outcome: Outcome::Unknown, code: None })
    }

    /// Where it stands, with the calls of the last seconds and how many of them failed.
    pub(super) fn look(&self, now: Instant) -> (Phase, u32, u32) {
        let mut state = self.state();
        let (calls, failures) = state.window.totals(now);
        (state.phase, calls, failures)
    }

    /// The code of the last failure, and how long ago it was.
    pub(super) fn last_error(&self, now: Instant) -> Option<(Arc<str>, Duration)> {
        self.state().last_error.as_ref().map(|(code, at)| (Arc::clone(code), now.saturating_duration_since(*at)))
    }

    fn record(&self, epoch: u64, outcome: Outcome, code: Option<Arc<str>>) {
        let mut state = self.state();
        if epoch != state.epoch {
            return;
        }
        let now = Instant::now();
        if let Some(code) = code {
            state.last_error = Some((code, now));
        }
        match (state.phase, outcome) {
            (Phase::HalfOpen { .. }, Outcome::Unknown) => state.phase = Phase::HalfOpen { is_probed: false },
            (Phase::HalfOpen { .. }, Outcome::Good) => {
                state.window = Window::new(now);
                (state.streak, state.openings) = (0, 0);
                state.enter(Phase::Closed);
            }
            (Phase::HalfOpen { .. }, _) => state.open(now, self.first_wait),
            (Phase::Closed, Outcome::Unknown) | (Phase::Open { .. }, _) => {}
            (Phase::Closed, Outcome::Good) => {
                state.streak = 0;
                state.window.add(now, false);
            }
            (Phase::Closed, failure) => {
                state.streak += match failure {
                    Outcome::Unanswered => 2,
                    Outcome::Failed => 1,
                    _ => 0,
                };
                state.window.add(now, true);
                if state.is_broken(now) {
                    state.open(now, self.first_wait);
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_broken(&mut self, now: Instant) -> bool {
        let (calls, failures) = self.window.totals(now);
        self.streak >= STREAK
            || (failures >= FEWEST_FAILURES && failures == calls)
            || (calls >= FEWEST_CALLS && failures.saturating_mul(3) >= calls.saturating_mul(2))
    }

    /// Opens it, twice as long as the last time.
    fn open(&mut self, now: Instant, first_wait: Duration) {
        let wait = first_wait.saturating_mul(1 << self.openings.min(16)).min(LONGEST_WAIT.max(first_wait));
        self.openings = self.openings.saturating_add(1);
        self.enter(Phase::Open { until: now + wait });
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> Circuit {
        Circuit::new(Duration::from_secs(5))
    }

    /// Lets attempts through until one is refused; how many that were, and the wait.
    fn tried(circuit: &Circuit, outcomes: impl IntoIterator<Item = Outcome>) -> (usize, u64) {
        let mut through = 0;
        for outcome in outcomes {
            match circuit.admit(Instant::now()) {
                Ok(mut pass) => pass.outcome = outcome,
                Err(wait) => return (through, wait.as_secs()),
            }
            through += 1;
        }
        (through, 0)
    }

    fn times(count: usize, outcome: Outcome) -> impl Iterator<Item = Outcome> {
        std::iter::repeat_n(outcome, count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_circuit_opens_on_silence_on_errors_in_a_row_and_on_a_share_of_failures() {
        use Outcome::{Failed, Good, Slow, Unanswered, Unknown};
        assert_eq!(tried(&circuit(), times(20, Unanswered)), (5, 5));
        assert_eq!(tried(&circuit(), times(20, Failed)), (5, 5));
        assert_eq!(tried(&circuit(), times(20, Slow)), (5, 5));
        assert_eq!(tried(&circuit(), times(50, Good).chain(times(20, Unanswered))), (55, 5));
        assert_eq!(tried(&circuit(), times(50, Good).chain(times(20, Failed))), (60, 5));
        let most = (0..100).map(|index| if index % 3 == 0 { Good } else { Slow });
        assert_eq!(tried(&circuit(), most), (21, 5));
        let half = (0..300).map(|index| if index % 2 == 0 { Unanswered } else { Good });
        assert_eq!(tried(&circuit(), half), (300, 0), "half of them may fail");
        assert_eq!(tried(&circuit(), times(300, Unknown)), (300, 0), "what ends on this side says nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_long_ago_open_nothing() {
        let circuit = circuit();
        for _ in 0..4 {
            assert_eq!(tried(&circuit, times(2, Outcome::Failed)).0, 2);
            tokio::time::advance(Duration::from_secs(11)).await;
        }
        assert_eq!(circuit.look(Instant::now()).0, Phase::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_decides_and_the_waits_grow() {
        let circuit = circuit();
        tried(&circuit, times(5, Outcome::Unanswered));
        for wait in [5, 10, 20, 40, 60, 60] {
            assert_eq!(tried(&circuit, [Outcome::Good]), (0, wait));
            tokio::time::advance(Duration::from_secs(wait)).await;
            let mut probe = circuit.admit(Instant::now()).ok().unwrap();
            assert_eq!(tried(&circuit, [Outcome::Good]), (0, 1), "one probe at a time");
            probe.outcome = Outcome::Failed;
        }
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(tried(&circuit, [Outcome::Good]), (1, 0));
        assert_eq!(tried(&circuit, times(20, Outcome::Unanswered)), (5, 5), "all is as at first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_probe_and_a_late_answer_decide_nothing() {
        let circuit = circuit();
        let mut late = circuit.admit(Instant::now()).ok().unwrap();
        tried(&circuit, times(5, Outcome::Unanswered));
        late.outcome = Outcome::Good;
        drop(late);
        assert_eq!(tried(&circuit, [Outcome::Good]), (0, 5));
        tokio::time::advance(Duration::from_secs(5)).await;
        drop(circuit.admit(Instant::now()).ok().unwrap());
        assert_eq!(circuit.look(Instant::now()).0, Phase::HalfOpen { is_probed: false });
        assert_eq!(tried(&circuit, [Outcome::Good]), (1, 0));
        assert_eq!(circuit.look(Instant::now()).0, Phase::Closed);
    }
}
