#![doc = include_str!("../ARCHITECTURE.md")]

pub mod api;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
pub mod error;
mod io;
#[cfg(feature = "platform")]
pub mod platform;
pub mod server;
mod state;
pub mod telemetry;
