//! The one integration-test binary: it speaks MCP and HTTP to the real thing, and walks what the outside sees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, and so do its helpers")]

mod architecture;
#[cfg(feature = "platform")]
mod audit_lanes;
mod audit_outage;
#[cfg(feature = "platform")]
mod audit_reads;
#[cfg(feature = "platform")]
mod bad_input;
#[cfg(feature = "platform")]
mod call_audit;
mod catalogue;
#[cfg(feature = "platform")]
mod cli;
#[cfg(feature = "platform")]
mod consent;
#[cfg(feature = "platform")]
mod contract;
#[cfg(feature = "platform")]
mod durability;
#[cfg(feature = "platform")]
mod entities;
#[cfg(feature = "platform")]
mod events;
#[cfg(feature = "platform")]
mod executions;
#[cfg(feature = "platform")]
mod http_bounds;
#[cfg(feature = "platform")]
mod http_callers;
#[cfg(feature = "platform")]
mod http_confirmations;
#[cfg(feature = "platform")]
mod isolation;
#[cfg(feature = "platform")]
mod login_changes;
#[cfg(feature = "platform")]
mod logins;
#[cfg(feature = "platform")]
mod mcp_http;
#[cfg(feature = "platform")]
mod mcp_stdio;
#[cfg(feature = "platform")]
mod platform_audit;
#[cfg(feature = "platform")]
mod platform_auth;
#[cfg(feature = "platform")]
mod platform_folder;
#[cfg(feature = "platform")]
mod policy;
#[cfg(feature = "platform")]
mod processes;
#[cfg(feature = "platform")]
mod renewed_rights;
#[cfg(feature = "platform")]
mod served_tokens;
#[cfg(feature = "platform")]
mod support;
#[cfg(feature = "platform")]
mod tasks;
#[cfg(feature = "platform")]
mod tokens;
#[cfg(feature = "platform")]
mod two_processes;
#[cfg(feature = "platform")]
mod upstream;
mod wire;
