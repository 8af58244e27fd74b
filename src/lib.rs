#![doc = include_str!("../ARCHITECTURE.md")]

pub mod api;
pub mod auth;
pub mod client;
pub mod config;
pub mod error;
pub mod telemetry;
