//! A person's word over HTTP and stdio, in both revisions: it counts once, for one call of one caller about one object as it
//! was shown, and only as long as the caller may still do it.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowmaster_mcp::auth::{Admit, Caller, Principal, Verifier};
use flowmaster_mcp::client::{Client, Configured, Mode, Upstream};
use flowmaster_mcp::error::Result;
use flowmaster_mcp::server::consent::approvals;
use flowmaster_mcp::server::{App, Authentication, Fallback, Options, Settings, serve_stdio};
use futures_util::future::BoxFuture;
use reqwest::Method;
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ElicitationAction, InputResponses};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::callers::{Callers, connect};
use crate::support::mcp::{self, Host, Meanwhile, Session, call, ok, revisions, text};
use crate::support::platform::TestPlatform;
use crate::support::program::binary;
use crate::support::raw::{answer, serve};
#[cfg(unix)]
use crate::support::terminal::beside_at_terminal;

const EVERYTHING: &[&str] = &["*"];

/// A record that can be deleted, which asks a person.
async fn record(platform: &TestPlatform, token: &str) -> String {
    let reply = platform.post("/entities/customer", token, json!({ "data": { "name": "Acme" } })).await;
    reply.ok()["id"].as_str().unwrap().to_owned()
}

async fn is_there(platform: &TestPlatform, token: &str, id: &str) -> bool {
    platform.get(&format!("/entities/customer/{id}"), token).await.status == 200
}

fn deletion(id: &str) -> CallToolRequestParams {
    CallToolRequestParams::new("entities_delete").with_arguments(json!({ "type": "customer", "id": id }).as_object().cloned().unwrap())
}

fn modern() -> ClientLifecycleMode {
    let [_, modern] = revisions();
    modern
}

/// Calls once, as a host of the new revision does before it asks anybody; gives the state of the question.
async fn asked(session: &Session, id: &str) -> String {
    match session.call_tool_once(deletion(id)).await.unwrap() {
        CallToolResponse::InputRequired(question) => question.request_state.unwrap(),
        other => panic!("nobody was asked: {other:?}"),
    }
}

/// Calls again with a state and a person's answer.
async fn again(session: &Session, id: &str, state: &str, action: &str) -> CallToolResult {
    let responses = InputResponses::from([("confirm".to_owned(), json!({ "action": action }))]);
    match session.call_tool_once(deletion(id).with_request_state(state).with_input_responses(responses)).await.unwrap() {
        CallToolResponse::Complete(result) => result,
        other => panic!("asked again: {other:?}"),
    }
}

#[track_caller]
fn refused(result: &CallToolResult, code: &str) {
    assert!(result.is_error == Some(true) && text(result).starts_with(code), "{}", text(result));
}

#[tokio::test]
async fn a_confirmation_that_is_tampered_foreign_stale_or_reused_does_nothing() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let anna = callers.make(&platform, "tenant-1", "anna", &[], EVERYTHING).await;
    let bert = callers.make(&platform, "tenant-1", "bert", &[], EVERYTHING).await;
    let elsewhere = callers.make(&platform, "tenant-2", "anna", &[], EVERYTHING).await;
    // The same name in another tenant, as another platform's users may have it.
    let namesake = Caller { subject: callers.known(&anna).subject.clone(), ..(*callers.known(&elsewhere)).clone() };
    callers.change(&elsewhere, namesake);
    let served = serve(mcp::app(&platform, Settings::default()), callers.admission(), |_| {}).await;
    let host = || Host::new(ElicitationAction::Accept);
    let session = connect(&served, &anna, modern(), host()).await;
    let (id, other) = (record(&platform, &anna).await, record(&platform, &anna).await);
    let state = asked(&session, &id).await;

    for place in [0, state.len() / 2, state.len() - 2] {
        let mut tampered = state.clone().into_bytes();
        tampered[place] = if tampered[place] == b'A' { b'B' } else { b'A' };
        refused(&again(&session, &id, std::str::from_utf8(&tampered).unwrap(), "accept").await, "FM-MCP-CONFIRMATION");
    }
    for wrong in ["", "rs1..", &"A".repeat(100_000)] {
        refused(&again(&session, &id, wrong, "accept").await, "FM-MCP-CONFIRMATION");
    }
    refused(&again(&session, &other, &state, "accept").await, "FM-MCP-CONFIRMATION");
    for token in [&bert, &elsewhere] {
        let foreign = connect(&served, token, modern(), host()).await;
        refused(&again(&foreign, &id, &state, "accept").await, "FM-MCP-CONFIRMATION");
    }
    assert!(is_there(&platform, &anna, &id).await && is_there(&platform, &anna, &other).await);

    let declined = asked(&session, &id).await;
    refused(&again(&session, &id, &declined, "decline").await, "FM-MCP-DECLINED");
    refused(&again(&session, &id, &declined, "accept").await, "FM-MCP-CONFIRMATION");
    assert!(is_there(&platform, &anna, &id).await, "a no became a yes");

    // Of many who come with one answer at once, one gets through.
    let at_once = futures_util::future::join_all((0..8).map(|_| again(&session, &id, &state, "accept"))).await;
    assert_eq!(at_once.iter().filter(|result| result.is_error == Some(false)).count(), 1, "{at_once:?}");
    refused(&again(&session, &id, &state, "accept").await, "FM-MCP-CONFIRMATION");
    assert!(!is_there(&platform, &anna, &id).await);

    let hasty = Settings { ask_timeout: Duration::from_millis(1), ..Settings::default() };
    let served = serve(mcp::app(&platform, hasty), callers.admission(), |_| {}).await;
    let session = connect(&served, &anna, modern(), host()).await;
    let state = asked(&session, &other).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    refused(&again(&session, &other, &state, "accept").await, "FM-MCP-CONFIRMATION");
    assert!(is_there(&platform, &anna, &other).await);
}

#[tokio::test]
async fn a_confirmation_outlives_a_restart_and_still_counts_once() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let token = callers.make(&platform, "tenant-1", "anna", &[], EVERYTHING).await;
    let data = tempfile::tempdir().unwrap();
    let start = async || {
        let settings = Settings { data_dir: Some(data.path().to_owned()), ..Settings::default() };
        let served = serve(mcp::app(&platform, settings), callers.admission(), |_| {}).await;
        let session = connect(&served, &token, modern(), Host::new(ElicitationAction::Accept)).await;
        (served, session)
    };
    let id = record(&platform, &token).await;
    let (first, session) = start().await;
    let state = asked(&session, &id).await;
    drop((first, session));
    let (_second, session) = start().await;
    let (_third, beside) = start().await;
    let done = again(&session, &id, &state, "accept").await;
    assert_eq!(done.is_error, Some(false), "{}", text(&done));
    refused(&again(&beside, &id, &state, "accept").await, "FM-MCP-CONFIRMATION");
}

#[tokio::test]
async fn an_object_that_changed_meanwhile_is_left_alone() {
    let platform = Arc::new(TestPlatform::start().await);
    let callers = Callers::default();
    let token = callers.make(&platform, "tenant-1", "anna", &[], EVERYTHING).await;
    let served = serve(mcp::app(&platform, Settings::default()), callers.admission(), |_| {}).await;
    for revision in revisions() {
        let id = record(&platform, &token).await;
        let change: Meanwhile = {
            let (platform, token, path) = (Arc::clone(&platform), token.clone(), format!("/entities/customer/{id}"));
            Arc::new(move || {
                let (platform, token, path) = (Arc::clone(&platform), token.clone(), path.clone());
                Box::pin(async move { drop(platform.put(&path, &token, json!({ "data": { "name": "Apex" } })).await.ok()) })
            })
        };
        let host = Host::after(change);
        let session = connect(&served, &token, revision, host.clone()).await;
        refused(&session.call_tool(deletion(&id)).await.unwrap(), "FM-MCP-CHANGED");
        assert!(host.asked().len() == 1 && host.asked()[0].contains("Acme"), "{:?}", host.asked());
        assert!(is_there(&platform, &token, &id).await);
    }
}

#[tokio::test]
async fn a_task_has_no_version_and_what_was_told_of_it_stands_for_one() {
    let platform = Arc::new(TestPlatform::start().await);
    let callers = Callers::default();
    let token = callers.make(&platform, "tenant-1", "anna", &[], EVERYTHING).await;
    let served = serve(mcp::app(&platform, Settings::default()), callers.admission(), |_| {}).await;
    for revision in revisions() {
        let task = platform.post("/tasks", &token, json!({ "title": "Sign", "assignee": "clerk" })).await.ok();
        let path = format!("/tasks/{}", task["taskId"].as_str().unwrap());
        let change: Meanwhile = {
            let (platform, token, path) = (Arc::clone(&platform), token.clone(), format!("{path}/assign"));
            Arc::new(move || {
                let (platform, token, path) = (Arc::clone(&platform), token.clone(), path.clone());
                Box::pin(async move { drop(platform.put(&path, &token, json!({ "assignee": "boss" })).await.ok()) })
            })
        };
        let session = connect(&served, &token, revision, Host::after(change)).await;
        let arguments = json!({ "id": task["taskId"], "decision": "approve" });
        let answer = CallToolRequestParams::new("tasks_respond").with_arguments(arguments.as_object().cloned().unwrap());
        refused(&session.call_tool(answer).await.unwrap(), "FM-MCP-CHANGED");
        assert_eq!(platform.get(&path, &token).await.ok()["assignedTo"], "boss");
    }
}

/// Somebody whose rights change while it is connected.
struct Somebody(Arc<Mutex<Arc<Caller>>>);

impl Principal for Somebody {
    fn caller(&self) -> BoxFuture<'_, Result<Arc<Caller>>> {
        Box::pin(std::future::ready(Ok(Arc::clone(&self.0.lock().unwrap()))))
    }
}

#[tokio::test]
async fn who_may_no_longer_do_it_does_not_do_it() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let token = callers.make(&platform, "tenant-1", "anna", &["clerk"], EVERYTHING).await;
    let before = callers.known(&token);
    let rule = json!({ "roles": ["suspended"], "decision": "deny" });
    let policy = flowmaster_mcp::server::Policy::new(&[serde_json::from_value(rule).unwrap()]).unwrap();
    let app = mcp::app(&platform, Settings { policy: Arc::new(policy), ..Settings::default() });
    let served = serve(Arc::clone(&app), callers.admission(), |_| {}).await;
    let fewer = Caller { permissions: Some(["entity:view"].into_iter().map(str::to_owned).collect()), ..(*before).clone() };
    let suspended = Caller { roles: vec!["suspended".to_owned()], ..(*before).clone() };
    let gone = Caller { expires: Some(flowmaster_mcp::api::Timestamp::now().plus_seconds(-60.0)), ..(*before).clone() };
    for (after, code) in [(fewer, "FM-MCP-FORBIDDEN"), (suspended, "FM-MCP-POLICY"), (gone, "FM-MCP-LOGIN-ENDED")] {
        let id = record(&platform, &token).await;
        // Over HTTP in the new revision the answer comes with a request of its own, whose token is looked at again.
        if code != "FM-MCP-LOGIN-ENDED" {
            callers.change(&token, (*before).clone());
            let session = connect(&served, &token, modern(), Host::new(ElicitationAction::Accept)).await;
            let state = asked(&session, &id).await;
            callers.change(&token, after.clone());
            refused(&again(&session, &id, &state, "accept").await, code);
        }
        // On stdio in the old revision the call waits for the answer.
        let now = Arc::new(Mutex::new(Arc::clone(&before)));
        let change: Meanwhile = {
            let (now, after) = (Arc::clone(&now), Arc::new(after));
            Arc::new(move || {
                *now.lock().unwrap() = Arc::clone(&after);
                Box::pin(std::future::ready(()))
            })
        };
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (input, output) = tokio::io::split(theirs);
        let principal: Arc<dyn Principal> = Arc::new(Somebody(now));
        tokio::spawn(serve_stdio(Arc::clone(&app), principal, input, output, CancellationToken::new()));
        let [old, _] = revisions();
        let session = Host::after(change).serve_with_lifecycle(ours, old).await.unwrap();
        refused(&session.call_tool(deletion(&id)).await.unwrap(), code);
        assert!(is_there(&platform, &token, &id).await, "{code}");
    }
}

/// Judges tokens as the platform does, on a clock that a test moves; the interval may end behind the next token that is let in.
struct Judge {
    verifier: Verifier,
    now: Arc<AtomicI64>,
    ends: Arc<AtomicBool>,
}

impl Admit for Judge {
    fn admit<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>>> {
        Box::pin(async {
            let admitted = self.verifier.admit(token).await;
            if self.ends.swap(false, Ordering::SeqCst) {
                self.now.fetch_add(60, Ordering::SeqCst);
            }
            admitted
        })
    }
}

#[tokio::test]
async fn whoever_signed_out_while_a_person_was_asked_does_not_do_it() {
    let platform = Arc::new(TestPlatform::start().await);
    platform.user("tenant-1", "anna", &[], EVERYTHING).await;
    // Calls go on by the server's own account: the platform itself would not notice.
    let account = json!({ "name": "flowmaster-mcp", "tenantId": "tenant-1", "permissions": EVERYTHING });
    let account = platform.post("/service-tokens", &platform.owner(), account).await.ok()["token"].as_str().unwrap().to_owned();
    let accounts = Configured::new(Some(account.clone().into()), BTreeMap::new()).unwrap().unwrap();
    let upstream = Upstream::new(Mode::Service { on_behalf_of: true }, Some(Arc::new(accounts)));
    let client = Client::builder(mcp::origin(&platform)).upstream(upstream).build();
    let app = App::new(Options { client, settings: Settings::default() }).unwrap();
    let now = Arc::new(AtomicI64::new(flowmaster_mcp::api::Timestamp::now().millis() / 1000));
    let (clock, ends) = (Arc::clone(&now), Arc::<AtomicBool>::default());
    let verifier = mcp::verifier(&platform, Duration::from_mins(1)).clock(Arc::new(move || clock.load(Ordering::SeqCst)));
    let judge = Judge { verifier, now: Arc::clone(&now), ends: Arc::clone(&ends) };
    let served = serve(app, Authentication::Bearer(Arc::new(judge)), |_| {}).await;
    // The platform is asked again before the answer comes in, or between the answer and what it is an answer to.
    for (signs_out, noticed_before) in [(false, true), (false, false), (true, true), (true, false)] {
        let token = platform.login("tenant-1", "anna").await;
        let id = record(&platform, &account).await;
        let meanwhile: Meanwhile = {
            let (platform, token, now, ends) = (Arc::clone(&platform), token.clone(), Arc::clone(&now), Arc::clone(&ends));
            Arc::new(move || {
                let (platform, token, now, ends) = (Arc::clone(&platform), token.clone(), Arc::clone(&now), Arc::clone(&ends));
                Box::pin(async move {
                    if signs_out {
                        assert_eq!(platform.post("/auth/logout", &token, json!({})).await.status, 204);
                    }
                    now.fetch_add(if noticed_before { 60 } else { 0 }, Ordering::SeqCst);
                    ends.store(!noticed_before, Ordering::SeqCst);
                })
            })
        };
        let host = Host::after(meanwhile);
        let [old, _] = revisions();
        let session = connect(&served, &token, old, host.clone()).await;
        let done = session.call_tool(deletion(&id)).await;
        assert_eq!(host.asked().len(), 1);
        match (signs_out, noticed_before) {
            (false, _) => drop(ok(done.unwrap())),
            // The answer is a request of its own, and does not come in.
            (true, true) => assert!(done.is_err(), "{done:?}"),
            (true, false) => refused(&done.unwrap(), "FM-MCP-TOKEN-REVOKED"),
        }
        assert_eq!(is_there(&platform, &account, &id).await, signs_out);
    }
}

#[tokio::test]
async fn a_call_that_waits_is_approved_by_its_own_caller_alone() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let anna = callers.make(&platform, "tenant-1", "anna", &[], EVERYTHING).await;
    let bert = callers.make(&platform, "tenant-1", "bert", &[], EVERYTHING).await;
    let data = tempfile::tempdir().unwrap();
    let settings = Settings { data_dir: Some(data.path().to_owned()), ..Settings::default() };
    let served = serve(mcp::app(&platform, settings), callers.admission(), |_| {}).await;
    for revision in revisions() {
        let id = record(&platform, &anna).await;
        let delete = json!({ "type": "customer", "id": id });
        let session = connect(&served, &anna, revision.clone(), Host::new(None)).await;
        refused(&call(&session, "entities_delete", delete.clone()).await, "FM-MCP-CONFIRM:");
        let waiting = answer(served.request(Method::GET, "/confirmations", &anna)).await.body;
        let pending = waiting["items"].as_array().unwrap().last().unwrap();
        assert!(pending["question"].as_str().unwrap().contains("Acme"), "{pending}");
        let path = format!("/confirmations/{}", pending["id"].as_str().unwrap());

        let foreign = answer(served.request(Method::GET, "/confirmations", &bert)).await.body;
        assert!(foreign["items"].as_array().unwrap().iter().all(|other| other["id"] != pending["id"]), "{foreign}");
        assert_eq!(answer(served.request(Method::POST, &path, &bert)).await.status, 404);
        let other = connect(&served, &bert, revision, Host::new(None)).await;
        refused(&call(&session, "entities_delete", delete.clone()).await, "FM-MCP-CONFIRM:");
        assert_eq!(answer(served.request(Method::POST, &path, &anna)).await.status, 200);
        refused(&call(&other, "entities_delete", delete.clone()).await, "FM-MCP-CONFIRM:");
        ok(call(&session, "entities_delete", delete).await);
        assert!(!is_there(&platform, &anna, &id).await);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_command_line_approves_on_a_server_elsewhere_with_the_callers_own_token() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let anna = callers.make(&platform, "tenant-1", "anna", &[], EVERYTHING).await;
    let bert = callers.make(&platform, "tenant-1", "bert", &[], EVERYTHING).await;
    let (data, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = Settings { data_dir: Some(data.path().to_owned()), ..Settings::default() };
    let served = serve(mcp::app(&platform, settings), callers.admission(), |_| {}).await;
    let session = connect(&served, &anna, modern(), Host::new(None)).await;
    let id = record(&platform, &anna).await;
    let delete = json!({ "type": "customer", "id": id });
    let waits = call(&session, "entities_delete", delete.clone()).await;
    refused(&waits, "FM-MCP-CONFIRM:");
    assert!(text(&waits).contains("flowmaster-mcp confirm --server"), "{}", text(&waits));

    let url = format!("http://{}/mcp", served.address);
    let confirm = async |token: &str, arguments: &[&str]| {
        let mut command = binary(home.path());
        command.env("FLOWMASTER_URL", platform.running.url().as_str()).env("FLOWMASTER_TOKEN", token);
        command.args(["confirm", "--json", "--server", &url]).args(arguments);
        let (output, told) = beside_at_terminal(command, "yes").await;
        assert!(!told.contains(token), "{told}");
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(serde_json::Value::Null), told)
    };
    let (_, waiting, told) = confirm(&anna, &[]).await;
    let pending = waiting["pending"][0]["id"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    assert_eq!(confirm(&bert, &[]).await.1, json!({ "pending": [] }));
    let (code, _, told) = confirm(&bert, &[&pending]).await;
    assert!(code == Some(1) && told.contains("FM-MCP-CONFIRM-UNKNOWN"), "{code:?} {told}");
    let (code, _, told) = confirm("not-a-token", &[]).await;
    assert!(code == Some(1) && told.contains("FM-MCP-TOKEN"), "{code:?} {told}");
    refused(&call(&session, "entities_delete", delete.clone()).await, "FM-MCP-CONFIRM:");
    assert_eq!(confirm(&anna, &[&pending]).await.0, Some(0));
    ok(call(&session, "entities_delete", delete).await);
}

#[tokio::test]
async fn the_hosts_own_dialog_counts_only_where_the_operator_says_so() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let token = callers.make(&platform, "tenant-1", "anna", &[], EVERYTHING).await;
    for (confirm, done) in [(Fallback::Host, true), (Fallback::Refuse, false)] {
        let served = serve(mcp::app(&platform, Settings { confirm, ..Settings::default() }), callers.admission(), |_| {}).await;
        for revision in revisions() {
            let id = record(&platform, &token).await;
            let session = connect(&served, &token, revision, Host::new(None)).await;
            let result = session.call_tool(deletion(&id)).await.unwrap();
            assert_eq!((result.is_error, is_there(&platform, &token, &id).await), (Some(!done), !done), "{}", text(&result));
        }
    }
}

#[tokio::test]
async fn completion_offers_nobody_what_another_has_seen() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let anna = callers.make(&platform, "tenant-1", "anna", &[], EVERYTHING).await;
    let bert = callers.make(&platform, "tenant-1", "bert", &[], EVERYTHING).await;
    let elsewhere = callers.make(&platform, "tenant-2", "anna", &[], EVERYTHING).await;
    let viewer = callers.make(&platform, "tenant-1", "viewer", &[], &["task:view"]).await;
    let served = serve(mcp::app(&platform, Settings::default()), callers.admission(), |_| {}).await;
    for (revision, kind) in revisions().into_iter().zip(["customer", "supplier"]) {
        let mine = connect(&served, &anna, revision.clone(), Host::new(None)).await;
        let record = ok(call(&mine, "entities_insert", json!({ "type": kind, "data": { "name": "Acme" } })).await);
        let types = async |session: &Session| -> HashSet<String> {
            session.complete_resource_simple("flowmaster://entities/{type}/{id}", "type", "").await.unwrap().into_iter().collect()
        };
        assert!(types(&mine).await.contains(kind));
        let context = rmcp::model::CompletionContext::with_arguments([("type".to_owned(), kind.to_owned())].into());
        let ids = mine.complete_resource_argument("flowmaster://entities/{type}/{id}", "id", "", Some(context)).await.unwrap();
        assert_eq!(ids.values, [record["id"].as_str().unwrap()], "once, though both seen and listed");
        for token in [&bert, &elsewhere, &viewer] {
            let other = connect(&served, token, revision.clone(), Host::new(None)).await;
            assert!(types(&other).await.is_empty());
        }
        // What a caller may no longer read is not offered either.
        let before = callers.known(&anna);
        callers.change(&anna, Caller { permissions: Some(["task:view"].into_iter().map(str::to_owned).collect()), ..(*before).clone() });
        assert!(types(&connect(&served, &anna, revision, Host::new(None)).await).await.is_empty());
        callers.change(&anna, (*before).clone());
    }
}

#[tokio::test]
async fn a_host_that_says_no_by_itself_is_no_dead_end() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let token = callers.make(&platform, "tenant-1", "anna", &[], EVERYTHING).await;
    let caller = callers.known(&token);
    for (confirm, answer, code) in [
        (Fallback::Refuse, ElicitationAction::Decline, "FM-MCP-DECLINED"),
        (Fallback::Refuse, ElicitationAction::Cancel, "FM-MCP-DECLINED"),
        (Fallback::Terminal, ElicitationAction::Accept, "FM-MCP-CONFIRM:"),
    ] {
        for revision in revisions() {
            let data = tempfile::tempdir().unwrap();
            let settings = Settings { confirm, data_dir: Some(data.path().to_owned()), ..Settings::default() };
            let served = serve(mcp::app(&platform, settings), callers.admission(), |_| {}).await;
            let host = Host::new(answer.clone());
            let session = connect(&served, &token, revision, host.clone()).await;
            let id = record(&platform, &token).await;
            let no = session.call_tool(deletion(&id)).await.unwrap();
            refused(&no, code);
            assert!(text(&no).contains("flowmaster-mcp confirm"), "{}", text(&no));
            assert_eq!(host.asked().is_empty(), confirm == Fallback::Terminal);
            let waiting = approvals::list(data.path(), &caller).unwrap();
            assert_eq!(waiting.len(), 1);
            approvals::approve(data.path(), &caller, &waiting[0].id).unwrap();
            ok(session.call_tool(deletion(&id)).await.unwrap());
            assert!(!is_there(&platform, &token, &id).await);
        }
    }
}

#[tokio::test]
async fn what_the_platform_is_going_to_refuse_is_not_asked() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let token = callers.make(&platform, "tenant-1", "anna", &["admin"], EVERYTHING).await;
    let served = serve(mcp::app(&platform, Settings::default()), callers.admission(), |_| {}).await;
    for (place, revision) in revisions().into_iter().enumerate() {
        let host = Host::new(ElicitationAction::Accept);
        let session = connect(&served, &token, revision, host.clone()).await;
        let form = json!({ "fields": [{ "name": "decision", "type": "enum", "options": ["yes", "no"] }, { "name": "why", "type": "text", "required": true }] });
        let task = ok(call(&session, "tasks_create", json!({ "title": "Sign", "assignee": "me", "form": form })).await);
        let id = task["taskId"].clone();
        let wrong = call(&session, "tasks_respond", json!({ "id": id, "decision": "maybe" })).await;
        refused(&wrong, "FM-HTS-FORM");
        assert!(text(&wrong).contains("allowed are yes, no") && text(&wrong).contains("must be filled in"), "{}", text(&wrong));
        let right = json!({ "id": id, "decision": "yes", "data": { "why": "fine" } });
        ok(call(&session, "tasks_respond", right.clone()).await);
        assert_eq!(host.asked().len(), 1);
        refused(&call(&session, "tasks_respond", right).await, "FM-HTS-ALREADY-RESPONDED");

        let role = json!({ "name": format!("clerk-{place}"), "permissions": ["task:view"] });
        ok(call(&session, "roles_create", role.clone()).await);
        assert_eq!(host.asked().len(), 2);
        refused(&call(&session, "roles_create", role).await, "FM-AAS-ROLE-EXISTS");

        let nodes = json!([{ "id": "a", "type": "script", "config": { "expression": "1", "output": "x" } }]);
        let process = ok(call(&session, "processes_create", json!({ "name": "P", "nodes": nodes })).await)["id"].clone();
        ok(call(&session, "processes_publish", json!({ "id": process })).await);
        let run = ok(call(&session, "executions_start", json!({ "processId": process })).await)["executionId"].clone();
        refused(&call(&session, "executions_cancel", json!({ "id": run })).await, "FM-EES-NOT-ALLOWED");
        assert_eq!(host.asked().len(), 2, "{:?}", host.asked());
    }
}
