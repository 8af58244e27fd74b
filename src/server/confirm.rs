//! Calls that wait for a person outside the model: refused where the host cannot ask, approved by the same caller
//! with `flowmaster-mcp confirm`.
//!
//! One file a call in `pending/` of the data folder, in a folder of the caller's own, readable by the server's user
//! alone. The model never learns the file's id: nothing it could say approves a call. An approval lets the identical
//! next call of the same caller through, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use super::question::Question;
use super::spent::unusable;
use super::{App, digest};
use crate::api::{Entry, Timestamp, ids};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::private::{self, Fault};

/// How long a refused call can be approved, and an approval can be used, in seconds.
const KEPT: f64 = 900.0;
/// How many calls of a caller wait at most; the oldest gives way.
const MOST: usize = 50;
/// The largest file of a call that waits.
const LARGEST: usize = 1024 * 1024;
/// How many callers have calls that wait at most.
const CALLERS: usize = 10_000;
/// How often what callers left behind is looked for.
const SWEEP: Duration = Duration::from_mins(1);
/// How many callers' folders are taken away at once.
const SWEPT: usize = 256;

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
pub(super) struct Desk {
    data_dir: Option<PathBuf>,
    room: Arc<Mutex<Room>>,
    /// Whose turn it is at the lock. Where others of the machine hold it, one thread of this process waits there.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// How many callers have a folder, as far as this process knows.
#[derive(Debug, Default)]
struct Room {
    /// When they were counted.
    swept: Option<Instant>,
    /// How many there were then, and came since.
    callers: usize,
}

impl Desk {
    pub(super) fn new(data_dir: Option<&Path>) -> Self {
        Self { data_dir: data_dir.map(Path::to_owned), room: Arc::default(), turn: Arc::default() }
    }

    async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Uses up the approval of a call, or keeps the call for a person and refuses it.
    ///
    /// Whoever calls over HTTP has no terminal on this machine, and is sent to the server's own list.
    pub(super) async fn consume_or_keep(
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
    pub(super) async fn pending(&self, caller: &Arc<Caller>, held: impl Send + 'static) -> Result<Vec<Pending>> {
        let Some(data_dir) = self.settings.data_dir.clone() else { return Ok(Vec::new()) };
        let caller = Arc::clone(caller);
        let look = move || {
            let _held = held;
            list(&data_dir, &caller)
        };
        tokio::task::spawn_blocking(look).await.map_err(Error::internal)?
    }

    /// Approves a call of a caller. `held` is let go when nothing works on it any more.
    pub(super) async fn approve(&self, caller: &Arc<Caller>, id: String, held: impl Send + 'static) -> Result<Pending> {
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
        private::folder(data_dir)?;
        private::folder(&data_dir.join(PENDING))?;
        let file = private::open(&path)?;
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
        let text = match private::read(&path, LARGEST) {
            // In a folder that is not the server's own anybody could have approved a call.
            Err(fault @ Fault::Within(_)) => return Err(unusable(&path, &fault.into())),
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

impl Room {
    /// Counts one caller more, where there is room. Once a minute at most the folders are counted, and some of those are
    /// taken away in which nothing can wait any more.
    fn make(&mut self, all: &Path) -> Result<()> {
        if self.swept.is_none_or(|swept| swept.elapsed() >= SWEEP) {
            *self = Self { swept: Some(Instant::now()), callers: sweep(all) };
        }
        if self.callers >= CALLERS {
            let what = "the call needs a person's consent, and too many calls wait for theirs already";
            return Err(Error::new(Kind::Refused, "FM-MCP-CONFIRM", what).hint("Nothing was done. Call again in 15 minutes."));
        }
        self.callers += 1;
        Ok(())
    }
}

/// Takes away folders of callers for whom nothing waits any more; gives how many are left.
fn sweep(all: &Path) -> usize {
    let kept = Duration::from_secs_f64(KEPT);
    let (mut callers, mut swept) = (0, 0);
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        // What was put into it last has ended, unless somebody moved the clock; then it is read and stays.
        let is_over = || entry.metadata().and_then(|about| about.modified()).is_ok_and(|last| last.elapsed().is_ok_and(|age| age > kept));
        if swept < SWEPT && is_over() {
            swept += 1;
            let path = entry.path();
            // A folder in which something still waits cannot be removed.
            if waiting(&path).is_ok_and(|waiting| waiting.is_empty()) && fs::remove_dir(&path).is_ok() {
                continue;
            }
        }
        callers += 1;
    }
    callers
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
    let once = || private::folder(folder).and_then(|()| private::replace(&path, &text));
    // Another process may take the empty folder away between the two.
    once().or_else(|_| once()).map_err(|error| unusable(&path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::catalogue;
    use crate::auth::Credential;

    fn question(seen: &str) -> Question {
        Question { text: "Answer a task?".to_owned(), seen: Some(seen.to_owned()), if_match: None }
    }

    fn owner() -> Caller {
        Caller::owner(Credential::Verified)
    }

    async fn tried(data_dir: &Path, caller: &Caller, call: &str, seen: &str) -> Result<()> {
        let entry = catalogue().get("tasks_respond").unwrap();
        Desk::new(Some(data_dir)).consume_or_keep(caller, false, entry, call, &question(seen)).await
    }

    #[tokio::test]
    async fn an_approval_lets_the_identical_call_through_once() {
        let data = tempfile::tempdir().unwrap();
        let caller = owner();
        let refused = tried(data.path(), &caller, "call-1", "1").await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Refused);
        tried(data.path(), &caller, "call-1", "1").await.unwrap_err();
        let waiting = list(data.path(), &caller).unwrap();
        assert_eq!(waiting.len(), 1, "a repeated call waits once");
        assert!(!refused.to_string().contains(&waiting[0].id), "the model never learns the id");

        approve(data.path(), &caller, &waiting[0].id).unwrap();
        tried(data.path(), &caller, "call-2", "1").await.unwrap_err();
        tried(data.path(), &caller, "call-1", "1").await.unwrap();
        tried(data.path(), &caller, "call-1", "1").await.unwrap_err();
    }

    #[tokio::test]
    async fn an_approval_does_not_outlive_a_change() {
        let data = tempfile::tempdir().unwrap();
        let caller = owner();
        tried(data.path(), &caller, "call", "1").await.unwrap_err();
        approve(data.path(), &caller, &list(data.path(), &caller).unwrap()[0].id).unwrap();
        tried(data.path(), &caller, "call", "2").await.unwrap_err();
        assert!(list(data.path(), &caller).unwrap().iter().all(|pending| pending.approved_at.is_none()));
    }

    #[tokio::test]
    async fn nobody_sees_or_approves_the_calls_of_somebody_else() {
        let data = tempfile::tempdir().unwrap();
        let mine = owner();
        tried(data.path(), &mine, "call", "1").await.unwrap_err();
        let id = list(data.path(), &mine).unwrap()[0].id.clone();
        for other in [
            Caller { subject: "user-2".to_owned(), ..owner() },
            Caller { tenant: "tenant-2".into(), ..owner() },
            Caller { subject: "../pending".to_owned(), ..owner() },
        ] {
            assert!(list(data.path(), &other).unwrap().is_empty());
            assert_eq!(approve(data.path(), &other, &id).unwrap_err().code(), "FM-MCP-CONFIRM-UNKNOWN");
        }
        assert!(approve(data.path(), &mine, "../pending").is_err());
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_goes_away() {
        let data = tempfile::tempdir().unwrap();
        let caller = owner();
        for call in 0..=MOST {
            tried(data.path(), &caller, &call.to_string(), "1").await.unwrap_err();
        }
        let all = list(data.path(), &caller).unwrap();
        assert_eq!((all.len(), all[0].call.as_str()), (MOST, "1"), "the oldest gave way");
        for mut pending in all {
            pending.expires_at = Timestamp::now().plus_seconds(-1.0);
            write(&folder(data.path(), &caller), &pending).unwrap();
        }
        assert!(list(data.path(), &caller).unwrap().is_empty());
    }

    /// A caller's folder that was last touched a while ago, with a call in it that may have ended.
    fn left_behind(data_dir: &Path, subject: &str, expires_in: f64) -> PathBuf {
        let folder = folder(data_dir, &Caller { subject: subject.to_owned(), ..owner() });
        let now = Timestamp::now();
        let pending = Pending {
            id: "confirm-1".to_owned(),
            tenant: "tenant-local".to_owned(),
            subject: subject.to_owned(),
            tool: "tasks_respond".to_owned(),
            question: String::new(),
            created_at: now,
            expires_at: now.plus_seconds(expires_in),
            approved_at: None,
            call: "call".to_owned(),
            seen: None,
        };
        write(&folder, &pending).unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(1000);
        fs::File::open(&folder).unwrap().set_modified(long_ago).unwrap();
        folder
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn folders_in_which_nothing_waits_go_away_a_few_at_a_time_and_seldom() {
        let data = tempfile::tempdir().unwrap();
        for caller in 0..SWEPT + 10 {
            left_behind(data.path(), &caller.to_string(), -1.0);
        }
        let still = left_behind(data.path(), "still", 60.0);
        let folders = || fs::read_dir(data.path().join(PENDING)).unwrap().count();
        let desk = Desk::new(Some(data.path()));
        let come = async |subject: &str| {
            let caller = Caller { subject: subject.to_owned(), ..owner() };
            let entry = catalogue().get("tasks_respond").unwrap();
            desk.consume_or_keep(&caller, false, entry, "call", &question("1")).await.unwrap_err()
        };
        come("new-1").await;
        let left = folders();
        assert!((12..=13).contains(&left), "as many as one time takes: {left}");
        come("new-2").await;
        assert_eq!(folders(), left + 1, "within a minute nobody looks again");
        desk.room.lock().unwrap().swept = None;
        come("new-3").await;
        assert_eq!(folders(), 4);
        assert!(still.exists(), "something waits there");
        desk.room.lock().unwrap().callers = CALLERS;
        assert!(come("new-4").await.to_string().contains("too many calls wait"));
    }

    #[test]
    fn two_approvals_and_two_uses_at_once_are_one_use() {
        let caller = owner();
        for _ in 0..100 {
            let data = tempfile::tempdir().unwrap();
            let data = data.path();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(tried(data, &caller, "call", "1")).unwrap_err();
            let id = list(data, &caller).unwrap()[0].id.clone();
            let gate = std::sync::Barrier::new(4);
            let used: usize = std::thread::scope(|scope| {
                let use_it = || {
                    scope.spawn(|| {
                        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                        gate.wait();
                        (0..5).filter(|_| runtime.block_on(tried(data, &caller, "call", "1")).is_ok()).count()
                    })
                };
                let approve_it = || {
                    scope.spawn(|| {
                        gate.wait();
                        let _known = (0..5).filter(|_| approve(data, &caller, &id).is_ok()).count();
                        0
                    })
                };
                let all = [use_it(), approve_it(), approve_it(), use_it()];
                all.into_iter().map(|one| one.join().unwrap()).sum()
            });
            let later = usize::from(runtime.block_on(tried(data, &caller, "call", "1")).is_ok());
            assert_eq!(used + later, 1);
        }
    }

    /// A call that waits and was approved, and its file.
    #[cfg(unix)]
    async fn approved(data_dir: &Path) -> PathBuf {
        tried(data_dir, &owner(), "call", "1").await.unwrap_err();
        let id = list(data_dir, &owner()).unwrap()[0].id.clone();
        approve(data_dir, &owner(), &id).unwrap();
        file(&folder(data_dir, &owner()), &id)
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn an_approval_that_somebody_else_could_have_put_there_does_not_count() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let path = approved(data).await;
        let own = path.parent().unwrap();
        for folder in [data, &data.join(PENDING), own] {
            let mode = fs::metadata(folder).unwrap().permissions();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
            assert_eq!(tried(data, &owner(), "call", "1").await.unwrap_err().code(), "FM-MCP-CONFIRM-FOLDER", "{}", folder.display());
            fs::set_permissions(folder, mode).unwrap();
        }
        let another = fs::metadata(&path).unwrap().uid() + 1;
        // Only the superuser can give something away.
        for folder in [data, &data.join(PENDING), own] {
            if chown(folder, Some(another), None).is_ok() {
                assert_eq!(tried(data, &owner(), "call", "1").await.unwrap_err().code(), "FM-MCP-CONFIRM-FOLDER", "{}", folder.display());
                chown(folder, Some(another - 1), None).unwrap();
            }
        }
        tried(data, &owner(), "call", "1").await.unwrap();

        let path = approved(data).await;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(tried(data, &owner(), "call", "1").await.unwrap_err().code(), "FM-MCP-CONFIRM");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let elsewhere = data.join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(tried(data, &owner(), "call", "1").await.unwrap_err().code(), "FM-MCP-CONFIRM");
    }

    #[test]
    fn a_call_that_could_not_be_read_again_is_not_kept() {
        let data = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let mut pending = Pending {
            id: "confirm-1".to_owned(),
            tenant: "tenant-local".to_owned(),
            subject: "user".to_owned(),
            tool: "tasks_respond".to_owned(),
            question: "x".repeat(LARGEST - 1000),
            created_at: now,
            expires_at: now.plus_seconds(60.0),
            approved_at: None,
            call: "call".to_owned(),
            seen: None,
        };
        write(data.path(), &pending).unwrap();
        assert_eq!(waiting(data.path()).unwrap().len(), 1);
        pending.question = "x".repeat(LARGEST);
        assert_eq!(write(data.path(), &pending).unwrap_err().code(), "FM-MCP-CONFIRM");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_waits_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        tried(data.path(), &owner(), "call", "1").await.unwrap_err();
        let path = file(&folder(data.path(), &owner()), &list(data.path(), &owner()).unwrap()[0].id);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
