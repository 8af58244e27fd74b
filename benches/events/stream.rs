//! Each event of a high rate, as the program's own command prints it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::flow;
use crate::program::released;
use crate::upstream::Upstream;
use crate::{Bench, Failure, TENANT};

const PATIENCE: Duration = Duration::from_secs(10);

/// As much of a printed event as is counted.
#[derive(Deserialize)]
struct Printed {
    data: Numbered,
}

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

/// What was printed so far.
#[derive(Default)]
struct Counted {
    events: AtomicU64,
    /// Events that did not follow the one before.
    out_of_order: AtomicU64,
}

pub async fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let upstream = Upstream::start(&bench.issuer).await?;
    let mut command = released(&bench.home.join("following"))?;
    command.env("FLOWMASTER_URL", &upstream.url).env("FLOWMASTER_TOKEN", bench.issuer.token(TENANT, "anna"));
    let mut following =
        command.args(["events", "*", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let lines = BufReader::new(following.stdout.take().ok_or("a program without output")?).lines();
    let counted = Arc::new(Counted::default());
    let counting = Arc::clone(&counted);
    std::thread::spawn(move || {
        let mut last = 0;
        for line in lines.map_while(Result::ok) {
            let number = serde_json::from_str::<Printed>(&line).map_or(0, |printed| printed.data.n);
            counting.out_of_order.fetch_add(u64::from(number != last + 1), Ordering::Relaxed);
            last = number;
            counting.events.fetch_add(1, Ordering::Relaxed);
        }
    });
    let flowed = follow(bench, &upstream, &following.id().to_string(), &counted).await;
    following.kill()?;
    following.wait()?;
    flowed
}

async fn follow(bench: &mut Bench<'_>, upstream: &Upstream, program: &str, counted: &Counted) -> Result<(), Failure> {
    upstream.is_heard_by(1).await?;
    let flow = flow::run(upstream, program, bench.lasts, |number| format!("task-{number}")).await?;
    let ended = Instant::now();
    let told = u64::try_from(flow.told)?;
    while counted.events.load(Ordering::Relaxed) < told && ended.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let late = ended.elapsed().as_secs_f64() * 1e3;
    let seconds = f64::from(u32::try_from(flow.told)?) / f64::from(flow::RATE);
    println!("{} events a second for {seconds:.0} s through `flowmaster-mcp events --json`:", flow::RATE);
    bench.aims.equal(usize::try_from(counted.events.load(Ordering::Relaxed))?, flow.told, "events");
    bench.aims.equal(usize::try_from(counted.out_of_order.load(Ordering::Relaxed))?, 0, "events out of order");
    bench.aims.at_most(late, 1e3, format!("the last came {late:.0} ms after it was told; {} frames behind at most", flow.behind));
    let [settled, end] = flow.memory;
    bench.aims.at_most(end - settled, flow::GROWTH, format!("memory {settled:.1} MB, at the end {end:.1} MB"));
    Ok(())
}
