//! What a person is asked before somebody is erased: how much it reaches, counted rightly.

use flowmaster_mcp::server::Settings;
use rmcp::model::ElicitationAction;
use serde_json::json;

use crate::support::mcp::{Host, app, call, ok, over_stdio, owner, revisions};
use crate::support::platform::TestPlatform;

#[tokio::test]
async fn the_question_counts_what_the_erasure_then_reaches() {
    for revision in revisions() {
        let platform = TestPlatform::start().await;
        let token = platform.owner();
        for name in ["Jo", "J. Doe"] {
            platform.post("/entities/customer", &token, json!({ "data": { "name": name, "email": "jo@b.c" } })).await.ok();
        }
        platform.post("/entities/customer", &token, json!({ "data": { "name": "Ann", "email": "ann@b.c" } })).await.ok();
        platform.post("/tasks", &token, json!({ "title": "Call jo@b.c", "assignee": "clerk-7" })).await.ok();
        for note in ["met jo@b.c", "wrote to jo@b.c", "met ann@b.c"] {
            let entry = json!({
                "actor": "clerk-7", "action": "ledger.noted", "resourceType": "ledger", "resourceId": "1", "changes": { "after": { "note": note } },
            });
            platform.post("/audit-logs", &token, entry).await.ok();
        }
        let host = Host::new(ElicitationAction::Accept);
        let (session, _server) = over_stdio(app(&platform, Settings::default()), owner(), revision, host.clone()).await;
        let filed = ok(call(&session, "records_delete", json!({ "subject": "jo@b.c", "reason": "asked by letter" })).await);
        let [asked] = host.asked().try_into().expect("a person is asked once");
        let counts = |kind: &str| {
            let line = asked.lines().find_map(|line| line.strip_prefix(&format!("- {kind}: ")));
            line.unwrap_or_else(|| panic!("{kind} is not in the question: {asked}")).parse::<u64>().unwrap()
        };
        let (entries, records, texts) = (counts("entries"), counts("records"), counts("texts"));
        assert_eq!((records, entries >= 2, texts >= 1), (2, true, true), "{asked}");
        assert!(asked.contains("by id or address, not by names in free text"), "{asked}");

        platform.clock.advance(31.0 * 24.0 * 3600.0);
        let path = format!("/records/{}", filed["requestId"].as_str().unwrap());
        let mut state = platform.get(&path, &platform.owner()).await.ok();
        for _ in 0..500 {
            if state["status"] == "done" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            state = platform.get(&path, &platform.owner()).await.ok();
        }
        let erased = state["erased"].as_object().unwrap();
        let of = |kind: &str| erased.get(kind).and_then(serde_json::Value::as_u64).unwrap_or_default();
        let all: u64 = erased.values().filter_map(serde_json::Value::as_u64).sum();
        assert_eq!((of("entries"), of("records"), all - of("entries") - of("records")), (entries, records, texts), "{state:#}");
    }
}
