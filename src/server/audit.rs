//! The audit log of what was called and refused: one entry each, made beside the call and never in its way.
//!
//! A call notes what it is when it begins and how it ended; the entry is finished, kept and sent in the background.
//! Where no record is configured nothing is noted.

mod batches;
mod coalesce;
mod earlier;
mod entry;
mod losses;
mod outbox;
mod recorder;
mod sender;
mod writer;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rmcp::ErrorData;
use serde::Serialize;
use serde_json::{Map, Value};

use super::digest;
use crate::api::{Effect, Entry};
use crate::auth::Caller;
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::state::{self, State};
use crate::telemetry::TraceContext;

pub use crate::state::Backlog;
use entry::{Action, AuditEntry, Draft};
pub(super) use entry::{Decision, Transport};
use recorder::Recorder;

/// Counts the entries that wait in a data folder, of all its processes.
///
/// # Errors
/// The store of the folder cannot be read.
pub fn backlog(data_dir: &Path) -> Result<Backlog> {
    if state::is_there(data_dir) { State::new(Some(data_dir)).store().backlog() } else { Ok(Backlog::default()) }
}

/// An entry that the platform did not take, and why.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its position, for the next page.
    #[serde(skip)]
    pub position: i64,
    /// The entry's id.
    pub id: String,
    /// The platform's answer.
    pub reason: String,
    /// The entry.
    pub entry: Value,
}

/// Lists dead letters behind a position, oldest first.
///
/// # Errors
/// The store of the folder cannot be read.
pub fn dead_letters(data_dir: &Path, after: i64, most: usize) -> Result<Vec<DeadLetter>> {
    let state = State::new(Some(data_dir));
    earlier::read_in(data_dir, state.store())?;
    let read = |letter: state::DeadLetter| DeadLetter {
        position: letter.seq,
        id: letter.id,
        reason: letter.reason,
        entry: serde_json::from_str(&letter.body).unwrap_or(Value::String(letter.body)),
    };
    Ok(state.store().dead(after, most)?.into_iter().map(read).collect())
}

/// Puts dead letters back into the queue, all of them without an id; returns how many.
///
/// # Errors
/// The store of the folder cannot be written.
pub fn resend(data_dir: &Path, id: Option<&str>) -> Result<usize> {
    let state = State::new(Some(data_dir));
    earlier::read_in(data_dir, state.store())?;
    state.store().resend(id)
}

/// Sends what waits in the outbox, for so long at most.
pub async fn send_now(options: Options, client: &Client, most: Duration) {
    let state = State::new(Some(&options.data_dir));
    Recorder::new(options, client.clone(), state).send_now(most).await;
}

/// How long the end of a server may take for what is still to be kept and sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The code of a resource or prompt that there is not, or not for this caller.
const NOT_SEEN: &str = "FM-MCP-NOT-SEEN";

/// What is recorded, and where it goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that entries wait in, and that the key of their digests is in.
    pub data_dir: PathBuf,
    /// Whether entries go to the platform's audit service, by the server's own account.
    pub platform: bool,
    /// A file that entries are added to as well.
    pub file: Option<PathBuf>,
    /// Whether entries hold arguments and answers themselves, secrets taken out.
    pub bodies: bool,
    /// How long to wait after the platform could not be reached; it doubles up to a minute.
    pub pause: Duration,
}

impl Options {
    /// Entries without bodies, for the platform alone.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), platform: true, file: None, bodies: false, pause: Duration::from_secs(1) }
    }
}

/// The audit log of one server.
pub(super) struct Audit {
    recorder: Option<Recorder>,
}

/// What was refused before it became a call.
pub(super) struct Refusal<'a> {
    /// Who asked, where that is known.
    pub(super) caller: Option<&'a Caller>,
    /// By which way it came.
    pub(super) transport: Transport,
    /// The tool that was meant, where that is known.
    pub(super) tool: Option<&'a str>,
    /// The endpoint's path, where no tool is known.
    pub(super) endpoint: &'a str,
    /// Why.
    pub(super) error: &'a Error,
}

/// The code of what was against a read.
pub(super) fn code_of<T>(read: &std::result::Result<T, ErrorData>) -> Option<&str> {
    let error = read.as_ref().err()?;
    let code = error.data.as_ref().and_then(|data| data.get("code")).and_then(Value::as_str);
    Some(code.unwrap_or(NOT_SEEN))
}

/// A call under way, as its entry will have it.
pub(super) struct Note(Option<Box<Begun>>);

struct Begun {
    draft: Draft,
    started: Instant,
    decision: Option<Decision>,
}

impl Audit {
    /// Returns the audit log as it is configured; the client sends its entries, which wait in the store.
    pub(super) fn new(options: Option<Options>, client: &Client, state: &State) -> Self {
        Self { recorder: options.map(|options| Recorder::new(options, client.clone(), state.clone())) }
    }

    /// Keeps and sends what is under way, for two seconds at most; what is not kept by then is counted on disk.
    pub(super) async fn flush(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.end(FLUSH_TIMEOUT).await;
        }
    }

    /// Tells of entries that an earlier process lost; without any it does nothing.
    pub(super) fn tell_of_earlier_losses(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.tell_of_earlier_losses();
        }
    }

    /// Notes a refusal before a call: an unknown caller, a tool that the token does not cover, too many requests.
    pub(super) fn refused(&self, refusal: &Refusal<'_>) {
        let Some(recorder) = &self.recorder else { return };
        let (kind, resource) = refusal.tool.map_or(("endpoint", refusal.endpoint), |tool| ("tool", tool));
        let mut entry = AuditEntry::new(Action::Refused, refusal.caller, refusal.transport, kind, resource);
        entry.outcome = entry::bounded(refusal.error.code(), 100);
        recorder.count(entry);
    }

    /// Begins the entry of a tool's call.
    pub(super) fn begin(
        &self,
        caller: &Caller,
        transport: Transport,
        entry: &Entry,
        arguments: Option<&Map<String, Value>>,
        trace: &TraceContext,
    ) -> Note {
        let named = arguments.filter(|_| entry.spec.names_route).map(|arguments| entry::route(entry.spec.name, arguments));
        let mut note = self.begin_reading(caller, transport, "tool", named.as_deref().unwrap_or(entry.spec.name));
        let (Note(Some(begun)), Some(Recorder { options, .. })) = (&mut note, &self.recorder) else { return note };
        begun.draft.is_read = entry.spec.effect == Effect::Read;
        let noted = &mut begun.draft.entry;
        noted.trace = Some(trace.trace_id());
        if entry.spec.effect != Effect::Read {
            noted.fields = arguments.map(entry::fields).unwrap_or_default();
        }
        if options.bodies {
            noted.arguments_body = arguments.map(|arguments| entry::body(Value::Object(arguments.clone())));
        }
        begun.draft.arguments = arguments.map(digest::of_arguments);
        note
    }

    /// Begins the entry of what is read without a tool: a resource, or the data of a prompt.
    pub(super) fn begin_reading(&self, caller: &Caller, transport: Transport, kind: &str, what: &str) -> Note {
        if self.recorder.is_none() {
            return Note(None);
        }
        let entry = AuditEntry::new(Action::Called, Some(caller), transport, kind, what);
        let draft = Draft { is_read: true, ..Draft::from(entry) };
        Note(Some(Box::new(Begun { draft, started: Instant::now(), decision: None })))
    }

    /// Ends the entry of what was read without a tool, with the code of what was against it.
    pub(super) fn end_reading(&self, mut note: Note, failure: Option<&str>) {
        match failure {
            Some(NOT_SEEN) => {
                // What is not there is whatever the caller makes up, as often as it likes.
                if let (Some(begun), Some(recorder)) = (note.0, &self.recorder) {
                    let Begun { draft: Draft { mut entry, .. }, .. } = *begun;
                    (entry.action, entry.outcome) = (Action::Refused, NOT_SEEN.to_owned());
                    recorder.count(entry);
                }
                return;
            }
            Some("FM-MCP-ARGUMENTS" | "FM-MCP-FORBIDDEN" | "FM-MCP-POLICY") => {}
            _ => note.decided(Decision::Allowed),
        }
        self.end(note, failure.unwrap_or("ok"), None);
    }

    /// Ends the entry of a call: what was decided, how it came out and what the model was given.
    pub(super) fn end(&self, note: Note, outcome: &str, answer: Option<&str>) {
        let (Some(begun), Some(recorder)) = (note.0, &self.recorder) else { return };
        let Begun { mut draft, started, decision } = *begun;
        draft.entry.decision = decision.unwrap_or(Decision::Denied);
        draft.is_read &= draft.entry.decision == Decision::Allowed;
        draft.entry.action = if draft.entry.decision.is_refusal() { Action::Refused } else { Action::Called };
        draft.entry.outcome = entry::bounded(outcome, 100);
        draft.entry.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        draft.answer = answer.map(digest::of_text);
        if recorder.options.bodies {
            draft.entry.answer_body = answer.map(|text| match serde_json::from_str(text) {
                Ok(value) => entry::body(value),
                Err(_) => entry::bounded(text, entry::LARGEST_BODY),
            });
        }
        recorder.record(draft);
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("options", &self.recorder.as_ref().map(|recorder| &recorder.options)).finish()
    }
}

impl Note {
    /// A person or the operator's policy said no; whatever came before does not count.
    pub(super) fn refused(&mut self, error: &Error) {
        if error.kind() == Kind::Refused {
            self.decided(if error.code() == "FM-MCP-POLICY" { Decision::Denied } else { Decision::Declined });
        }
    }

    /// What was decided about the call.
    pub(super) fn decided(&mut self, decision: Decision) {
        if let Some(begun) = &mut self.0 {
            begun.decision = Some(decision);
        }
    }
}
