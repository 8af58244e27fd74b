//! The MCP endpoint over HTTP: both revisions, bounds, callers, figures, approvals, services, toolsets.

mod approvals;
mod bounds;
mod callers;
mod mcp;
mod metrics;
mod negotiation;
mod services;
mod toolsets;
