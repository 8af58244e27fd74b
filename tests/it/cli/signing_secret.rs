//! `signing-secret`: the key of a webhook's signatures goes to a person at a terminal, and to nobody else.

use serde_json::Value;

use super::{run, stderr, stdout};
use crate::support::program::program;
use crate::support::terminal::at_terminal;

#[test]
fn a_person_at_a_terminal_gets_the_secret_and_a_model_does_not() {
    let home = tempfile::tempdir().unwrap();
    let subscribe = ["call", "subscriptions_create", "--yes", "--json", "topic=task.created"];
    let delivery = r#"delivery={"type":"webhook","url":"http://127.0.0.1:9/hook"}"#;
    let made = run(home.path(), &[&subscribe[..], &[delivery]].concat());
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(!stdout(&made).contains("whsec_"), "{}", stdout(&made));
    let made: Value = serde_json::from_str(&stdout(&made)).unwrap();
    let id = made["structuredContent"]["subscriptionId"].as_str().unwrap();

    let unattended = run(home.path(), &["signing-secret", id]);
    assert_eq!(unattended.status.code(), Some(2));
    assert!(stderr(&unattended).contains("FM-CLI-NO-TERMINAL") && !stderr(&unattended).contains("whsec_"), "{}", stderr(&unattended));

    let mut command = program(home.path());
    command.args(["signing-secret", id]);
    let (output, told) = at_terminal(command, "");
    assert!(output.status.success() && told.contains("http://127.0.0.1:9/hook"), "{told}");
    assert!(stdout(&output).starts_with("whsec_") && !told.contains("whsec_"), "{told}");
}
