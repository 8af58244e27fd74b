//! What a tool call costs this server, beside the least that a server with the same tools can be.
//!
//! `cargo bench --bench calls` starts programs on loopback, each with one worker thread: this server as it is released,
//! with every caller's token verified, limits and figures on; a bare rmcp server whose tools each send one request; and a
//! platform of fixed answers behind both. It sends them calls, in turn and for many rounds, and prints ratios beside their
//! aims: a busy machine moves both sides of a ratio alike. Names of parts run those alone, such as `-- costs audit`.
//! Costs are the processor's time (`/proc`, Linux). `BENCH_AUDIT_SECONDS` is how long the audit log is under full load.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "../support/aims.rs"]
mod aims;
mod audit;
mod bare;
mod costs;
mod flood;
mod load;
mod memory;
mod platform;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/request.rs"]
mod request;
mod start;
mod times;
#[path = "../support/tokens.rs"]
mod tokens;

use std::path::Path;
use std::time::Duration;

use aims::Aims;
use load::Load;
use program::Program;
use tokens::Issuer;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long the platform takes where the time of calls is measured rather than their cost.
const SLOW: Duration = Duration::from_millis(5);
/// How many ids a list answers, which the server remembers for its caller.
const REMEMBERED: usize = 200;
const PARTS: [&str; 6] = ["costs", "times", "flood", "audit", "memory", "start"];

/// What every part needs.
struct Bench<'a> {
    home: &'a Path,
    issuer: Issuer,
    aims: Aims,
}

impl Bench<'_> {
    /// A platform of fixed answers.
    fn platform(&self, delay: Duration) -> Result<Program, Failure> {
        Program::part(&["platform", &delay.as_millis().to_string(), &self.issuer.keys()])
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["platform", delay, keys] => return platform::serve(Duration::from_millis(delay.parse()?), keys.to_owned()).await,
        ["bare", platform] => return bare::serve(platform.to_owned()).await,
        ["bare-stdio", tools] => return bare::serve_stdio(tools).await,
        _ => {}
    }
    if let Some(unknown) = arguments.iter().find(|argument| !PARTS.contains(&argument.as_str())) {
        return Err(format!("{unknown} is not a part of this bench; its parts are {}", PARTS.join(", ")).into());
    }
    let home = tempfile::tempdir()?;
    let load = Load::new()?;
    let mut bench = Bench { home: home.path(), issuer: Issuer::new()?, aims: Aims::default() };
    for part in PARTS.into_iter().filter(|part| arguments.is_empty() || arguments.iter().any(|argument| argument == part)) {
        match part {
            "costs" => costs::measure(&mut bench, &load).await?,
            "times" => times::measure(&mut bench, &load).await?,
            "flood" => flood::measure(&mut bench).await?,
            "audit" => audit::measure(&mut bench, &load).await?,
            "memory" => memory::measure(&mut bench, &load).await?,
            _ => start::measure(&mut bench)?,
        }
    }
    bench.aims.summary();
    Ok(())
}
