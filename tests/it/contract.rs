//! Reads the contract itself, and holds the operations to it: every route, every field of every example; and the platform to its patterns.

mod document;
mod examples;
mod routes;
#[cfg(feature = "platform")]
mod services;
