//! What the tests share: a platform of their own in a folder of its own, and the ways to talk to it.

pub mod callers;
pub mod child;
pub mod cut;
pub mod fixture;
pub mod home;
pub mod mcp;
pub mod platform;
#[cfg(unix)]
pub mod postgres;
pub mod program;
pub mod raw;
pub mod receiver;
pub mod served;
pub mod socket;
pub mod standin;
#[cfg(unix)]
pub mod terminal;
