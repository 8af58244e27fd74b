//! The audit log on the embedded platform: what it costs, and whether an entry is lost at full load.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::costs::Measured;
use crate::load::{AT_ONCE, Load, What};
use crate::program::{Program, owner_token};
use crate::{Bench, Failure};

const ROUNDS: usize = 8;
const CALLS: usize = 2_000;
/// How long what is done behind calls is counted: entries are delivered within it.
const BEHIND: Duration = Duration::from_millis(500);
/// How long the load lasts, in seconds, unless the variable says otherwise.
const SECONDS: u64 = 15;
/// How long an entry may take to come, after which it is lost.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn measure(bench: &mut Bench<'_>, load: &Load) -> Result<(), Failure> {
    cost(bench, load).await?;
    full_load(bench, load).await
}

async fn cost(bench: &mut Bench<'_>, load: &Load) -> Result<(), Failure> {
    let homes = ["audited", "unaudited"].map(|name| bench.home.join(name));
    let audited = Program::embedding(&homes[0], &[])?;
    let unaudited = Program::embedding(&homes[1], &[("FLOWMASTER_AUDIT_PLATFORM", "false")])?;
    let [first, second] = [[owner_token(&homes[0])?], [owner_token(&homes[1])?]];
    let mut measured = [Measured::new(&audited, What::Page, CALLS, &first), Measured::new(&unaudited, What::Page, CALLS, &second)];
    for kind in &measured {
        kind.warm(load).await?;
    }
    tokio::time::sleep(BEHIND).await;
    for _ in 0..ROUNDS {
        for kind in &mut measured {
            kind.round(load, BEHIND).await?;
        }
    }
    println!("{ROUNDS} rounds of {CALLS} calls on the embedded platform, {AT_ONCE} at once, processor time a call:");
    let (times, text) = measured[0].against(&measured[1])?;
    bench.aims.at_most(times, 1.15, format!("a list with the audit log, against none: {text}"));
    Ok(())
}

async fn full_load(bench: &mut Bench<'_>, load: &Load) -> Result<(), Failure> {
    let seconds = std::env::var("BENCH_AUDIT_SECONDS").map_or(Ok(SECONDS), |text| text.parse())?;
    let home = bench.home.join("loaded");
    let log = home.join("audit.jsonl");
    let server = Program::embedding(&home, &[("FLOWMASTER_AUDIT_FILE", log.to_str().ok_or("the folder's name is no text")?)])?;
    let tokens = [owner_token(&home)?];
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        load.send(&server, What::Page, sent, CALLS, &tokens).await?;
        sent += CALLS;
    }
    let (took, ended) = (begun.elapsed().as_secs_f64(), Instant::now());
    let (mut delivered, mut grew) = (recorded(&home)?, Instant::now());
    println!(
        "full load for {took:.0} s, {:.0} calls a second on the embedded platform with the audit log and a file:",
        f64::from(u32::try_from(sent)?) / took
    );
    println!("          {} entries were still under way at its end", sent.saturating_sub(delivered));
    while delivered < sent && grew.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = recorded(&home)?;
        if now > delivered {
            (delivered, grew) = (now, Instant::now());
        }
    }
    println!("          they came within {:.1} s", (grew - ended).as_secs_f64());
    bench.aims.equal(delivered, sent, "entries on the platform, of calls");
    bench.aims.equal(std::fs::read_to_string(&log)?.lines().count(), sent, "entries in the file, of calls");
    Ok(())
}

/// How many calls the platform's audit log knows of.
fn recorded(home: &Path) -> Result<usize, Failure> {
    let connection = Connection::open_with_flags(home.join("data/platform.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection.query_row("SELECT count(*) FROM audit_log WHERE action = 'mcp.called'", [], |row| row.get(0))?)
}
