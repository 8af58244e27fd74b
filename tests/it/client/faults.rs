//! What callers notice of a service that is dead, fails now and then, breaks connections or answers garbage.

use std::sync::Arc;
use std::time::Duration;

use flowmaster_mcp::api::{entities, tasks};
use flowmaster_mcp::auth::Caller;
use flowmaster_mcp::client::{BreakerSettings, CircuitState, Client, Fixed, Settings, Timeouts};
use flowmaster_mcp::error::{Error, Kind};
use flowmaster_mcp::platform::Faults;
use serde_json::json;

use crate::support::platform::TestPlatform;
use crate::support::program::program;

const TASKS: &str = "human-task";

/// A platform with faults to set, and somebody who calls it.
struct Bench {
    platform: TestPlatform,
    faults: Faults,
    token: String,
    anna: Arc<Caller>,
}

impl Bench {
    async fn start() -> Self {
        let faults = Faults::default();
        let platform = TestPlatform::start_with(|options| options.faults = faults.clone()).await;
        let token = platform.signed_in("tenant-1", "anna", &["*"]).await;
        let anna = Arc::new(Caller::of_unverified_token(token.clone().into(), None).unwrap());
        Self { platform, faults, token, anna }
    }

    fn client(&self, change: impl FnOnce(&mut Settings)) -> Client {
        let mut settings = Settings { attempts: 4, idempotency_keys: true, ..Settings::default() };
        change(&mut settings);
        Client::builder(Arc::new(Fixed::new(&self.platform.running.url()).unwrap())).settings(settings).build()
    }

    fn fail(&self, seed: u64, fault: &str) {
        self.faults.set(seed, [fault.parse().unwrap()]);
    }

    async fn list(&self, client: &Client) -> Result<(), Error> {
        client.send(&self.anna, &tasks::List::default()).await.map(drop)
    }

    /// The tasks that there are, whatever the faults.
    async fn tasks(&self) -> usize {
        self.faults.clear();
        self.platform.get("/tasks", &self.token).await.ok()["items"].as_array().unwrap().len()
    }
}

fn circuit(client: &Client, service: &str) -> CircuitState {
    client.health().into_iter().find(|health| health.service == service).unwrap().circuit
}

#[tokio::test]
async fn a_dead_service_gets_five_requests_and_others_are_untouched() {
    for fault in ["human-task:cut", "human-task:status=503"] {
        let bench = Bench::start().await;
        let client = bench.client(|settings| settings.breaker = BreakerSettings { wait: Duration::from_secs(3), ..settings.breaker });
        bench.fail(1, fault);
        for _ in 0..20 {
            let error = bench.list(&client).await.unwrap_err();
            assert!(error.kind() == Kind::Unavailable && error.is_transient(), "{error}");
        }
        assert!(bench.faults.requests(TASKS) <= 5, "{} requests", bench.faults.requests(TASKS));
        let refused = bench.list(&client).await.unwrap_err();
        assert_eq!(refused.code(), "FM-MCP-CIRCUIT-OPEN");
        assert!(refused.message().starts_with("Human Task is not answering; try again in "), "{refused}");
        assert!(matches!(circuit(&client, TASKS), CircuitState::Open(_)));
        let search: entities::Search = serde_json::from_value(json!({ "query": "acme" })).unwrap();
        client.send(&bench.anna, &search).await.unwrap();
        assert_eq!(circuit(&client, "internal-data-hub"), CircuitState::Closed);

        // It comes back, and the first call that probes it closes the circuit for all.
        bench.faults.clear();
        while matches!(circuit(&client, TASKS), CircuitState::Open(_)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let before = bench.faults.requests(TASKS);
        for _ in 0..20 {
            bench.list(&client).await.unwrap();
        }
        assert_eq!((bench.faults.requests(TASKS) - before, circuit(&client, TASKS)), (20, CircuitState::Closed));
    }
}

#[tokio::test]
async fn of_a_service_that_fails_a_third_of_the_time_almost_all_calls_succeed() {
    const CALLS: u64 = 200;
    let bench = Bench::start().await;
    let client = bench.client(|_| {});
    bench.fail(11, "human-task:status=503:0.3");
    let mut succeeded = 0;
    for _ in 0..CALLS {
        succeeded += u64::from(bench.list(&client).await.is_ok());
    }
    let retries = bench.faults.requests(TASKS) - CALLS;
    assert!(succeeded * 100 > CALLS * 99, "{succeeded} of {CALLS}");
    assert!(retries > 40, "{retries} retries: there were faults");
    assert!(retries <= CALLS / 10 + 100, "{retries} retries are beyond a tenth of the calls and the reserve");
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_happens_once() {
    // The first request is cut off by this seed, the second is not.
    let (seed, fault) = (3, "human-task:cut-after:0.5");
    let create = |title: &str| serde_json::from_value::<tasks::Create>(json!({ "title": title })).unwrap();
    for (has_keys, requests) in [(true, 2), (false, 1)] {
        let bench = Bench::start().await;
        let client = bench.client(|settings| settings.idempotency_keys = has_keys);
        bench.fail(seed, fault);
        let created = client.send(&bench.anna, &create("Check the invoice")).await;
        assert_eq!((created.is_ok(), bench.faults.requests(TASKS)), (has_keys, requests), "{created:?}");
        if let Err(error) = created {
            assert_eq!((error.code(), error.is_unsent()), ("FM-MCP-UNREACHABLE", false));
        }
        assert_eq!(bench.tasks().await, 1, "it happened exactly once");
    }
}

#[tokio::test]
async fn every_fault_is_a_clear_error() {
    let bench = Bench::start().await;
    let faults = [
        ("human-task:status=500", "HTTP-500", Kind::Internal),
        ("human-task:status=429", "HTTP-429", Kind::RateLimited),
        ("human-task:garbage", "FM-MCP-ANSWER", Kind::BadAnswer),
        ("human-task:cut", "FM-MCP-UNREACHABLE", Kind::Unavailable),
        ("*:latency=20000ms", "FM-MCP-TIMEOUT", Kind::Timeout),
    ];
    for (fault, code, kind) in faults {
        let client = bench.client(|settings| {
            settings.attempts = 2;
            settings.timeouts = Timeouts { first_byte: Duration::from_millis(200), ..settings.timeouts };
        });
        bench.fail(1, fault);
        let error = bench.list(&client).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, kind), "{fault}: {error}");
        bench.faults.clear();
        bench.list(&client).await.unwrap();
    }
}

#[test]
fn a_fault_that_cannot_be_meant_is_refused_with_what_can() {
    let home = tempfile::tempdir().unwrap();
    for (fault, told) in [("human-taks:cut", "human-task"), ("*:explode", "cut-after"), ("*:cut:3", "from 0 to 1")] {
        let refused = program(home.path()).args(["platform", "--fault", fault]).output().unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && text.contains(told), "{fault}: {text}");
    }
}
