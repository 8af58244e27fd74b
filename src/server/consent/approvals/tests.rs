//! Questions and calls that wait: whose they are, how long, how many, and that an answer counts once.

use std::fs;

use crate::api::catalogue;
use crate::auth::Credential;
use crate::server::consent::approvals::*;

fn question(seen: &str) -> Question {
    Question { text: "Answer a task?".to_owned(), seen: Some(seen.to_owned()), if_match: None }
}

fn owner() -> Caller {
    Caller::owner(Credential::Verified)
}

const MINUTE: Duration = Duration::from_mins(1);

fn approvals(data_dir: Option<&Path>) -> Approvals {
    Approvals::new(State::new(data_dir), MINUTE, data_dir)
}

async fn tried(data_dir: &Path, caller: &Caller, call: &str, seen: &str) -> Result<()> {
    let (approvals, question) = (approvals(Some(data_dir)), question(seen));
    if approvals.consume(caller, call, &question).await? {
        return Ok(());
    }
    Err(keep(&approvals, caller, call, &question).await)
}

async fn keep(approvals: &Approvals, caller: &Caller, call: &str, question: &Question) -> Error {
    let entry = catalogue().get("tasks_respond").unwrap();
    approvals.keep(caller, false, entry, call, question, Error::new(Kind::Refused, "FM-MCP-CONFIRM", "nobody was asked")).await
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
    for call in 0..=PENDING.per_owner {
        tried(data.path(), &caller, &call.to_string(), "1").await.unwrap_err();
    }
    let all = list(data.path(), &caller).unwrap();
    assert_eq!((all.len(), all[0].call.as_str()), (PENDING.per_owner, "1"), "the oldest gave way");
    let store = State::new(Some(data.path()));
    for pending in all {
        let past = Timestamp::now().plus_seconds(-1.0);
        let mut ended = |_: &str| Some(("{}".to_owned(), past));
        let store = store.store();
        assert!(store.amend(RecordKind::Pending, &digest::of_caller(&caller), &pending.id, pending.created_at, &mut ended).unwrap());
    }
    assert!(list(data.path(), &caller).unwrap().is_empty());
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

#[cfg(unix)]
#[tokio::test]
async fn an_approval_that_another_user_could_have_put_there_does_not_count() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    tried(data, &owner(), "call", "1").await.unwrap_err();
    approve(data, &owner(), &list(data, &owner()).unwrap()[0].id).unwrap();
    let file = data.join("state.db");
    let refused = async || tried(data, &owner(), "call", "1").await.unwrap_err().code().to_owned();
    for (path, open) in [(data, 0o777), (&file, 0o666)] {
        let mode = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(open)).unwrap();
        assert_eq!(refused().await, "FM-MCP-CONFIRM-FOLDER", "{}", path.display());
        fs::set_permissions(path, mode).unwrap();
    }
    let user = fs::metadata(&file).unwrap().uid();
    // Only the superuser can give something away.
    for path in [data, &file] {
        if chown(path, Some(user + 1), None).is_ok() {
            assert_eq!(refused().await, "FM-MCP-CONFIRM-FOLDER", "{}", path.display());
            chown(path, Some(user), None).unwrap();
        }
    }
    let elsewhere = data.join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert_eq!(refused().await, "FM-MCP-CONFIRM-FOLDER");
    fs::rename(&elsewhere, &file).unwrap();
    tried(data, &owner(), "call", "1").await.unwrap();
}

#[tokio::test]
async fn a_call_too_long_to_wait_is_refused_and_not_kept() {
    let data = tempfile::tempdir().unwrap();
    let long = Question { text: "x".repeat(MAX_PENDING_BYTES), ..question("1") };
    let refused = keep(&approvals(Some(data.path())), &owner(), "call", &long).await;
    assert!(refused.to_string().contains("too long to wait"), "{refused}");
    assert!(list(data.path(), &owner()).unwrap().is_empty());
}

fn about(seen: &str) -> Asked {
    Asked { seen: Some(seen.to_owned()), if_match: Some("\"3\"".to_owned()) }
}

async fn answered(approvals: &Approvals, call: &str, state: &str) -> Result<Option<String>> {
    approvals.answered(&owner(), call, state).await.map(|asked| asked.seen)
}

#[tokio::test]
async fn an_answer_counts_once_for_its_own_call_and_caller() {
    let data = tempfile::tempdir().unwrap();
    for data_dir in [None, Some(data.path())] {
        let approvals = approvals(data_dir);
        let state = approvals.ask(&owner(), "call", about("1")).await.unwrap();
        assert_eq!(answered(&approvals, "other call", &state).await.unwrap_err().code(), "FM-MCP-CONFIRMATION");
        let other = Caller { subject: "user-2".to_owned(), ..owner() };
        assert_eq!(approvals.answered(&other, "call", &state).await.unwrap_err().code(), "FM-MCP-CONFIRMATION");
        let asked = approvals.answered(&owner(), "call", &state).await.unwrap();
        assert_eq!((asked.seen.as_deref(), asked.if_match.as_deref()), (Some("1"), Some("\"3\"")));
        assert_eq!(answered(&approvals, "call", &state).await.unwrap_err().kind(), Kind::Refused);
    }
}

#[tokio::test]
async fn processes_on_one_folder_know_each_others_questions_and_answers() {
    let data = tempfile::tempdir().unwrap();
    let (one, other) = (approvals(Some(data.path())), approvals(Some(data.path())));
    let state = one.ask(&owner(), "call", about("1")).await.unwrap();
    answered(&other, "call", &state).await.unwrap();
    assert_eq!(answered(&one, "call", &state).await.unwrap_err().code(), "FM-MCP-CONFIRMATION");
    assert!(answered(&approvals(Some(data.path())), "call", &state).await.is_err(), "a restart forgot it");
    assert!(list(data.path(), &owner()).unwrap().is_empty(), "a question of a host is not listed for `confirm`");
}

#[tokio::test]
async fn a_forged_or_late_answer_is_refused() {
    let some = approvals(None);
    let state = some.ask(&owner(), "call", about("1")).await.unwrap();
    let foreign = approvals(None).ask(&owner(), "call", about("1")).await.unwrap();
    for state in [state.to_lowercase().as_str(), "", &"x".repeat(100_000), &foreign] {
        assert_eq!(answered(&some, "call", state).await.unwrap_err().code(), "FM-MCP-CONFIRMATION");
    }
    let hasty = Approvals::new(State::new(None), Duration::ZERO, None);
    let state = hasty.ask(&owner(), "call", about("1")).await.unwrap();
    assert!(answered(&hasty, "call", &state).await.is_err());
    assert_eq!(Approvals::new(State::new(None), Duration::from_hours(1), None).answer_time(), MAX_ANSWER_TIME);
}
