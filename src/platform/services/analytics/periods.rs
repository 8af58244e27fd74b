//! Hours, days and months of UTC, and a period as the fewest of them.

use chrono::{Datelike as _, Months, NaiveDate};

use crate::api::Timestamp;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// For how long values are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Level {
    Hour,
    Day,
    Month,
}

impl Level {
    pub(super) const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// The level of a name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The begin of the hour, day or month of a moment, in milliseconds.
    pub(super) fn begin(self, moment: i64) -> i64 {
        match self {
            Self::Hour => moment - moment.rem_euclid(HOUR),
            Self::Day => moment - moment.rem_euclid(DAY),
            Self::Month => month_begin(moment, 0).unwrap_or_else(|| Self::Day.begin(moment)),
        }
    }

    /// The begin of the next one.
    pub(super) fn next(self, begin: i64) -> i64 {
        match self {
            Self::Hour => begin.saturating_add(HOUR),
            Self::Day => begin.saturating_add(DAY),
            Self::Month => month_begin(begin, 1).unwrap_or_else(|| begin.saturating_add(DAY)),
        }
    }

    /// The moment itself where one begins with it, else the begin of the next one.
    pub(super) fn ceiling(self, moment: i64) -> i64 {
        let begin = self.begin(moment);
        if begin == moment { moment } else { self.next(begin) }
    }
}

fn month_begin(moment: i64, later: u32) -> Option<i64> {
    let day = Timestamp::from_millis(moment).utc().date_naive();
    let first = NaiveDate::from_ymd_opt(day.year(), day.month(), 1)?.checked_add_months(Months::new(later))?;
    Some(first.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

/// A run of whole hours, days or months: from the first begin, before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) level: Level,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// A period of whole hours as at most five segments, the largest levels inside.
pub(super) fn segments(from: i64, to: i64) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(5);
    split(Level::Month, from, to, &mut segments);
    segments
}

fn split(level: Level, from: i64, to: i64, segments: &mut Vec<Segment>) {
    if from >= to {
        return;
    }
    let smaller = match level {
        Level::Hour => return segments.push(Segment { level, from, to }),
        Level::Day => Level::Hour,
        Level::Month => Level::Day,
    };
    let (first, last) = (level.ceiling(from), level.begin(to));
    if first >= last {
        return split(smaller, from, to, segments);
    }
    split(smaller, from, first, segments);
    segments.push(Segment { level, from: first, to: last });
    split(smaller, last, to, segments);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(from: &str, to: &str) -> Vec<(&'static str, String, String)> {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().millis();
        let text = |millis| Timestamp::from_millis(millis).to_string()[..13].to_owned();
        segments(at(from), at(to)).into_iter().map(|part| (part.level.name(), text(part.from), text(part.to))).collect()
    }

    #[test]
    fn a_period_is_split_into_its_months_days_and_hours() {
        let part = |level, from: &str, to: &str| (level, from.to_owned(), to.to_owned());
        assert_eq!(
            parts("2025-01-30T22:00:00Z", "2025-04-02T01:00:00Z"),
            [
                part("hour", "2025-01-30T22", "2025-01-31T00"),
                part("day", "2025-01-31T00", "2025-02-01T00"),
                part("month", "2025-02-01T00", "2025-04-01T00"),
                part("day", "2025-04-01T00", "2025-04-02T00"),
                part("hour", "2025-04-02T00", "2025-04-02T01"),
            ]
        );
        assert_eq!(parts("2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z"), [part("month", "2025-02-01T00", "2025-03-01T00")]);
        assert_eq!(parts("2025-02-01T05:00:00Z", "2025-02-01T07:00:00Z"), [part("hour", "2025-02-01T05", "2025-02-01T07")]);
        assert_eq!(parts("2025-02-01T05:00:00Z", "2025-02-01T05:00:00Z"), []);
    }

    #[test]
    fn months_begin_on_their_first_even_before_1970() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().millis();
        assert_eq!(Level::Month.begin(at("1969-12-31T23:59:59Z")), at("1969-12-01T00:00:00Z"));
        assert_eq!(Level::Month.next(at("2024-12-01T00:00:00Z")), at("2025-01-01T00:00:00Z"));
        assert_eq!(Level::Hour.ceiling(at("2025-02-07T23:59:59Z")), at("2025-02-08T00:00:00Z"));
    }
}
