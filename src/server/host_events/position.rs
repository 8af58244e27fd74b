//! Where a subscription stands, as an opaque cursor: at a place of the platform's log, or at a time where it tells no places.
//!
//! Events may become visible later than their time says, so a window of time overlaps the one before it, and the cursor
//! remembers what was told within the overlap.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::api::ids::{EventId, TenantId};
use crate::api::{Event, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::io::hash::sha256;
use crate::io::hex::hex;

/// How far windows of time overlap, in seconds.
const OVERLAP: f64 = 10.0;
/// How far the first window reaches back, in seconds: the platform's clock may differ from ours.
const FIRST: f64 = 60.0;
/// Most events that a cursor remembers; beyond that the overlap is as far as they reach.
const MAX_REMEMBERED: usize = 256;
/// Bytes of a digest by which an event is remembered, and of its time after the window's start.
const DIGEST: usize = 6;
const AFTER: usize = 4;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// What `events_since` answered.
    Log(String),
    /// Where events can be replayed by their time alone.
    Time(Window),
}

/// A window of time that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// Of which tenant and topic it is.
    of: String,
    /// Where the next window begins, in milliseconds.
    start: i64,
    /// The time of the latest event.
    latest: i64,
    /// Up to when events were told that are not remembered any more.
    #[serde(default)]
    forgotten: i64,
    /// The events that were told since the start: digests and times.
    seen: String,
    /// Where the platform's replay goes on within the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// A window that is being read.
pub(super) struct Reading {
    window: Window,
    /// What was told, with its time; in the order in which it was met.
    told: Vec<([u8; DIGEST], i64)>,
}

impl Position {
    /// Reads a cursor.
    pub(super) fn read(cursor: &str, tenant: &TenantId, topic: &str) -> Result<Self> {
        if let Some(place) = cursor.strip_prefix("l.") {
            return Ok(Self::Log(place.to_owned()));
        }
        let window = cursor.strip_prefix("t.").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let window: Option<Window> = window.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        window.filter(|window| window.of == owner(tenant, topic)).map(Self::Time).ok_or_else(foreign)
    }

    /// The cursor.
    pub(super) fn cursor(&self) -> String {
        match self {
            Self::Log(place) => format!("l.{place}"),
            // Texts and numbers are always JSON.
            Self::Time(window) => format!("t.{}", URL_SAFE_NO_PAD.encode(serde_json::to_vec(window).unwrap_or_default())),
        }
    }
}

/// The code of a cursor that is not of this subscription.
pub(super) const FOREIGN: &str = "FM-MCP-CURSOR";

/// The refusal of a cursor that is not of this subscription.
pub(super) fn foreign() -> Error {
    Error::new(Kind::Invalid, FOREIGN, "the cursor is not one of this event type, topic and tenant")
        .hint("Go on with the cursor of the answer before, or without one from now on.")
}

impl Window {
    /// The window before the first: what happened until now was told.
    pub(super) fn until(now: Timestamp, tenant: &TenantId, topic: &str) -> Self {
        let start = now.plus_seconds(-FIRST).millis();
        Self { of: owner(tenant, topic), start, latest: start, forgotten: 0, seen: String::new(), next: None }
    }

    /// Since when events are read.
    pub(super) fn start(&self) -> Timestamp {
        Timestamp::from_millis(self.start)
    }
}

impl Reading {
    pub(super) fn of(window: Window) -> Self {
        let bytes = URL_SAFE_NO_PAD.decode(&window.seen).unwrap_or_default();
        let entry = |chunk: &[u8]| {
            let (digest, after) = chunk.split_at(DIGEST);
            let after = u32::from_be_bytes(after.try_into().ok()?);
            Some((digest.try_into().ok()?, window.start + i64::from(after)))
        };
        let told = bytes.chunks_exact(DIGEST + AFTER).filter_map(entry).collect();
        Self { window, told }
    }

    /// Whether an event was not told yet; it is remembered.
    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        let digest = digest(&event.id);
        if self.told.iter().any(|(told, _)| *told == digest) {
            return false;
        }
        self.told.push((digest, event.time.map_or(self.window.latest, Timestamp::millis)));
        true
    }

    /// The window after this one.
    pub(super) fn end(self) -> Window {
        self.over(None, true)
    }

    /// The rest of the window, which goes on at a page of the replay.
    pub(super) fn pause(self, page: Option<String>) -> Window {
        self.over(page, false)
    }

    fn over(self, next: Option<String>, is_whole: bool) -> Window {
        let Self { mut window, mut told } = self;
        window.latest = told.iter().map(|(_, time)| *time).fold(window.latest, i64::max);
        if let Some(over) = told.len().checked_sub(MAX_REMEMBERED) {
            // A repeat that would not be known any more is not read again.
            window.forgotten = told.drain(..over).map(|(_, time)| time).fold(window.forgotten, i64::max);
        }
        if is_whole {
            let overlap = Timestamp::from_millis(window.latest).plus_seconds(-OVERLAP).millis();
            window.start = window.start.max(overlap).max(window.forgotten.saturating_add(1));
            told.retain(|(_, time)| *time >= window.start);
        }
        let after = |time: i64| u32::try_from(time.saturating_sub(window.start)).unwrap_or_default().to_be_bytes();
        let bytes: Vec<u8> = told.iter().flat_map(|(digest, time)| digest.iter().copied().chain(after(*time))).collect();
        window.seen = URL_SAFE_NO_PAD.encode(bytes);
        window.next = next;
        window
    }
}

fn digest(id: &EventId) -> [u8; DIGEST] {
    let whole = sha256(id.as_str().as_bytes());
    std::array::from_fn(|place| whole[place])
}

/// A short digest of a tenant and a topic, so that a cursor is of one subscription.
fn owner(tenant: &TenantId, topic: &str) -> String {
    hex(&sha256(format!("{tenant}\0{topic}").as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(millis: i64, id: &str) -> Event {
        let time = Timestamp::from_millis(millis).to_string();
        serde_json::from_value(json!({ "id": id, "type": "task.created", "time": time })).unwrap()
    }

    fn tenant() -> TenantId {
        "tenant-1".into()
    }

    /// Reads a log as a platform's replay would answer it, and tells what is new.
    fn read(window: &mut Window, log: &[Event]) -> Vec<String> {
        let mut reading = Reading::of(window.clone());
        let since = window.start();
        let seen = log.iter().filter(|event| event.time >= Some(since));
        let new = seen.filter(|event| reading.is_new(event)).map(|event| event.id.to_string()).collect();
        *window = reading.end();
        new
    }

    #[test]
    fn what_becomes_visible_late_is_told_and_nothing_twice() {
        let mut window = Window::until(Timestamp::from_millis(100_000), &tenant(), "task.created");
        let mut log = vec![at(95_000, "before")];
        read(&mut window, &log);
        log.push(at(120_000, "second"));
        assert_eq!(read(&mut window, &log), ["second"]);
        log.insert(1, at(112_000, "late"));
        assert_eq!(read(&mut window, &log), ["late"]);
        assert!(read(&mut window, &log).is_empty());
        let text = Position::Time(window.clone()).cursor();
        assert_eq!(Position::read(&text, &tenant(), "task.created").unwrap(), Position::Time(window));
        for (tenant, topic) in [("tenant-2", "task.created"), ("tenant-1", "task.responded")] {
            assert_eq!(Position::read(&text, &tenant.into(), topic).unwrap_err().code(), "FM-MCP-CURSOR");
        }
        for broken in ["", "x", "t.", "t.!", "t.e30"] {
            assert!(Position::read(broken, &tenant(), "task.created").is_err(), "{broken}");
        }
    }

    #[test]
    fn a_flood_within_the_overlap_is_told_once() {
        let mut window = Window::until(Timestamp::from_millis(100_000), &tenant(), "*");
        let log: Vec<Event> = (0..2_000).map(|number| at(101_000 + number, &format!("evt-{number}"))).collect();
        assert_eq!(read(&mut window, &log).len(), 2_000);
        assert!(read(&mut window, &log).is_empty());
        assert!(Position::Time(window).cursor().len() < 8_000);
    }

    #[test]
    fn a_window_in_pages_goes_on_where_it_was() {
        let mut reading = Reading::of(Window::until(Timestamp::from_millis(100_000), &tenant(), "*"));
        assert!(reading.is_new(&at(101_000, "one")) && reading.is_new(&at(102_000, "two")));
        let half = reading.pause(Some("page-2".to_owned()));
        assert_eq!((half.next.as_deref(), half.start().millis()), (Some("page-2"), 40_000));
        let mut reading = Reading::of(half);
        assert!(reading.is_new(&at(103_000, "three")));
        let mut whole = reading.end();
        assert_eq!(whole.start().millis(), 93_000);
        let log = [at(101_000, "one"), at(102_000, "two"), at(103_000, "three"), at(103_500, "four")];
        assert_eq!(read(&mut whole, &log), ["four"]);
    }
}
