//! The MCP endpoint over HTTP: both revisions, bounds, callers, approvals, toolsets.

mod approvals;
mod bounds;
mod callers;
mod mcp;
mod negotiation;
mod toolsets;
