//! Times and durations as people write them, and the time zones in which days begin.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// Where a day begins: a zone of IANA's list, or an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Such as `Europe/Berlin`.
    Named(Tz),
    /// Such as `+02:00`.
    Offset(FixedOffset),
}

impl Zone {
    /// The zone of a name such as `Europe/Berlin` or `UTC`, or of an offset such as `+02:00`.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        if name == "Z" {
            return Some(Self::Named(Tz::UTC));
        }
        name.parse().map(Self::Named).ok().or_else(|| offset(name).map(Self::Offset))
    }

    /// A moment as the clocks there show it.
    #[must_use]
    pub fn there(self, time: DateTime<Utc>) -> DateTime<FixedOffset> {
        match self {
            Self::Named(zone) => time.with_timezone(&zone).fixed_offset(),
            Self::Offset(offset) => time.with_timezone(&offset),
        }
    }

    /// The moment at which the clocks there show a time first; where they skip it, the moment after.
    fn moment(self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let at = |local: NaiveDateTime| match self {
            Self::Named(zone) => zone.from_local_datetime(&local).earliest().map(|time| time.to_utc()),
            Self::Offset(offset) => offset.from_local_datetime(&local).earliest().map(|time| time.to_utc()),
        };
        // Clocks were put forward by a day at most, and by quarters of an hour.
        (0..=96).find_map(|quarters| at(local.checked_add_signed(TimeDelta::minutes(15 * quarters))?))
    }
}

fn offset(zone: &str) -> Option<FixedOffset> {
    let (sign, rest) = match zone.as_bytes().first()? {
        b'-' => (-1, zone.get(1..)?),
        b'+' => (1, zone.get(1..)?),
        _ => (1, zone),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok().filter(|minutes| *minutes < 60)?);
    FixedOffset::east_opt(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
}

/// A time of RFC 3339, or a day, which begins at midnight in a zone, or in UTC. Where a zone is named, also a time without an
/// offset.
#[must_use]
pub fn read_time(text: &str, zone: Option<Zone>) -> Option<DateTime<Utc>> {
    let midnight = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN));
    let local = || ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"].iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let without_offset = || match zone {
        None => Zone::Named(Tz::UTC).moment(midnight()?),
        Some(zone) => zone.moment(midnight().or_else(local)?),
    };
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok().or_else(without_offset)
}

/// A duration such as `1h30m`, or one of ISO 8601 such as `P1DT12H`. Months and years have no length of their own.
pub fn read_duration(text: &str) -> Option<TimeDelta> {
    const CEL: &[(&str, f64)] = &[("h", 3600e9), ("m", 60e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3), ("µs", 1e3), ("ns", 1.0)];
    const DAYS: &[(&str, f64)] = &[("W", 7.0 * 86_400e9), ("D", 86_400e9)];
    const TIMES: &[(&str, f64)] = &[("H", 3600e9), ("M", 60e9), ("S", 1e9)];
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let nanos = match rest.strip_prefix('P') {
        Some(iso) => {
            let (days, times) = iso.split_once('T').map_or((iso, None), |(days, times)| (days, Some(times)));
            let days = if days.is_empty() && times.is_some() { 0.0 } else { sum_of(days, DAYS)? };
            days + times.map_or(Some(0.0), |times| sum_of(times, TIMES))?
        }
        None if rest == "0" => 0.0,
        None => sum_of(rest, CEL)?,
    };
    #[expect(clippy::cast_possible_truncation, reason = "the bound is checked before")]
    let nanos = (nanos < 9.2e18).then_some(nanos.round() as i64)?;
    Some(TimeDelta::nanoseconds(if negative { -nanos } else { nanos }))
}

/// The sum of numbers with units, at least one.
fn sum_of(mut rest: &str, units: &[(&str, f64)]) -> Option<f64> {
    let mut sum = 0.0;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|digits| *digits > 0)?;
        let (number, behind) = rest.split_at(digits);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        sum += number.parse::<f64>().ok()? * units.iter().find(|(known, _)| *known == unit)?.1;
        if behind.is_empty() {
            return Some(sum);
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, zone: Option<&str>) -> Option<String> {
        read_time(text, zone.map(|zone| Zone::read(zone).unwrap())).map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    }

    #[test]
    fn a_day_begins_where_its_zone_is() {
        for (text, zone, moment) in [
            ("2026-03-29", None, Some("2026-03-29T00:00:00Z")),
            ("2026-03-29", Some("Europe/Berlin"), Some("2026-03-28T23:00:00Z")),
            ("2026-07-01", Some("Europe/Berlin"), Some("2026-06-30T22:00:00Z")),
            ("2026-07-01", Some("-05:00"), Some("2026-07-01T05:00:00Z")),
            ("2026-07-01T09:30", Some("America/New_York"), Some("2026-07-01T13:30:00Z")),
            ("2026-07-01T09:30:15", Some("UTC"), Some("2026-07-01T09:30:15Z")),
            // Said with an offset of its own.
            ("2026-07-01T09:30:00+02:00", Some("America/New_York"), Some("2026-07-01T07:30:00Z")),
            ("2026-07-01T09:30", None, None),
            ("2026-02-30", Some("UTC"), None),
            // The clocks skip half past two, and show it twice.
            ("2026-03-29T02:30", Some("Europe/Berlin"), Some("2026-03-29T01:00:00Z")),
            ("2026-10-25T02:30", Some("Europe/Berlin"), Some("2026-10-25T00:30:00Z")),
            // A midnight, and a whole day, that there were not.
            ("2018-11-04", Some("America/Sao_Paulo"), Some("2018-11-04T03:00:00Z")),
            ("2011-12-30", Some("Pacific/Apia"), Some("2011-12-30T10:00:00Z")),
        ] {
            assert_eq!(said(text, zone).as_deref(), moment, "{text} {zone:?}");
        }
    }

    #[test]
    fn zones_are_names_and_offsets() {
        for zone in ["UTC", "Z", "Europe/Berlin", "+02:00", "-05:30", "02:00"] {
            assert!(Zone::read(zone).is_some(), "{zone}");
        }
        for zone in ["", "Mars/Olympus", "+2", "+99:00", "+02:60", "CEST!"] {
            assert!(Zone::read(zone).is_none(), "{zone}");
        }
    }
}
