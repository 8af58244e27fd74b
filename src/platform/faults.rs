//! Faults on request: services that are slow, fail, break connections off or answer garbage, to prove what callers make of it.
//!
//! There are none until somebody sets them. A rule is drawn from a seed of its own, so a run is repeated by its seed.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::stream;
use http::StatusCode;

use crate::api::SERVICES;
use crate::api::near::nearest;

/// The longest that an answer is held up.
const MAX_LATENCY: Duration = Duration::from_mins(10);

/// The faults of a platform. A clone shares them, so that they can be changed while the platform runs.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether there are any, so that a platform without faults takes no lock.
    are_set: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<(Fault, Random)>,
    /// Requests by the place of their service in [`SERVICES`].
    requests: Vec<u64>,
}

/// A rule by which a service fails: `human-task:status=503:0.3`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The service; every one if absent.
    pub service: Option<String>,
    /// What happens to a request.
    pub kind: FaultKind,
    /// The share of requests that it happens to, from 0 to 1.
    pub rate: f64,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It is held up before it is looked at.
    Latency(Duration),
    /// It is not carried out, and answered by a status.
    Status(u16),
    /// It is not carried out, and its connection breaks.
    Cut,
    /// It is carried out, and its connection breaks before the answer.
    CutAfter,
    /// It is not carried out, and answered by 200 and bytes that mean nothing.
    Garbage,
}

/// What becomes of a request, as it was drawn.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Drawn {
    pub(crate) latency: Duration,
    pub(crate) instead: Option<FaultKind>,
}

impl Faults {
    /// Sets the rules in place of those before; each is drawn from the seed and its place.
    pub fn set(&self, seed: u64, rules: impl IntoIterator<Item = Fault>) {
        let mut state = self.state();
        state.rules = rules.into_iter().zip(seed..).map(|(fault, seed)| (fault, Random(seed))).collect();
        state.requests = vec![0; SERVICES.len()];
        self.0.are_set.store(true, Ordering::Release);
    }

    /// Ends all faults. Requests are counted on.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// The requests that a service had since rules were set.
    #[must_use]
    pub fn requests(&self, service: &str) -> u64 {
        let place = SERVICES.iter().position(|known| known.name == service);
        place.and_then(|place| self.state().requests.get(place).copied()).unwrap_or_default()
    }

    /// Draws what becomes of a request to the service at a place.
    pub(crate) fn draw(&self, service_index: usize) -> Drawn {
        let mut drawn = Drawn::default();
        if !self.0.are_set.load(Ordering::Acquire) {
            return drawn;
        }
        let mut state = self.state();
        if let Some(requests) = state.requests.get_mut(service_index) {
            *requests += 1;
        }
        let name = SERVICES.get(service_index).map(|service| service.name);
        for (fault, random) in &mut state.rules {
            let is_meant = fault.service.is_none() || fault.service.as_deref() == name;
            if !is_meant || random.next_share() >= fault.rate {
                continue;
            }
            match fault.kind {
                FaultKind::Latency(latency) => drawn.latency = drawn.latency.saturating_add(latency).min(MAX_LATENCY),
                kind => drawn.instead = drawn.instead.or(Some(kind)),
            }
        }
        drawn
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A response whose connection breaks before anything of it is sent.
pub(crate) fn cut() -> Response {
    let broken = stream::iter([Err::<bytes::Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))]);
    Response::new(Body::from_stream(broken))
}

/// A response that means nothing.
pub(crate) fn garbage() -> Response {
    Response::new(Body::from("\u{0}<!-- {\"items\": [".repeat(3)))
}

/// A response of a status and nothing else.
pub(crate) fn bare(status: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (service, kind) = (parts.next().unwrap_or_default(), parts.next().ok_or("it is SERVICE:KIND or SERVICE:KIND:RATE")?);
        let names: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
        if service != "*" && !names.contains(&service) {
            let meant = nearest(service, &names).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            return Err(format!("there is no service {service}{meant}"));
        }
        let rate = parts.next().map_or(Ok(1.0), |rate| {
            rate.parse().ok().filter(|rate| (0.0..=1.0).contains(rate)).ok_or("the rate is a number from 0 to 1")
        })?;
        Ok(Self { service: (service != "*").then(|| service.to_owned()), kind: kind.parse()?, rate })
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match (name, value) {
            ("latency", millis) => {
                let latency = millis.trim_end_matches("ms").parse().map(Duration::from_millis).ok();
                latency
                    .filter(|latency| *latency <= MAX_LATENCY)
                    .map(Self::Latency)
                    .ok_or("a latency is `latency=200ms`, at most 600000".to_owned())
            }
            ("status", status) => {
                let status = status.parse().ok().filter(|status| (400..600).contains(status));
                status.map(Self::Status).ok_or("a status is one of 400 to 599, such as `status=503`".to_owned())
            }
            ("cut", "") => Ok(Self::Cut),
            ("cut-after", "") => Ok(Self::CutAfter),
            ("garbage", "") => Ok(Self::Garbage),
            _ => Err("a fault is latency=MS, status=CODE, cut, cut-after or garbage".to_owned()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.service.as_deref().unwrap_or("*");
        match self.kind {
            FaultKind::Latency(latency) => write!(f, "{service}:latency={}ms:{}", latency.as_millis(), self.rate),
            FaultKind::Status(status) => write!(f, "{service}:status={status}:{}", self.rate),
            FaultKind::Cut => write!(f, "{service}:cut:{}", self.rate),
            FaultKind::CutAfter => write!(f, "{service}:cut-after:{}", self.rate),
            FaultKind::Garbage => write!(f, "{service}:garbage:{}", self.rate),
        }
    }
}

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// A number from 0 up to 1.
    fn next_share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper 32 bits are exact as a fraction.
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        for text in ["human-task:status=503:0.3", "*:latency=200ms:1", "internal-data-hub:cut-after:0.5", "*:garbage:0", "*:cut:1"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("*:cut".parse::<Fault>().unwrap().rate.to_bits(), 1.0_f64.to_bits());
        let wrong = ["human-task", "human-taks:cut", "*:cut:2", "*:status=200", "*:latency=soon", "*:explode", "*:latency=600001"];
        for text in wrong {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
        assert!("human-taks:cut".parse::<Fault>().unwrap_err().contains("human-task"));
    }

    #[test]
    fn a_share_of_requests_fails_and_the_same_ones_each_time() {
        let draws = |seed| {
            let faults = Faults::default();
            assert!(faults.draw(2).instead.is_none());
            faults.set(seed, ["human-task:status=503:0.3".parse().unwrap()]);
            (0..1_000).map(|_| faults.draw(2).instead.is_some()).collect::<Vec<_>>()
        };
        let place = SERVICES.iter().position(|service| service.name == "human-task").unwrap();
        assert_eq!(place, 2);
        let failed = draws(7).iter().filter(|failed| **failed).count();
        assert!((250..350).contains(&failed), "{failed}");
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }

    #[test]
    fn other_services_are_spared_and_faults_end() {
        let faults = Faults::default();
        faults.set(1, ["human-task:cut".parse().unwrap(), "*:latency=5ms".parse().unwrap()]);
        let (meant, other) = (faults.draw(2), faults.draw(1));
        assert_eq!((meant.instead, other.instead), (Some(FaultKind::Cut), None));
        assert_eq!((meant.latency, other.latency), (Duration::from_millis(5), Duration::from_millis(5)));
        faults.clear();
        assert!(faults.draw(2).instead.is_none());
        assert_eq!(faults.requests("human-task"), 2);
    }
}
