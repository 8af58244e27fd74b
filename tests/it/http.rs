//! The MCP endpoint over HTTP: both revisions, bounds, callers, limits, figures, approvals, services, toolsets.

mod approvals;
mod bounds;
mod caller_limits;
mod callers;
mod mcp;
mod metrics;
mod negotiation;
mod services;
mod toolsets;
