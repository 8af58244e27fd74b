//! The layers, one file each; `stack.rs` has their order.

pub(super) mod access;
pub(super) mod attempt;
pub(super) mod breaker;
pub(super) mod bulkhead;
pub(super) mod cache;
pub(super) mod deadline;
pub(super) mod pick;
pub(super) mod rate_limit;
pub(super) mod renew;
pub(super) mod retry;
pub(super) mod reveal;
#[cfg(test)]
pub(in crate::client) mod scripted;
pub(super) mod sign;
pub(super) mod timeout;
pub(super) mod trace;
