//! The record of what was called and refused: one row each, made beside the call and never in its way.
//!
//! A call notes what it is when it begins and how it ended; the row is finished, kept and sent in the background.
//! Where no record is configured nothing is noted.

mod coalesce;
mod entry;
mod lane;
mod lanes;
mod recorder;
mod segment;
mod sender;
mod ship;
mod spool;
mod writer;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rmcp::ErrorData;
use serde_json::{Map, Value};

use super::digest;
use crate::api::{Effect, Entry};
use crate::auth::Caller;
use crate::client::Client;
use crate::error::{Error, Kind};

use entry::{Action, Draft, Row};
pub(super) use entry::{Decision, Transport};
use recorder::Recorder;
pub use spool::{Waiting, waiting};

/// How long the end of a server may take for what is still to be kept and sent.
const AT_THE_END: Duration = Duration::from_secs(2);

/// The code of a resource or prompt that there is not, or not for this caller.
const NOT_SEEN: &str = "FM-MCP-NOT-SEEN";

/// What is recorded, and where it goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that rows wait in, and that the key of their digests is in.
    pub data_dir: PathBuf,
    /// Whether rows go to the platform's audit service, by the server's own account.
    pub platform: bool,
    /// A file that rows are added to as well.
    pub file: Option<PathBuf>,
    /// Whether rows hold arguments and answers themselves, secrets taken out.
    pub bodies: bool,
    /// How long to wait after the platform could not be reached; it doubles up to a minute.
    pub pause: Duration,
}

impl Options {
    /// Rows without bodies, for the platform alone.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), platform: true, file: None, bodies: false, pause: Duration::from_secs(1) }
    }
}

/// The record of one server.
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

/// A call under way, as its row will have it.
pub(super) struct Note(Option<Box<Begun>>);

struct Begun {
    draft: Draft,
    started: Instant,
    decision: Option<Decision>,
}

impl Audit {
    /// A record as it is configured; the client sends its rows.
    pub(super) fn new(options: Option<Options>, client: &Client) -> Self {
        Self { recorder: options.map(|options| Recorder::new(options, client.clone())) }
    }

    /// Keeps and sends what is under way, for two seconds at most.
    pub(super) async fn flush(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.flush(AT_THE_END).await;
        }
    }

    /// Notes a refusal that no call came of: nobody known to ask, a tool not covered, too many requests.
    pub(super) fn refused(&self, refusal: &Refusal<'_>) {
        let Some(recorder) = &self.recorder else { return };
        let (kind, resource) = refusal.tool.map_or(("endpoint", refusal.endpoint), |tool| ("tool", tool));
        let mut row = Row::new(Action::Refused, refusal.caller, refusal.transport, kind, resource);
        row.outcome = entry::bounded(refusal.error.code(), 100);
        recorder.count(row);
    }

    /// Begins the row of a tool's call.
    pub(super) fn begin(
        &self,
        caller: &Caller,
        transport: Transport,
        entry: &Entry,
        arguments: Option<&Map<String, Value>>,
        traceparent: &str,
    ) -> Note {
        let mut note = self.begin_reading(caller, transport, "tool", entry.spec.name);
        let (Note(Some(begun)), Some(Recorder { options, .. })) = (&mut note, &self.recorder) else { return note };
        let row = &mut begun.draft.row;
        row.trace = traceparent.get(3..35).map(str::to_owned);
        if entry.spec.effect != Effect::Read {
            row.fields = arguments.map(entry::fields).unwrap_or_default();
        }
        if options.bodies {
            row.arguments_body = arguments.map(|arguments| entry::body(Value::Object(arguments.clone())));
        }
        begun.draft.arguments = arguments.map(digest::of_arguments);
        note
    }

    /// Begins the row of what is read without a tool: a resource, or the data of a prompt.
    pub(super) fn begin_reading(&self, caller: &Caller, transport: Transport, kind: &str, what: &str) -> Note {
        if self.recorder.is_none() {
            return Note(None);
        }
        let draft = Draft::from(Row::new(Action::Called, Some(caller), transport, kind, what));
        Note(Some(Box::new(Begun { draft, started: Instant::now(), decision: None })))
    }

    /// Ends the row of what was read without a tool, with the code of what was against it.
    pub(super) fn end_reading(&self, mut note: Note, failure: Option<&str>) {
        match failure {
            Some(NOT_SEEN) => {
                // What is not there is whatever the caller makes up, as often as it likes.
                if let (Some(begun), Some(recorder)) = (note.0, &self.recorder) {
                    let Begun { draft: Draft { mut row, .. }, .. } = *begun;
                    (row.action, row.outcome) = (Action::Refused, NOT_SEEN.to_owned());
                    recorder.count(row);
                }
                return;
            }
            Some("FM-MCP-ARGUMENTS" | "FM-MCP-FORBIDDEN" | "FM-MCP-POLICY") => {}
            _ => note.decided(Decision::Allowed),
        }
        self.end(note, failure.unwrap_or("ok"), None);
    }

    /// Ends the row of a call: what was decided, how it came out and what the model was given.
    pub(super) fn end(&self, note: Note, outcome: &str, answer: Option<&str>) {
        let (Some(begun), Some(recorder)) = (note.0, &self.recorder) else { return };
        let Begun { mut draft, started, decision } = *begun;
        draft.row.decision = decision.unwrap_or(Decision::Denied);
        draft.row.action = if draft.row.decision.is_refusal() { Action::Refused } else { Action::Called };
        draft.row.outcome = entry::bounded(outcome, 100);
        draft.row.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        draft.answer = answer.map(digest::of_text);
        if recorder.options.bodies {
            draft.row.answer_body = answer.map(|text| match serde_json::from_str(text) {
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
