//! Approvals: questions that a host puts to a person, and calls that wait for `flowmaster-mcp confirm`.
//!
//! Each is a record of its caller in the store, bound to the digest of the call and to the object as the person sees it. A
//! question's id is its `requestState`. The model never learns the id of a waiting call: nothing that it could say approves
//! one. An answer counts once, and so does an approval, for the identical next call of the same caller.

mod earlier;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::question::Question;
use crate::api::{Entry, Timestamp, ids};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::server::{App, digest};
use crate::state::{Bounds, Put, Record, RecordKind, State, Store};

/// The longest that a question can be answered, however long the person may take.
const MAX_ANSWER_TIME: Duration = Duration::from_mins(5);
/// How long a refused call can be approved, and an approval can be used, in seconds.
const PENDING_SECONDS: f64 = 900.0;
/// The largest record of a call that waits, in bytes.
const MAX_PENDING_BYTES: usize = 1024 * 1024;
/// The length of a question's id as text: 256 random bits.
const ID_LENGTH: usize = 43;

/// Questions per caller: more than a person answers in five minutes.
const QUESTIONS: Bounds = Bounds { per_owner: 1024, all: 65_536, bytes: 64 * 1024 * 1024, one_per_tag: false };
/// Waiting calls: 50 per caller.
const PENDING: Bounds = Bounds { per_owner: 50, all: 50_000, bytes: 256 * 1024 * 1024, one_per_tag: true };

/// A call that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The id to approve it by.
    pub id: String,
    /// The tenant it would act in.
    pub tenant: String,
    /// Who called.
    pub subject: String,
    /// The tool.
    pub tool: String,
    /// What will happen, to which object, and what that is like now.
    pub question: String,
    /// When it was refused.
    pub created_at: Timestamp,
    /// Until when it can be approved and, once approved, be called.
    pub expires_at: Timestamp,
    /// When it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<Timestamp>,
    /// The digest of the call.
    call: String,
    /// What the object was like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
}

/// What a question was about beside the call.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// What the object was like when the person was asked.
    pub(crate) seen: Option<String>,
    /// The version that the call must still meet.
    pub(crate) if_match: Option<String>,
}

/// Lists the calls of a caller that wait, oldest first.
///
/// # Errors
/// A folder that cannot be read.
pub fn list(data_dir: &Path, caller: &Caller) -> Result<Vec<Pending>> {
    earlier::read_in(data_dir, State::new(Some(data_dir)).store())?;
    waiting(State::new(Some(data_dir)).store(), caller)
}

/// Approves a call of a caller that waits: its next identical repetition is let through, once.
///
/// # Errors
/// No call of that id waits for this caller, or the folder cannot be written.
pub fn approve(data_dir: &Path, caller: &Caller, id: &str) -> Result<Pending> {
    earlier::read_in(data_dir, State::new(Some(data_dir)).store())?;
    approve_in(State::new(Some(data_dir)).store(), caller, id)
}

fn approve_in(store: &dyn Store, caller: &Caller, id: &str) -> Result<Pending> {
    let mut pending = find(store, caller, id)?;
    let now = Timestamp::now();
    pending.approved_at = Some(now);
    pending.expires_at = now.plus_seconds(PENDING_SECONDS);
    let value = serde_json::to_string(&pending).map_err(Error::internal)?;
    // One that was used or has ended in between is not put back.
    let is_there = store
        .amend(RecordKind::Pending, &digest::of_caller(caller), id, now, &mut |_| Some((value.clone(), pending.expires_at)))
        .map_err(unusable)?;
    if is_there { Ok(pending) } else { Err(unknown()) }
}

fn find(store: &dyn Store, caller: &Caller, id: &str) -> Result<Pending> {
    waiting(store, caller)?.into_iter().find(|pending| pending.id == id).ok_or_else(unknown)
}

fn waiting(store: &dyn Store, caller: &Caller) -> Result<Vec<Pending>> {
    let records = store.list(RecordKind::Pending, &digest::of_caller(caller), Timestamp::now()).map_err(unusable)?;
    Ok(records.iter().filter_map(|record| serde_json::from_str(&record.value).ok()).collect())
}

/// The error of an id that no call of the caller has.
pub(crate) fn unknown() -> Error {
    Error::new(Kind::NotFound, "FM-MCP-CONFIRM-UNKNOWN", "no call of yours with that id waits for approval")
        .hint("`flowmaster-mcp confirm` lists the calls that wait; each does for 15 minutes.")
}

/// Wraps a failure of the store: no call that needs it goes through.
fn unusable(error: Error) -> Error {
    let wrapped = Error::new(error.kind(), "FM-MCP-CONFIRM-FOLDER", error.message()).of_origin(error.origin());
    match error.next_step() {
        Some(hint) => wrapped.hint(hint.to_owned()).caused_by(error),
        None => wrapped.caused_by(error),
    }
}

/// The approvals of one server.
#[derive(Debug)]
pub(crate) struct Approvals {
    state: State,
    /// Without a data folder a call cannot wait: no other process could approve it.
    data_dir: Option<PathBuf>,
    answer_time: Duration,
}

impl Approvals {
    /// Returns the approvals in a store. Nothing is read before the first question.
    pub(crate) fn new(state: State, answer_time: Duration, data_dir: Option<&Path>) -> Self {
        Self { state, data_dir: data_dir.map(Path::to_owned), answer_time: answer_time.min(MAX_ANSWER_TIME) }
    }

    /// How long a person may take, at most five minutes.
    pub(crate) const fn answer_time(&self) -> Duration {
        self.answer_time
    }

    /// Keeps a question about a call and returns its `requestState`.
    pub(crate) async fn ask(&self, caller: &Caller, call: &str, asked: Asked) -> Result<String> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(Error::internal)?;
        let now = Timestamp::now();
        let record = Record {
            owner: digest::of_caller(caller),
            id: URL_SAFE_NO_PAD.encode(random),
            tag: call.to_owned(),
            value: serde_json::to_string(&asked).map_err(Error::internal)?,
            created: now,
            expires: now.plus_seconds(self.answer_time.as_secs_f64()),
        };
        let id = record.id.clone();
        match self.state.write(move |store| store.put(RecordKind::Question, &record, QUESTIONS, now)).await.map_err(unusable)? {
            Put::Kept | Put::Known => Ok(id),
            Put::Full => Err(Error::new(Kind::RateLimited, "FM-MCP-CONFIRMATIONS", "too many questions wait for their answers")
                .retry_after(Duration::from_mins(1))),
        }
    }

    /// Uses up the answer to a question about a call. Of several who come with the same one, one gets through.
    ///
    /// Forged, for another call or caller, too late and used before are one error, which tells nothing of which.
    pub(crate) async fn answered(&self, caller: &Caller, call: &str, state: &str) -> Result<Asked> {
        if state.len() != ID_LENGTH {
            return Err(no_question());
        }
        let (owner, id, call) = (digest::of_caller(caller), state.to_owned(), call.to_owned());
        let taken = self.state.write(move |store| store.take(RecordKind::Question, &owner, &id, &call, Timestamp::now()));
        let record = taken.await.map_err(unusable)?.ok_or_else(no_question)?;
        serde_json::from_str(&record.value).map_err(Error::internal)
    }

    /// Uses up the approval of a call that a person gave outside its host. False where there is none.
    pub(crate) async fn consume(&self, caller: &Caller, call: &str, question: &Question) -> Result<bool> {
        let Some(data_dir) = self.data_dir.clone() else { return Ok(false) };
        let (caller, call, seen) = (caller.clone(), call.to_owned(), question.seen.clone());
        let consume = move |store: &dyn Store| {
            earlier::read_in(&data_dir, store)?;
            Ok(take(store, &caller, &call, seen.as_deref())? == Waits::Approved)
        };
        self.state.write(consume).await
    }

    /// Keeps a call for a person to approve outside its host, and returns the error that says so.
    ///
    /// A caller over HTTP has no terminal on this machine, and is sent to the server's own list.
    pub(crate) async fn keep(&self, caller: &Caller, over_http: bool, entry: &Entry, call: &str, question: &Question, why: Error) -> Error {
        let Some(data_dir) = self.data_dir.clone() else { return why };
        let now = Timestamp::now();
        let pending = Pending {
            id: ids::mint("confirm", now),
            tenant: caller.tenant.to_string(),
            subject: caller.subject.clone(),
            tool: entry.spec.name.to_owned(),
            question: question.text.clone(),
            created_at: now,
            expires_at: now.plus_seconds(PENDING_SECONDS),
            approved_at: None,
            call: call.to_owned(),
            seen: question.seen.clone(),
        };
        let caller = caller.clone();
        let kept = self.state.write(move |store| {
            earlier::read_in(&data_dir, store)?;
            put(store, &caller, &pending)
        });
        match kept.await {
            Ok(()) => why.hint(how_to_approve(over_http)),
            Err(error) => error,
        }
    }

    /// Lists the calls of a caller that wait. `held` is released when the list is read, which may be after the request
    /// was cancelled.
    async fn list(&self, caller: Caller, held: impl Send + 'static) -> Result<Vec<Pending>> {
        let Some(data_dir) = self.data_dir.clone() else { return Ok(Vec::new()) };
        self.state
            .read(move |store| {
                let _held = held;
                earlier::read_in(&data_dir, store)?;
                waiting(store, &caller)
            })
            .await
    }

    /// Approves a call of a caller. `held` is released as with [`Self::list`].
    async fn approve(&self, caller: Caller, id: String, held: impl Send + 'static) -> Result<Pending> {
        let Some(data_dir) = self.data_dir.clone() else { return Err(unknown()) };
        // A call that does not wait takes no turn.
        let (whose, which) = (caller.clone(), id.clone());
        let find = move |store: &dyn Store| {
            earlier::read_in(&data_dir, store)?;
            find(store, &whose, &which).map(|_| held)
        };
        let held = self.state.read(find).await?;
        self.state
            .write(move |store| {
                let _held = held;
                approve_in(store, &caller, &id)
            })
            .await
    }
}

impl App {
    /// Lists the calls of a caller that wait for approval.
    pub(crate) async fn pending(&self, caller: &Caller, held: impl Send + 'static) -> Result<Vec<Pending>> {
        self.approvals.list(caller.clone(), held).await
    }

    /// Approves a call of a caller.
    pub(crate) async fn approve(&self, caller: &Caller, id: String, held: impl Send + 'static) -> Result<Pending> {
        self.approvals.approve(caller.clone(), id, held).await
    }
}

/// Whether a call waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// It was approved, and the approval is used up now.
    Approved,
    /// It is not approved yet.
    Open,
    /// It does not.
    No,
}

fn take(store: &dyn Store, caller: &Caller, call: &str, seen: Option<&str>) -> Result<Waits> {
    let owner = digest::of_caller(caller);
    let take = |id: &str| store.take(RecordKind::Pending, &owner, id, call, Timestamp::now()).map_err(unusable);
    for known in waiting(store, caller)?.into_iter().filter(|known| known.call == call) {
        if known.seen.as_deref() != seen {
            // It was approved as it was, not as it is.
            take(&known.id)?;
        } else if known.approved_at.is_none() {
            return Ok(Waits::Open);
        } else if take(&known.id)?.is_some() {
            return Ok(Waits::Approved);
        }
    }
    Ok(Waits::No)
}

fn put(store: &dyn Store, caller: &Caller, pending: &Pending) -> Result<()> {
    if waiting(store, caller)?.iter().any(|known| known.call == pending.call && known.seen == pending.seen) {
        return Ok(());
    }
    let value = serde_json::to_string(pending).map_err(Error::internal)?;
    if value.len() > MAX_PENDING_BYTES {
        let what = format!("{} needs a person's consent, and its arguments are too long to wait for it", pending.tool);
        return Err(Error::new(Kind::Refused, "FM-MCP-CONFIRM", what).hint("Nothing was done. Call again with less."));
    }
    let record = Record {
        owner: digest::of_caller(caller),
        id: pending.id.clone(),
        tag: pending.call.clone(),
        value,
        created: pending.created_at,
        expires: pending.expires_at,
    };
    if store.put(RecordKind::Pending, &record, PENDING, pending.created_at).map_err(unusable)? == Put::Full {
        let what = "the call needs a person's consent, and too many calls wait for theirs already";
        return Err(Error::new(Kind::Refused, "FM-MCP-CONFIRM", what).hint("Nothing was done. Call again in 15 minutes."));
    }
    Ok(())
}

fn how_to_approve(over_http: bool) -> String {
    let command = if over_http {
        "flowmaster-mcp confirm --server URL` (with this server's URL) in a terminal with their own login"
    } else {
        "flowmaster-mcp confirm` in a terminal"
    };
    format!(
        "Nothing was done; the call waits for 15 minutes. Ask the person to run `{command}, look at the call and approve it; \
         then make exactly the same call again."
    )
}

fn no_question() -> Error {
    Error::new(
        Kind::Refused,
        "FM-MCP-CONFIRMATION",
        "the answer belongs to no open question: it came too late, was used before, or is for another call",
    )
    .hint("Call the tool again without requestState and inputResponses; the person is asked again.")
}

#[cfg(test)]
mod tests;
