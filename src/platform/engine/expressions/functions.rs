//! The functions of expressions: sizes, texts, conversions and times.

use chrono::{DateTime, Datelike as _, FixedOffset, TimeDelta, Timelike as _};

use super::budget::Meter;
use super::fault::Fault;
use super::operate::in_range;
use super::times::{Zone, read_duration, read_time};
use super::values::{Evaluated, Value, said_duration, said_number, said_time};
use crate::api::arguments::quote;

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
        ("timestamp", [value]) if target.is_none() => time(value, None),
        ("timestamp", [value @ Value::Text(_), Value::Text(zone)]) if target.is_none() => match Zone::read(zone.as_str()) {
            Some(zone) => time(value, Some(zone)),
            None => Some(Err(unknown_zone(zone.as_str()))),
        },
        ("duration", [value]) if target.is_none() => duration(value),
        (_, [Value::Time(time)]) => part_of_time(name, time.fixed_offset()),
        (_, [Value::Time(time), Value::Text(zone)]) => match Zone::read(zone.as_str()) {
            Some(zone) => part_of_time(name, zone.there(*time)),
            None => Some(Err(unknown_zone(zone.as_str()))),
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

fn unknown_zone(zone: &str) -> Fault {
    Fault::new(
        "EXPRESSION_FAILED",
        format!("{} is not a time zone; write one such as Europe/Berlin, UTC, or an offset such as +02:00", quote(zone)),
    )
}

fn unreadable(function: &str, text: &str) -> Fault {
    Fault::new("EXPRESSION_FAILED", format!("{function}() cannot read {}", quote(text)))
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
fn time<'a>(value: &Value<'a>, zone: Option<Zone>) -> Option<Evaluated<'a>> {
    let read = match value {
        Value::Time(time) => Some(*time),
        Value::Whole(seconds) => i64::try_from(*seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        Value::Text(text) => read_time(text.as_str(), zone),
        _ => return None,
    };
    Some(read.map(Value::Time).ok_or_else(|| {
        let given = match value {
            Value::Text(text) => quote(text.as_str()),
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
                format!("duration() cannot read {}; write such as 48h, 1h30m, 45s or P2DT12H", quote(text.as_str())),
            )
        })),
        _ => None,
    }
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
