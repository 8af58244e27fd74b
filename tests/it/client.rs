//! The client's stack before a platform that fails on request.

mod cache;
mod faults;
mod limits;
