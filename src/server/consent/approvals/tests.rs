//! Calls that wait: whose they are, how long, how many, and that an approval counts once.

use std::time::Duration;

use super::room::{CALLERS, SWEPT};
use crate::api::catalogue;
use crate::auth::Credential;
use crate::server::consent::approvals::*;

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
