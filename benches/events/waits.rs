//! How soon `executions_wait` returns after an answer that was given in another process, the platform's.

use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;

use crate::aims::percentile;
use crate::execution::{Executions, platform};
use crate::program::{Program, owner_token};
use crate::request::request;
use crate::{Bench, Failure};

const ROUNDS: usize = 80;
/// How long a wait waits before the answer is given.
const WAITS: Duration = Duration::from_millis(150);

pub async fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let home = bench.home.join("platform");
    let running = platform(&home)?;
    let token = owner_token(&home)?;
    // Another process of the same data folder, which finds the platform there.
    let server = Program::embedding(&home, &[])?;
    let executions = Executions::new(&running, &token).await?;
    let http = Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let execution = executions.start().await?;
        let task = executions.task(&execution).await?;
        let params = json!({ "name": "executions_wait", "arguments": { "id": execution, "until": "end", "timeoutSeconds": 30 } });
        let waiting = request(&http, &server.url, &token, round, "tools/call", params).send();
        let waiting = tokio::spawn(async move {
            let answer = waiting.await?.text().await?;
            Ok::<_, reqwest::Error>((answer, Instant::now()))
        });
        tokio::time::sleep(WAITS).await;
        if waiting.is_finished() {
            return Err(format!("a wait did not wait: {}", waiting.await??.0).into());
        }
        let answered = Instant::now();
        executions.answer(&task).await?;
        let (answer, returned) = waiting.await??;
        if !answer.contains("\"reached\":true") {
            return Err(answer.into());
        }
        // The first opens the stream of events.
        if round > 0 {
            times.push((returned - answered).as_secs_f64() * 1e3);
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    let [p50, p99] = [50, 99].map(|part| percentile(&times, part));
    println!("from an answer that is sent to the platform's process to the return of `executions_wait`, {ROUNDS} times:");
    bench.aims.at_most(p99, 50.0, format!("p50 {p50:.1} ms, p99 {p99:.1} ms"));
    Ok(())
}
