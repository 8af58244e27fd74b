//! The functions of expressions: sizes, texts, conversions and times.

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, TimeDelta, Timelike as _, Utc};

use super::budget::Meter;
use super::fault::Fault;
use super::operate::in_range;
use super::values::{Evaluated, Value, said_duration, said_number, said_time};

/// The functions that an expression can call, besides operators and comprehensions.
pub const FUNCTIONS: [&str; 24] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "type",
    "dyn",
    "timestamp",
    "duration",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

/// Calls a function, on a target (`'a'.size()`) or without (`size('a')`).
pub fn call<'a>(name: &str, target: Option<&Value<'a>>, arguments: &[Value<'a>], meter: &mut Meter<'_>) -> Evaluated<'a> {
    let given: Vec<&Value<'a>> = target.into_iter().chain(arguments).collect();
    // Whatever a function makes of a text, it may read all of it.
    for value in &given {
        if let Value::Text(text) = value {
            meter.text(text.len())?;
        }
    }
    let result = match (name, given.as_slice()) {
        ("size", [value]) => size(value),
        ("contains" | "startsWith" | "endsWith", [Value::Text(text), Value::Text(part)]) if target.is_some() => {
            let (text, part) = (text.as_str(), part.as_str());
            Some(Ok(Value::Bool(match name {
                "contains" => text.contains(part),
                "startsWith" => text.starts_with(part),
                _ => text.ends_with(part),
            })))
        }
        ("dyn", [value]) if target.is_none() => Some(Ok((*value).clone())),
        ("type", [value]) if target.is_none() => Some(Ok(Value::Type(value.type_name()))),
        ("int", [value]) if target.is_none() => whole(value),
        ("uint", [value]) if target.is_none() => whole(value).map(|whole| match whole? {
            Value::Whole(negative) if negative < 0 => {
                Err(Fault::new("EXPRESSION_FAILED", format!("uint() of {negative}, which is below 0")))
            }
            whole => Ok(whole),
        }),
        ("double", [value]) if target.is_none() => fraction(value),
        ("string", [value]) if target.is_none() => text(value, meter),
        ("bytes", [Value::Text(text)]) if target.is_none() => {
            meter.bytes(text.len())?;
            Some(Ok(Value::Bytes(text.as_str().as_bytes().into())))
        }
        ("bytes", [Value::Bytes(bytes)]) if target.is_none() => Some(Ok(Value::Bytes(bytes.clone()))),
        ("bool", [value]) if target.is_none() => boolean(value),
        ("timestamp", [value]) if target.is_none() => time(value),
        ("duration", [value]) if target.is_none() => duration(value),
        (_, [Value::Time(time)]) => part_of_time(name, time.fixed_offset()),
        (_, [Value::Time(time), Value::Text(zone)]) => match zone_of(zone.as_str()) {
            Some(zone) => part_of_time(name, time.with_timezone(&zone)),
            None => Some(Err(Fault::new(
                "EXPRESSION_FAILED",
                format!(
                    "{} is not a time zone that is known here; write UTC or an offset such as +02:00",
                    crate::api::arguments::quote(zone.as_str())
                ),
            ))),
        },
        (_, [Value::Duration(duration)]) => part_of_duration(name, *duration),
        _ => None,
    };
    result.unwrap_or_else(|| {
        let types: Vec<&str> = given.iter().map(|value| value.type_name()).collect();
        Err(Fault::new(
            "EXPRESSION_TYPE",
            format!("`{name}` is not defined for {}", if types.is_empty() { "nothing".to_owned() } else { types.join(", ") }),
        ))
    })
}

fn size<'a>(value: &Value<'a>) -> Option<Evaluated<'a>> {
    let size = match value {
        Value::Text(text) => text.as_str().chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Map(fields) => fields.len(),
        _ => return None,
    };
    Some(in_range(i128::try_from(size).ok()))
}

fn unreadable(function: &str, text: &str) -> Fault {
    Fault::new("EXPRESSION_FAILED", format!("{function}() cannot read {}", crate::api::arguments::quote(text)))
}

fn whole<'a>(value: &Value<'a>) -> Option<Evaluated<'a>> {
    Some(match value {
        Value::Whole(whole) => Ok(Value::Whole(*whole)),
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and the range is checked after it")]
        Value::Fraction(number) => in_range(number.is_finite().then(|| number.trunc() as i128)),
        Value::Text(text) => match text.as_str().parse::<i128>() {
            Ok(whole) => in_range(Some(whole)),
            Err(_) => Err(unreadable("int", text.as_str())),
        },
        Value::Time(time) => Ok(Value::Whole(time.timestamp().into())),
        _ => return None,
    })
}

fn fraction<'a>(value: &Value<'a>) -> Option<Evaluated<'a>> {
    match value {
        Value::Text(text) => Some(text.as_str().parse().map(Value::Fraction).map_err(|_| unreadable("double", text.as_str()))),
        value => super::operate::double(value).map(|number| Ok(Value::Fraction(number))),
    }
}

fn text<'a>(value: &Value<'a>, meter: &mut Meter<'_>) -> Option<Evaluated<'a>> {
    Some(Ok(Value::text(match value {
        Value::Text(_) => return Some(Ok(value.clone())),
        Value::Bool(flag) => flag.to_string(),
        Value::Whole(whole) => whole.to_string(),
        Value::Fraction(number) => said_number(*number),
        Value::Time(time) => said_time(time),
        Value::Duration(duration) => said_duration(*duration),
        Value::Bytes(bytes) => {
            if let Err(spent) = meter.bytes(bytes.len()) {
                return Some(Err(spent));
            }
            match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => return Some(Err(Fault::new("EXPRESSION_FAILED", "string() of bytes that are not UTF-8"))),
            }
        }
        _ => return None,
    })))
}

fn boolean<'a>(value: &Value<'a>) -> Option<Evaluated<'a>> {
    match value {
        Value::Bool(flag) => Some(Ok(Value::Bool(*flag))),
        Value::Text(text) => match text.as_str() {
            "true" | "True" | "TRUE" | "t" | "1" => Some(Ok(Value::Bool(true))),
            "false" | "False" | "FALSE" | "f" | "0" => Some(Ok(Value::Bool(false))),
            other => Some(Err(unreadable("bool", other))),
        },
        _ => None,
    }
}

/// A time of RFC 3339, a day, which begins at midnight UTC, or seconds since 1970.
fn time<'a>(value: &Value<'a>) -> Option<Evaluated<'a>> {
    let read = match value {
        Value::Time(time) => Some(*time),
        Value::Whole(seconds) => i64::try_from(*seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        Value::Text(text) => read_time(text.as_str()),
        _ => return None,
    };
    Some(read.map(Value::Time).ok_or_else(|| {
        let given = match value {
            Value::Text(text) => crate::api::arguments::quote(text.as_str()),
            _ => "that number".to_owned(),
        };
        Fault::new("EXPRESSION_FAILED", format!("timestamp() cannot read {given}; write a time such as 2026-01-31T09:00:00Z, or a day"))
    }))
}

/// A duration such as `1h30m`, `45s`, `-2.5h` or `PT1H`.
fn duration<'a>(value: &Value<'a>) -> Option<Evaluated<'a>> {
    match value {
        Value::Duration(duration) => Some(Ok(Value::Duration(*duration))),
        Value::Text(text) => Some(read_duration(text.as_str()).map(Value::Duration).ok_or_else(|| {
            Fault::new(
                "EXPRESSION_FAILED",
                format!("duration() cannot read {}; write such as 48h, 1h30m, 45s or P2DT12H", crate::api::arguments::quote(text.as_str())),
            )
        })),
        _ => None,
    }
}

/// A time of RFC 3339, or a day, which begins at midnight UTC.
pub fn read_time(text: &str) -> Option<DateTime<Utc>> {
    let day = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok().or_else(day)
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

/// UTC, or an offset such as `+02:00`.
fn zone_of(zone: &str) -> Option<FixedOffset> {
    if matches!(zone, "UTC" | "Z") {
        return FixedOffset::east_opt(0);
    }
    let (sign, rest) = match zone.as_bytes().first()? {
        b'-' => (-1, zone.get(1..)?),
        b'+' => (1, zone.get(1..)?),
        _ => (1, zone),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok().filter(|minutes| *minutes < 60)?);
    FixedOffset::east_opt(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
}

fn part_of_time<'a>(name: &str, time: DateTime<FixedOffset>) -> Option<Evaluated<'a>> {
    let part = match name {
        "getFullYear" => i128::from(time.year()),
        "getMonth" => time.month0().into(),
        "getDate" => time.day().into(),
        "getDayOfMonth" => time.day0().into(),
        "getDayOfWeek" => time.weekday().num_days_from_sunday().into(),
        "getDayOfYear" => time.ordinal0().into(),
        "getHours" => time.hour().into(),
        "getMinutes" => time.minute().into(),
        "getSeconds" => time.second().into(),
        "getMilliseconds" => time.timestamp_subsec_millis().into(),
        _ => return None,
    };
    Some(Ok(Value::Whole(part)))
}

fn part_of_duration<'a>(name: &str, duration: TimeDelta) -> Option<Evaluated<'a>> {
    let part = match name {
        "getHours" => duration.num_hours(),
        "getMinutes" => duration.num_minutes(),
        "getSeconds" => duration.num_seconds(),
        "getMilliseconds" => duration.num_milliseconds() % 1000,
        _ => return None,
    };
    Some(Ok(Value::Whole(part.into())))
}
