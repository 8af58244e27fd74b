//! The MCP endpoint over HTTP: both revisions, bounds, callers, approvals, services, toolsets.

mod approvals;
mod bounds;
mod callers;
mod mcp;
mod negotiation;
mod services;
mod toolsets;
