//! The way of a row off the call: a bounded channel, one task that keeps rows and one that sends them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::Options;
use super::coalesce::{Floods, WINDOW};
use super::entry::{Draft, Row};
use super::lanes::Lanes;
use super::sender::Carrier;
use super::ship::Shipper;
use super::writer::{Keeper, Shared};
use crate::client::Client;

/// How many rows may be on their way to the disk.
const UNDER_WAY: usize = 4096;
/// How many are kept at once.
const TOGETHER: usize = 256;

/// See the module. Nothing runs before the first row.
pub(super) struct Recorder {
    pub(super) options: Options,
    client: Client,
    counts: Arc<Counts>,
    running: OnceLock<Running>,
}

/// What is counted rather than sent down the channel.
#[derive(Default)]
struct Counts {
    floods: Floods,
    lost: Arc<AtomicU64>,
}

struct Running {
    messages: mpsc::Sender<Message>,
    shipper: Option<AbortHandle>,
}

enum Message {
    Row(Box<Draft>),
    /// Everything before it is to be kept and, where that can be done now, sent.
    Flush(oneshot::Sender<()>),
}

impl Recorder {
    pub(super) fn new(options: Options, client: Client) -> Self {
        Self { options, client, counts: Arc::default(), running: OnceLock::new() }
    }

    /// Takes a row; one too many is counted.
    pub(super) fn record(&self, draft: Draft) {
        if self.running().messages.try_send(Message::Row(Box::new(draft))).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a row of which many alike may come.
    pub(super) fn count(&self, row: Row) {
        if let Some(row) = self.counts.floods.first(row, std::time::Instant::now()) {
            self.record(Draft::from(row));
        }
    }

    /// Waits until all rows are kept, and sent where that can be done now.
    pub(super) async fn flush(&self, most: Duration) {
        let Some(running) = self.running.get() else { return };
        let flushed = async {
            let (done, is_done) = oneshot::channel();
            if running.messages.send(Message::Flush(done)).await.is_ok() {
                // A task that ended has nothing left to do.
                let _flushed = is_done.await;
            }
        };
        if tokio::time::timeout(most, flushed).await.is_err() {
            tracing::info!("rows of the record wait for the next start");
        }
    }

    fn running(&self) -> &Running {
        self.running.get_or_init(|| {
            let (messages, received) = mpsc::channel(UNDER_WAY);
            let spool = Shared::default();
            let woken = Arc::new(Notify::new());
            let (flush, waiting) = mpsc::unbounded_channel();
            let keeper = Keeper::new(self.options.clone(), Arc::clone(&spool));
            let shipper = self.options.platform.then(|| {
                let carrier = Carrier {
                    client: self.client.clone(),
                    data_dir: self.options.data_dir.clone(),
                    taken: Arc::default(),
                    lost: Arc::clone(&self.counts.lost),
                };
                let shipper = Shipper {
                    lanes: Lanes::new(carrier.clone(), self.options.pause),
                    carrier,
                    spool,
                    pause: self.options.pause,
                    woken: Arc::clone(&woken),
                    waiting,
                    asked: Vec::new(),
                };
                tokio::spawn(shipper.run()).abort_handle()
            });
            tokio::spawn(keep(received, keeper, Arc::clone(&self.counts), woken, flush));
            Running { messages, shipper }
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Nobody is left to send for; what waits on disk is sent after the next start.
        if let Some(shipper) = self.running.get().and_then(|running| running.shipper.as_ref()) {
            shipper.abort();
        }
    }
}

async fn keep(
    mut received: mpsc::Receiver<Message>,
    mut keeper: Keeper,
    counts: Arc<Counts>,
    woken: Arc<Notify>,
    flush: mpsc::UnboundedSender<oneshot::Sender<()>>,
) {
    let mut messages = Vec::with_capacity(TOGETHER);
    loop {
        let flood_ends = counts.floods.oldest().map(|since| tokio::time::Instant::from_std(since + WINDOW));
        let ended = tokio::select! {
            biased;
            taken = received.recv_many(&mut messages, TOGETHER) => taken == 0,
            () = tokio::time::sleep_until(flood_ends.unwrap_or_else(tokio::time::Instant::now)), if flood_ends.is_some() => false,
        };
        let mut drafts = Vec::new();
        let mut flushes = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Row(draft) => drafts.push(*draft),
                Message::Flush(done) => flushes.push(done),
            }
        }
        let now = std::time::Instant::now();
        let over = if ended || !flushes.is_empty() { Some(now) } else { now.checked_sub(WINDOW) };
        drafts.extend(over.map(|moment| counts.floods.begun_before(moment)).unwrap_or_default().into_iter().map(Draft::from));
        let lost = counts.lost.swap(0, Ordering::Relaxed);
        if !drafts.is_empty() || lost > 0 {
            let kept = tokio::task::spawn_blocking(move || {
                keeper.keep(drafts, lost);
                keeper
            });
            // The runtime is going down, or the keeper broke: either way there is nobody left to keep rows.
            let Ok(back) = kept.await else { return };
            keeper = back;
        }
        for done in flushes {
            // Without anybody who sends, what is kept is done.
            if let Err(mpsc::error::SendError(done)) = flush.send(done) {
                let _told = done.send(());
            }
        }
        woken.notify_one();
        if ended {
            return;
        }
    }
}
