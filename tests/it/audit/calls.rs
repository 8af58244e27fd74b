//! The record of calls and refusals: what a row holds, where it goes, and what outages, floods and dead processes do to it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::auth::{Caller, Credential, Principal};
use flowmaster_mcp::client::{Client, Configured, Extensions, Fixed, Located, Mode, Origin, Upstream};
use flowmaster_mcp::error::Result;
use flowmaster_mcp::server::audit;
use flowmaster_mcp::server::{App, Options, Settings};
use futures_util::future::BoxFuture;
use rmcp::model::ElicitationAction;
use rmcp::service::ClientLifecycleMode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::audit::backlog;
use crate::support::mcp::{Host, Session, call, ok, over_stdio, revisions, text};
use crate::support::platform::TestPlatform;
use crate::support::program;
use crate::support::raw::{self, Known, answer, serve, user};
use crate::support::standin::{StandIn, becomes};

/// Where a platform is, which may be nowhere for a while.
#[derive(Clone)]
struct Movable(Arc<Mutex<String>>);

impl Origin for Movable {
    fn locate(&self) -> BoxFuture<'_, Result<Located>> {
        let base = self.0.lock().unwrap().as_str().into();
        Box::pin(std::future::ready(Ok(Located { base, owner_token: None, loopback: true })))
    }
}

const NOWHERE: &str = "http://127.0.0.1:1";

/// A server that records, by an account that may.
fn app(origin: Arc<dyn Origin>, account: &str, options: audit::Options) -> Arc<App> {
    app_with(Extensions::default(), origin, account, options)
}

/// The same on a platform that is the contract's, which takes entries one by one.
fn contracts_app(platform: &StandIn, options: audit::Options) -> Arc<App> {
    app_with(Extensions::named(&[]).unwrap(), Arc::new(Fixed::new(&platform.url).unwrap()), "account", options)
}

fn app_with(extensions: Extensions, origin: Arc<dyn Origin>, account: &str, options: audit::Options) -> Arc<App> {
    let accounts = Configured::new(Some(account.to_owned().into()), BTreeMap::new()).unwrap().unwrap();
    let upstream = Upstream::new(Mode::Propagate, Some(Arc::new(accounts)));
    let client = Client::builder(origin).upstream(upstream).extensions(extensions).build();
    App::new(Options { client, settings: Settings { audit: Some(options), ..Settings::default() } }).unwrap()
}

fn options(data_dir: &Path) -> audit::Options {
    audit::Options { pause: Duration::from_millis(50), ..audit::Options::new(data_dir) }
}

/// The account of this server in a tenant.
async fn account(platform: &TestPlatform, tenant: &str) -> String {
    let request = json!({ "name": "flowmaster-mcp", "tenantId": tenant, "permissions": ["audit:log"] });
    platform.post("/service-tokens", &platform.owner(), request).await.ok()["token"].as_str().unwrap().to_owned()
}

async fn connect(app: &Arc<App>, token: &str, revision: ClientLifecycleMode, host: Host) -> (Session, JoinHandle<Result<()>>) {
    let caller = Caller::of_unverified_token(token.to_owned().into(), None).unwrap();
    let principal: Arc<dyn Principal> = Arc::new(Arc::new(caller));
    over_stdio(Arc::clone(app), principal, revision, host).await
}

/// Ends a connection, with which the record is flushed.
async fn end((session, server): (Session, JoinHandle<Result<()>>)) {
    session.cancel().await.unwrap();
    server.await.unwrap().unwrap();
}

/// The rows of a tenant's trail that this server made, oldest first.
async fn trail(platform: &TestPlatform, token: &str) -> Vec<Value> {
    let page = platform.get("/audit-logs?limit=200", token).await.ok();
    let rows = page["items"].as_array().unwrap().iter().rev().cloned();
    rows.filter(|row| row["action"].as_str().unwrap().starts_with("mcp.")).collect()
}

/// What a row says was done, decided and came out.
fn gist(row: &Value) -> String {
    let after = &row["changes"]["after"];
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    [&row["action"], &row["resourceId"], &after["decision"], &after["outcome"]].map(word).join(" ")
}

#[tokio::test]
async fn every_call_and_every_refusal_is_a_row_that_names_and_does_not_tell() {
    let platform = TestPlatform::start().await;
    let admin = platform.signed_in("tenant-1", "admin", &["*"]).await;
    let looker = platform.signed_in("tenant-1", "looker", &["task:view"]).await;
    let account = account(&platform, "tenant-1").await;
    let origin: Arc<dyn Origin> = Arc::new(Fixed::new(&platform.running.url()).unwrap());
    let mut seen = 0;
    for revision in revisions() {
        let data = tempfile::tempdir().unwrap();
        let app = app(Arc::clone(&origin), &account, options(data.path()));
        let kind = format!("customer{seen}");
        let by_admin = connect(&app, &admin, revision.clone(), Host::new(ElicitationAction::Accept)).await;
        ok(call(&by_admin.0, "entities_define", json!({ "entityType": kind })).await);
        let data_of_record = json!({ "name": "Acme topsecret", "city": "Bonn" });
        let record = ok(call(&by_admin.0, "entities_insert", json!({ "type": kind, "data": data_of_record })).await);
        let missing = call(&by_admin.0, "tasks_get", json!({ "id": "task-9" })).await;
        assert!(text(&missing).starts_with("FM-HTS"), "{missing:?}");
        call(&by_admin.0, "tasks_list", json!({ "limit": "many" })).await;
        ok(call(&by_admin.0, "entities_delete", json!({ "type": kind, "id": record["id"] })).await);
        end(by_admin).await;
        let refused = connect(&app, &looker, revision.clone(), Host::new(ElicitationAction::Accept)).await;
        let token_caller = call(&refused.0, "entities_insert", json!({ "type": kind, "data": {} })).await;
        assert_eq!(token_caller.is_error, Some(true));
        end(refused).await;
        let declined = connect(&app, &admin, revision.clone(), Host::new(ElicitationAction::Decline)).await;
        call(&declined.0, "entities_delete", json!({ "type": kind, "id": "entity-1" })).await;
        end(declined).await;

        assert_eq!(backlog(data.path()), audit::Backlog::default());
        let rows = trail(&platform, &admin).await.split_off(seen);
        seen += rows.len();
        let gists: Vec<String> = rows.iter().map(gist).filter(|gist| !gist.contains("asked")).collect();
        let expected = [
            "mcp.called entities_define allowed ok",
            "mcp.called entities_insert allowed ok",
            "mcp.called tasks_get allowed FM-HTS-NOT-FOUND",
            "mcp.refused tasks_list denied FM-MCP-ARGUMENTS",
            "mcp.called entities_delete confirmed ok",
            "mcp.refused entities_insert denied",
            "mcp.refused entities_delete",
        ];
        assert_eq!(gists.len(), expected.len(), "{gists:#?}");
        for (gist, expected) in gists.iter().zip(expected) {
            assert!(gist.starts_with(expected), "{gist} is not {expected}");
        }
        let insert = &rows[1];
        let after = &insert["changes"]["after"];
        assert_eq!(after["fields"], json!(["type", "data.name", "data.city"]));
        assert_eq!((after["kind"].as_str(), after["transport"].as_str()), (Some("user"), Some("stdio")));
        assert_eq!(after["trace"].as_str().map(str::len), Some(32));
        for digest in ["arguments", "answer"] {
            assert_eq!(after[digest].as_str().map(str::len), Some(64), "{after}");
        }
        assert_eq!(insert["resourceType"], "tool");
        assert_eq!(insert["recordedBy"], "service-flowmaster-mcp");
        assert!(insert["actor"].as_str().unwrap().starts_with("user-"));
        assert!(!json!(rows).to_string().contains("topsecret"), "no argument or answer is told");
        assert!(!json!(rows).to_string().contains(&admin));
    }
}

#[tokio::test]
async fn rows_outlive_an_outage_of_the_audit_service_and_the_process_that_made_them() {
    let platform = TestPlatform::start().await;
    let admin = platform.signed_in("tenant-1", "admin", &["*"]).await;
    let account = account(&platform, "tenant-1").await;
    let data = tempfile::tempdir().unwrap();
    let place = Arc::new(Mutex::new(NOWHERE.to_owned()));
    let modern = || revisions()[1].clone();

    // Nothing can be reached, and the process ends with its rows on disk.
    let first = app(Arc::new(Movable(Arc::clone(&place))), &account, options(data.path()));
    let session = connect(&first, &admin, modern(), Host::new(None)).await;
    for index in 0..30 {
        call(&session.0, "tasks_get", json!({ "id": format!("task-{index}") })).await;
    }
    let ending = Instant::now();
    end(session).await;
    assert!(ending.elapsed() < Duration::from_secs(3), "the end does not wait for who is away");
    assert_eq!(backlog(data.path()).waiting, 30);
    drop(first);

    // Another process takes them over, and the service comes back while it waits.
    let second = app(Arc::new(Movable(Arc::clone(&place))), &account, options(data.path()));
    let session = connect(&second, &admin, modern(), Host::new(None)).await;
    call(&session.0, "tasks_list", json!({})).await;
    becomes(|| backlog(data.path()).waiting == 31).await.unwrap();
    place.lock().unwrap().clone_from(&platform.running.url());
    becomes(|| backlog(data.path()).waiting == 0).await.unwrap();
    call(&session.0, "tasks_list", json!({})).await;
    end(session).await;

    let rows = trail(&platform, &admin).await;
    assert_eq!(rows.len(), 32, "each row once");
    let ids: Vec<&str> = rows.iter().map(|row| row["changes"]["after"]["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted(), "in the order in which they happened");
    let unreached = ["FM-MCP-UNREACHABLE", "FM-MCP-CIRCUIT-OPEN"];
    assert!(rows[..31].iter().all(|row| unreached.contains(&row["changes"]["after"]["outcome"].as_str().unwrap())));
    assert_eq!(backlog(data.path()), audit::Backlog::default(), "nothing is left behind");
}

#[tokio::test]
async fn a_silent_audit_service_is_in_nobodys_way() {
    let platform = StandIn::start(|asked| async move {
        if asked.path == "/audit-logs" {
            std::future::pending::<()>().await;
        }
        Json(json!({ "items": [] })).into_response()
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let app = contracts_app(&platform, options(data.path()));
    let session = connect(&app, "somebody", revisions()[1].clone(), Host::new(None)).await;
    ok(call(&session.0, "tasks_list", json!({})).await);
    let started = Instant::now();
    for _ in 0..200 {
        ok(call(&session.0, "tasks_list", json!({})).await);
    }
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    becomes(|| backlog(data.path()).waiting == 201).await.unwrap();
    let ending = Instant::now();
    end(session).await;
    assert!(ending.elapsed() < Duration::from_secs(4), "{:?}", ending.elapsed());
}

#[tokio::test]
async fn a_row_has_the_trace_of_its_call_and_is_the_same_row_when_it_is_sent_again() {
    let failing = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&failing);
    let platform =
        StandIn::start(move |asked| {
            let fail = asked.path == "/audit-logs" && fails.load(Ordering::Relaxed);
            async move {
                if fail { http::StatusCode::SERVICE_UNAVAILABLE.into_response() } else { Json(json!({ "items": [] })).into_response() }
            }
        })
        .await;
    let data = tempfile::tempdir().unwrap();
    let app = contracts_app(&platform, options(data.path()));
    let served = serve(app, Known::default().with("anna", user("tenant-1", "anna", &["*"])).admission(), |_| {}).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let params = json!({ "name": "tasks_list", "arguments": {} });
    let mut body: Value =
        serde_json::from_slice(served.modern("anna", "tools/call", &params).build().unwrap().body().unwrap().as_bytes().unwrap()).unwrap();
    body["params"]["_meta"]["traceparent"] = format!("00-{trace}-00f067aa0ba902b7-01").into();
    answer(served.modern("anna", "tools/call", &params).body(body.to_string())).await.result();
    let sent = || platform.asked().into_iter().filter(|asked| asked.path == "/audit-logs").collect::<Vec<_>>();
    becomes(|| sent().len() >= 3).await.unwrap();
    failing.store(false, Ordering::Relaxed);
    becomes(|| backlog(data.path()).waiting == 0).await.unwrap();
    let sent = sent();
    let row: Value = serde_json::from_str(&sent[0].body).unwrap();
    assert_eq!(row["changes"]["after"]["trace"], trace);
    assert!(sent.iter().all(|asked| asked.body == sent[0].body && asked.header("idempotency-key") == row["changes"]["after"]["id"]));
    assert!(sent.iter().all(|asked| asked.header("authorization") == "Bearer account" && asked.header("x-tenant-id") == "tenant-1"));
    let call = platform.asked().into_iter().find(|asked| asked.path == "/tasks").unwrap();
    assert_eq!(call.header("traceparent")[3..35], *trace);
}

#[tokio::test]
async fn refusals_over_http_are_rows_and_a_flood_of_them_is_two() {
    let platform = TestPlatform::start().await;
    let admin = platform.signed_in("tenant-1", "admin", &["*"]).await;
    let account = account(&platform, "tenant-1").await;
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("rows.jsonl");
    let options = audit::Options { file: Some(file.clone()), bodies: true, ..options(data.path()) };
    let app = app(Arc::new(Fixed::new(&platform.running.url()).unwrap()), &account, options);
    let known = Known::default().with("admin", {
        let mut caller = Caller::of_unverified_token(admin.clone().into(), None).unwrap();
        caller.permissions = Some(["*".to_owned()].into_iter().collect());
        caller
    });
    let served = serve(app, known.admission(), |_| {}).await;
    for _ in 0..100 {
        answer(served.modern("a-token-that-nobody-knows", "tools/list", &json!({}))).await.refused(401, "FM-MCP-TOKEN-SIGNATURE");
    }
    answer(served.modern("admin", "tools/list", &json!({})).header("x-tenant-id", "tenant-2")).await.refused(403, "FM-MCP-TENANT-MISMATCH");
    let secret = json!({ "type": "customer", "data": { "name": "Acme", "password": "hunter2" } });
    let inserted = json!({ "name": "entities_insert", "arguments": secret });
    answer(served.modern("admin", "tools/call", &json!({ "name": "entities_define", "arguments": { "entityType": "customer" } })))
        .await
        .result();
    answer(served.modern("admin", "tools/call", &inserted)).await.result();
    let shutdown_flushes = served;
    drop(shutdown_flushes);

    let rows = || -> Vec<Value> {
        std::fs::read_to_string(&file).unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    becomes(|| rows().len() == 5).await.unwrap();
    let rows = rows();
    let counted: Vec<&Value> = rows.iter().filter(|row| row["outcome"] == "FM-MCP-TOKEN-SIGNATURE").collect();
    assert_eq!(counted.iter().map(|row| row["count"].as_u64().unwrap_or(1)).collect::<Vec<_>>(), [1, 99]);
    assert!(counted.iter().all(|row| row["subject"] == "anonymous" && row["tenant"].is_null() && row["resource"] == "/mcp"));
    let lied = rows.iter().find(|row| row["outcome"] == "FM-MCP-TENANT-MISMATCH").unwrap();
    assert_eq!((lied["tenant"].as_str(), lied["kind"].as_str()), (Some("tenant-1"), Some("user")));
    let insert = rows.iter().find(|row| row["resource"] == "entities_insert").unwrap();
    assert!(insert["argumentsBody"].as_str().unwrap().contains("Acme"), "{insert}");
    assert!(insert["answerBody"].as_str().unwrap().contains("entity-"), "{insert}");
    let all = std::fs::read_to_string(&file).unwrap();
    for secret in ["hunter2", "a-token-that-nobody-knows", admin.as_str()] {
        assert!(!all.contains(secret), "{all}");
    }
    becomes(|| backlog(data.path()).waiting == 0).await.unwrap();
    let at_the_platform = trail(&platform, &admin).await;
    let nobodys: Vec<&Value> = at_the_platform.iter().filter(|row| row["actor"] == "anonymous").collect();
    assert_eq!(nobodys.len(), 2, "nobody's rows go to the tenant of the account: {at_the_platform:#?}");
    #[cfg(unix)]
    for private in [file, data.path().join("audit.key")] {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_tenant_without_an_account_holds_nobody_up_and_its_rows_are_kept() {
    let platform = TestPlatform::start().await;
    let admin = platform.signed_in("tenant-1", "admin", &["*"]).await;
    let account = account(&platform, "tenant-1").await;
    let data = tempfile::tempdir().unwrap();
    let app = app(Arc::new(Fixed::new(&platform.running.url()).unwrap()), &account, options(data.path()));
    let known = Known::default().with("here", user("tenant-1", "here", &[])).with("elsewhere", user("tenant-2", "elsewhere", &[]));
    let served = serve(app, known.admission(), |_| {}).await;
    for token in ["here", "elsewhere", "here", "elsewhere", "here"] {
        let params = json!({ "name": "tasks_list", "arguments": {} });
        let refused: raw::Answer = answer(served.modern(token, "tools/call", &params)).await;
        assert_eq!(refused.result()["isError"], true);
    }
    becomes(|| backlog(data.path()) == audit::Backlog { waiting: 0, backing_off: 0, dead: 2, lost: 0 }).await.unwrap();
    assert_eq!(trail(&platform, &admin).await.len(), 3);
    for kept in audit::dead_letters(data.path(), 0, 10).unwrap() {
        assert!(kept.reason.starts_with("FM-MCP-NO-ACCOUNT: ") && kept.entry["subject"] == "elsewhere", "{kept:?}");
    }
}

#[tokio::test]
async fn where_no_record_is_configured_nothing_is_written() {
    let platform = TestPlatform::start().await;
    let data = tempfile::tempdir().unwrap();
    let client = Client::builder(Arc::new(Fixed::new(&platform.running.url()).unwrap())).build();
    let settings = Settings { data_dir: Some(data.path().to_owned()), ..Settings::default() };
    let app = App::new(Options { client, settings }).unwrap();
    let caller = Arc::new(Caller { credential: Credential::Bearer("x".into()), ..user("tenant-1", "anna", &["*"]) });
    let principal: Arc<dyn Principal> = Arc::new(caller);
    let (session, server) = over_stdio(app, principal, revisions()[1].clone(), Host::new(None)).await;
    call(&session, "tasks_list", json!({})).await;
    end((session, server)).await;
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

/// The program in a home of its own, with settings.
fn program(home: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = program::program(home);
    command.env("FLOWMASTER_DATA_DIR", home.join("data")).envs(settings.iter().copied());
    command
}

async fn run(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_killed_leaves_its_rows_to_the_next_and_doctor_counts_them() {
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let platform =
        StandIn::start(move |asked| {
            let fail = asked.path == "/audit-logs" && is_away.load(Ordering::Relaxed);
            async move {
                if fail { http::StatusCode::SERVICE_UNAVAILABLE.into_response() } else { Json(json!({ "items": [] })).into_response() }
            }
        })
        .await;
    let home = tempfile::tempdir().unwrap();
    let settings = [
        ("FLOWMASTER_URL", platform.url.as_str()),
        ("FLOWMASTER_TOKEN", "own"),
        ("FLOWMASTER_SERVICE_TOKEN", "account"),
        ("FLOWMASTER_TENANT", "tenant-1"),
    ];

    let mut server = program(home.path(), &settings).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "tasks_list", "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    } } });
    writeln!(server.stdin.as_mut().unwrap(), "{request}").unwrap();
    let data = home.path().join("data");
    let kept = becomes(|| backlog(&data).waiting == 1).await;
    server.kill().unwrap();
    server.wait().unwrap();
    kept.unwrap();

    let found = run({
        let mut doctor = program(home.path(), &settings);
        doctor.arg("doctor");
        doctor
    })
    .await;
    assert!(found.contains("entries go to the platform's audit service; 1 wait"), "{found}");
    away.store(false, Ordering::Relaxed);
    let mut call = program(home.path(), &settings);
    call.args(["call", "tasks_list"]);
    run(call).await;
    assert_eq!(backlog(&data).waiting, 0);
    let rows: Vec<Value> = platform
        .asked()
        .iter()
        .filter(|asked| asked.path == "/audit-logs")
        .map(|asked| serde_json::from_str(&asked.body).unwrap())
        .collect();
    let mut ids: Vec<&str> = rows.iter().map(|row| row["changes"]["after"]["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted());
    ids.dedup();
    assert_eq!(ids.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_platform_gives_the_server_one_account_for_many_starts() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [["call", "tasks_list"], ["call", "audit_query"], ["call", "tasks_list"]] {
        let mut call = program(home.path(), &[]);
        call.args(arguments);
        run(call).await;
    }
    let mut query = program(home.path(), &[]);
    query.args(["call", "audit_query"]);
    let trail: Value = serde_json::from_str(&run(query).await).unwrap();
    let actions: Vec<&str> = trail["items"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions.iter().filter(|action| **action == "service_token.created").count(), 1, "{actions:?}");
    assert_eq!(actions.iter().filter(|action| action.starts_with("mcp.")).count(), 3, "{actions:?}");
    assert!(trail["items"].as_array().unwrap().iter().all(|row| row["actor"] == "user-owner"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let kept = home.path().join("data/audit/account.json");
        assert_eq!(std::fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
