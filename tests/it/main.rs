//! The one integration-test binary: it speaks MCP and HTTP to the real thing, and walks what the outside sees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, and so do its helpers")]

#[cfg(feature = "platform")]
mod agents_day;
mod architecture;
#[cfg(feature = "platform")]
mod audit;
#[cfg(feature = "platform")]
mod auth;
mod catalogue;
#[cfg(feature = "platform")]
mod cli;
#[cfg(feature = "platform")]
mod client;
mod contract;
mod finding;
mod hosts;
#[cfg(feature = "platform")]
mod http;
#[cfg(feature = "platform")]
mod mcp;
#[cfg(feature = "platform")]
mod platform;
#[cfg(feature = "platform")]
mod support;
mod wire;
