//! `platform users`: the owner of the embedded platform manages its users on the command line.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::home::{run, stderr, stdout};

const PASSWORD: &str = "a long enough secret";
const ANOTHER: &str = "another long enough secret";

async fn users(data: &Path, arguments: &[&str], stdin: &str) -> Output {
    run(data, &[&["platform", "users"], arguments].concat(), &[("FLOWMASTER_LOG", "trace")], stdin).await
}

async fn login(data: &Path, password: &str) -> Output {
    run(data, &["login", "--user", "bob@acme.example", "--tenant", "acme", "--password-stdin"], &[], &format!("{password}\n")).await
}

#[tokio::test]
async fn the_owner_creates_lists_and_changes_users() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let create = ["create", "Bob@acme.example", "--tenant", "acme", "--role", "clerk", "--permission", "task:view", "--password-stdin"];
    let created = users(&data, &create, &format!("{PASSWORD}\n")).await;
    assert!(created.status.success(), "{}", stderr(&created));
    assert!(stdout(&created).contains("Created bob@acme.example (user-"), "{}", stdout(&created));
    let listed = users(&data, &["list", "--json", "--tenant", "acme"], "").await;
    let listed: Value = serde_json::from_str(&stdout(&listed)).unwrap();
    assert_eq!((&listed["tenant"], &listed["items"][0]["roles"][0]), (&Value::from("acme"), &Value::from("clerk")));
    let signed_in = login(&data, PASSWORD).await;
    assert!(signed_in.status.success() && stdout(&signed_in).contains("of acme at"), "{}", stderr(&signed_in));

    let set = users(&data, &["set-role", "bob@acme.example", "approver", "clerk", "--tenant", "acme"], "").await;
    assert!(set.status.success() && stdout(&set).contains("approver, clerk"), "{}{}", stdout(&set), stderr(&set));
    let set = users(&data, &["set-password", "bob@acme.example", "--tenant", "acme", "--password-stdin"], &format!("{ANOTHER}\n")).await;
    assert!(set.status.success() && stdout(&set).contains("logins of bob@acme.example have ended"), "{}", stderr(&set));
    for output in [&created, &set] {
        let all = format!("{}{}", stdout(output), stderr(output));
        assert!(!all.contains(PASSWORD) && !all.contains(ANOTHER), "{all}");
    }
    let ended = run(&data, &["whoami"], &[("FLOWMASTER_TENANT", "acme")], "").await;
    assert!(!ended.status.success(), "the login ended with the old password");
    assert!(!login(&data, PASSWORD).await.status.success());
    assert!(login(&data, ANOTHER).await.status.success());
    assert!(users(&data, &["set-role", "bob@acme.example", "--none", "--tenant", "acme"], "").await.status.success());
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let create = ["create", "bob.miller@acme.example", "--password-stdin"];
    assert!(users(&data, &create, &format!("{PASSWORD}\n")).await.status.success());
    for (arguments, stdin, code, told) in [
        (&create[..], PASSWORD, 1, "FM-AAS-USER-EXISTS"),
        (&["create", "x@acme.example", "--password-stdin"], "short\n", 1, "at least 12"),
        (&["create", "x@acme.example", "--password-stdin"], "", 2, "FM-CLI-LOGIN"),
        (&["create", "x@acme.example"], PASSWORD, 2, "--password-stdin"),
        (&["create", "x@acme.example", "--password", PASSWORD], "", 2, "unexpected argument"),
        (&["create", "x@acme.example", "--permission", "task:aprove", "--password-stdin"], PASSWORD, 1, "Did you mean task:approve?"),
        (&["create", "x@acme.example", "--role", "amdin", "--password-stdin"], PASSWORD, 1, "did you mean admin?"),
        (&["set-role", "bob.miller@acme.example"], "", 2, "required"),
        (&["set-role", "bob.mller", "clerk"], "", 1, "Did you mean bob.miller@acme.example?"),
        (&["set-password", "nobody@else.example", "--password-stdin"], PASSWORD, 1, "FM-CLI-NO-USER"),
    ] {
        let output = users(&data, arguments, stdin).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{arguments:?}: {}", stderr(&output));
    }
    let elsewhere = run(&data, &["platform", "users", "list"], &[("FLOWMASTER_URL", "http://127.0.0.1:1")], "").await;
    assert_eq!(elsewhere.status.code(), Some(2));
    assert!(stderr(&elsewhere).contains("FM-CLI-USERS"), "{}", stderr(&elsewhere));
}
