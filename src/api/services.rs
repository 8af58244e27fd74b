//! The contract's services, one module each.

use super::Service;

pub mod agents;
pub mod analytics;
pub mod audit;
pub mod auth;
pub mod communication;
pub mod connectors;
pub mod data;
pub mod documents;
pub mod entities;
pub mod events;
pub mod executions;
pub mod gateway;
pub mod integrations;
pub mod learning;
pub mod notifications;
pub mod portals;
pub mod processes;
pub mod prompts;
pub mod realtime;
pub mod registry;
pub mod schedules;
pub mod tasks;

/// Every service that this version speaks for, in the contract's order.
pub const SERVICES: &[Service] = &[
    processes::SERVICE,
    executions::SERVICE,
    tasks::SERVICE,
    integrations::SERVICE,
    entities::SERVICE,
    agents::SERVICE,
    prompts::SERVICE,
    learning::SERVICE,
    data::SERVICE,
    documents::SERVICE,
    connectors::SERVICE,
    communication::SERVICE,
    auth::SERVICE,
    gateway::SERVICE,
    events::SERVICE,
    realtime::SERVICE,
    registry::SERVICE,
    notifications::SERVICE,
    portals::SERVICE,
    audit::SERVICE,
    schedules::SERVICE,
    analytics::SERVICE,
];
