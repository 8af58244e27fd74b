//! How fast, and whether whole, events of the platform come to hosts, with many subscribers and at high rates.
//!
//! `cargo bench --bench events` puts this server as it is released, on one worker thread, before a scripted platform: a
//! loopback WebSocket that sends what it is told to. It prints figures beside their aims. Names of parts run those alone,
//! such as `-- subscribers waits`. `BENCH_EVENT_SECONDS` is how long 10,000 events a second last. Linux alone (`/proc`).
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "../support/aims.rs"]
mod aims;
mod delivery;
mod embedded;
mod execution;
mod flow;
#[expect(dead_code, reason = "the bench of calls starts more kinds of programs")]
#[path = "../support/program.rs"]
mod program;
#[path = "../support/request.rs"]
mod request;
mod stream;
mod subscribers;
#[path = "../support/tokens.rs"]
mod tokens;
mod upstream;
mod waits;

use std::path::Path;
use std::time::Duration;

use aims::Aims;
use tokens::Issuer;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PARTS: [&str; 4] = ["subscribers", "stream", "waits", "embedded"];
const TENANT: &str = "tenant-0";
/// How long a high rate lasts, in seconds, unless the variable says otherwise.
const SECONDS: u64 = 35;
/// Files that are open at once: both ends of each subscriber's connection are of this machine.
const FILES: u64 = 4_096;

/// What every part needs.
struct Bench<'a> {
    home: &'a Path,
    issuer: Issuer,
    aims: Aims,
    /// How long a high rate lasts.
    lasts: Duration,
}

/// Allows this process and those that it starts as many files as they need.
fn allow_files() -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= FILES) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum.or(Some(FILES)), maximum: limit.maximum })?;
    match limit.maximum {
        Some(most) if most < FILES => Err(format!("a process may open {most} files; this bench needs {FILES} (ulimit -n)").into()),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = arguments.iter().find(|argument| !PARTS.contains(&argument.as_str())) {
        return Err(format!("{unknown} is not a part of this bench; its parts are {}", PARTS.join(", ")).into());
    }
    allow_files()?;
    let home = tempfile::tempdir()?;
    let seconds = std::env::var("BENCH_EVENT_SECONDS").map_or(Ok(SECONDS), |text| text.parse())?;
    let mut bench = Bench { home: home.path(), issuer: Issuer::new()?, aims: Aims::default(), lasts: Duration::from_secs(seconds) };
    for part in PARTS.into_iter().filter(|part| arguments.is_empty() || arguments.iter().any(|argument| argument == part)) {
        match part {
            "subscribers" => delivery::measure(&mut bench).await?,
            "stream" => stream::measure(&mut bench).await?,
            "waits" => waits::measure(&mut bench).await?,
            _ => embedded::measure(&mut bench).await?,
        }
    }
    bench.aims.summary();
    Ok(())
}
