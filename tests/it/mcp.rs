//! MCP as hosts speak it: stdio, consent, policy, bad input, rights that change, callers kept apart.

mod background;
mod bad_input;
mod consent;
mod derived;
mod erasure;
mod extensions;
mod gateway;
mod handler;
mod hints;
mod host_events;
mod isolation;
mod names;
mod policy;
mod renewed_rights;
mod resources;
mod secrets;
mod stdio;
mod streams;
mod subscriptions;
mod taken_away;
mod toolsets;
mod waits;
mod webhooks;
