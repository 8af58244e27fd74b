//! What to do about the times that have passed: those that are due, and those that were missed.

use super::times::Times;
use crate::api::Timestamp;
use crate::api::schedules::MisfirePolicy;

/// A time that was set counts as missed when it is older than this, in seconds.
const GRACE_SECONDS: f64 = 60.0;
/// Most missed times that are counted.
const MAX_COUNTED: usize = 1_000;
/// Most missed times that are each made up for at once.
const MAX_MADE_UP: usize = 100;

/// One row of the schedule's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The time that was set.
    pub(super) planned: Timestamp,
    /// The times before it that it stands for.
    pub(super) missed: usize,
    /// Whether an execution starts, or the time is only noted as skipped.
    pub(super) runs: bool,
}

/// What to do, in the order of the times, and when the schedule is due next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) next: Option<Timestamp>,
}

/// Makes the plan for a schedule whose next time has come. An attempt that is repeated is not a missed time.
pub(super) fn plan(times: &Times, planned: Timestamp, repeated: bool, now: Timestamp, policy: &MisfirePolicy) -> Plan {
    let mut steps = Vec::new();
    let mut from = Some(planned);
    if repeated {
        steps.push(Step { planned, missed: 0, runs: true });
        from = times.after(planned);
    }
    let grace = now.plus_seconds(-GRACE_SECONDS);
    let missed = from.map(|from| sequence(times, from, grace)).unwrap_or_default();
    // What was not counted is not looked at either.
    let recent = match (missed.last(), from) {
        (Some(_), _) => times.after(grace),
        (None, from) => from,
    };
    let due = recent.map(|from| sequence(times, from, now)).unwrap_or_default();
    steps.extend(make_up(&missed, &due, policy));
    Plan { steps, next: times.after(now) }
}

/// The steps of missed and due times under a policy.
fn make_up(missed: &[Timestamp], due: &[Timestamp], policy: &MisfirePolicy) -> Vec<Step> {
    let run = |planned: &Timestamp| Step { planned: *planned, missed: 0, runs: true };
    let one = |times: &[Timestamp], runs: bool| times.last().map(|planned| Step { planned: *planned, missed: times.len() - 1, runs });
    match policy {
        MisfirePolicy::Skip => one(missed, false).into_iter().chain(due.iter().map(run)).collect(),
        MisfirePolicy::All => {
            let (made_up, left) = missed.split_at(missed.len().min(MAX_MADE_UP));
            made_up.iter().map(run).chain(one(left, false)).chain(due.iter().map(run)).collect()
        }
        MisfirePolicy::Once | MisfirePolicy::Other(_) if missed.is_empty() => due.iter().map(run).collect(),
        MisfirePolicy::Once | MisfirePolicy::Other(_) => one(&[missed, due].concat(), true).into_iter().collect(),
    }
}

/// The times from one up to a moment, as far as they are counted.
fn sequence(times: &Times, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(Some(from), |last| times.after(*last)).take_while(|time| *time <= until).take(MAX_COUNTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-03-02T{text}Z").parse().unwrap()
    }

    fn planned(expression: &str, from: &str, repeated: bool, now: &str, policy: &MisfirePolicy) -> (Vec<(String, usize, bool)>, String) {
        let times = Times::parse(expression, chrono_tz::Tz::UTC, at("00:00:00")).unwrap();
        let plan = plan(&times, at(from), repeated, at(now), policy);
        let clock = |time: Timestamp| time.to_string()[11..16].to_owned();
        (plan.steps.iter().map(|step| (clock(step.planned), step.missed, step.runs)).collect(), clock(plan.next.unwrap()))
    }

    fn step(planned: &str, missed: usize, runs: bool) -> (String, usize, bool) {
        (planned.to_owned(), missed, runs)
    }

    #[test]
    fn a_time_that_has_just_come_runs_under_every_policy() {
        for policy in [MisfirePolicy::Skip, MisfirePolicy::Once, MisfirePolicy::All] {
            let expected = (vec![step("08:00", 0, true)], "09:00".to_owned());
            assert_eq!(planned("0 * * * *", "08:00:00", false, "08:00:59", &policy), expected, "{policy}");
        }
    }

    #[test]
    fn missed_times_are_skipped_joined_or_all_made_up_for() {
        let missed = |policy| planned("0 * * * *", "05:00:00", false, "08:00:30", &policy).0;
        assert_eq!(missed(MisfirePolicy::Skip), [step("07:00", 2, false), step("08:00", 0, true)]);
        assert_eq!(missed(MisfirePolicy::Once), [step("08:00", 3, true)]);
        assert_eq!(missed(MisfirePolicy::All), ["05:00", "06:00", "07:00", "08:00"].map(|time| step(time, 0, true)));
        let between = |policy| planned("0 * * * *", "05:00:00", false, "07:30:00", &policy).0;
        assert_eq!(between(MisfirePolicy::Once), [step("07:00", 2, true)]);
        assert_eq!(between(MisfirePolicy::Skip), [step("07:00", 2, false)]);
    }

    #[test]
    fn a_repeated_attempt_runs_however_late_it_is() {
        let plan = planned("0 * * * *", "05:00:00", true, "06:30:00", &MisfirePolicy::Skip);
        assert_eq!(plan.0, [step("05:00", 0, true), step("06:00", 0, false)]);
    }

    #[test]
    fn a_long_outage_is_made_up_for_within_bounds() {
        let (steps, next) = planned("* * * * *", "00:00:00", false, "23:00:30", &MisfirePolicy::All);
        assert_eq!((steps.len(), next.as_str()), (102, "23:01"));
        assert_eq!((&steps[99], &steps[100], &steps[101]), (&step("01:39", 0, true), &step("16:39", 899, false), &step("23:00", 0, true)));
    }
}
