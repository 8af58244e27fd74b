//! Points in time as the contract writes them: RFC 3339, UTC, milliseconds.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time with the precision of a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The system's time. Code that must be testable takes a clock instead.
    ///
    /// Chrono's own panics where the system's clock stands before 1970.
    #[must_use]
    pub fn now() -> Self {
        let millis = |since: Duration| i64::try_from(since.as_millis()).unwrap_or_default();
        Self::from_millis(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        })
    }

    /// From milliseconds since 1970; what is out of range becomes 1970.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(Utc.timestamp_millis_opt(millis).single().unwrap_or(DateTime::UNIX_EPOCH))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// The same moment as chrono has it.
    #[must_use]
    pub const fn utc(self) -> DateTime<Utc> {
        self.0
    }

    /// So many seconds later, or earlier when negative.
    #[must_use]
    pub fn plus_seconds(self, seconds: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a float casts saturating, and milliseconds are precise enough")]
        let millis = (seconds * 1000.0) as i64;
        let delta = TimeDelta::try_milliseconds(millis);
        Self(delta.and_then(|delta| self.0.checked_add_signed(delta)).unwrap_or(self.0))
    }

    /// Seconds from an earlier moment to this one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "durations of a process fit a float")]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.millis() - earlier.millis()) as f64 / 1000.0
    }
}

impl std::str::FromStr for Timestamp {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DateTime::parse_from_rfc3339(text).map(|time| Self::from_millis(time.timestamp_millis()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom(format!("`{text}` is not an RFC 3339 time such as 2025-02-07T10:00:00Z")))
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_seconds_is_too_many() {
        let time = Timestamp::from_millis(-5);
        for seconds in [f64::MIN, f64::MAX, f64::NAN, f64::INFINITY, -1e15] {
            assert_eq!(time.plus_seconds(seconds), time, "{seconds}");
        }
        assert_eq!(time.plus_seconds(0.005).millis(), 0);
    }

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        let time: Timestamp = "2025-02-07T11:00:00+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2025-02-07T10:00:00.000Z");
        assert_eq!(time.plus_seconds(1.5).to_string(), "2025-02-07T10:00:01.500Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
