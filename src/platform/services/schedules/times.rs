//! The times of a schedule: cron or RRULE in an IANA time zone, over the changes of its clocks.

use std::str::FromStr as _;

use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::recurrence::Recurrence;
use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::near::near;
use crate::error::{Error, Kind, Result};

/// When a schedule is due.
#[derive(Debug)]
pub(crate) enum Times {
    /// Five fields of cron. A fixed time that the clocks skip comes when they have been put forward, one that they
    /// repeat comes once; `*` goes by the time that passes.
    Cron(Box<Cron>, Tz),
    /// An RRULE, which deals with the clocks in the same way.
    Rule(Box<Recurrence>),
}

impl Times {
    /// Reads an expression. An RRULE without DTSTART counts from the day of `anchor`.
    pub(crate) fn parse(expression: &str, zone: Tz, anchor: Timestamp) -> Result<Self> {
        let expression = expression.trim();
        let upper = expression.to_ascii_uppercase();
        if ["RRULE", "DTSTART", "FREQ", "INTERVAL", "BY"].iter().any(|word| upper.starts_with(word)) || upper.contains("FREQ=") {
            let rule = Recurrence::parse(&upper, zone, anchor).map_err(|fault| refused(expression, "rrule", fault))?;
            return Ok(Self::Rule(Box::new(rule)));
        }
        let fields = expression.split_whitespace().count();
        if !expression.starts_with('@') && fields != 5 {
            let fault = format!("has {fields} fields; a cron expression has five: minute, hour, day of month, month, day of week");
            return Err(refused(expression, "cron", fault));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|fault| refused(expression, "cron", format!("is not cron: {fault}")))?;
        Ok(Self::Cron(Box::new(cron), zone))
    }

    /// The first time after a moment. The search may take a second where there is none: not for an async thread.
    pub(crate) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron, zone) => {
                let next = cron.find_next_occurrence(&moment.utc().with_timezone(zone), false).ok()?;
                Some(Timestamp::from_millis(next.timestamp_millis()))
            }
            Self::Rule(rule) => rule.after(moment),
        }
    }

    /// The first time after a moment; refused where there is none.
    pub(crate) fn first_after(&self, moment: Timestamp) -> Result<Timestamp> {
        self.after(moment).ok_or_else(|| {
            Error::new(Kind::Invalid, "FM-SS-NEVER", "the schedule would never be due")
                .field("/cronExpression", "never", "names no time that is still to come")
                .hint("Check days that a month does not have, BY… parts that exclude each other, COUNT and UNTIL.")
        })
    }
}

/// The time zone of a name.
pub(super) fn zone(name: &str) -> Result<Tz> {
    Tz::from_str(name).map_err(|_| {
        let meant = near(name, TZ_VARIANTS.iter().map(|zone| zone.name()));
        let meant = if meant.is_empty() { String::new() } else { format!("; did you mean {}?", meant.join(", ")) };
        Error::new(Kind::Invalid, "FM-SS-TIMEZONE", format!("{} is not an IANA time zone", quote(name)))
            .field("/timezone", "timezone", format!("is not the name of a time zone{meant}"))
            .hint("Give a name such as America/New_York or Europe/Berlin, or leave it out for UTC.")
    })
}

fn refused(expression: &str, code: &'static str, fault: String) -> Error {
    Error::new(Kind::Invalid, "FM-SS-EXPRESSION", format!("{} is not a time that a schedule can have", quote(expression)))
        .field("/cronExpression", code, fault)
        .hint("Write cron such as `0 9 * * MON-FRI`, or an RRULE such as `FREQ=MONTHLY;BYMONTHDAY=1;BYHOUR=9`.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(expression: &str, name: &str, after: &str, count: usize) -> Vec<String> {
        let mut moment: Timestamp = after.parse().unwrap();
        let times = Times::parse(expression, zone(name).unwrap(), moment).unwrap();
        let next = || {
            moment = times.after(moment)?;
            Some(moment.to_string().replace(":00.000Z", ""))
        };
        std::iter::from_fn(next).take(count).collect()
    }

    #[test]
    fn a_cron_hour_follows_the_clocks_of_its_zone() {
        // Clocks of New York go forward on 2026-03-08 and back on 2026-11-01.
        let spring = times("0 9 * * *", "America/New_York", "2026-03-07T00:00:00Z", 3);
        assert_eq!(spring, ["2026-03-07T14:00", "2026-03-08T13:00", "2026-03-09T13:00"]);
        let autumn = times("0 9 * * *", "America/New_York", "2026-10-31T00:00:00Z", 3);
        assert_eq!(autumn, ["2026-10-31T13:00", "2026-11-01T14:00", "2026-11-02T14:00"]);
    }

    #[test]
    fn a_skipped_hour_comes_late_and_a_repeated_one_once() {
        for expression in ["30 2 * * *", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30"] {
            let spring = times(expression, "America/New_York", "2026-03-07T12:00:00Z", 2);
            assert_eq!(spring, ["2026-03-08T07:00", "2026-03-09T06:30"], "{expression}");
        }
        for expression in ["30 1 * * *", "FREQ=DAILY;BYHOUR=1;BYMINUTE=30"] {
            let autumn = times(expression, "America/New_York", "2026-10-31T12:00:00Z", 2);
            assert_eq!(autumn, ["2026-11-01T05:30", "2026-11-02T06:30"], "{expression}");
        }
    }

    #[test]
    fn every_half_hour_passes_through_both_changes_of_the_clocks() {
        for expression in ["*/30 * * * *", "FREQ=MINUTELY;INTERVAL=30"] {
            let spring = times(expression, "America/New_York", "2026-03-08T06:00:00Z", 4);
            assert_eq!(spring, ["2026-03-08T06:30", "2026-03-08T07:00", "2026-03-08T07:30", "2026-03-08T08:00"], "{expression}");
            let autumn = times(expression, "America/New_York", "2026-11-01T05:00:00Z", 5);
            let expected = ["2026-11-01T05:30", "2026-11-01T06:00", "2026-11-01T06:30", "2026-11-01T07:00", "2026-11-01T07:30"];
            assert_eq!(autumn, expected, "{expression}");
        }
    }

    #[test]
    fn an_expression_that_is_neither_is_refused() {
        let moment = Timestamp::from_millis(0);
        for neither in
            ["", "soon", "* * * *", "0 9 * * MON-FRI 2026", "0 0 9 * * *", "61 * * * *", "*/0 * * * *", "5-1 * * * *", "H * * * *"]
        {
            assert_eq!(Times::parse(neither, Tz::UTC, moment).unwrap_err().code(), "FM-SS-EXPRESSION", "{neither}");
        }
        for other in ["@every 5m", "@reboot", "0 0 * * 8", "ü * * * *", "0 9 * * MON@"] {
            assert_eq!(Times::parse(other, Tz::UTC, moment).unwrap_err().code(), "FM-SS-EXPRESSION", "{other}");
        }
        for known in ["@daily", "0 0 L * *", "0 0 * * FRI#2", "0,30 8-18/2 1,15 JAN-MAR ?"] {
            Times::parse(known, Tz::UTC, moment).unwrap();
        }
    }

    #[test]
    fn a_time_that_never_comes_is_refused() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for never in ["0 0 30 2 *", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=HOURLY;INTERVAL=24;BYHOUR=5", "FREQ=DAILY;UNTIL=20251231"]
        {
            let times = Times::parse(never, Tz::UTC, now).unwrap();
            assert_eq!(times.first_after(now).unwrap_err().code(), "FM-SS-NEVER", "{never}");
        }
    }

    #[test]
    fn a_wrong_zone_is_refused_with_the_near_ones() {
        for wrong in ["", "Mars/Olympus", "GMT+2", "EDT", "america/new_york", "UTC "] {
            assert_eq!(zone(wrong).unwrap_err().code(), "FM-SS-TIMEZONE", "{wrong}");
        }
        assert!(zone("Europe/Berlim").unwrap_err().to_string().contains("Europe/Berlin"));
    }
}
