//! Keeps calls from an instance that does not answer, and says when to come again.
//!
//! It stands inside retry: five attempts open it, whichever calls they belong to, and then no call waits for a dead
//! service. What is refused further in (bulkhead, rate limit, sign) says nothing of the instance and spends no probe.

mod circuit;
mod window;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::api::Service;
use crate::client::call::{Call, Reply};
use crate::client::http::{TIMEOUT, UNREACHABLE};
use crate::client::layer::{Layer, Next};
use crate::client::per_service::PerService;
use crate::error::{Error, Kind, Origin, Result};
use circuit::{Circuit, Outcome, Phase};

/// Longest code of a failure that is remembered, in characters.
const MAX_CODE_LENGTH: usize = 80;
/// Instances of a service that are remembered.
const MAX_INSTANCES: usize = 64;

/// When a circuit opens and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BreakerSettings {
    /// From when on a call counts as too slow.
    pub slow_call: Duration,
    /// How long a circuit stays open at first; the time doubles, up to a minute, with each probe that fails.
    pub wait: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { slow_call: Duration::from_secs(30), wait: Duration::from_secs(5) }
    }
}

/// What is known of a service's instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceHealth {
    /// The service.
    pub service: &'static str,
    /// The instance; none where the platform's gateway chooses.
    pub instance: Option<Arc<str>>,
    /// Whether calls are let through.
    pub circuit: CircuitState,
    /// The attempts of the last ten seconds.
    pub calls: u32,
    /// Those of them that failed or were slow.
    pub failures: u32,
    /// The code of its last failure, and how long ago that was. What a service refuses is not one.
    pub last_error: Option<(Arc<str>, Duration)>,
}

/// Whether calls are let through to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// They are.
    Closed,
    /// They are refused for this time.
    Open(Duration),
    /// One of them probes whether the instance is back; the others are refused.
    HalfOpen,
}

/// The circuits of all services.
#[derive(Debug)]
pub(in crate::client) struct Circuits {
    wait: Duration,
    services: PerService<Known>,
}

/// The circuits of one service.
#[derive(Debug)]
struct Known {
    gateway: Arc<Circuit>,
    instances: Mutex<Vec<(Arc<str>, Arc<Circuit>)>>,
}

impl Circuits {
    pub(in crate::client) fn new(wait: Duration) -> Self {
        let known = || Known { gateway: Arc::new(Circuit::new(wait)), instances: Mutex::default() };
        Self { wait, services: PerService::new(known) }
    }

    /// The circuit of the instance that a call goes to.
    fn of(&self, call: &Call) -> Arc<Circuit> {
        let known = self.services.of(call.entry);
        let Some(instance) = &call.instance else { return Arc::clone(&known.gateway) };
        let mut instances = known.instances.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, circuit)) = instances.iter().find(|(name, _)| name == instance) {
            return Arc::clone(circuit);
        }
        if instances.len() >= MAX_INSTANCES {
            // A circuit that nobody waits for is known again after five attempts.
            let idle = instances.iter().position(|(_, circuit)| circuit.look(Instant::now()).0 == Phase::Closed);
            instances.remove(idle.unwrap_or_default());
        }
        let circuit = Arc::new(Circuit::new(self.wait));
        instances.push((Arc::clone(instance), Arc::clone(&circuit)));
        circuit
    }

    /// Whether calls to an instance of a service would be refused now.
    pub(in crate::client) fn is_open(&self, service: &Service, instance: &str) -> bool {
        let now = Instant::now();
        let known = self.services.iter().find(|(name, _)| *name == service.name);
        known.is_some_and(|(_, known)| {
            let instances = known.instances.lock().unwrap_or_else(PoisonError::into_inner);
            let circuit = instances.iter().find(|(name, _)| **name == *instance);
            circuit.is_some_and(|(_, circuit)| match circuit.look(now).0 {
                Phase::Closed => false,
                Phase::Open { until } => until > now,
                Phase::HalfOpen { .. } => true,
            })
        })
    }

    /// What is known of every instance that was called, and of every service.
    pub(in crate::client) fn health(&self) -> Vec<ServiceHealth> {
        let now = Instant::now();
        let health = |service, instance, circuit: &Circuit| {
            let (phase, calls, failures) = circuit.look(now);
            let last_error = circuit.last_error(now);
            let circuit = match phase {
                Phase::Closed => CircuitState::Closed,
                Phase::Open { until } if until > now => CircuitState::Open(until - now),
                // The next call probes it.
                Phase::Open { .. } | Phase::HalfOpen { .. } => CircuitState::HalfOpen,
            };
            ServiceHealth { service, instance, circuit, calls, failures, last_error }
        };
        let mut all = Vec::new();
        for (service, known) in self.services.iter() {
            all.push(health(service, None, &known.gateway));
            let instances = known.instances.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(instances.iter().map(|(instance, circuit)| health(service, Some(Arc::clone(instance)), circuit)));
        }
        all
    }
}

/// See the module.
pub(in crate::client) struct Breaker {
    pub(in crate::client) circuits: Arc<Circuits>,
    pub(in crate::client) slow_call: Duration,
}

impl Layer for Breaker {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        // Whoever repeats by itself has a way of its own to tell what is the service's fault from what is a tenant's.
        if call.options.is_paced {
            return next.run(call);
        }
        let circuit = self.circuits.of(&call);
        Box::pin(async move {
            let (service, began) = (call.entry.service, Instant::now());
            // An answer that is told while it is written is as slow as it is long.
            let is_told = call.options.tokens.is_some();
            let mut pass = circuit.admit(began).map_err(|wait| {
                call.metrics.refusals.breaker.increment(1);
                open(service, wait)
            })?;
            let answer = next.run(call).await;
            pass.outcome = judge(&answer, !is_told && began.elapsed() >= self.slow_call);
            if let (Outcome::Failed | Outcome::Unanswered, Err(error)) = (pass.outcome, &answer) {
                // Every tenant sees it: what is no code stays out.
                let code = error.code().chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
                pass.code = Some(code.take(MAX_CODE_LENGTH).collect::<String>().into());
            }
            answer
        })
    }
}

/// What an attempt says of its instance. A refusal of the call is an answer like any other.
fn judge(answer: &Result<Reply>, is_slow: bool) -> Outcome {
    match answer {
        Err(error) if error.origin() == Origin::Platform => match error.kind() {
            Kind::Internal | Kind::Unavailable | Kind::Timeout => Outcome::Failed,
            // Something answered; whether it was the service cannot be told.
            Kind::BadAnswer => Outcome::Unknown,
            _ if is_slow => Outcome::Slow,
            _ => Outcome::Good,
        },
        Err(error) if [UNREACHABLE, TIMEOUT].contains(&error.code()) => Outcome::Unanswered,
        Err(_) => Outcome::Unknown,
        Ok(_) if is_slow => Outcome::Slow,
        Ok(_) => Outcome::Good,
    }
}

fn open(service: &Service, wait: Duration) -> Error {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Error::new(Kind::Unavailable, "FM-MCP-CIRCUIT-OPEN", format!("{} is not answering; try again in {seconds} s", service.title()))
        .retry_after(Duration::from_secs(seconds))
        .unsent()
        .conclusive()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::call::CallOptions;
    use crate::client::layers::retry::Retry;
    use crate::client::layers::scripted::{Scripted, call, list, user};

    fn breaker() -> (Arc<Circuits>, [Arc<dyn Layer>; 2]) {
        let BreakerSettings { slow_call, wait } = BreakerSettings::default();
        let circuits = Arc::new(Circuits::new(wait));
        let breaker = Breaker { circuits: Arc::clone(&circuits), slow_call };
        (circuits, [Arc::new(Retry::new(4, true)), Arc::new(breaker)])
    }

    fn dead() -> Error {
        Error::new(Kind::Unavailable, UNREACHABLE, "no").unsent()
    }

    fn state(circuits: &Circuits, service: &str) -> CircuitState {
        circuits.health().into_iter().find(|health| health.service == service).unwrap().circuit
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_calls_of_a_dead_service_are_five_requests_and_one_probe_brings_it_back() {
        let (end, (circuits, layers)) = (Scripted::failing((0..5).map(|_| dead())), breaker());
        let anna = user("anna", &[]);
        let mut last = None;
        for _ in 0..20 {
            last = end.run_through(&layers, list(&anna)).await.err();
        }
        let last = last.unwrap();
        assert_eq!((last.code(), end.arrived().len()), ("FM-MCP-CIRCUIT-OPEN", 5));
        assert_eq!((last.kind(), last.is_unsent(), last.when_to_retry()), (Kind::Unavailable, true, Some(Duration::from_secs(5))));
        assert_eq!(last.message(), "Human Task is not answering; try again in 5 s");
        assert!(matches!(state(&circuits, "human-task"), CircuitState::Open(_)));
        let told = |service: &str| {
            circuits.health().into_iter().find(|health| health.service == service).unwrap().last_error.map(|(code, _)| code)
        };
        assert_eq!((told("human-task"), told("ai-agent")), (Some(Arc::from(UNREACHABLE)), None));

        let other = call(&anna, "prompts_get", &json!({ "id": "prompt-1" }), CallOptions::default());
        end.run_through(&layers, other).await.unwrap();
        assert_eq!(state(&circuits, "prompt-engineering"), CircuitState::Closed);

        tokio::time::advance(Duration::from_secs(5)).await;
        for _ in 0..20 {
            end.run_through(&layers, list(&anna)).await.unwrap();
        }
        assert_eq!(state(&circuits, "human-task"), CircuitState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_and_failures_of_this_side_open_nothing() {
        let refusals = [
            Error::new(Kind::NotFound, "X", "no").of_origin(Origin::Platform),
            Error::new(Kind::RateLimited, "X", "no").of_origin(Origin::Platform),
            Error::new(Kind::Unsupported, "X", "no").of_origin(Origin::Platform),
            Error::new(Kind::Unavailable, "FM-MCP-EXCHANGE-UNREACHABLE", "no").conclusive(),
            Error::internal("no"),
        ];
        for refusal in refusals {
            let (end, (_, layers)) = (Scripted::failing((0..99).map(|_| refusal.again())), breaker());
            for _ in 0..20 {
                let refused = end.run_through(&layers, list(&user("anna", &[]))).await.unwrap_err();
                assert_eq!(refused.code(), refusal.code());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_open_it_and_paced_calls_neither_count_nor_stop() {
        let (end, (circuits, layers)) = (Scripted::slow(Duration::from_secs(30)), breaker());
        let anna = user("anna", &[]);
        futures_util::future::join_all((0..5).map(|_| end.run_through(&layers, list(&anna)))).await;
        assert!(matches!(state(&circuits, "human-task"), CircuitState::Open(_)));
        let paced = CallOptions { is_paced: true, ..CallOptions::default() };
        end.run_through(&layers, call(&anna, "tasks_list", &json!({}), paced)).await.unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(state(&circuits, "human-task"), CircuitState::HalfOpen);
    }

    #[tokio::test(start_paused = true)]
    async fn each_instance_has_a_circuit_of_its_own_and_their_number_is_bounded() {
        let (circuits, _) = breaker();
        let breaker = Arc::new(Breaker { circuits: Arc::clone(&circuits), slow_call: Duration::from_secs(30) });
        let layers: [Arc<dyn Layer>; 1] = [breaker];
        let at = |instance: String| Call { instance: Some(instance.into()), ..list(&user("anna", &[])) };
        let end = Scripted::failing((0..5).map(|_| dead()));
        for _ in 0..6 {
            end.run_through(&layers, at("a".to_owned())).await.unwrap_err();
        }
        assert_eq!(end.arrived().len(), 5);
        for index in 0..200 {
            end.run_through(&layers, at(format!("b{index}"))).await.unwrap();
        }
        let known: Vec<_> = circuits.health().into_iter().filter(|health| health.instance.is_some()).collect();
        assert_eq!(known.len(), MAX_INSTANCES);
        assert!(known.iter().any(|health| health.instance.as_deref() == Some("a") && health.circuit != CircuitState::Closed));
    }
}
