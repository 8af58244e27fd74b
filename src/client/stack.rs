//! The order of the layers, in one place.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Settings;
use super::call::{Call, Reply};
use super::credentials::upstream::Upstream;
use super::discovery::{Discovery, Finder};
use super::http::Http;
use super::layer::{Layer, Next, Transport};
use super::layers::access::Judge;
use super::layers::attempt::Attempt;
use super::layers::breaker::{Breaker, Circuits};
use super::layers::bulkhead::Bulkhead;
use super::layers::cache::Cache;
use super::layers::rate_limit::{Limits, RateLimit};
use super::layers::{
    deadline::Deadline, pick::Pick, renew::Renew, retry::Retry, reveal::Reveal, sign::Sign, timeout::Timeout, trace::Trace,
};
use super::origin::Origin;
use crate::auth::Principal;
use crate::error::Result;

/// Layers from the outside in, and the transport at the end.
#[derive(Clone)]
pub(super) struct Stack {
    layers: Vec<Arc<dyn Layer>>,
    transport: Arc<dyn Transport>,
}

/// What a stack is made of.
pub(super) struct Parts {
    pub(super) origin: Arc<dyn Origin>,
    pub(super) settings: Settings,
    pub(super) judge: Judge,
    pub(super) upstream: Arc<Upstream>,
    pub(super) circuits: Arc<Circuits>,
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) discovery: Discovery,
    pub(super) own: Vec<Arc<dyn Layer>>,
    pub(super) principal: Option<Arc<dyn Principal>>,
}

/// The stack of a client, and what finds services where there are several places.
pub(super) fn build(parts: Parts) -> (Stack, Option<Arc<Finder>>) {
    let Parts { origin, settings, judge, upstream, circuits, cache, discovery, own, principal } = parts;
    let renews = principal.is_some() || upstream.exchanges();
    let renew = renews.then(|| Arc::new(Renew { principal, upstream: Arc::clone(&upstream) }) as Arc<dyn Layer>);
    let limits = Arc::new(Limits::default());
    let http = Http::new(Arc::clone(&origin), settings.answer_limit, settings.timeouts.connect, Arc::clone(&limits));
    let attempt = Stack::new(Arc::new(http))
        .then(Breaker { circuits: Arc::clone(&circuits), slow_call: settings.breaker.slow_call })
        .then(Bulkhead::new(settings.in_flight))
        .then(RateLimit(limits))
        .then(Attempt)
        .then(Timeout(settings.timeouts))
        .then(Sign { origin, upstream: Arc::clone(&upstream) })
        .then(Reveal);
    let finder = Finder::new(discovery, &circuits, Arc::new(attempt.clone()), upstream.has_account()).map(Arc::new);
    let pick = finder.clone().map(|finder| Arc::new(Pick(finder)) as Arc<dyn Layer>);
    let call = Stack::new(Arc::clone(&attempt.transport))
        // once per call
        .then(Trace)
        .then(judge)
        .then_all(own)
        .then(Deadline(settings.deadline))
        .then_all(cache.map(|cache| cache as Arc<dyn Layer>))
        .then(Retry::new(settings.attempts, settings.idempotency_keys))
        // once per attempt
        .then_all(renew)
        .then_all(pick)
        .then_all(attempt.layers);
    (call, finder)
}

impl Stack {
    fn new(transport: Arc<dyn Transport>) -> Self {
        Self { layers: Vec::new(), transport }
    }

    fn then(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    fn then_all(mut self, layers: impl IntoIterator<Item = Arc<dyn Layer>>) -> Self {
        self.layers.extend(layers);
        self
    }

    /// Runs a call through all layers.
    pub(super) async fn run(&self, call: Call) -> Result<Reply> {
        Next::new(&self.layers, &*self.transport).run(call).await
    }
}

impl Transport for Stack {
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(self.run(call))
    }
}
