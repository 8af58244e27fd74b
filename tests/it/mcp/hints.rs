//! The words after an error as a model reads them: of every tool that a platform refuses, and of every hint in the source.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::response::IntoResponse as _;
use flowmaster_mcp::api::{Permission, catalogue};
use flowmaster_mcp::config::PolicyRule;
use flowmaster_mcp::server::{Policy, Settings};
use http::StatusCode;
use serde_json::{Value, json};

use crate::architecture::rust_files;
use crate::catalogue::request_of;
use crate::support::mcp::{Host, app_before, call, over_stdio, revisions, text};
use crate::support::raw::user;
use crate::support::standin::StandIn;

/// The words of a text that look like tools: two parts or more, of which the first begins the name of a tool. The name of a
/// resource type is not one.
fn tools_in(text: &str) -> impl Iterator<Item = &str> {
    let begins = |word: &str| {
        let noun = word.split('_').next().unwrap_or_default();
        catalogue().tools().any(|entry| entry.spec.name.split('_').next() == Some(noun))
    };
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(move |word| word.contains('_') && begins(word));
    words.filter(|word| !text.contains(&format!("resourceType {word}")))
}

#[tokio::test]
async fn every_tool_that_a_platform_refuses_says_what_to_do_next() {
    let status = Arc::new(AtomicU16::new(0));
    let answered = Arc::clone(&status);
    let platform = StandIn::start(move |_| {
        let status = StatusCode::from_u16(answered.load(Ordering::SeqCst)).unwrap();
        async move { status.into_response() }
    })
    .await;
    let allowed: PolicyRule = serde_json::from_value(json!({ "tools": ["*"], "decision": "allow" })).unwrap();
    let settings = Settings { policy: Arc::new(Policy::new(&[allowed]).unwrap()), ..Settings::default() };
    let permissions: Vec<&str> = Permission::ALL.iter().map(|permission| permission.name()).collect();
    let caller = Arc::new(Arc::new(user("tenant-1", "anna", &permissions)));
    let [revision, _] = revisions();
    let (session, _server) = over_stdio(app_before(&platform.url, settings), caller, revision, Host::new(None)).await;
    let shown: Vec<String> = session.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned()).collect();
    let offered = || catalogue().tools().filter(|entry| !entry.spec.names_route);
    assert_eq!(shown.len(), offered().count(), "this caller may do everything");
    for entry in offered() {
        for refused in [404, 422] {
            status.store(refused, Ordering::SeqCst);
            let result = call(&session, entry.spec.name, Value::Object(request_of(entry.spec.name))).await;
            let told = text(&result);
            assert!(told.starts_with(&format!("HTTP-{refused}: ")), "{}: {told}", entry.spec.name);
            let (said, next) = told.split_once("\nNext: ").unwrap_or_else(|| panic!("no next step: {told}"));
            assert!(!next.contains("above") || said.contains("\n- "), "nothing stands above: {told}");
            for tool in tools_in(next) {
                assert!(tool != entry.spec.name && shown.iter().any(|shown| shown == tool), "{}: {told}", entry.spec.name);
            }
        }
    }
}

#[test]
fn every_tool_that_a_hint_of_the_source_names_is_shown_to_hosts() {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut read = 0;
    for file in files {
        if file.ends_with("tests.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&file).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for hint in code.split(".hint(").skip(1).filter_map(literal) {
            read += 1;
            assert!(hint.ends_with(['.', '?', '!', '}']) || hint.contains("chmod"), "{}: no sentence: {hint}", file.display());
            assert!(!hint.contains("above"), "{}: a hint does not know what stands above it: {hint}", file.display());
            for tool in tools_in(&hint) {
                assert!(catalogue().get(tool).is_some_and(|entry| entry.spec.tool), "{}: no tool {tool}: {hint}", file.display());
            }
        }
    }
    assert!(read > 150, "only {read} hints were read");
}

/// The text with which the argument of a call begins, if it does.
fn literal(argument: &str) -> Option<String> {
    let argument = argument.trim_start();
    let text = argument.strip_prefix("format!(").unwrap_or(argument).trim_start().strip_prefix('"')?;
    let (mut read, mut escaped) = (String::new(), false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(read),
            _ => {}
        }
        read.push(c);
    }
    None
}
