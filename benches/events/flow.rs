//! Events at a rate.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::program::memory_of;
use crate::upstream::Upstream;

/// Events a second.
pub const RATE: u32 = 10_000;
/// Shortest flow. Memory is given half of one to become what it stays: ids that are remembered, buffers, what the allocator
/// keeps. With 1,000 subscribers it takes four minutes until it stands still.
const SHORTEST: Duration = Duration::from_secs(20);
/// Megabytes that memory may grow by in the other half: of 35 s less than what one in ten events takes, if it were kept.
pub const GROWTH: f64 = 8.0;
const TICK: Duration = Duration::from_millis(5);

/// What was seen of a flow.
pub struct Flow {
    pub told: usize,
    /// Frames that the reader left unread, at most.
    pub behind: usize,
    /// Megabytes of the process that reads, when it had settled and at the end.
    pub memory: [f64; 2],
}

/// Tells of tasks at the rate for a time; the task of each event is named by the event's number in the flow.
pub async fn run(upstream: &Upstream, reader: &str, lasts: Duration, mut task: impl FnMut(usize) -> String) -> Result<Flow, Failure> {
    let mut tick = tokio::time::interval(TICK);
    let (lasts, begun) = (lasts.max(SHORTEST), Instant::now());
    let (mut told, mut behind, mut settled) = (0, 0, None);
    while begun.elapsed() < lasts {
        tick.tick().await;
        let due = usize::try_from(begun.elapsed().as_micros() * u128::from(RATE) / 1_000_000)?;
        while told < due {
            upstream.tell(&task(told));
            told += 1;
        }
        behind = behind.max(upstream.waiting());
        if settled.is_none() && begun.elapsed() > lasts / 2 {
            settled = Some(memory_of(reader)?.now);
        }
    }
    let end = memory_of(reader)?.now;
    Ok(Flow { told, behind, memory: [settled.unwrap_or(end), end] })
}
