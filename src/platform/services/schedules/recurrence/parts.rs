//! The parts of an RRULE, each held to the RFC and to what a schedule of minutes can do.

use std::str::FromStr;

use chrono::{Month, NaiveDate, NaiveDateTime, NaiveTime, Weekday};
use chrono_tz::Tz;
use rrule::{Frequency, NWeekday, RRule, Unvalidated};

/// Most periods between two times.
const MAX_INTERVAL: i64 = 1_000;
/// Most occurrences of a counted rule: each search walks them all.
const MAX_COUNT: i64 = 10_000;
/// Most times of a day for a rule of days, weeks, months or years.
const MAX_PER_DAY: usize = 96;

/// After how long a rule repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    /// So many minutes.
    Minutes(i64),
    /// So many months.
    Months(u32),
}

/// A rule that was read.
#[derive(Debug)]
pub(super) struct Parts {
    /// All but DTSTART and UNTIL.
    pub(super) rule: RRule<Unvalidated>,
    /// DTSTART, local.
    pub(super) start: Option<NaiveDateTime>,
    /// UNTIL, local.
    pub(super) until: Option<NaiveDateTime>,
    /// Interval and frequency.
    pub(super) period: Period,
    /// Whether there is a COUNT.
    pub(super) count: bool,
    /// BYHOUR of a rule of minutes, which is not in `rule`: the crate loses count of the minutes where it skips hours.
    pub(super) hours: Vec<u8>,
}

impl Parts {
    /// Reads an optional line DTSTART and a rule, in capitals.
    pub(super) fn parse(text: &str, zone: Tz) -> Result<Self, String> {
        let mut start = None;
        let mut rule = None;
        for line in text.split_whitespace() {
            if let Some(given) = line.strip_prefix("DTSTART") {
                let given = given.strip_prefix(':').ok_or("DTSTART takes no parameters; the time zone is the field timezone")?;
                let read =
                    local_time(given).ok_or_else(|| format!("DTSTART:{given} is not a local time such as DTSTART:20260901T090000"))?;
                if start.replace(read).is_some() {
                    return Err("DTSTART stands twice".to_owned());
                }
            } else if rule.replace(line.strip_prefix("RRULE:").unwrap_or(line)).is_some() {
                return Err(format!("{line} is too much: there is one DTSTART and one RRULE"));
            }
        }
        Self::of_rule(rule.ok_or("has no RRULE")?, start, zone)
    }

    fn of_rule(text: &str, start: Option<NaiveDateTime>, zone: Tz) -> Result<Self, String> {
        let mut parts: Vec<(&str, &str)> = Vec::new();
        for part in text.split(';') {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not NAME=VALUE"))?;
            if parts.iter().any(|(known, _)| *known == name) {
                return Err(format!("{name} stands twice"));
            }
            parts.push((name, value));
        }
        let value = |name: &str| parts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let frequency = frequency(value("FREQ").ok_or("FREQ is missing")?)?;
        if value("COUNT").is_some() && value("UNTIL").is_some() {
            return Err("COUNT and UNTIL exclude each other".to_owned());
        }
        let mut rule = RRule::new(frequency);
        let mut until = None;
        for (name, value) in &parts {
            rule = match *name {
                "FREQ" => rule,
                "UNTIL" => {
                    until = Some(end(value, zone).ok_or_else(|| format!("UNTIL={value} is not a day or a time such as 20261231T180000Z"))?);
                    rule
                }
                name => with(rule, name, value, frequency)?,
            };
        }
        let per_day = rule.get_by_hour().len().max(1) * rule.get_by_minute().len().max(1);
        let of_days = !matches!(frequency, Frequency::Hourly | Frequency::Minutely);
        if of_days && per_day > MAX_PER_DAY {
            return Err(format!(
                "BYHOUR and BYMINUTE make {per_day} times a day, at most {MAX_PER_DAY} are offered; take HOURLY or MINUTELY"
            ));
        }
        let mut hours = Vec::new();
        if frequency == Frequency::Minutely && !rule.get_by_hour().is_empty() {
            if value("COUNT").is_some() {
                return Err("COUNT is not offered with MINUTELY and BYHOUR".to_owned());
            }
            hours = rule.get_by_hour().to_vec();
            rule = rule.by_hour(Vec::new());
        }
        let interval = i64::from(rule.get_interval());
        let months = |months: u32| Period::Months(months * u32::from(rule.get_interval()));
        let period = match frequency {
            Frequency::Yearly => months(12),
            Frequency::Monthly => months(1),
            Frequency::Weekly => Period::Minutes(7 * 24 * 60 * interval),
            Frequency::Daily => Period::Minutes(24 * 60 * interval),
            Frequency::Hourly => Period::Minutes(60 * interval),
            Frequency::Minutely | Frequency::Secondly => Period::Minutes(interval),
        };
        Ok(Self { count: value("COUNT").is_some(), rule, start, until, period, hours })
    }
}

/// The rule with one part more.
fn with(rule: RRule<Unvalidated>, name: &str, value: &str, frequency: Frequency) -> Result<RRule<Unvalidated>, String> {
    let of_months = matches!(frequency, Frequency::Monthly | Frequency::Yearly);
    let of_times = matches!(frequency, Frequency::Hourly | Frequency::Minutely);
    Ok(match name {
        "INTERVAL" => rule.interval(number(name, value, 1, MAX_INTERVAL, false)?),
        "COUNT" => rule.count(number(name, value, 1, MAX_COUNT, false)?),
        "WKST" => rule.week_start(weekday(value).ok_or_else(|| format!("WKST={value} is not a day such as MO"))?),
        "BYMONTH" => {
            let months = numbers::<u8>(name, value, 1, 12, false)?;
            rule.by_month(&months.into_iter().filter_map(|month| Month::try_from(month).ok()).collect::<Vec<_>>())
        }
        "BYMONTHDAY" => rule.by_month_day(numbers(name, value, 1, 31, true)?),
        "BYYEARDAY" => rule.by_year_day(numbers(name, value, 1, 366, true)?),
        "BYWEEKNO" => rule.by_week_no(numbers(name, value, 1, 53, true)?),
        "BYHOUR" => rule.by_hour(numbers(name, value, 0, 23, false)?),
        "BYMINUTE" => rule.by_minute(numbers(name, value, 0, 59, false)?),
        // Of hours and minutes the crate searches without end.
        "BYSETPOS" if !of_times => rule.by_set_pos(numbers(name, value, 1, 366, true)?),
        "BYSETPOS" => return Err("BYSETPOS is not offered with HOURLY and MINUTELY".to_owned()),
        "BYDAY" => rule.by_weekday(value.split(',').map(|day| by_day(day, of_months)).collect::<Result<_, _>>()?),
        "BYSECOND" => return Err("BYSECOND is not offered: schedules go by whole minutes".to_owned()),
        unknown => return Err(format!("{unknown} is not a part of an RRULE")),
    })
}

fn frequency(value: &str) -> Result<Frequency, String> {
    match value {
        "YEARLY" => Ok(Frequency::Yearly),
        "MONTHLY" => Ok(Frequency::Monthly),
        "WEEKLY" => Ok(Frequency::Weekly),
        "DAILY" => Ok(Frequency::Daily),
        "HOURLY" => Ok(Frequency::Hourly),
        "MINUTELY" => Ok(Frequency::Minutely),
        other => Err(format!("FREQ={other} is not offered; there are YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY and MINUTELY")),
    }
}

/// A number in a range; where `signed`, counted from the end too.
fn number<T: TryFrom<i64>>(name: &str, value: &str, least: i64, most: i64, signed: bool) -> Result<T, String> {
    let range = if signed { format!("{least} to {most} or -{most} to -{least}") } else { format!("{least} to {most}") };
    let fits = |number: &i64| (least..=most).contains(number) || (signed && (least..=most).contains(&-number));
    let digits = value.strip_prefix(['+', '-']).filter(|_| signed).unwrap_or(value);
    let plain = !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = i64::from_str(value).ok().filter(|_| plain).filter(fits).and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{name} takes numbers from {range}, not `{value}`"))
}

fn numbers<T: TryFrom<i64>>(name: &str, value: &str, least: i64, most: i64, signed: bool) -> Result<Vec<T>, String> {
    value.split(',').map(|value| number(name, value, least, most, signed)).collect()
}

fn by_day(text: &str, of_months: bool) -> Result<NWeekday, String> {
    let fault = || format!("BYDAY takes days such as MO or, with MONTHLY and YEARLY, 1MO and -1FR, not `{text}`");
    let (ordinal, day) = text.split_at_checked(text.len().saturating_sub(2)).ok_or_else(fault)?;
    let day = weekday(day).ok_or_else(fault)?;
    if ordinal.is_empty() {
        return Ok(NWeekday::Every(day));
    }
    // With other frequencies the crate takes an ordinal for every day.
    let nth = number("BYDAY", ordinal, 1, 53, true).map_err(|_| fault())?;
    if of_months { Ok(NWeekday::Nth(nth, day)) } else { Err(fault()) }
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text {
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        "SU" => Weekday::Sun,
        _ => return None,
    })
}

/// `20260901T090000`.
fn local_time(text: &str) -> Option<NaiveDateTime> {
    (text.len() == 15).then(|| NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S").ok()).flatten()
}

/// The last local time: a whole day, a local time, or one in UTC.
fn end(text: &str, zone: Tz) -> Option<NaiveDateTime> {
    if let Some(utc) = text.strip_suffix('Z') {
        return Some(local_time(utc)?.and_utc().with_timezone(&zone).naive_local());
    }
    if text.len() == 8 {
        return NaiveDate::parse_from_str(text, "%Y%m%d")
            .ok()?
            .succ_opt()?
            .and_time(NaiveTime::MIN)
            .checked_sub_signed(chrono::TimeDelta::seconds(1));
    }
    local_time(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rfc_does_not_know_is_refused_by_its_part() {
        for (rule, part) in [
            ("FREQ=SECONDLY", "FREQ"),
            ("FREQ=OFTEN", "FREQ"),
            ("INTERVAL=2", "FREQ"),
            ("FREQ=DAILY;FREQ=DAILY", "twice"),
            ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
            ("FREQ=DAILY;INTERVAL=1001", "INTERVAL"),
            ("FREQ=DAILY;COUNT=-1", "COUNT"),
            ("FREQ=DAILY;BYHOUR=24", "BYHOUR"),
            ("FREQ=DAILY;BYHOUR=", "BYHOUR"),
            ("FREQ=DAILY;BYMINUTE=1,,2", "BYMINUTE"),
            ("FREQ=DAILY;BYSECOND=5", "BYSECOND"),
            ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
            ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY"),
            ("FREQ=WEEKLY;BYDAY=XMO", "BYDAY"),
            ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY"),
            ("FREQ=DAILY;BYDAY=ü", "BYDAY"),
            ("FREQ=DAILY;BYDAY=", "BYDAY"),
            ("FREQ=DAILY;BYEASTER=1", "BYEASTER"),
            ("FREQ=DAILY;UNTIL=TOMORROW", "UNTIL"),
            ("FREQ=DAILY;UNTIL=20261301", "UNTIL"),
            ("FREQ=DAILY;COUNT=1;UNTIL=20270101", "COUNT"),
            ("FREQ=MINUTELY;BYSETPOS=2;BYMINUTE=1", "BYSETPOS"),
            ("FREQ=MINUTELY;COUNT=3;BYHOUR=1", "COUNT"),
            ("FREQ=DAILY;", "NAME=VALUE"),
            ("DTSTART:SOON FREQ=DAILY", "DTSTART"),
            ("DTSTART;TZID=Europe/Berlin:20260101T000000 FREQ=DAILY", "DTSTART"),
            ("DTSTART:20260101T000000Z FREQ=DAILY", "DTSTART"),
            ("DTSTART:20260101T000000", "RRULE"),
            ("FREQ=DAILY FREQ=DAILY", "too much"),
            ("FREQ=DAILY EXDATE:20260101T000000", "too much"),
        ] {
            let fault = Parts::parse(rule, Tz::UTC).unwrap_err();
            assert!(fault.contains(part), "{rule}: {fault}");
        }
    }

    #[test]
    fn a_crowded_day_is_refused() {
        let list = |most: u8| (0..most).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let rule = format!("FREQ=DAILY;BYHOUR={};BYMINUTE={}", list(24), list(5));
        assert!(Parts::parse(&rule, Tz::UTC).unwrap_err().contains("120 times a day"));
        Parts::parse(&rule.replace("DAILY", "HOURLY"), Tz::UTC).unwrap();
    }
}
