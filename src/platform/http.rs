//! The platform's HTTP side: one listener, operations as routes, bodies, problems and idempotency keys.

pub(crate) mod body;
pub(crate) mod context;
pub(crate) mod idempotency;
pub(crate) mod limits;
pub(crate) mod listener;
mod openapi;
pub(crate) mod problem;
pub(crate) mod routes;
