//! A layer of the stack, and the transport at its end.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::call::{Call, Reply};
use crate::error::Result;

/// One layer of the stack: it may look at a call, change it, answer it or refuse it.
pub trait Layer: Send + Sync {
    /// Passes a call on by `next.run(call)`, or answers for itself.
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>>;
}

/// The end of the stack, which sends a call: HTTP, or a script where a layer is tested.
pub trait Transport: Send + Sync {
    /// Sends a call that all layers let through.
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply>>;
}

/// The layers and the transport that come after a layer.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    layers: &'a [Arc<dyn Layer>],
    transport: &'a dyn Transport,
}

impl<'a> Next<'a> {
    pub(super) const fn new(layers: &'a [Arc<dyn Layer>], transport: &'a dyn Transport) -> Self {
        Self { layers, transport }
    }

    /// Hands the call to the next layer, in the end to the transport.
    #[must_use]
    pub fn run(self, call: Call) -> BoxFuture<'a, Result<Reply>> {
        match self.layers.split_first() {
            Some((layer, rest)) => layer.call(call, Self { layers: rest, ..self }),
            None => self.transport.send(call),
        }
    }
}
