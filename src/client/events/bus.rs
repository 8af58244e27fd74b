//! A bus that this process reads for all tenants, such as the topics of Apache Kafka, as a stream sees it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::api::Event;
use crate::api::ids::TenantId;

/// A source of the events of all tenants. Who may hear of them is for the streams to find out.
pub trait Bus: fmt::Debug + Send + Sync {
    /// Joins those who hear of a tenant's events from now on.
    fn join(&self, tenant: &TenantId) -> Joined;

    /// Why the bus cannot be read now; none where it can, or nobody reads it.
    fn trouble(&self) -> Option<String>;
}

/// What a bus tells of a tenant.
#[derive(Debug, Clone)]
pub enum Told {
    /// An event.
    Event(Arc<Event>),
    /// Something happened that is not described.
    Hint,
    /// The bus has dropped what was not read yet.
    Gap,
}

/// One who hears of a tenant's events until it is dropped.
pub struct Joined {
    pub(super) told: broadcast::Receiver<Told>,
    /// Whether the bus is read: from then on nothing is left out.
    pub(super) stands: watch::Receiver<bool>,
    /// How often the platform is asked whether the caller may still read events.
    pub(super) check_every: Duration,
    /// Keeps the bus being read.
    pub(super) _reading: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined").field("stands", &*self.stands.borrow()).finish_non_exhaustive()
    }
}
