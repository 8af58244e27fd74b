//! The contract's services, one module each.

use super::Service;

pub mod audit;
pub mod auth;
pub mod entities;
pub mod events;
pub mod executions;
pub mod processes;
pub mod tasks;

/// Every service that this version speaks for, in the contract's order.
pub const SERVICES: &[Service] =
    &[processes::SERVICE, executions::SERVICE, tasks::SERVICE, entities::SERVICE, auth::SERVICE, events::SERVICE, audit::SERVICE];
