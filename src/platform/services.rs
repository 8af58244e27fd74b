//! The services of the embedded platform, one module each.

use super::Platform;
use super::routes::Routes;

pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod entities;
pub(crate) mod events;

/// The routes of all services.
pub(crate) fn routes() -> Routes {
    Routes::new().merge(auth::routes()).merge(audit::routes()).merge(entities::routes()).merge(events::routes())
}

/// Starts the background work of all services.
pub(crate) fn spawn(platform: &Platform) {
    audit::spawn(platform);
    super::events::spawn(platform);
}
