//! What a tool call costs this server, beside the least that a server with the same tools can be.
//!
//! `cargo bench --bench calls` starts programs on loopback, each with one worker thread: this server as it is released,
//! with every caller's token verified, limits and figures on; a bare rmcp server whose tools each send one request; and a
//! platform of fixed answers behind both. It sends them 16 calls at a time, in turn and for many rounds, and prints the
//! processor's time a call (`/proc`, Linux) and its ratios: a busy machine moves both sides of a ratio alike.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod bare;
mod load;
mod platform;
mod program;
mod tokens;

use std::path::Path;
use std::time::Duration;

use load::{Load, What};
use program::Program;
use tokens::Issuer;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 12;
const CALLS: usize = 2_000;
/// A list is a thousand times as long as an answer.
const LISTS: usize = 120;
const TENANTS: usize = 10_000;
/// How long the platform takes where the time of calls is measured rather than their cost.
const SLOW: Duration = Duration::from_millis(5);
/// How many ids a list answers, which the server remembers for its caller.
const REMEMBERED: usize = 200;

/// One kind of call at one server, and what it cost so far.
struct Measured<'a> {
    server: &'a Program,
    what: What<'a>,
    calls: usize,
    tokens: &'a [String],
    spent: Duration,
    sent: usize,
}

impl<'a> Measured<'a> {
    const fn new(server: &'a Program, what: What<'a>, calls: usize, tokens: &'a [String]) -> Self {
        Self { server, what, calls, tokens, spent: Duration::ZERO, sent: 0 }
    }

    async fn round(&mut self, load: &Load) -> Result<(), Failure> {
        let before = self.server.processor_time()?;
        load.send(self.server, self.what, self.sent, self.calls, self.tokens).await?;
        // What is done behind a call, such as writing its audit entry, is part of its cost.
        tokio::time::sleep(Duration::from_millis(40)).await;
        self.spent += self.server.processor_time()?.saturating_sub(before);
        self.sent += self.calls;
        Ok(())
    }

    /// Microseconds a call.
    fn cost(&self) -> Result<f64, Failure> {
        Ok(self.spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(self.sent)?))
    }

    fn against(&self, other: &Self) -> Result<String, Failure> {
        let (own, other) = (self.cost()?, other.cost()?);
        Ok(format!("{own:.0} µs against {other:.0} µs, {:.3} times", own / other))
    }
}

async fn costs(home: &Path, issuer: &Issuer, load: &Load) -> Result<(), Failure> {
    let platform = Program::platform(Duration::ZERO, issuer)?;
    let bare = Program::bare(&platform.url)?;
    let plain = Program::server(&home.join("plain"), &platform.url, &[])?;
    // What it remembers of many would cost the calls of one.
    let crowded = Program::server(&home.join("crowded"), &platform.url, &[])?;
    let caching = Program::server(&home.join("caching"), &platform.url, &[("FLOWMASTER_CACHE_SIZE", "64")])?;
    let log = home.join("audit.jsonl");
    let log_name = log.to_str().ok_or("the folder's name is no text")?;
    let auditing = Program::server(&home.join("auditing"), &platform.url, &[("FLOWMASTER_AUDIT_FILE", log_name)])?;

    let one = [issuer.token("tenant-0", "anna")];
    let (knowing, new) = ([issuer.token("tenant-0", "knowing")], [issuer.token("tenant-0", "new")]);
    let many: Vec<_> = (0..TENANTS).map(|tenant| issuer.token(&format!("tenant-{tenant}"), "anna")).collect();
    let mut measured = [
        Measured::new(&bare, What::Read, CALLS, &one),
        Measured::new(&plain, What::Read, CALLS, &one),
        Measured::new(&auditing, What::Read, CALLS, &one),
        Measured::new(&caching, What::Read, CALLS, &one),
        Measured::new(&caching, What::SameRead, CALLS, &one),
        Measured::new(&plain, What::SameRead, CALLS, &knowing),
        Measured::new(&plain, What::SameRead, CALLS, &new),
        Measured::new(&crowded, What::Read, CALLS, &many),
        Measured::new(&bare, What::Tools, LISTS, &one),
        Measured::new(&plain, What::Tools, LISTS, &one),
        Measured::new(&load.own, What::Direct(&platform.url), CALLS, &one),
    ];
    // Connections, tokens and memory are as they stay before anything is counted.
    for kind in &measured {
        load.send(kind.server, kind.what, 0, kind.calls, kind.tokens).await?;
    }
    load.send(&crowded, What::Read, 0, TENANTS, &many).await?;
    load.send(&plain, What::Page, 0, 1, &knowing).await?;
    let filed = std::fs::read_to_string(&log)?.lines().count();
    for _ in 0..ROUNDS {
        for kind in &mut measured {
            kind.round(load).await?;
        }
    }
    let [read_bare, read, audited, miss, hit, known, unknown, tenants, list_bare, list, direct] = &measured;
    println!("{ROUNDS} rounds of {CALLS} calls ({LISTS} lists), {} at once, processor time a call:", load::AT_ONCE);
    println!("  a request of reqwest alone: {:.0} µs", direct.cost()?);
    println!("  a read, against bare rmcp: {} (aim 1.35)", read.against(read_bare)?);
    println!("  a miss of the cache, against bare rmcp: {}", miss.against(read_bare)?);
    println!("  a hit of the cache, against its miss: {} (aim 0.6)", hit.against(miss)?);
    println!("  a read with the audit file, against none: {} (aim 1.08)", audited.against(read)?);
    println!("  {TENANTS} tenants, against one: {} (aim 1.15)", tenants.against(read)?);
    println!("  a caller with {REMEMBERED} remembered ids, against one: {} (aim 1)", known.against(unknown)?);
    println!("  tools/list, against bare rmcp: {} (aim 1)", list.against(list_bare)?);
    let entries = std::fs::read_to_string(&log)?.lines().count() - filed;
    println!("  {entries} audit entries of {} calls", audited.sent);
    Ok(())
}

/// How long calls take on a platform that is not at once there.
async fn times(home: &Path, issuer: &Issuer, load: &Load) -> Result<(), Failure> {
    let platform = Program::platform(SLOW, issuer)?;
    let bare = Program::bare(&platform.url)?;
    let server = Program::server(&home.join("slow"), &platform.url, &[])?;
    let tokens = [issuer.token("tenant-0", "anna")];
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (program, taken) in [&bare, &server].into_iter().zip(&mut taken) {
            let times = load.send(program, What::Read, round * CALLS, CALLS, &tokens).await?;
            if round > 0 {
                taken.extend(times);
            }
        }
    }
    let [bare, own] = taken.map(|mut taken| {
        taken.sort_unstable();
        [2, 100].map(|part| taken[taken.len() - 1 - (taken.len() - 1) / part].as_secs_f64() * 1e3)
    });
    println!("{} at once on a platform that takes {SLOW:?}:", load::AT_ONCE);
    println!("  p50 {:.2} ms against {:.2} ms of bare rmcp, {:.2} ms more (aim 0.3)", own[0], bare[0], own[0] - bare[0]);
    println!("  p99 {:.2} ms against {:.2} ms of bare rmcp, {:.2} times (aim 1.25)", own[1], bare[1], own[1] / bare[1]);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["platform", delay, keys] => return platform::serve(Duration::from_millis(delay.parse()?), keys.to_owned()).await,
        ["bare", platform] => return bare::serve(platform.to_owned()).await,
        _ => {}
    }
    let home = tempfile::tempdir()?;
    let (issuer, load) = (Issuer::new()?, Load::new()?);
    costs(home.path(), &issuer, &load).await?;
    times(home.path(), &issuer, &load).await
}
