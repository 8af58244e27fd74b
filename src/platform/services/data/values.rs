//! The type of one value, and the format of a text within its type.

use std::net::Ipv4Addr;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Timestamp;

/// The types that a field may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ValueType {
    Boolean,
    Integer,
    Number,
    Date,
    Timestamp,
    Array,
    Object,
    String,
}

impl ValueType {
    /// All types, the most specific first.
    pub(super) const ALL: [Self; 8] =
        [Self::Boolean, Self::Integer, Self::Number, Self::Date, Self::Timestamp, Self::Array, Self::Object, Self::String];

    /// The type's name in answers.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Array => "array",
            Self::Object => "object",
            Self::String => "string",
        }
    }

    /// The type of a name, as this service or a JSON Schema writes it.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The formats of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Email,
    Ipv4,
    Numeric,
    Phone,
    Uri,
    Uuid,
}

impl Format {
    /// All formats.
    pub(super) const ALL: [Self; 6] = [Self::Email, Self::Ipv4, Self::Numeric, Self::Phone, Self::Uri, Self::Uuid];

    /// The format's name in answers.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Ipv4 => "ipv4",
            Self::Numeric => "numeric",
            Self::Phone => "phone",
            Self::Uri => "uri",
            Self::Uuid => "uuid",
        }
    }
}

/// What one value is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Observed {
    /// The most specific type.
    pub(super) kind: ValueType,
    /// The format, of a text that has one.
    pub(super) format: Option<Format>,
    /// Whether the value came as text.
    pub(super) text: bool,
    /// Number, milliseconds since 1970, length of a text in characters or number of items, by the type.
    pub(super) measure: f64,
    /// Digits after the decimal point.
    pub(super) decimals: usize,
}

/// Reads a value; null and blank text are no value. In a source of text alone, such as CSV, text is read as number or boolean.
pub(super) fn observe(value: &Value, text_alone: bool) -> Option<Observed> {
    let seen = |kind, measure| Observed { kind, format: None, text: false, measure, decimals: 0 };
    match value {
        Value::Null => None,
        Value::Bool(_) => Some(seen(ValueType::Boolean, 0.0)),
        Value::Number(number) => {
            let measure = number.as_f64().unwrap_or_default();
            let kind = if number.is_f64() { ValueType::Number } else { ValueType::Integer };
            Some(Observed { decimals: decimals_of(&number.to_string()), ..seen(kind, measure) })
        }
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(observe_text(text.trim(), text_alone)),
        Value::Array(items) => Some(seen(ValueType::Array, length(items.len()))),
        Value::Object(_) => Some(seen(ValueType::Object, 0.0)),
    }
}

fn observe_text(text: &str, text_alone: bool) -> Observed {
    let of = |kind, measure| Observed { kind, format: None, text: true, measure, decimals: 0 };
    if let Some(millis) = timestamp_of(text) {
        return of(ValueType::Timestamp, millis);
    }
    if let Some(millis) = date_of(text) {
        return of(ValueType::Date, millis);
    }
    if text_alone {
        if is_numeric(text) {
            let kind = if text.contains('.') { ValueType::Number } else { ValueType::Integer };
            return Observed { decimals: decimals_of(text), ..of(kind, text.parse().unwrap_or_default()) };
        }
        if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
            return of(ValueType::Boolean, 0.0);
        }
    }
    Observed { format: format_of(text), ..of(ValueType::String, length(text.chars().count())) }
}

fn format_of(text: &str) -> Option<Format> {
    if uuid::Uuid::try_parse(text).is_ok() && text.contains('-') {
        Some(Format::Uuid)
    } else if is_email(text) {
        Some(Format::Email)
    } else if is_uri(text) {
        Some(Format::Uri)
    } else if text.parse::<Ipv4Addr>().is_ok() {
        Some(Format::Ipv4)
    } else if is_numeric(text) {
        Some(Format::Numeric)
    } else if is_phone(text) {
        Some(Format::Phone)
    } else {
        None
    }
}

/// Whether a text is an e-mail address with a host of at least two labels.
pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let label = |label: &str| !label.is_empty() && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-');
    !local.is_empty()
        && text.len() <= 254
        && !local.contains(|letter: char| letter.is_whitespace() || letter.is_control() || "@,;<>()".contains(letter))
        && host.contains('.')
        && host.split('.').all(label)
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    !rest.is_empty()
        && scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
        && !rest.contains(|letter: char| letter.is_whitespace() || letter.is_control())
}

/// Whether a text is a plain decimal number. A leading zero is part of a code, such as a postcode.
fn is_numeric(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 18 && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && (whole == "0" || !whole.starts_with('0'))
}

/// Whether a text is a telephone number: 7 to 15 digits with separators, and nine of them unless it begins as one: a date has eight.
fn is_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let allowed = |(place, letter): (usize, char)| letter.is_ascii_digit() || " -()/.".contains(letter) || (letter == '+' && place == 0);
    let least = if text.starts_with(['+', '(']) { 7 } else { 9 };
    (least..=15).contains(&digits) && digits < text.len() && text.char_indices().all(allowed) && !text.starts_with(['-', '.', '/'])
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of any date within ten thousand years fit 53 bits")]
fn timestamp_of(text: &str) -> Option<f64> {
    if !(16..=40).contains(&text.len()) {
        return None;
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.millis() as f64);
    }
    let plain = text.replacen(' ', "T", 1);
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(&plain, form).ok())
        .map(|time| time.and_utc().timestamp_millis() as f64)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of any date within ten thousand years fit 53 bits")]
fn date_of(text: &str) -> Option<f64> {
    if text.len() != 10 {
        return None;
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis() as f64)
}

fn decimals_of(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, fraction)| fraction.len().min(9))
}

/// A length as a measure.
#[expect(clippy::cast_precision_loss, reason = "lengths are below 2^53")]
pub(super) fn length(length: usize) -> f64 {
    length as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_has_the_most_specific_type_and_format() {
        for (value, kind, format) in [
            (json!(true), ValueType::Boolean, None),
            (json!(5), ValueType::Integer, None),
            (json!(5.25), ValueType::Number, None),
            (json!("2025-02-07"), ValueType::Date, None),
            (json!("2025-02-30"), ValueType::String, None),
            (json!("2025-02-07T10:00:00Z"), ValueType::Timestamp, None),
            (json!("2025-02-07 10:00"), ValueType::Timestamp, None),
            (json!("contact@acme.com"), ValueType::String, Some(Format::Email)),
            (json!("a b@acme.com"), ValueType::String, None),
            (json!("https://acme.com/x"), ValueType::String, Some(Format::Uri)),
            (json!("192.0.2.1"), ValueType::String, Some(Format::Ipv4)),
            (json!("+49 228 123456"), ValueType::String, Some(Format::Phone)),
            (json!("67e55044-10b1-426f-9247-bb680e5fe0c8"), ValueType::String, Some(Format::Uuid)),
            (json!("12.50"), ValueType::String, Some(Format::Numeric)),
            (json!("01234"), ValueType::String, None),
            (json!([1]), ValueType::Array, None),
        ] {
            let seen = observe(&value, false).unwrap();
            assert_eq!((seen.kind, seen.format), (kind, format), "{value}");
        }
        for absent in [json!(null), json!(""), json!("  ")] {
            assert!(observe(&absent, false).is_none(), "{absent}");
        }
    }

    #[test]
    fn text_is_read_as_a_number_where_all_is_text() {
        for (text, kind) in [
            ("5", ValueType::Integer),
            ("-5.25", ValueType::Number),
            ("TRUE", ValueType::Boolean),
            ("007", ValueType::String),
            ("1e5", ValueType::String),
        ] {
            assert_eq!(observe(&json!(text), true).unwrap().kind, kind, "{text}");
        }
        assert_eq!(observe(&json!("5.25"), true).unwrap().decimals, 2);
    }
}
