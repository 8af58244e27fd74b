//! Events of the platform as they happen.
//!
//! A [`EventStream`] is one caller's stream of a topic pattern: nothing lost, nothing twice, in the order of the platform. The
//! [`Hub`] shares one stream among those who wait for the same caller; a waiter that reads too slowly is told to read again.

mod backoff;
pub(super) mod bus;
mod hub;
#[cfg(feature = "kafka")]
pub mod kafka;
mod repeats;
mod stream;
mod verdict;

use std::sync::Arc;

use crate::api::Event;

pub use bus::{Bus, Joined, Told};
pub use hub::{Follower, Hub, StreamKey};
pub use stream::EventStream;

/// What a stream tells.
#[derive(Debug, Clone)]
pub enum Notice {
    /// An event, once.
    Event(Arc<Event>),
    /// The stream stands, or stands again: from here on nothing is left out.
    Started(Source),
    /// Something happened that is not told: what was read before may be stale.
    Hint,
}

/// Where a stream's events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The WebSocket gateway, at once.
    Channel,
    /// Replay, asked every few seconds: the platform has no gateway for this caller.
    Replay,
    /// The topics of the platform's Apache Kafka, at once.
    Kafka,
}
