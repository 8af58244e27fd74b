//! Reads the contract itself, and holds the operations to it: every route, every field of every example.

mod document;
mod examples;
mod routes;
