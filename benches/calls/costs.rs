//! What a call takes of the processor.

use std::time::Duration;

use crate::load::{AT_ONCE, Load, What};
use crate::program::Program;
use crate::{Bench, Failure, REMEMBERED};

const ROUNDS: usize = 12;
const CALLS: usize = 2_000;
/// A list is a thousand times as long as an answer.
const LISTS: usize = 120;
const TENANTS: usize = 10_000;

/// One kind of call at one server, and what it cost so far.
pub struct Measured<'a> {
    server: &'a Program,
    what: What<'a>,
    calls: usize,
    tokens: &'a [String],
    spent: Duration,
    pub sent: usize,
}

impl<'a> Measured<'a> {
    pub const fn new(server: &'a Program, what: What<'a>, calls: usize, tokens: &'a [String]) -> Self {
        Self { server, what, calls, tokens, spent: Duration::ZERO, sent: 0 }
    }

    /// Sends calls that are not counted: connections, tokens and memory are as they stay afterwards.
    pub async fn warm(&self, load: &Load) -> Result<(), Failure> {
        load.send(self.server, self.what, 0, self.calls, self.tokens).await.map(drop)
    }

    /// Sends calls, and counts what is done behind them within a time, such as writing their audit entries.
    pub async fn round(&mut self, load: &Load, behind: Duration) -> Result<(), Failure> {
        let before = self.server.processor_time()?;
        load.send(self.server, self.what, self.sent, self.calls, self.tokens).await?;
        tokio::time::sleep(behind).await;
        self.spent += self.server.processor_time()?.saturating_sub(before);
        self.sent += self.calls;
        Ok(())
    }

    /// Microseconds a call.
    pub fn cost(&self) -> Result<f64, Failure> {
        Ok(self.spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(self.sent)?))
    }

    /// How many times the cost of another this is, and both in words.
    pub fn against(&self, other: &Self) -> Result<(f64, String), Failure> {
        let (own, other) = (self.cost()?, other.cost()?);
        let times = own / other;
        Ok((times, format!("{own:.0} µs against {other:.0} µs, {times:.3} times")))
    }
}

pub async fn measure(bench: &mut Bench<'_>, load: &Load) -> Result<(), Failure> {
    let home = bench.home;
    let platform = bench.platform(Duration::ZERO)?;
    let bare = Program::part(&["bare", &platform.url])?;
    let plain = Program::server(&home.join("plain"), &platform.url, &[])?;
    // What it remembers of many would cost the calls of one.
    let crowded = Program::server(&home.join("crowded"), &platform.url, &[])?;
    let caching = Program::server(&home.join("caching"), &platform.url, &[("FLOWMASTER_CACHE_SIZE", "64")])?;
    let log = home.join("audit.jsonl");
    let log_name = log.to_str().ok_or("the folder's name is no text")?;
    let auditing = Program::server(&home.join("auditing"), &platform.url, &[("FLOWMASTER_AUDIT_FILE", log_name)])?;

    let issuer = &bench.issuer;
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
    for kind in &measured {
        kind.warm(load).await?;
    }
    load.send(&crowded, What::Read, 0, TENANTS, &many).await?;
    load.send(&plain, What::Page, 0, 1, &knowing).await?;
    let filed = std::fs::read_to_string(&log)?.lines().count();
    for _ in 0..ROUNDS {
        for kind in &mut measured {
            kind.round(load, Duration::from_millis(40)).await?;
        }
    }
    let [read_bare, read, audited, miss, hit, known, unknown, tenants, list_bare, list, direct] = &measured;
    println!("{ROUNDS} rounds of {CALLS} calls ({LISTS} lists), {AT_ONCE} at once, processor time a call:");
    println!("          a request of reqwest alone: {:.0} µs", direct.cost()?);
    println!("          a miss of the cache, against bare rmcp: {}", miss.against(read_bare)?.1);
    for (what, one, other, aim) in [
        ("a read, against bare rmcp".to_owned(), read, read_bare, 1.35),
        ("a hit of the cache, against its miss".to_owned(), hit, miss, 0.6),
        ("a read with the audit file, against none".to_owned(), audited, read, 1.08),
        (format!("{TENANTS} tenants, against one"), tenants, read, 1.15),
        // The aim is the same cost; what is measured scatters so much.
        (format!("a caller with {REMEMBERED} remembered ids, against one with none"), known, unknown, 1.03),
        ("tools/list, against bare rmcp".to_owned(), list, list_bare, 1.0),
    ] {
        let (times, text) = one.against(other)?;
        bench.aims.at_most(times, aim, format!("{what}: {text}"));
    }
    let entries = std::fs::read_to_string(&log)?.lines().count() - filed;
    bench.aims.equal(entries, audited.sent, "audit entries in the file, of calls");
    Ok(())
}
