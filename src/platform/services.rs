//! The services of the embedded platform, one module each.

use super::Platform;
use super::http::routes::Routes;

pub(crate) mod agents;
pub(crate) mod analytics;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod communication;
pub(crate) mod connectors;
pub(crate) mod data;
pub(crate) mod documents;
pub(crate) mod entities;
pub(crate) mod events;
pub(crate) mod executions;
pub(crate) mod integrations;
pub(crate) mod learning;
pub(crate) mod notifications;
pub(crate) mod portals;
pub(crate) mod processes;
pub(crate) mod prompts;
pub(crate) mod realtime;
pub(crate) mod registry;
pub(crate) mod schedules;
pub(crate) mod tasks;

/// The routes of all services, in the contract's order.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .merge(processes::routes())
        .merge(executions::routes())
        .merge(tasks::routes())
        .merge(integrations::routes())
        .merge(entities::routes())
        .merge(agents::routes())
        .merge(prompts::routes())
        .merge(learning::routes())
        .merge(data::routes())
        .merge(documents::routes())
        .merge(connectors::routes())
        .merge(communication::routes())
        .merge(auth::routes())
        .merge(events::routes())
        .merge(realtime::routes())
        .merge(registry::routes())
        .merge(notifications::routes())
        .merge(portals::routes())
        .merge(audit::routes())
        .merge(schedules::routes())
        .merge(analytics::routes())
}

/// Starts the background work of all services.
pub(crate) fn spawn(platform: &Platform) {
    executions::spawn(platform);
    agents::spawn(platform);
    tasks::spawn(platform);
    integrations::spawn(platform);
    entities::spawn(platform);
    learning::spawn(platform);
    connectors::spawn(platform);
    registry::spawn(platform);
    communication::spawn(platform);
    notifications::spawn(platform);
    audit::spawn(platform);
    schedules::spawn(platform);
    analytics::spawn(platform);
    super::events::spawn(platform);
    realtime::spawn(platform);
}
