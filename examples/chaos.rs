//! What the client makes of a platform that fails: a load on it, and what becomes of calls, breakers and the cache as it goes.
//!
//! `cargo run --example chaos`, or with faults of your own: `cargo run --example chaos -- human-task:status=503:0.5 '*:latency=200ms'`

#![expect(clippy::print_stdout, reason = "an example ends in visible output")]

use std::collections::BTreeMap;
use std::env;
use std::io::{IsTerminal as _, stdout};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowmaster_mcp::api::Timestamp;
use flowmaster_mcp::api::services::{executions, tasks};
use flowmaster_mcp::auth::{Caller, Credential};
use flowmaster_mcp::cli::Embedded;
use flowmaster_mcp::client::{CacheSettings, CircuitState, Client, Settings};
use flowmaster_mcp::platform::{Fault, Faults, Options};
use tokio::time::sleep;

/// Those who call at the same time, and how long each rests between two calls.
const CALLERS: usize = 8;
const REST: Duration = Duration::from_millis(20);
/// How often it is told how things stand, and how often in a chapter.
const TELL_EVERY: Duration = Duration::from_millis(500);
const LINES: usize = 6;
/// Faults are drawn from this, so that a run can be repeated.
const SEED: u64 = 7;

/// What became of calls since it was last told.
type Outcomes = Arc<Mutex<BTreeMap<String, u32>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let own: Vec<Fault> = env::args().skip(1).map(|text| text.parse()).collect::<Result<_, String>>()?;
    let chapters: Vec<(String, Vec<Fault>)> = if own.is_empty() {
        let of = |faults: &[&str]| faults.iter().map(|text| text.parse()).collect::<Result<Vec<Fault>, String>>();
        vec![
            ("All is well".to_owned(), Vec::new()),
            ("Human Task answers 503 to a third of its calls: they are repeated".to_owned(), of(&["human-task:status=503:0.3"])?),
            ("Human Task is dead: few requests leave, reads come from the cache".to_owned(), of(&["human-task:cut"])?),
            ("It is back".to_owned(), Vec::new()),
        ]
    } else {
        let told: Vec<String> = own.iter().map(ToString::to_string).collect();
        vec![(told.join(", "), own), ("Without faults again".to_owned(), Vec::new())]
    };

    let folder = tempfile::tempdir()?;
    let faults = Faults::default();
    let platform = Embedded::new(Options { faults: faults.clone(), ..Options::new(folder.path().join("data")) });
    let cache = CacheSettings { bytes: 8 << 20, ..CacheSettings::default() };
    let client = Client::builder(platform.clone()).settings(Settings { cache, idempotency_keys: true, ..Settings::default() }).build();
    let caller = Arc::new(Caller::owner(Credential::Owner));
    let task = client.send(&caller, &errand("Look at the roof")).await?.task_id;

    let outcomes = Outcomes::default();
    let load: Vec<_> = (0..CALLERS)
        .map(|place| {
            let (client, caller, outcomes, task) = (client.clone(), Arc::clone(&caller), Arc::clone(&outcomes), task.clone());
            tokio::spawn(async move {
                loop {
                    let outcome = match place % 4 {
                        0 => outcome_of(client.send(&caller, &executions::List::default()).await),
                        1 => outcome_of(client.send(&caller, &unasked()).await),
                        _ => outcome_of(client.send(&caller, &tasks::Get { id: task.clone() }).await),
                    };
                    *lock(&outcomes).entry(outcome).or_default() += 1;
                    sleep(REST).await;
                }
            })
        })
        .collect();

    for (title, rules) in chapters {
        println!("\n{}", painted("1", &title));
        faults.set(SEED, rules);
        let mut asked = 0;
        for _ in 0..LINES {
            sleep(TELL_EVERY).await;
            let now = faults.requests("human-task");
            println!("{}", line(&std::mem::take(&mut *lock(&outcomes)), now - asked, &client));
            asked = now;
        }
        if let Err(error) = client.send(&caller, &unasked()).await {
            println!("     a caller is told: {error}");
        }
    }
    load.iter().for_each(tokio::task::JoinHandle::abort);
    platform.close().await;
    Ok(())
}

fn errand(title: &str) -> tasks::Create {
    let title = title.to_owned();
    tasks::Create { title, description: None, assignee: None, execution_id: None, form: None, sla: None, escalation_chain: None }
}

/// A list that nobody has asked for before, so that no cache has it.
fn unasked() -> tasks::List {
    static ASKED: AtomicI64 = AtomicI64::new(0);
    let before = Timestamp::from_millis(ASKED.fetch_add(1, Ordering::Relaxed));
    tasks::List { created_before: Some(before), ..tasks::List::default() }
}

fn outcome_of<T>(result: flowmaster_mcp::error::Result<T>) -> String {
    result.map_or_else(|error| error.code().to_owned(), |_| "answered".to_owned())
}

/// How things stand, in a line.
fn line(outcomes: &BTreeMap<String, u32>, requests: u64, client: &Client) -> String {
    let answered = outcomes.get("answered").copied().unwrap_or_default();
    let failed: Vec<String> =
        outcomes.iter().filter(|(outcome, _)| *outcome != "answered").map(|(code, count)| format!("{count} × {code}")).collect();
    let circuit = client.health().into_iter().find(|health| health.service == "human-task").map(|health| match health.circuit {
        CircuitState::Closed => painted("32", "closed"),
        CircuitState::HalfOpen => painted("33", "half-open"),
        CircuitState::Open(wait) => painted("31", &format!("open for {:.0} s", wait.as_secs_f64().ceil())),
    });
    let failed = if failed.is_empty() { String::new() } else { painted("31", &format!("  {}", failed.join(", "))) };
    format!("{answered:>4} answered  {requests:>4} requests to Human Task, its breaker {}{failed}", circuit.unwrap_or_default())
}

/// A text in a colour, where a person reads it.
fn painted(colour: &str, text: &str) -> String {
    let is_seen = stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
    if is_seen { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}

fn lock(outcomes: &Outcomes) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
    outcomes.lock().unwrap_or_else(PoisonError::into_inner)
}
