//! The MCP endpoint over HTTP: both revisions, bounds, callers, limits, figures, reload, approvals, services, toolsets.

mod approvals;
mod bounds;
mod caller_limits;
mod callers;
mod listening;
mod mcp;
mod metrics;
mod negotiation;
#[cfg(unix)]
mod reload;
mod services;
mod stateless;
mod toolsets;
