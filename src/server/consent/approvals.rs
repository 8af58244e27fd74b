//! Calls that wait for a person outside the model: refused where the host cannot ask, approved by the same caller
//! with `flowmaster-mcp confirm`.
//!
//! One file a call in `pending/` of the data folder, in a folder of the caller's own, readable by the server's user
//! alone. The model never learns the file's id: nothing it could say approves a call. An approval lets the identical
//! next call of the same caller through, once.

mod room;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use super::question::Question;
use crate::api::{Entry, Timestamp, ids};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::io::private_files::{self, Fault};
use crate::server::spent::unusable;
use crate::server::{App, digest};
use room::Room;

/// How long a refused call can be approved, and an approval can be used, in seconds.
const KEPT: f64 = 900.0;
/// How many calls of a caller wait at most; the oldest gives way.
const MOST: usize = 50;
/// The largest file of a call that waits.
const LARGEST: usize = 1024 * 1024;
/// The folder in which a folder of each caller is.
const PENDING: &str = "pending";

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
    /// What the call is.
    call: String,
    /// What the object was like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
}

/// The calls of a caller that wait, oldest first.
///
/// # Errors
/// A folder that cannot be read.
pub fn list(data_dir: &Path, caller: &Caller) -> Result<Vec<Pending>> {
    waiting(&folder(data_dir, caller))
}

/// Approves a call of a caller that waits: its next identical repetition is let through, once.
///
/// # Errors
/// No call of that id waits for this caller, or the folder cannot be written.
pub fn approve(data_dir: &Path, caller: &Caller, id: &str) -> Result<Pending> {
    let _alone = alone(data_dir)?;
    let mut pending = find(data_dir, caller, id)?;
    let now = Timestamp::now();
    pending.approved_at = Some(now);
    pending.expires_at = now.plus_seconds(KEPT);
    write(&folder(data_dir, caller), &pending)?;
    Ok(pending)
}

fn find(data_dir: &Path, caller: &Caller, id: &str) -> Result<Pending> {
    list(data_dir, caller)?.into_iter().find(|pending| pending.id == id).ok_or_else(unknown)
}

fn unknown() -> Error {
    Error::new(Kind::NotFound, "FM-MCP-CONFIRM-UNKNOWN", "no call of yours with that id waits for approval")
        .hint("`flowmaster-mcp confirm` lists the calls that wait; each does for 15 minutes.")
}

/// Where calls wait.
#[derive(Debug)]
pub(crate) struct Desk {
    data_dir: Option<PathBuf>,
    room: Arc<Mutex<Room>>,
    /// Whose turn it is at the lock. Where others of the machine hold it, one thread of this process waits there.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Desk {
    pub(crate) fn new(data_dir: Option<&Path>) -> Self {
        Self { data_dir: data_dir.map(Path::to_owned), room: Arc::default(), turn: Arc::default() }
    }

    async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Uses up the approval of a call, or keeps the call for a person and refuses it.
    ///
    /// Whoever calls over HTTP has no terminal on this machine, and is sent to the server's own list.
    pub(crate) async fn consume_or_keep(
        &self,
        caller: &Caller,
        over_http: bool,
        entry: &Entry,
        call: &str,
        question: &Question,
    ) -> Result<()> {
        let Some(data_dir) = self.data_dir.clone() else {
            return Err(Error::new(
                Kind::Refused,
                "FM-MCP-CONFIRM",
                format!("{} needs a person's consent, and this host cannot ask", entry.spec.name),
            )
            .hint("Nothing was done. Use a host that shows questions (elicitation), or let the operator set FLOWMASTER_CONFIRM=host."));
        };
        let now = Timestamp::now();
        let pending = Pending {
            id: ids::mint("confirm", now),
            tenant: caller.tenant.to_string(),
            subject: caller.subject.clone(),
            tool: entry.spec.name.to_owned(),
            question: question.text.clone(),
            created_at: now,
            expires_at: now.plus_seconds(KEPT),
            approved_at: None,
            call: call.to_owned(),
            seen: question.seen.clone(),
        };
        let folder = folder(&data_dir, caller);
        let room = Arc::clone(&self.room);
        let turn = self.turn().await;
        let taken = move || {
            let _turn = turn;
            let _alone = alone(&data_dir)?;
            let make_room = || room.lock().unwrap_or_else(PoisonError::into_inner).make(&data_dir.join(PENDING));
            take_or_write(&folder, &pending, over_http, make_room)
        };
        tokio::task::spawn_blocking(taken).await.map_err(Error::internal)?
    }
}

impl App {
    /// The calls of a caller that wait for approval. `held` is let go when nothing looks for them any more, which may be
    /// after whoever asked has gone.
    pub(crate) async fn pending(&self, caller: &Arc<Caller>, held: impl Send + 'static) -> Result<Vec<Pending>> {
        let Some(data_dir) = self.settings.data_dir.clone() else { return Ok(Vec::new()) };
        let caller = Arc::clone(caller);
        let look = move || {
            let _held = held;
            list(&data_dir, &caller)
        };
        tokio::task::spawn_blocking(look).await.map_err(Error::internal)?
    }

    /// Approves a call of a caller. `held` is let go when nothing works on it any more.
    pub(crate) async fn approve(&self, caller: &Arc<Caller>, id: String, held: impl Send + 'static) -> Result<Pending> {
        let Some(data_dir) = self.settings.data_dir.clone() else { return Err(unknown()) };
        let caller = Arc::clone(caller);
        // What does not wait takes no turn and no lock.
        let look = {
            let (data_dir, caller, id) = (data_dir.clone(), Arc::clone(&caller), id.clone());
            move || find(&data_dir, &caller, &id).map(|_| held)
        };
        let held = tokio::task::spawn_blocking(look).await.map_err(Error::internal)??;
        let turn = self.desk.turn().await;
        let work = move || {
            let _held = (held, turn);
            approve(&data_dir, &caller, &id)
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
    }
}

/// Keeps an approval and its use apart, so that one that was just used is not put back; falls with the file.
fn alone(data_dir: &Path) -> Result<fs::File> {
    let path = data_dir.join("pending.lock");
    let lock = || {
        private_files::folder(data_dir)?;
        private_files::folder(&data_dir.join(PENDING))?;
        let file = private_files::open(&path)?;
        file.lock().map(|()| file)
    };
    lock().map_err(|error| unusable(&path, &error))
}

fn waiting(folder: &Path) -> Result<Vec<Pending>> {
    let now = Timestamp::now();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(folder, &error)),
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = match private_files::read(&path, LARGEST) {
            // In a folder that is not the server's own anybody could have approved a call.
            Err(fault @ Fault::UnsafeParent(_)) => return Err(unusable(&path, &fault.into())),
            // A file that another process just took away, or that is none of ours, is not there.
            Err(_) | Ok(None) => continue,
            Ok(Some(text)) => text,
        };
        let Ok(pending) = serde_json::from_slice::<Pending>(&text) else { continue };
        if pending.expires_at < now {
            let _gone = fs::remove_file(&path);
        } else if path.file_stem().is_some_and(|stem| stem == pending.id.as_str()) {
            all.push(pending);
        }
    }
    all.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(all)
}

fn take_or_write(folder: &Path, pending: &Pending, over_http: bool, make_room: impl FnOnce() -> Result<()>) -> Result<()> {
    let all = waiting(folder)?;
    for known in all.iter().filter(|known| known.call == pending.call) {
        let path = file(folder, &known.id);
        if known.seen != pending.seen {
            // It was approved as it was, not as it is.
            let _gone = fs::remove_file(&path);
        } else if known.approved_at.is_some() {
            // Whoever removes the file has used the approval; a second call finds nothing.
            if fs::remove_file(&path).is_ok() {
                return Ok(());
            }
        } else {
            return Err(refused(&pending.tool, over_http));
        }
    }
    for oldest in all.iter().take((all.len() + 1).saturating_sub(MOST)) {
        let _gone = fs::remove_file(file(folder, &oldest.id));
    }
    if !folder.exists() {
        make_room()?;
    }
    write(folder, pending)?;
    Err(refused(&pending.tool, over_http))
}

fn refused(tool: &str, over_http: bool) -> Error {
    let command = if over_http {
        "flowmaster-mcp confirm --server URL` (with this server's URL) in a terminal with their own login"
    } else {
        "flowmaster-mcp confirm` in a terminal"
    };
    Error::new(Kind::Refused, "FM-MCP-CONFIRM", format!("{tool} needs a person's consent, and this host cannot ask")).hint(format!(
        "Nothing was done; the call waits for 15 minutes. Ask the person to run `{command}, look at the call and approve it; \
         then make exactly the same call again."
    ))
}

/// The place of a caller's calls. Its name is a digest, so that no subject can be a path.
fn folder(data_dir: &Path, caller: &Caller) -> PathBuf {
    data_dir.join(PENDING).join(digest::of_caller(caller))
}

fn file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

fn write(folder: &Path, pending: &Pending) -> Result<()> {
    let path = file(folder, &pending.id);
    let text = serde_json::to_vec_pretty(pending).map_err(Error::internal)?;
    if text.len() > LARGEST {
        // It would be there, and yet never be read.
        let what = format!("{} needs a person's consent, and its arguments are too long to wait for it", pending.tool);
        return Err(Error::new(Kind::Refused, "FM-MCP-CONFIRM", what).hint("Nothing was done. Call again with less."));
    }
    let once = || private_files::folder(folder).and_then(|()| private_files::replace(&path, &text));
    // Another process may take the empty folder away between the two.
    once().or_else(|_| once()).map_err(|error| unusable(&path, &error))
}

#[cfg(test)]
mod tests;
