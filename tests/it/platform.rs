//! The embedded platform over its HTTP API: services, contract, folder, durability.

mod agents;
mod analytics;
mod audit;
mod auth;
mod communication;
mod connectors;
mod contract;
mod data;
mod documents;
mod durability;
mod earlier_release;
mod entities;
mod erasure;
mod events;
mod executions;
mod finders;
mod folder;
mod integrations;
mod learning;
mod lists;
mod notifications;
mod portals;
mod process_reference;
mod processes;
mod prompts;
#[cfg(target_os = "linux")]
mod random;
mod realtime;
mod registry;
mod retries;
mod schedules;
mod tasks;
mod two_processes;
mod undoing;
mod users;
mod ways;
