//! How many calls of a tenant a route takes in a window, as the contract's configuration of the gateway writes it: `100/min`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::PREFIXES;
use crate::api::arguments::quote;
use crate::api::ids::TenantId;
use crate::api::{Spec, catalogue};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::windows::Windows;

/// Most calls of a window.
const MAX_CALLS: u32 = 1_000_000;
/// Windows by their names.
const LENGTHS: [(&str, u64); 4] = [("sec", 1), ("min", 60), ("hour", 3_600), ("day", 86_400)];

/// The limit of a route and of those below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLimit {
    /// The route, such as `/api/processes`.
    pub path: String,
    /// The calls of a tenant in a time, such as `100/min`.
    pub limit: String,
}

/// A limit as it was read.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    path: String,
    calls: u32,
    window: Duration,
}

impl RouteLimit {
    fn read(&self) -> Result<Limit> {
        let wrong = |field: &str, detail: &str| {
            let message = format!("the limit {} of {} cannot be read", quote(&self.limit), quote(&self.path));
            Error::new(Kind::Invalid, "FM-AGS-ROUTE-LIMIT", message).field(format!("/{field}"), "format", detail)
        };
        let bare = PREFIXES.iter().rev().find_map(|prefix| self.path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')));
        let path = bare.map_or("", |bare| bare.trim_end_matches('/')).to_owned();
        if path.is_empty() || !catalogue().iter().any(|entry| is_below(entry.spec.path, &path)) {
            return Err(wrong("path", "is not the beginning of a route, such as /api/processes"));
        }
        let read = self.limit.split_once('/').and_then(|(calls, name)| {
            let calls = calls.parse().ok().filter(|calls| (1..=MAX_CALLS).contains(calls))?;
            let (_, seconds) = LENGTHS.iter().find(|(known, _)| *known == name)?;
            Some((calls, Duration::from_secs(*seconds)))
        });
        let (calls, window) = read.ok_or_else(|| wrong("limit", "is a number of calls by sec, min, hour or day, such as 100/min"))?;
        Ok(Limit { path, calls, window })
    }
}

/// Whether a route is a path or below it, segment by segment.
fn is_below(route: &str, path: &str) -> bool {
    route.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The limits, and what each tenant has used of them.
#[derive(Debug)]
pub(crate) struct Limits {
    limits: Vec<Limit>,
    windows: Windows<(TenantId, usize)>,
}

impl Limits {
    /// Reads the limits.
    ///
    /// # Errors
    /// A path leads to no operation, or a limit is not written as one.
    pub(crate) fn new(limits: &[RouteLimit]) -> Result<Self> {
        Ok(Self { limits: limits.iter().map(RouteLimit::read).collect::<Result<_>>()?, windows: Windows::default() })
    }

    /// The limit of a route: that of the longest path.
    fn of(&self, spec: &Spec) -> Option<(usize, &Limit)> {
        let fitting = self.limits.iter().enumerate().filter(|(_, limit)| is_below(spec.path, &limit.path));
        fitting.max_by_key(|(_, limit)| limit.path.len())
    }
}

/// Counts a call of a tenant, or rejects it; `said` takes what the answer says of the limit.
pub(super) fn count(platform: &Platform, spec: &Spec, tenant: &TenantId, said: &mut HeaderMap) -> Result<()> {
    let limits = platform.route_limits();
    let Some((place, limit)) = limits.of(spec) else { return Ok(()) };
    let counted = limits.windows.count((tenant.clone(), place), limit.calls, limit.window, platform.now());
    let (calls, time) = counted.map_or_else(|wait| (0, wait), |left| (left.calls, left.time));
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let mut say = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            said.insert(HeaderName::from_static(name), value);
        }
    };
    say("ratelimit-policy", format!("\"{}\";q={};w={}", limit.path, limit.calls, limit.window.as_secs()));
    say("ratelimit", format!("\"{}\";r={calls};t={seconds}", limit.path));
    counted.map(drop).map_err(|wait| {
        let message = format!("{} takes {} calls of a tenant in {} seconds", limit.path, limit.calls, limit.window.as_secs());
        Error::new(Kind::RateLimited, "FM-AGS-RATE-LIMITED", message).hint("Wait, then try again.").retry_after(wait)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(path: &str, limit: &str) -> RouteLimit {
        RouteLimit { path: path.to_owned(), limit: limit.to_owned() }
    }

    #[test]
    fn limits_are_read_as_the_contract_writes_them() {
        let read = limit("/api/processes", "100/min").read().unwrap();
        assert_eq!(read, Limit { path: "/processes".to_owned(), calls: 100, window: Duration::from_mins(1) });
        for (path, calls) in [("/processes/designs", "1/sec"), ("/api/v1/tasks/", "5/hour"), ("/v1/executions", "1000/day")] {
            limit(path, calls).read().unwrap();
        }
        for (path, calls, pointer) in [
            ("/api/process", "100/min", "/path"),
            ("processes", "100/min", "/path"),
            ("/", "100/min", "/path"),
            ("/api", "100/min", "/path"),
            ("/api/processes", "100", "/limit"),
            ("/api/processes", "0/min", "/limit"),
            ("/api/processes", "100/week", "/limit"),
        ] {
            let refused = limit(path, calls).read().unwrap_err();
            assert_eq!((refused.code(), refused.fields()[0].pointer.as_str()), ("FM-AGS-ROUTE-LIMIT", pointer), "{path} {calls}");
        }
    }

    #[test]
    fn the_longest_path_decides() {
        let limits = Limits::new(&[limit("/tasks", "5/min"), limit("/tasks/{id}/respond", "1/min")]).unwrap();
        let of = |name: &str| limits.of(&catalogue().get(name).unwrap().spec).map(|(place, _)| place);
        assert_eq!((of("tasks_list"), of("tasks_respond"), of("executions_list")), (Some(0), Some(1), None));
    }
}
