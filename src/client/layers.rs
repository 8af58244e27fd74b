//! The layers, one file each; `stack.rs` has their order.

pub(super) mod access;
pub(super) mod deadline;
pub(super) mod renew;
#[cfg(test)]
pub(in crate::client) mod scripted;
pub(super) mod sign;
pub(super) mod timeout;
pub(super) mod trace;
