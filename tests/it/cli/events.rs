//! `events` as a person and a pipe see it.

#![cfg(unix)]

use std::io::BufReader;
use std::process::Stdio;

use serde_json::Value;

use super::{Running, run, stderr};
use crate::support::program::program;

fn publish(home: &std::path::Path, topic: &str, n: u32) {
    let published = run(home, &["call", "events_publish", &format!("topic={topic}"), &format!("event.n={n}")]);
    assert!(published.status.success(), "{}", stderr(&published));
}

#[test]
fn a_pipe_gets_each_event_as_a_line_until_ctrl_c() {
    let home = tempfile::tempdir().unwrap();
    // One process serves the folder's platform, the others find it there.
    let mut serving = Running::start(program(home.path()).args(["platform"]).stdin(Stdio::null()));
    Running::line_with(&mut BufReader::new(serving.0.stdout.take().unwrap()), "http://");
    publish(home.path(), "order.opened", 1);
    let mut following = Running::start(program(home.path()).args(["events", "order.*", "--json", "--since", "1h"]).stdin(Stdio::null()));
    let mut lines = BufReader::new(following.0.stdout.take().unwrap());
    let mut numbers = vec![line(&mut lines)];
    publish(home.path(), "invoice.paid", 9);
    publish(home.path(), "order.closed", 2);
    numbers.push(line(&mut lines));
    assert_eq!(numbers, [1, 2]);
    assert!(following.terminate().success());
    let left = run(home.path(), &["call", "subscriptions_list"]);
    assert!(String::from_utf8_lossy(&left.stdout).contains("\"items\": []"), "{left:?}");
    serving.terminate();
}

fn line(lines: &mut impl std::io::BufRead) -> i64 {
    let event: Value = serde_json::from_str(&Running::line_with(lines, "{")).unwrap();
    assert_eq!((&event["specversion"], &event["tenantid"]), (&Value::from("1.0"), &Value::from("tenant-local")));
    event["data"]["n"].as_i64().unwrap()
}

#[test]
fn a_pattern_or_a_time_that_is_none_is_told() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, code) in [(vec!["events", "exec*"], "FM-EBS-TOPIC"), (vec!["events", "--since", "soon"], "FM-CLI-ARGUMENTS")] {
        let refused = run(home.path(), &arguments);
        assert!(!refused.status.success() && stderr(&refused).contains(code), "{arguments:?}: {}", stderr(&refused));
    }
}
