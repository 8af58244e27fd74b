//! Calls that wait for a person outside the model: refused where the host cannot ask, approved by `flowmaster-mcp confirm`.
//!
//! One file a call in `pending/` of the data folder, readable by its owner alone. The model never learns the file's id:
//! nothing it could say approves a call. An approval lets the identical next call of the same caller through, once.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::question::Question;
use crate::api::{Entry, Timestamp, ids};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};

/// How long a refused call can be approved, and an approval can be used, in seconds.
const KEPT: f64 = 900.0;
/// How many calls wait at most; the oldest gives way.
const MOST: usize = 100;

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

/// The calls that wait, oldest first.
///
/// # Errors
/// A folder that cannot be read.
pub fn list(data_dir: &Path) -> Result<Vec<Pending>> {
    let now = Timestamp::now();
    let folder = folder(data_dir);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&folder, &error)),
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        // A file that another process just took away, or that is none of ours, is not there.
        let Some(pending) = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Pending>(&text).ok()) else { continue };
        if pending.expires_at < now {
            let _gone = fs::remove_file(&path);
        } else if path.file_stem().is_some_and(|stem| stem == pending.id.as_str()) {
            all.push(pending);
        }
    }
    all.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(all)
}

/// Approves a call that waits: its next identical repetition is let through, once.
///
/// # Errors
/// No call of that id waits, or the folder cannot be written.
pub fn approve(data_dir: &Path, id: &str) -> Result<Pending> {
    let Some(mut pending) = list(data_dir)?.into_iter().find(|pending| pending.id == id) else {
        return Err(Error::new(Kind::NotFound, "FM-MCP-CONFIRM-UNKNOWN", "no call of that id waits for approval")
            .hint("`flowmaster-mcp confirm` lists the calls that wait; each does for 15 minutes."));
    };
    let now = Timestamp::now();
    pending.approved_at = Some(now);
    pending.expires_at = now.plus_seconds(KEPT);
    write(data_dir, &pending)?;
    Ok(pending)
}

/// Where calls wait.
#[derive(Debug)]
pub(super) struct Desk {
    data_dir: Option<PathBuf>,
}

impl Desk {
    pub(super) fn new(data_dir: Option<&Path>) -> Self {
        Self { data_dir: data_dir.map(Path::to_owned) }
    }

    /// Uses up the approval of a call, or keeps the call for a person and refuses it.
    pub(super) async fn consume_or_keep(&self, caller: &Caller, entry: &Entry, call: &str, question: &Question) -> Result<()> {
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
        tokio::task::spawn_blocking(move || take_or_write(&data_dir, &pending)).await.map_err(Error::internal)?
    }
}

fn take_or_write(data_dir: &Path, pending: &Pending) -> Result<()> {
    let all = list(data_dir)?;
    for known in all.iter().filter(|known| known.call == pending.call) {
        let path = file(data_dir, &known.id);
        if known.seen != pending.seen {
            // It was approved as it was, not as it is.
            let _gone = fs::remove_file(&path);
        } else if known.approved_at.is_some() {
            // Whoever removes the file has used the approval; a second call finds nothing.
            if fs::remove_file(&path).is_ok() {
                return Ok(());
            }
        } else {
            return Err(refused(&pending.tool));
        }
    }
    for oldest in all.iter().take((all.len() + 1).saturating_sub(MOST)) {
        let _gone = fs::remove_file(file(data_dir, &oldest.id));
    }
    write(data_dir, pending)?;
    Err(refused(&pending.tool))
}

fn refused(tool: &str) -> Error {
    Error::new(Kind::Refused, "FM-MCP-CONFIRM", format!("{tool} needs a person's consent, and this host cannot ask"))
        .hint("Nothing was done; the call waits for 15 minutes. Ask the person to run `flowmaster-mcp confirm` in a terminal, look at the call and approve it; then make exactly the same call again.")
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("pending")
}

fn file(data_dir: &Path, id: &str) -> PathBuf {
    folder(data_dir).join(format!("{id}.json"))
}

/// Writes the whole file under another name first: nobody reads half of it.
fn write(data_dir: &Path, pending: &Pending) -> Result<()> {
    let path = file(data_dir, &pending.id);
    let text = serde_json::to_vec_pretty(pending).map_err(Error::internal)?;
    let half = path.with_extension("new");
    let written = make_folder(&folder(data_dir)).and_then(|()| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&half)?.write_all(&text)?;
        fs::rename(&half, &path)
    });
    written.map_err(|error| unreadable(&path, &error))
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Internal, "FM-MCP-CONFIRM-FOLDER", format!("{} cannot be used: {error}", path.display()))
        .hint("Check that the data folder belongs to you and is writable.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::catalogue;
    use crate::auth::Credential;

    fn question(seen: &str) -> Question {
        Question { text: "Answer a task?".to_owned(), seen: Some(seen.to_owned()), if_match: None }
    }

    #[tokio::test]
    async fn an_approval_lets_the_identical_call_through_once() {
        let data = tempfile::tempdir().unwrap();
        let desk = Desk::new(Some(data.path()));
        let caller = Caller::owner(Credential::Verified);
        let entry = catalogue().get("tasks_respond").unwrap();

        let refused = desk.consume_or_keep(&caller, entry, "call-1", &question("1")).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Refused);
        desk.consume_or_keep(&caller, entry, "call-1", &question("1")).await.unwrap_err();
        let waiting = list(data.path()).unwrap();
        assert_eq!(waiting.len(), 1, "a repeated call waits once");
        assert!(!refused.to_string().contains(&waiting[0].id), "the model never learns the id");

        approve(data.path(), &waiting[0].id).unwrap();
        desk.consume_or_keep(&caller, entry, "call-2", &question("1")).await.unwrap_err();
        desk.consume_or_keep(&caller, entry, "call-1", &question("1")).await.unwrap();
        desk.consume_or_keep(&caller, entry, "call-1", &question("1")).await.unwrap_err();
    }

    #[tokio::test]
    async fn an_approval_does_not_outlive_a_change() {
        let data = tempfile::tempdir().unwrap();
        let desk = Desk::new(Some(data.path()));
        let caller = Caller::owner(Credential::Verified);
        let entry = catalogue().get("tasks_respond").unwrap();
        desk.consume_or_keep(&caller, entry, "call", &question("1")).await.unwrap_err();
        approve(data.path(), &list(data.path()).unwrap()[0].id).unwrap();
        desk.consume_or_keep(&caller, entry, "call", &question("2")).await.unwrap_err();
        assert!(list(data.path()).unwrap().iter().all(|pending| pending.approved_at.is_none()));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_waits_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let desk = Desk::new(Some(data.path()));
        let entry = catalogue().get("tasks_respond").unwrap();
        desk.consume_or_keep(&Caller::owner(Credential::Verified), entry, "call", &question("1")).await.unwrap_err();
        let path = file(data.path(), &list(data.path()).unwrap()[0].id);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(approve(data.path(), "../pending").is_err());
    }
}
