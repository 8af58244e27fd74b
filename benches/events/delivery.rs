//! 1,000 subscribers: how soon the ten that an event concerns hear of it, and what others notice of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;
use tokio::net::TcpStream;

use crate::aims::percentile;
use crate::flow;
use crate::program::Program;
use crate::request::request;
use crate::subscribers::{Heard, Subscribers, open_unread};
use crate::upstream::Upstream;
use crate::{Bench, Failure, TENANT};

const SUBSCRIBERS: usize = 1_000;
/// Subscribers of each task.
const CONCERNED: usize = 10;
const TASKS: usize = SUBSCRIBERS / CONCERNED;
/// A caller may have 64 requests in flight, of which each subscriber's is one.
const SUBSCRIBERS_OF_CALLER: usize = 50;
const EVENTS: usize = 300;
const PAUSE: Duration = Duration::from_millis(10);

const CALLS: usize = 2_000;
const CALL_ROUNDS: usize = 8;
const CALLS_AT_ONCE: usize = 16;

/// Subscribers that do not read.
const UNREAD: usize = 4;
/// How often they are told of their task, in turns, until the system keeps no more for them (some megabytes on loopback).
const FILLS: usize = 40;
const TOLD_IN_A_FILL: usize = 250;
/// Of so many events in a flow, one concerns subscribers.
const MARKED: usize = 500;

/// A server with its subscribers.
struct Scene {
    upstream: Upstream,
    server: Program,
    subscribers: Subscribers,
}

pub async fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let upstream = Upstream::start(&bench.issuer).await?;
    let account = bench.issuer.token(TENANT, "flowmaster-mcp");
    let settings = [
        // The account has one stream for the whole tenant; callers are judged by their own permissions.
        ("FLOWMASTER_SERVICE_TOKEN", &*account),
        ("FLOWMASTER_PERMISSIONS_FILTER", "strict"),
        // A caller may have half as many streams, and the tenant twice as many.
        ("FLOWMASTER_SESSIONS_PER_TENANT", &*SUBSCRIBERS.to_string()),
        ("FLOWMASTER_AUDIT_PLATFORM", "false"),
    ];
    let server = Program::server(&bench.home.join("subscribed"), &upstream.url, &settings)?;
    let alone = Program::server(&bench.home.join("alone"), &upstream.url, &settings)?;
    let callers: Vec<Arc<str>> = (0..SUBSCRIBERS.div_ceil(SUBSCRIBERS_OF_CALLER))
        .map(|caller| bench.issuer.token(TENANT, &format!("caller-{caller}")).into())
        .collect();
    let each = (0..SUBSCRIBERS).map(|number| (Arc::clone(&callers[number / SUBSCRIBERS_OF_CALLER]), task(number / CONCERNED)));
    let before = server.memory()?.now;
    let subscribers = Subscribers::open(&server, each.collect()).await?;
    upstream.is_heard_by(1).await?;
    upstream.is_read(SUBSCRIBERS).await?;
    let kept = (server.memory()?.now - before) * 1e3 / f64::from(u32::try_from(SUBSCRIBERS)?);
    println!("{SUBSCRIBERS} subscribers ({kept:.0} KB each), of which {CONCERNED} are concerned by an event:");
    let mut scene = Scene { upstream, server, subscribers };
    let quiet = scene.latency(bench, "from the frame to the notification").await?;
    scene.call_costs(bench, &alone).await?;
    scene.unread(bench, quiet).await?;
    scene.flow(bench).await
}

fn task(number: usize) -> String {
    format!("task-{number}")
}

/// A long name fills connections sooner.
fn unread_task() -> String {
    format!("task-unread-{}", "0".repeat(150))
}

fn milliseconds(since: Instant, heard: &Heard) -> f64 {
    heard.at.saturating_duration_since(since).as_secs_f64() * 1e3
}

impl Scene {
    /// Tells of one event after the other; returns p50 and p99 in milliseconds.
    async fn latency(&mut self, bench: &mut Bench<'_>, what: &str) -> Result<[f64; 2], Failure> {
        let (mut times, mut strayed) = (Vec::new(), 0);
        for event in 0..EVENTS {
            let concerned = event % TASKS;
            let told = Instant::now();
            self.upstream.tell(&task(concerned));
            for heard in self.subscribers.of_event(CONCERNED).await? {
                strayed += usize::from(heard.subscriber / CONCERNED != concerned);
                times.push(milliseconds(told, &heard));
            }
            tokio::time::sleep(PAUSE).await;
        }
        bench.aims.equal(times.len(), EVENTS * CONCERNED, format!("notifications of {EVENTS} events"));
        bench.aims.equal(strayed, 0, "notifications to others than those concerned");
        times.sort_unstable_by(f64::total_cmp);
        let [p50, p99] = [50, 99].map(|part| percentile(&times, part));
        bench.aims.at_most(p50, 5.0, format!("{what}: p50 {p50:.2} ms"));
        bench.aims.at_most(p99, 50.0, format!("{what}: p99 {p99:.2} ms"));
        Ok([p50, p99])
    }

    /// What a call takes of the processor here, and at a server that nobody subscribes to.
    async fn call_costs(&self, bench: &mut Bench<'_>, alone: &Program) -> Result<(), Failure> {
        let http = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let token = bench.issuer.token(TENANT, "calling");
        let mut spent = [Duration::ZERO; 2];
        for round in 0..=CALL_ROUNDS {
            for (server, spent) in [&self.server, alone].into_iter().zip(&mut spent) {
                let before = server.processor_time()?;
                let lines = (0..CALLS_AT_ONCE).map(|line| {
                    let (http, token) = (&http, &token);
                    async move {
                        for number in (line..CALLS).step_by(CALLS_AT_ONCE) {
                            let params = json!({ "name": "tasks_get", "arguments": { "id": format!("task-called-{number}") } });
                            let answer = request(http, &server.url, token, number, "tools/call", params).send().await?.text().await?;
                            if !answer.contains("\"structuredContent\"") {
                                return Err(answer.into());
                            }
                        }
                        Ok::<_, Failure>(())
                    }
                });
                futures_util::future::try_join_all(lines).await?;
                if round > 0 {
                    *spent += server.processor_time()?.saturating_sub(before);
                }
            }
        }
        let [own, other] = spent.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(CALLS * CALL_ROUNDS).unwrap_or(u32::MAX)));
        let times = own / other;
        bench.aims.at_most(times, 1.15, format!("a call beside them: {own:.0} µs against {other:.0} µs without, {times:.3} times"));
        Ok(())
    }

    /// What others notice of subscribers that do not read, and are told without end.
    async fn unread(&mut self, bench: &mut Bench<'_>, quiet: [f64; 2]) -> Result<(), Failure> {
        let token = bench.issuer.token(TENANT, "unread");
        let mut kept: Vec<TcpStream> = Vec::new();
        for _ in 0..UNREAD {
            kept.push(open_unread(&self.server, &token, &unread_task()).await?);
        }
        // Until the system takes no more for them, they read the task again for each message.
        let task = unread_task();
        let (mut before, mut full) = (0, false);
        for _ in 0..FILLS {
            for _ in 0..TOLD_IN_A_FILL {
                self.upstream.tell(&task);
                self.upstream.tell(&task);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let reads = self.upstream.reads_of(&task);
            full = reads == before && reads > UNREAD;
            if full {
                break;
            }
            before = reads;
        }
        bench.aims.equal(usize::from(full), 1, format!("{UNREAD} subscribers do not read, and wait after {before} reads of the task"));
        let [p50, _] = self.latency(bench, "beside them, the others").await?;
        // Half a millisecond is what a quiet machine scatters by.
        bench.aims.at_most(p50, quiet[0] * 1.25 + 0.5, format!("beside them, the others: p50 {p50:.2} ms after {:.2} ms", quiet[0]));
        Ok(())
    }

    /// A high rate of events, few of which concern somebody.
    async fn flow(&mut self, bench: &mut Bench<'_>) -> Result<(), Failure> {
        let reads = self.upstream.reads();
        let mut marks: Vec<Vec<Instant>> = vec![Vec::new(); TASKS];
        let mark = |number: usize| {
            if !number.is_multiple_of(MARKED) {
                return format!("task-of-nobody-{number}");
            }
            let concerned = number / MARKED % TASKS;
            marks[concerned].push(Instant::now());
            task(concerned)
        };
        let used = self.server.processor_time()?;
        let flow = flow::run(&self.upstream, &self.server.process(), bench.lasts, mark).await?;
        let used = self.server.processor_time()?.saturating_sub(used).as_secs_f64();
        let expected = marks.iter().map(Vec::len).sum::<usize>() * CONCERNED;
        let (mut times, mut counts) = (Vec::new(), vec![0; SUBSCRIBERS]);
        while let Some(heard) = self.subscribers.next(Duration::from_secs(2)).await? {
            // The n-th message of a subscriber is of the n-th event of its task.
            let count = &mut counts[heard.subscriber];
            if let Some(told) = marks[heard.subscriber / CONCERNED].get(*count) {
                times.push(milliseconds(*told, &heard));
            }
            *count += 1;
        }
        times.sort_unstable_by(f64::total_cmp);
        let [p50, p99] = [50, 99].map(|part| percentile(&times, part));
        let seconds = f64::from(u32::try_from(flow.told)?) / f64::from(flow::RATE);
        println!(
            "{} events a second for {seconds:.0} s beside {SUBSCRIBERS} subscribers, one in {MARKED} concerns {CONCERNED}:",
            flow::RATE
        );
        println!(
            "          p50 {p50:.2} ms, p99 {p99:.2} ms; {:.0} % of a processor; {} frames behind at most",
            used / seconds * 1e2,
            flow.behind
        );
        bench.aims.equal(counts.iter().sum(), expected, "notifications, of those due");
        let more = (self.upstream.reads() - reads).saturating_sub(expected);
        bench.aims.equal(more, 0, "reads that no event asks for, after a gap");
        let [settled, end] = flow.memory;
        bench.aims.at_most(end - settled, flow::GROWTH, format!("memory {settled:.1} MB, at the end {end:.1} MB"));
        Ok(())
    }
}
