//! What the platform says of its limits: `RateLimit-Policy: "default";q=100;w=60` and `RateLimit: "default";r=50;t=30`.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderMap;

/// The longest window and wait that is believed.
const MAX_SECONDS: u32 = 86_400;

/// So many calls within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) calls: NonZeroU32,
    pub(super) window: Duration,
}

/// What an answer teaches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lesson {
    /// The strictest of the platform's policies.
    pub(super) policy: Option<Policy>,
    /// How long there are no calls left.
    pub(super) pause: Option<Duration>,
}

/// Reads the headers of an answer.
pub(super) fn read(headers: &HeaderMap) -> Lesson {
    let policies = items(headers, "ratelimit-policy").filter_map(|item| {
        let window = parameter(item, "w").filter(|seconds| (1..=MAX_SECONDS).contains(seconds))?;
        Some(Policy { calls: NonZeroU32::new(parameter(item, "q")?)?, window: Duration::from_secs(window.into()) })
    });
    let policy = policies.max_by_key(|policy| policy.window / policy.calls.get());
    let used_up = items(headers, "ratelimit").filter(|item| parameter(item, "r") == Some(0));
    let pause = used_up.filter_map(|item| parameter(item, "t")).max();
    Lesson { policy, pause: pause.map(|seconds| Duration::from_secs(seconds.min(MAX_SECONDS).into())) }
}

fn items<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','))
}

fn parameter(item: &str, name: &str) -> Option<u32> {
    item.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix(name)?.strip_prefix('=')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(headers: &[(&'static str, &str)]) -> Lesson {
        read(&headers.iter().map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())).collect())
    }

    #[test]
    fn the_strictest_policy_and_an_empty_allowance_are_read() {
        let policy = |calls, seconds| Policy { calls: NonZeroU32::new(calls).unwrap(), window: Duration::from_secs(seconds) };
        let taught =
            lesson(&[("RateLimit-Policy", "\"burst\";q=100;w=60, \"day\"; q=1000; w=86400"), ("RateLimit", "\"burst\";r=50;t=30")]);
        assert_eq!(taught, Lesson { policy: Some(policy(1000, 86_400)), pause: None });
        let empty = lesson(&[("RateLimit", "\"a\";r=0;t=7"), ("RateLimit", "\"b\";r=0;t=9, \"c\";r=3;t=99")]);
        assert_eq!(empty, Lesson { policy: None, pause: Some(Duration::from_secs(9)) });
        for nonsense in ["", "100", "\"a\";q=0;w=60", "\"a\";q=1;w=0", "\"a\";q=-1;w=60", "\"a\";w=60", "\"a\";q=1;w=99999999999"] {
            assert_eq!(lesson(&[("RateLimit-Policy", nonsense), ("RateLimit", nonsense)]), Lesson::default(), "{nonsense}");
        }
    }
}
