//! Sends a call again that failed and may succeed, a few times, ever later, and never beyond a service's budget.
//!
//! It stands outside the breaker, which then ends the attempts of every call to a dead service at once; the other way
//! round each call would spend all of its own. It stands outside `renew` too, so that a call has one idempotency key,
//! whatever becomes of its token.

mod budget;

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::future::BoxFuture;

use crate::api::{Effect, Entry, Method};
use crate::client::call::{Call, Reply};
use crate::client::layer::{Layer, Next};
use crate::client::per_service::PerService;
use crate::error::{Error, Kind, Result};
use budget::Budget;

/// The longest wait before the second attempt; it doubles with each one after that.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What an attempt takes at least: with less time left, none is begun.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(50);

/// Attempts, keys and budgets.
pub(in crate::client) struct Retry {
    schedule: ExponentialBuilder,
    repeats: bool,
    /// Whether the platform honours `Idempotency-Key`.
    has_keys: bool,
    budgets: PerService<Budget>,
}

impl Retry {
    pub(in crate::client) fn new(attempts: usize, has_keys: bool) -> Self {
        let schedule = ExponentialBuilder::new()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_factor(2.0)
            .with_max_times(attempts.saturating_sub(1));
        Self { schedule, repeats: attempts > 1, has_keys, budgets: PerService::new(Budget::default) }
    }

    /// Whether a call may go out again after it may have been carried out. Where a key makes it so, the call gets one.
    fn make_repeatable(&self, call: &mut Call) -> bool {
        let (spec, options) = (&call.entry.spec, &mut call.options);
        // A call under a condition meets its own change the second time.
        if spec.effect == Effect::Read || (spec.idempotent && options.if_match.is_none()) {
            return true;
        }
        // An answer that is told while it is written is not kept for a key.
        let takes_key = self.has_keys && spec.body && !spec.public && options.tokens.is_none();
        if takes_key && options.idempotency_key.is_none() {
            options.idempotency_key = Some(crate::api::ids::unique());
        }
        takes_key
    }

    /// How long to wait before the call goes out again; none where it does not.
    fn wait(&self, call: &Call, error: &Error, longest: Duration) -> Option<Duration> {
        if !error.is_transient() || error.is_conclusive() || !(error.is_unsent() || call.is_repeatable) {
            return None;
        }
        let wait = error.when_to_retry().unwrap_or_default().saturating_add(any_of(longest));
        if call.time_left().is_some_and(|left| wait.saturating_add(SHORTEST_ATTEMPT) > left) {
            return None;
        }
        let has_budget = self.budgets.of(call.entry).spend();
        if !has_budget {
            call.metrics.refusals.retry_budget.increment(1);
        }
        has_budget.then_some(wait)
    }
}

impl Layer for Retry {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        if call.options.is_paced || !self.repeats {
            return next.run(call);
        }
        self.budgets.of(call.entry).earn();
        call.is_repeatable = self.make_repeatable(&mut call);
        Box::pin(async move {
            let mut may_have_happened = false;
            for longest in self.schedule.build() {
                let error = match next.run(call.clone()).await {
                    Ok(reply) => return Ok(reply),
                    Err(error) => error,
                };
                let Some(wait) = self.wait(&call, &error, longest) else { return Err(explained(call.entry, error, may_have_happened)) };
                tracing::debug!(operation = call.entry.spec.name, code = error.code(), ?wait, "the call goes out again");
                may_have_happened |= !error.is_unsent();
                tokio::time::sleep(wait).await;
                call.metrics.retries.increment(1);
                call.resends += 1;
            }
            let entry = call.entry;
            next.run(call).await.map_err(|error| explained(entry, error, may_have_happened))
        })
    }
}

/// What an attempt before may have done is part of the call's failure: a deletion that is not found by its second attempt may be
/// the first one's work.
fn explained(entry: &Entry, error: Error, may_have_happened: bool) -> Error {
    if !may_have_happened {
        return error;
    }
    let error = error.sent_before();
    if error.kind() == Kind::NotFound && entry.spec.method == Method::Delete {
        return error.hint("An attempt before broke off and may have deleted it. Take it as deleted if it was there before.");
    }
    error
}

/// Any time up to the longest (full jitter), so that those who failed together do not come back together.
fn any_of(longest: Duration) -> Duration {
    // Without random numbers it is the longest.
    let share = u128::from(getrandom::u64().unwrap_or(u64::MAX));
    Duration::from_nanos(u64::try_from((share * longest.as_nanos()) >> 64).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::client::call::CallOptions;
    use crate::client::layers::deadline::Deadline;
    use crate::client::layers::scripted::{Scripted, call, list, user};

    fn busy() -> Error {
        Error::new(Kind::Unavailable, "HTTP-503", "busy")
    }

    fn create() -> Call {
        call(&user("anna", &[]), "tasks_create", &json!({ "title": "Check" }), CallOptions::default())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_succeed_goes_out_again_and_no_oftener_than_it_may() {
        let (end, began) = (Scripted::failing([busy(), busy()]), Instant::now());
        assert_eq!(end.run(Retry::new(4, false), list(&user("anna", &[]))).await.unwrap().status, 200);
        assert_eq!(end.arrived().len(), 3);
        assert!(began.elapsed() <= Duration::from_millis(300), "{:?}", began.elapsed());
        for (attempts, arrive) in [(1, 1), (4, 4)] {
            let end = Scripted::failing((0..9).map(|_| busy()));
            let error = end.run(Retry::new(attempts, true), list(&user("anna", &[]))).await.unwrap_err();
            assert_eq!((error.code(), end.arrived().len()), ("HTTP-503", arrive));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_succeed_goes_out_once() {
        let paced = CallOptions { is_paced: true, ..CallOptions::default() };
        let cases = [
            (Error::new(Kind::NotFound, "X", "no"), CallOptions::default()),
            (Error::internal("no"), CallOptions::default()),
            (busy().conclusive(), CallOptions::default()),
            (busy(), paced),
        ];
        for (error, options) in cases {
            let end = Scripted::failing([error]);
            end.run(Retry::new(4, true), call(&user("anna", &[]), "tasks_list", &json!({}), options)).await.unwrap_err();
            assert_eq!(end.arrived().len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_may_have_happened_is_repeated_only_by_its_key() {
        let end = Scripted::failing([busy()]);
        end.run(Retry::new(4, false), create()).await.unwrap_err();
        assert_eq!(end.arrived().len(), 1);

        let end = Scripted::failing([busy().unsent(), busy()]);
        end.run(Retry::new(4, false), create()).await.unwrap_err();
        assert_eq!(end.arrived().len(), 2, "nothing of the first attempt had left");

        let end = Scripted::failing([busy(), busy()]);
        end.run(Retry::new(4, true), create()).await.unwrap();
        let keys: Vec<_> = end.arrived().iter().map(|call| call.options.idempotency_key.clone().unwrap()).collect();
        assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        let other = Scripted::default();
        other.run(Retry::new(4, true), create()).await.unwrap();
        assert_ne!(other.arrived()[0].options.idempotency_key.as_ref(), Some(&keys[0]));

        let login = json!({ "username": "a@b.c", "password": "x", "tenantId": "t" });
        let login = || call(&user("anna", &[]), "auth_login", &login, CallOptions::default());
        let end = Scripted::failing([busy()]);
        end.run(Retry::new(4, true), login()).await.unwrap_err();
        assert_eq!(end.arrived().len(), 1, "no key is kept for a public operation");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_under_a_condition_is_not_repeated() {
        let arguments = json!({ "type": "customers", "id": "rec-1" });
        for (etag, arrive) in [(None, 2), (Some("\"3\"".to_owned()), 1)] {
            let end = Scripted::failing([busy()]);
            let options = CallOptions { if_match: etag, ..CallOptions::default() };
            let _ended = end.run(Retry::new(4, true), call(&user("anna", &[]), "entities_delete", &arguments, options)).await;
            assert_eq!(end.arrived().len(), arrive);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_platforms_wait_is_obeyed_within_the_deadline() {
        for (after, arrive, took) in [(7, 2, 7), (59, 2, 59), (60, 1, 0), (86_400, 1, 0)] {
            let (end, began) = (Scripted::failing([busy().retry_after(Duration::from_secs(after))]), Instant::now());
            let layers: [Arc<dyn Layer>; 2] = [Arc::new(Deadline(Duration::from_mins(1))), Arc::new(Retry::new(4, false))];
            let ended = end.run_through(&layers, list(&user("anna", &[]))).await;
            assert_eq!((ended.is_ok(), end.arrived().len(), began.elapsed().as_secs()), (arrive == 2, arrive, took));
            assert_ne!(ended.err().map(|error| error.code().to_owned()).as_deref(), Some("FM-MCP-DEADLINE"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_stay_within_the_budget_of_their_service() {
        let end = Scripted::failing((0..9_999).map(|_| busy()));
        let layers: [Arc<dyn Layer>; 1] = [Arc::new(Retry::new(4, false))];
        let began = Instant::now();
        let anna = user("anna", &[]);
        futures_util::future::join_all((0..1_000).map(|_| end.run_through(&layers, list(&anna)))).await;
        let retries = end.arrived().len() - 1_000;
        assert!((100..=202).contains(&retries) && began.elapsed() < Duration::from_secs(2), "{retries}");
        let other = || call(&anna, "prompts_get", &json!({ "id": "prompt-1" }), CallOptions::default());
        let before = end.arrived().len();
        end.run_through(&layers, other()).await.unwrap_err();
        assert_eq!(end.arrived().len(), before + 4, "another service has a budget of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_that_is_gone_at_the_second_attempt_says_so() {
        let gone = || Error::new(Kind::NotFound, "FM-DS-NOT-FOUND", "no");
        let delete = || call(&user("anna", &[]), "subscriptions_delete", &json!({ "id": "sub-1" }), CallOptions::default());
        for (errors, is_told) in [(vec![gone()], false), (vec![busy(), gone()], true), (vec![busy().unsent(), gone()], false)] {
            let end = Scripted::failing(errors);
            let error = end.run(Retry::new(4, false), delete()).await.unwrap_err();
            assert_eq!(error.next_step().is_some(), is_told);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_once_is_not_told_as_unsent() {
        for (errors, is_unsent) in
            [([busy().unsent(), busy().unsent().conclusive()], true), ([busy(), busy().unsent().conclusive()], false)]
        {
            let end = Scripted::failing(errors);
            let error = end.run(Retry::new(4, false), list(&user("anna", &[]))).await.unwrap_err();
            assert_eq!(error.is_unsent(), is_unsent);
        }
    }

    #[test]
    fn jitter_is_anything_up_to_the_longest() {
        let drawn: Vec<Duration> = (0..1_000).map(|_| any_of(FIRST_WAIT)).collect();
        assert!(drawn.iter().all(|wait| *wait <= FIRST_WAIT));
        assert!(drawn.iter().any(|wait| *wait < FIRST_WAIT / 4) && drawn.iter().any(|wait| *wait > FIRST_WAIT * 3 / 4));
    }
}
