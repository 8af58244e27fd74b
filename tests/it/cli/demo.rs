//! `platform --demo`: a company to look around in, made once.

use std::io::BufReader;

use serde_json::Value;

use super::{Running, run, stderr, stdout};
use crate::support::program::program;

/// Lists that a company has something in.
const LISTS: [&str; 19] = [
    "processes_list",
    "executions_list",
    "tasks_list",
    "entities_types",
    "documents_list",
    "prompts_list",
    "agents_list",
    "datasets_list",
    "schemas_list",
    "ingest_jobs_list",
    "integrations_list",
    "channels_list",
    "roles_list",
    "users_list",
    "subscriptions_list",
    "notifications_list",
    "portals_list",
    "companies_list",
    "schedules_list",
];

#[cfg(unix)]
#[test]
fn the_demo_fills_every_list_once_and_looks_like_a_fortnight() {
    let home = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut platform = Running::start(program(home.path()).args(["platform", "--demo", "--listen", "0"]));
        Running::line_with(&mut BufReader::new(platform.0.stdout.take().unwrap()), "http://");
        assert_eq!(platform.terminate().code(), Some(0));
    }
    let call = |tool: &str, arguments: &[&str]| {
        let output = run(home.path(), &[&["call", tool], arguments].concat());
        assert!(output.status.success(), "{tool}: {}", stderr(&output));
        serde_json::from_str::<Value>(&stdout(&output)).unwrap()
    };
    for tool in LISTS {
        assert!(call(tool, &[])["items"].as_array().is_some_and(|items| !items.is_empty()), "{tool}");
    }
    let named = call("processes_list", &["name=invoice approval"]);
    assert_eq!(named["items"].as_array().map(Vec::len), Some(1), "the second start made nothing");
    for status in ["completed", "waiting", "failed"] {
        let found = call("executions_list", &[&format!("status={status}")]);
        assert!(found["items"].as_array().is_some_and(|items| !items.is_empty()), "{status}");
    }
    let counted = call("metrics_query", &["metric=process.execution_count", "groupBy=day"]);
    assert!(counted["items"].as_array().is_some_and(|days| days.len() >= 6), "{counted:#}");

    // A process is started by its name, unless the list that shows names is withheld.
    let start = ["call", "--yes", "executions_start", "processId=Holiday request", "variables.employee=Ann", "variables.days=2"];
    let started = run(home.path(), &start);
    assert!(started.status.success(), "{}", stderr(&started));
    let withheld = run(home.path(), &[&["--exclude-tools", "processes_list"], &start[..]].concat());
    assert!(stderr(&withheld).contains("FM-EES-PROCESS-NOT-FOUND"), "{}", stderr(&withheld));
}
