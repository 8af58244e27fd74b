//! The way of an entry off the call: a bounded buffer, one task that writes entries and one that sends them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::Options;
use super::coalesce::{Coalescer, WINDOW};
use super::entry::{AuditEntry, Draft};
use super::losses::{LossFile, Lost, count};
use super::outbox::Dispatcher;
use super::writer::Writer;
use crate::client::Client;
use crate::state::State;

/// How many entries may be on their way to the disk; reads may fill half of that. Of either, a tenant may have as many as it
/// leaves free, and a caller half as many: a lone caller at full load loses nothing while the disk is slow for a moment, and a
/// flood leaves room to others.
const MAX_BUFFERED: usize = 8192;
/// How long the writing task gathers entries, and how many, before it writes them together: to change the thread for each
/// costs as much as the call does.
const GATHERED: Duration = Duration::from_millis(5);
const MANY: usize = 64;
/// How many tenants' losses are told apart; those of others count as of unknown callers.
const MAX_LOST_TENANTS: usize = 10_000;

/// See the module. Nothing runs before the first entry.
pub(super) struct Recorder {
    pub(super) options: Options,
    client: Client,
    state: State,
    shared: Arc<Shared>,
    running: OnceLock<Running>,
}

/// What calls and the writing task share.
#[derive(Default)]
struct Shared {
    coalescer: Coalescer,
    buffer: Mutex<Buffer>,
    /// Told of entries, of flushes and of the end.
    changed: Notify,
    /// Told of so many entries that no more are gathered.
    filled: Notify,
    /// Counts of what is lost if the process ends now; kept from its end on.
    at_risk: Mutex<LossFile>,
}

#[derive(Default)]
struct Buffer {
    drafts: Vec<Draft>,
    tenants: HashMap<Arc<str>, usize>,
    callers: HashMap<(Arc<str>, Arc<str>), usize>,
    lost: Lost,
    flushes: Vec<oneshot::Sender<()>>,
    /// What was taken to be written, and is neither kept nor counted yet.
    in_flight: Lost,
    /// Whether the server is about to end, so that what is here may not be written any more.
    is_ending: bool,
    has_ended: bool,
}

struct Running {
    dispatcher: Option<AbortHandle>,
}

impl Buffer {
    /// Takes an entry, or counts it as lost where its caller, its tenant or all have filled their room.
    fn push(&mut self, draft: Draft) {
        let room = if draft.is_read { MAX_BUFFERED / 2 } else { MAX_BUFFERED };
        let free = room.saturating_sub(self.drafts.len());
        let tenant: Arc<str> = draft.entry.tenant.as_deref().unwrap_or_default().into();
        let caller = (Arc::clone(&tenant), Arc::from(draft.entry.subject.as_str()));
        let of_tenant = self.tenants.get(&tenant).copied().unwrap_or_default();
        let of_caller = self.callers.get(&caller).copied().unwrap_or_default();
        if of_tenant >= free || of_caller >= free / 2 {
            let known = self.lost.len() < MAX_LOST_TENANTS || self.lost.contains_key(&*tenant);
            *self.lost.entry(if known { tenant.to_string() } else { String::new() }).or_default() += 1;
            return;
        }
        self.tenants.insert(tenant, of_tenant + 1);
        self.callers.insert(caller, of_caller + 1);
        self.drafts.push(draft);
    }

    /// What would be lost, by tenant, if nothing of it were written any more.
    fn unwritten(&self) -> Lost {
        let mut lost = self.in_flight.clone();
        count(&mut lost, self.lost.clone());
        count(&mut lost, self.drafts.iter().map(|draft| (draft.entry.tenant.clone().unwrap_or_default(), 1)));
        lost
    }

    /// Takes all that is there; the room is free again.
    fn take(&mut self) -> (Vec<Draft>, Lost, Vec<oneshot::Sender<()>>) {
        self.in_flight = self.unwritten();
        self.tenants.clear();
        self.callers.clear();
        (std::mem::take(&mut self.drafts), std::mem::take(&mut self.lost), std::mem::take(&mut self.flushes))
    }
}

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits for what is there to be kept.
    fn is_urgent(&self) -> bool {
        let buffer = self.buffer();
        buffer.is_ending || buffer.has_ended || !buffer.flushes.is_empty()
    }

    /// Counts on disk what is lost unless it is written before the process ends; nothing before the server ends.
    fn note_at_risk(&self, data_dir: &Path) {
        let mut at_risk = self.at_risk.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = {
            let buffer = self.buffer();
            if buffer.is_ending { buffer.unwritten() } else { Lost::new() }
        };
        if let Err(error) = at_risk.set(data_dir, &lost) {
            tracing::warn!(%error, "entries of the audit log that are lost at the end cannot be counted");
        }
    }

    /// Begins the end: from here on, what is not written is counted on disk.
    fn begin_end(&self, data_dir: &Path) {
        self.buffer().is_ending = true;
        self.note_at_risk(data_dir);
    }
}

impl Recorder {
    pub(super) fn new(options: Options, client: Client, state: State) -> Self {
        Self { options, client, state, shared: Arc::default(), running: OnceLock::new() }
    }

    /// Takes an entry.
    pub(super) fn record(&self, draft: Draft) {
        self.running();
        let (is_ending, is_filled) = {
            let mut buffer = self.shared.buffer();
            buffer.push(draft);
            (buffer.is_ending, buffer.drafts.len() >= MANY)
        };
        if is_ending {
            self.shared.note_at_risk(&self.options.data_dir);
        }
        self.shared.changed.notify_one();
        if is_filled {
            self.shared.filled.notify_one();
        }
    }

    /// Takes an entry of which many alike may come.
    pub(super) fn count(&self, entry: AuditEntry) {
        if let Some(entry) = self.shared.coalescer.first(entry, Instant::now()) {
            self.record(Draft::from(entry));
        }
    }

    /// Waits until all entries are kept, and sent where that can be done now.
    pub(super) async fn flush(&self, most: Duration) {
        if self.running.get().is_none() {
            return;
        }
        let (done, is_done) = oneshot::channel();
        self.shared.buffer().flushes.push(done);
        self.shared.changed.notify_one();
        if tokio::time::timeout(most, is_done).await.is_err() {
            tracing::info!("entries of the audit log wait for the next start");
        }
    }

    /// Keeps and sends what is under way, and counts on disk what is not kept in time.
    pub(super) async fn end(&self, most: Duration) {
        self.flush(most).await;
        if self.running.get().is_some() {
            let (shared, data_dir) = (Arc::clone(&self.shared), self.options.data_dir.clone());
            let _counted = tokio::task::spawn_blocking(move || shared.begin_end(&data_dir)).await;
        }
    }

    /// Begins at the start of a server where an earlier process left losses that are to be told of.
    pub(super) fn tell_of_earlier_losses(&self) {
        let is_left =
            || super::losses::are_left(&self.options.data_dir) || super::backlog(&self.options.data_dir).is_ok_and(|found| found.lost > 0);
        if self.running.get().is_none() && is_left() {
            self.running();
            self.shared.changed.notify_one();
        }
    }

    /// Sends what waits in the outbox, for so long at most.
    pub(super) async fn send_now(&self, most: Duration) {
        self.running();
        self.flush(most).await;
    }

    fn running(&self) -> &Running {
        self.running.get_or_init(|| {
            let appended = Arc::new(Notify::new());
            let (flush, flushes) = mpsc::unbounded_channel();
            let dispatcher = self.options.platform.then(|| {
                let dispatcher = Dispatcher {
                    client: self.client.clone(),
                    state: self.state.clone(),
                    options: self.options.clone(),
                    appended: Arc::clone(&appended),
                    flushes,
                };
                tokio::spawn(dispatcher.run()).abort_handle()
            });
            let writer = Writer::new(self.options.clone(), self.state.clone());
            tokio::spawn(write(Arc::clone(&self.shared), self.options.data_dir.clone(), writer, appended, flush));
            Running { dispatcher }
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.buffer().has_ended = true;
        if self.running.get().is_some() {
            self.shared.begin_end(&self.options.data_dir);
        }
        self.shared.changed.notify_one();
        // What waits in the outbox is sent after the next start.
        if let Some(dispatcher) = self.running.get().and_then(|running| running.dispatcher.as_ref()) {
            dispatcher.abort();
        }
    }
}

async fn write(
    shared: Arc<Shared>,
    data_dir: PathBuf,
    mut writer: Writer,
    appended: Arc<Notify>,
    flush: mpsc::UnboundedSender<oneshot::Sender<()>>,
) {
    loop {
        let window_ends = shared.coalescer.oldest().map(|since| since + WINDOW);
        let losses_due = writer.has_lost().then(|| Instant::now() + WINDOW);
        let next = window_ends.into_iter().chain(losses_due).min().map(tokio::time::Instant::from_std);
        tokio::select! {
            () = shared.changed.notified() => {
                if !shared.is_urgent() {
                    let _in_time = tokio::time::timeout(GATHERED, shared.filled.notified()).await;
                }
            }
            () = tokio::time::sleep_until(next.unwrap_or_else(tokio::time::Instant::now)), if next.is_some() => {}
        }
        let ((mut drafts, lost, flushes), has_ended) = {
            let mut buffer = shared.buffer();
            (buffer.take(), buffer.has_ended)
        };
        let now = Instant::now();
        // What waits in memory when the server ends is kept first; telling of losses can wait for the next start.
        let at_the_end = has_ended || !flushes.is_empty();
        let over = if at_the_end { Some(now) } else { now.checked_sub(WINDOW) };
        drafts.extend(over.map(|moment| shared.coalescer.begun_before(moment)).unwrap_or_default().into_iter().map(Draft::from));
        let (written_of, folder) = (Arc::clone(&shared), data_dir.clone());
        let written = tokio::task::spawn_blocking(move || {
            writer.write(drafts, lost, at_the_end);
            let is_ending = {
                let mut buffer = written_of.buffer();
                buffer.in_flight.clear();
                buffer.is_ending
            };
            if is_ending {
                written_of.note_at_risk(&folder);
            }
            writer
        });
        // The runtime is going down, or the writer broke: either way no entry can be kept any more.
        let Ok(back) = written.await else { return };
        writer = back;
        for done in flushes {
            // Without a dispatcher, what is kept is done.
            if let Err(mpsc::error::SendError(done)) = flush.send(done) {
                let _told = done.send(());
            }
        }
        appended.notify_one();
        if has_ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audit::entry::{Action, Transport};

    fn draft(tenant: &str, subject: &str, is_read: bool) -> Draft {
        let mut entry = AuditEntry::new(Action::Called, None, Transport::Http, "tool", "tasks_list");
        (entry.tenant, entry.subject) = (Some(tenant.to_owned()), subject.to_owned());
        Draft { is_read, ..Draft::from(entry) }
    }

    #[test]
    fn a_flooding_caller_leaves_room_and_its_losses_are_its_tenants() {
        let mut buffer = Buffer::default();
        for _ in 0..20_000 {
            buffer.push(draft("t", "flood", true));
        }
        // A third of what reads may fill.
        let kept = MAX_BUFFERED / 2 / 3;
        assert_eq!(buffer.drafts.len(), kept);
        buffer.push(draft("t", "flood", false));
        buffer.push(draft("t", "bert", true));
        buffer.push(draft("u", "anna", true));
        assert_eq!(buffer.drafts.len(), kept + 3, "acts have room, and so have other callers");
        let (drafts, lost, _) = buffer.take();
        assert_eq!(lost, Lost::from([("t".to_owned(), 20_000 - kept as u64)]));
        assert_eq!(drafts.len(), kept + 3);
        buffer.push(draft("t", "flood", true));
        assert_eq!(buffer.drafts.len(), 1, "what was taken takes no room");
    }

    #[test]
    fn the_callers_of_a_tenant_leave_room_to_other_tenants() {
        let mut buffer = Buffer::default();
        for caller in 0..100 {
            for _ in 0..MAX_BUFFERED / 16 {
                buffer.push(draft("t", &caller.to_string(), false));
            }
        }
        assert_eq!(buffer.drafts.len(), MAX_BUFFERED / 2);
        buffer.push(draft("u", "anna", false));
        assert_eq!(buffer.drafts.len(), MAX_BUFFERED / 2 + 1);
    }

    #[test]
    fn reads_of_many_tenants_leave_half_to_acts() {
        let mut buffer = Buffer::default();
        for tenant in 0..200 {
            for _ in 0..MAX_BUFFERED / 16 {
                buffer.push(draft(&tenant.to_string(), "anna", true));
            }
        }
        let reads = buffer.drafts.len();
        assert!((MAX_BUFFERED / 2 - 2..=MAX_BUFFERED / 2).contains(&reads), "{reads}");
        buffer.push(draft("0", "anna", false));
        assert_eq!(buffer.drafts.len(), reads + 1);
    }
}
