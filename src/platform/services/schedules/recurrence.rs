//! RRULE (RFC 5545): read strictly, and searched from a start that lies near the moment that is asked for.
//!
//! The crate walks a rule from its start and knows the clock of a day alone, so it is given local times as if they were
//! UTC, and the time zone is applied to what it answers. Rules that it would read otherwise than the RFC are refused.

mod parts;

use chrono::{Datelike as _, MappedLocalTime, Months, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Timelike as _};
use chrono_tz::Tz;
use rrule::{RRule, RRuleSet, Unvalidated};

use self::parts::{Parts, Period};
use crate::api::Timestamp;

/// Clocks are put forward or back by at most this.
const CLOCK_CHANGE: TimeDelta = TimeDelta::hours(3);
/// A part of a day without clocks is at most this long: islands have crossed the date line.
const MAX_GAP_MINUTES: i64 = 25 * 60;
/// Most occurrences that one search looks at.
const MAX_OCCURRENCES: usize = 200_000;
/// How far back a start is sought whose day the month has.
const MAX_MONTHS_BACK: u32 = 48;

/// A recurrence in a time zone.
#[derive(Debug)]
pub(crate) struct Recurrence {
    rule: RRule<Unvalidated>,
    /// The start in local time; where DTSTART is absent, the midnight before the anchor.
    start: NaiveDateTime,
    /// The last local time.
    until: Option<NaiveDateTime>,
    period: Period,
    /// The hours that a rule of minutes is held to.
    hours: Vec<u8>,
    /// With COUNT a rule is always walked from its start.
    counted: bool,
    zone: Tz,
}

impl Recurrence {
    /// Reads a rule in capitals, or says what is wrong with it.
    pub(super) fn parse(text: &str, zone: Tz, anchor: Timestamp) -> Result<Self, String> {
        let parts = Parts::parse(text, zone)?;
        let today = anchor.utc().with_timezone(&zone).date_naive().and_time(NaiveTime::MIN);
        if parts.count && parts.start.is_none() {
            return Err("COUNT needs a first time: put `DTSTART:20260901T090000` and a new line before the RRULE".to_owned());
        }
        let start = parts.start.unwrap_or(today);
        // The crate judges what single parts cannot show.
        parts.rule.clone().validate(as_utc(start)).map_err(|fault| fault.to_string())?;
        Ok(Self { rule: parts.rule, start, until: parts.until, period: parts.period, hours: parts.hours, counted: parts.count, zone })
    }

    /// The first time after a moment.
    pub(super) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let local = moment.utc().with_timezone(&self.zone).naive_local();
        let start = self.start_near(local - CLOCK_CHANGE);
        let set = RRuleSet::new(as_utc(start)).limit().rrule(self.rule.clone().validate(as_utc(start)).ok()?);
        let mut first = None;
        for occurrence in (&set).into_iter().take(MAX_OCCURRENCES) {
            let occurrence = occurrence.naive_utc();
            // Later local times may be earlier moments, but only as far as clocks are put back.
            let settled = first.is_some() && occurrence > local + CLOCK_CHANGE;
            if settled || self.until.is_some_and(|until| occurrence > until) {
                break;
            }
            let in_hours = self.hours.is_empty() || self.hours.iter().any(|hour| u32::from(*hour) == occurrence.hour());
            if occurrence >= local - CLOCK_CHANGE && in_hours {
                first = self.moments(occurrence).into_iter().flatten().filter(|found| *found > moment).chain(first).min();
            }
        }
        first
    }

    /// A start whole periods later, more than one before a local time: the rule goes on from there as from its own.
    fn start_near(&self, local: NaiveDateTime) -> NaiveDateTime {
        if self.counted || local <= self.start {
            return self.start;
        }
        match self.period {
            Period::Minutes(minutes) => {
                let periods = (local - self.start).num_minutes() / minutes - 1;
                self.start + TimeDelta::minutes(periods.max(0) * minutes)
            }
            Period::Months(months) => {
                let index = |time: NaiveDateTime| time.year() * 12 + i32::try_from(time.month0()).unwrap_or_default();
                let passed = u32::try_from(index(local) - index(self.start)).unwrap_or_default();
                let periods = (passed / months).saturating_sub(1);
                // A rule may take its day from the start, so the start keeps it.
                (periods.saturating_sub(MAX_MONTHS_BACK)..=periods)
                    .rev()
                    .filter_map(|periods| self.start.checked_add_months(Months::new(periods * months)))
                    .find(|start| start.day() == self.start.day())
                    .unwrap_or(self.start)
            }
        }
    }

    /// The moments of a local time. Where clocks skip it, it comes with the end of the gap, where they repeat it, at first;
    /// a rule of hours or minutes goes by the time that passes.
    fn moments(&self, local: NaiveDateTime) -> [Option<Timestamp>; 2] {
        let moment = |time: chrono::DateTime<Tz>| Some(Timestamp::from_millis(time.timestamp_millis()));
        let passes = matches!(self.period, Period::Minutes(minutes) if minutes % (24 * 60) != 0);
        match self.zone.from_local_datetime(&local) {
            MappedLocalTime::Single(time) => [moment(time), None],
            MappedLocalTime::Ambiguous(first, second) => [moment(first), moment(second).filter(|_| passes)],
            MappedLocalTime::None if passes => [None, None],
            MappedLocalTime::None => {
                let mut later = (1..=MAX_GAP_MINUTES).map(|minutes| local + TimeDelta::minutes(minutes));
                let end = later.find_map(|local| self.zone.from_local_datetime(&local).earliest());
                [end.and_then(moment), None]
            }
        }
    }
}

fn as_utc(local: NaiveDateTime) -> chrono::DateTime<rrule::Tz> {
    rrule::Tz::UTC.from_utc_datetime(&local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(rule: &str, from: &str, count: usize) -> Vec<String> {
        let mut moment: Timestamp = from.parse().unwrap();
        let rule = Recurrence::parse(rule, Tz::UTC, "2026-01-31T10:20:30Z".parse().unwrap()).unwrap();
        let next = || {
            moment = rule.after(moment)?;
            Some(moment.to_string().replace(":00.000Z", ""))
        };
        std::iter::from_fn(next).take(count).collect()
    }

    #[test]
    fn a_rule_without_a_start_counts_from_the_midnight_before() {
        assert_eq!(times("FREQ=MONTHLY;BYMONTHDAY=1", "2026-01-31T10:20:30Z", 2), ["2026-02-01T00:00", "2026-03-01T00:00"]);
        assert_eq!(times("RRULE:FREQ=MINUTELY;INTERVAL=40", "2026-01-31T10:20:30Z", 2), ["2026-01-31T10:40", "2026-01-31T11:20"]);
        assert_eq!(times("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;BYHOUR=9", "2026-02-01T00:00:00Z", 1), ["2026-02-27T09:00"]);
    }

    #[test]
    fn a_search_years_later_finds_what_a_walk_from_the_start_finds() {
        let rules = [
            "FREQ=MINUTELY;INTERVAL=7;BYMINUTE=3,10",
            "FREQ=HOURLY;INTERVAL=5",
            "FREQ=DAILY;INTERVAL=3;BYHOUR=7,19",
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=SU",
            "FREQ=WEEKLY;INTERVAL=3",
            "FREQ=MONTHLY;INTERVAL=5",
            "FREQ=MONTHLY",
            "FREQ=MONTHLY;INTERVAL=2;BYDAY=-1FR",
            "FREQ=YEARLY;INTERVAL=3",
            "FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO",
            "FREQ=YEARLY;BYYEARDAY=-1",
        ];
        for text in rules {
            let rule = Recurrence::parse(text, Tz::UTC, "2026-01-31T00:00:00Z".parse().unwrap()).unwrap();
            let walked = RRuleSet::new(as_utc(rule.start)).rrule(rule.rule.clone().validate(as_utc(rule.start)).unwrap());
            for from in ["2026-01-31T00:00:00Z", "2026-02-28T23:59:59Z", "2028-02-29T12:00:00Z", "2031-12-31T23:00:00Z"] {
                let from: Timestamp = from.parse().unwrap();
                let expected = (&walked).into_iter().find(|time| time.timestamp_millis() > from.millis());
                let expected = expected.map(|time| Timestamp::from_millis(time.timestamp_millis()));
                assert_eq!(rule.after(from), expected, "{text} after {from}");
            }
        }
    }

    #[test]
    fn a_rule_of_minutes_keeps_count_through_the_hours_it_skips() {
        let start: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        let rule = Recurrence::parse("FREQ=MINUTELY;INTERVAL=7;BYHOUR=5", Tz::UTC, start).unwrap();
        let mut moment = start;
        let mut expected = (1..).map(|step| start.plus_seconds(f64::from(step) * 420.0)).filter(|time| time.utc().hour() == 5);
        for _ in 0..60 {
            moment = rule.after(moment).unwrap();
            assert_eq!(Some(moment), expected.next());
        }
    }

    #[test]
    fn count_and_until_end_a_rule() {
        let counted = "DTSTART:20260105T090000\nRRULE:FREQ=WEEKLY;COUNT=3";
        assert_eq!(times(counted, "2026-01-06T00:00:00Z", 9), ["2026-01-12T09:00", "2026-01-19T09:00"]);
        assert_eq!(times("FREQ=DAILY;UNTIL=20260202", "2026-01-31T10:00:00Z", 9), ["2026-02-01T00:00", "2026-02-02T00:00"]);
        let berlin = chrono_tz::Europe::Berlin;
        let rule = Recurrence::parse("FREQ=HOURLY;UNTIL=20260201T000000Z", berlin, "2026-01-31T12:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(rule.after("2026-01-31T23:30:00Z".parse().unwrap()).unwrap().to_string(), "2026-02-01T00:00:00.000Z");
        assert_eq!(rule.after("2026-02-01T00:00:00Z".parse().unwrap()), None);
    }
}
