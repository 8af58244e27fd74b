#![doc = include_str!("../ARCHITECTURE.md")]

pub mod api;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
pub mod error;
mod hash;
mod hex;
mod inbound;
mod outbound;
#[cfg(feature = "platform")]
pub mod platform;
mod private;
pub mod server;
pub mod telemetry;
