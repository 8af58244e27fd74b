//! AI Agent: agents that ask language models and run tools, their cache, limits and usage (contract, section 6).
//!
//! A model is asked outside of every transaction. What it cost is kept afterwards, in one transaction of the ledger, the
//! event and the audit row.

mod answer_cache;
mod asking;
mod conversation;
mod execute;
mod ledger;
mod limits;
mod local_rules;
mod metrics;
mod nodes;
mod options;
mod profile;
mod providers;
mod register;
mod store;
mod stream;
mod tools;

pub use options::{Agents, Key, Provider, ProviderKind};

use crate::api::agents::SERVICE;
use crate::platform::Platform;
use crate::platform::engine::runtime::work::WorkKind;
use crate::platform::engine::runtime::workers;
use crate::platform::http::routes::Routes;

pub(crate) use options::check;
pub(crate) use store::{find, is_known};

/// The operations of the service, and beyond the contract the registration of agents.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(asking::invoke)
        .on_streamed(stream::whole, stream::events)
        .on(register::list)
        .on(execute::execute)
        .on(metrics::metrics)
        .extend(&SERVICE, register::register)
        .extend(&SERVICE, register::get)
        .extend(&SERVICE, register::update)
}

/// Starts the worker that asks what processes ask.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(workers::serve(platform.clone(), WorkKind::Agent, nodes::perform));
}

/// What the service keeps in memory: the health of providers, counts of the last minute, and answers.
#[derive(Debug)]
pub(crate) struct State {
    options: Agents,
    pool: providers::Pool,
    limits: limits::Limits,
    answers: answer_cache::Answers,
}

impl State {
    /// The state of a platform that has just started.
    pub(crate) fn new(options: Agents) -> Self {
        Self {
            pool: providers::Pool::new(&options),
            limits: limits::Limits::default(),
            answers: answer_cache::Answers::new(&options),
            options,
        }
    }
}
