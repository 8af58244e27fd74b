//! The client's stack before a platform that fails on request.

mod cache;
mod discovery;
mod events;
mod faults;
mod frames;
mod limits;
