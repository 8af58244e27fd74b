//! Answers that are given again: to the same prompt with the same context and parameters, of the same agent of the same tenant.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use serde_json::{Value, json};

use super::conversation::{Outcome, Question};
use super::options::Agents;
use super::store::Agent;
use crate::api::Timestamp;
use crate::platform::keys::sha256;

/// Most that all answers may hold, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The answers.
#[derive(Debug)]
pub(super) struct Answers {
    kept: Cache<String, Arc<Kept>>,
    kept_for: Duration,
}

#[derive(Debug)]
struct Kept {
    outcome: Outcome,
    until: Timestamp,
}

impl Answers {
    /// No answers yet.
    pub(super) fn new(options: &Agents) -> Self {
        let weigh = |key: &String, kept: &Arc<Kept>| u32::try_from(key.len() + kept.outcome.text.len() + 200).unwrap_or(u32::MAX);
        let kept =
            Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).time_to_live(options.cache_for.max(Duration::from_secs(1))).build();
        Self { kept, kept_for: options.cache_for }
    }

    /// An answer that is still good.
    pub(super) fn find(&self, key: &str, now: Timestamp) -> Option<Outcome> {
        self.kept.get(key).filter(|kept| kept.until > now).map(|kept| kept.outcome.clone())
    }

    /// Keeps an answer. What tools gave may be for the caller alone and changes by itself, so it is not kept.
    pub(super) fn keep(&self, key: &str, outcome: &Outcome, now: Timestamp) {
        if outcome.executed.is_empty() && !self.kept_for.is_zero() {
            let until = now.plus_seconds(self.kept_for.as_secs_f64());
            self.kept.insert(key.to_owned(), Arc::new(Kept { outcome: outcome.clone(), until }));
        }
    }
}

/// What an answer depends on, as a digest.
pub(super) fn key(tenant: &str, agent: &Agent, model: &str, question: &Question) -> String {
    let mut asked = json!([
        tenant,
        agent.id,
        agent.version,
        model,
        question.system,
        question.prompt,
        Value::Object(question.context.clone()),
        question.temperature,
        question.max_tokens
    ]);
    asked.sort_all_objects();
    sha256(asked.to_string().as_bytes())
}
