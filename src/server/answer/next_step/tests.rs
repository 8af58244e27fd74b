//! Every kind of error of every operation is made, and the words of its next step are read.

use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::api::catalogue;
use crate::server::answer::describe;

fn step(name: &str, error: &Error) -> String {
    next_step(catalogue().get(name).unwrap(), error, &|_| true)
}

/// Every failure of an operation that differs in what is to be said: by kind, code, faults, and whether it passes.
fn failures(entry: &Entry) -> impl Iterator<Item = Error> {
    let own = format!("FM-{}-X", entry.service.code);
    let foreign = SERVICES.iter().map(|service| format!("FM-{}-NOT-FOUND", service.code));
    let codes: Vec<String> = foreign.chain([own, "FM-AGS-NO-ROUTE".to_owned(), "HTTP-404".to_owned()]).collect();
    Kind::ALL.into_iter().flat_map(move |kind| {
        // The code matters to what is missing alone.
        let codes = if kind == Kind::NotFound { codes.clone() } else { vec!["FM-X".to_owned()] };
        codes.into_iter().flat_map(move |code| {
            let bare = move || Error::new(kind, code.clone(), "it failed");
            [bare(), bare().field("/id", "unknown", "is wrong"), bare().retry_after(Duration::from_secs(7)), bare().request_id("req-1")]
        })
    })
}

#[test]
fn every_kind_of_every_operation_says_what_to_do_next() {
    assert_eq!(Kind::ALL.len(), Kind::Internal as usize + 1);
    assert_eq!(Kind::ALL.iter().collect::<HashSet<_>>().len(), Kind::ALL.len());
    for entry in catalogue().tools() {
        for error in failures(entry) {
            let text = describe(entry, &error, &|_| true);
            let step = next_step(entry, &error, &|_| true);
            let what = format!("{} {:?} {}: {step}", entry.spec.name, error.kind(), error.code());
            assert!(step.split(' ').count() >= 3 && step.ends_with('.'), "no sentence: {what}");
            for tool in named(&step) {
                assert_ne!(tool, entry.spec.name, "its own remedy: {what}");
                assert!(catalogue().get(tool).is_some_and(|named| named.spec.tool), "no tool: {what}");
            }
            assert!(!step.contains("above") || text.contains("\n- "), "nothing stands above: {what}");
            assert!(!step.contains("the request") || text.contains("\nRequest: "), "no request is named: {what}");
            let again = ["Call again", "before you call again"].iter().any(|words| step.contains(words));
            let never = ["fail again", "not repeat", "hardly help"].iter().any(|words| step.contains(words));
            assert!(!(again && never), "do it, and do not: {what}");
            assert_eq!(again, error.is_transient(), "whether to repeat: {what}");
        }
    }
}

/// The words of a text that look like tools: those of two parts, but for the name of a resource type.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|word| word.contains('_'));
    words.filter(|word| !text.contains(&format!("resourceType {word}")))
}

#[test]
fn a_tool_that_failed_is_not_its_own_remedy() {
    let missing = Error::new(Kind::NotFound, "HTTP-404", "not found");
    assert!(step("tasks_get", &missing).starts_with("`tasks_list`"));
    assert!(step("tasks_list", &missing).starts_with("Check the ids and names among the arguments"));
    assert_eq!(
        step("channels_send", &missing),
        "`channels_list` shows the channels and `conversations_list` the conversations, with their ids; `audit_query` with resourceType \
         channel or conversation names those there are. The same call will fail again."
    );
    assert!(step("entities_query", &missing).starts_with("`entities_search`"));
    let changed = Error::new(Kind::Changed, "FM-X", "it changed");
    assert!(step("tasks_respond", &changed).contains("tasks_get") && !step("tasks_get", &changed).contains("tasks_get"));
}

#[test]
fn the_service_that_missed_it_names_the_finder() {
    let missing = Error::new(Kind::NotFound, "FM-PDS-NOT-FOUND", "there is no process");
    assert!(step("executions_start", &missing).starts_with("`processes_list`"));
    // A platform that has nothing beyond the contract is not looked for it.
    let entry = catalogue().get("executions_start").unwrap();
    let there = next_step(entry, &missing, &|other| !other.spec.extension);
    assert!(there.starts_with("`audit_query`") && there.contains("process.created") && !there.contains("processes_list"), "{there}");
}

#[test]
fn an_error_that_knows_the_way_is_not_talked_over() {
    let own = Error::new(Kind::Forbidden, "FM-PLATFORM-FOLDER-MODE", "the folder is open to others").hint("Run: chmod 700 /x");
    assert_eq!(step("tasks_get", &own), "Run: chmod 700 /x.");
    let named = Error::new(Kind::NotFound, "FM-HTS-NOT-FOUND", "there is no task x; tasks_list shows those there are");
    assert_eq!(step("tasks_get", &named), "Take the id from there. The same call will fail again.");
}

#[test]
fn a_repeat_that_may_do_harm_looks_first() {
    let late = Error::new(Kind::Timeout, "FM-MCP-TIMEOUT", "late").retry_after(Duration::from_secs(7));
    assert!(step("tasks_respond", &late).contains("look with tasks_get before you call again, in 7 seconds"));
    assert!(step("tasks_get", &late).contains("Call again in 7 seconds"));
}
