//! The platform's HTTP side: one listener, operations as routes, bodies, problems and idempotency keys.

pub(crate) mod body;
pub(crate) mod context;
pub(crate) mod idempotency;
pub(crate) mod limits;
pub(crate) mod listener;
mod openapi;
pub(crate) mod problem;
pub(crate) mod routes;

/// What the gateway serves each route below: with and without the version of the routes.
pub(crate) const PREFIXES: [&str; 4] = ["", "/api", "/v1", "/api/v1"];
