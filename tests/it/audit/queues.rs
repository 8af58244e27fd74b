//! Rows of the record that the platform does not take now: they wait apart, and nobody else's wait for them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use flowmaster_mcp::client::{Client, Configured, Extensions, Fixed, Mode, Upstream};
use flowmaster_mcp::server::audit::{self, Backlog, dead_letters};
use flowmaster_mcp::server::{App, Options, Settings};
use http::StatusCode;
use serde_json::{Value, json};

use crate::audit::backlog;
use crate::support::program::binary;
use crate::support::raw::{Known, Served, answer, serve, user};
use crate::support::standin::{Asked, StandIn, becomes};

/// What a platform answers to a tenant's rows, and to rows about a tool.
#[derive(Clone, Default)]
pub struct Trouble(Arc<Mutex<HashMap<String, StatusCode>>>);

impl Trouble {
    pub fn begin(&self, of: &str, status: StatusCode) {
        self.0.lock().unwrap().insert(of.to_owned(), status);
    }

    fn end(&self) {
        self.0.lock().unwrap().clear();
    }

    fn answer(&self, asked: &Asked) -> Response {
        let troubles = self.0.lock().unwrap();
        let of_row = serde_json::from_str::<Value>(&asked.body).unwrap_or_default();
        let found = troubles.get(asked.header("x-tenant-id")).or_else(|| troubles.get(of_row["resourceId"].as_str().unwrap_or_default()));
        found.filter(|_| asked.path == "/audit-logs").map_or_else(
            || Json(json!({ "items": [] })).into_response(),
            |status| (*status, Json(json!({ "code": "FM-AGS-TROUBLE", "status": status.as_u16(), "title": "no" }))).into_response(),
        )
    }
}

pub async fn platform(trouble: &Trouble) -> StandIn {
    let trouble = trouble.clone();
    StandIn::start(move |asked| std::future::ready(trouble.answer(&asked))).await
}

/// A server of two tenants that records.
pub async fn server(platform: &StandIn, data: &Path) -> Served {
    recording(platform, data, None).await
}

/// The same, which may record to a file as well. The platform is the contract's, which takes entries one by one.
pub async fn recording(platform: &StandIn, data: &Path, file: Option<PathBuf>) -> Served {
    let accounts = Configured::new(Some("account".to_owned().into()), BTreeMap::new()).unwrap().unwrap();
    let client = Client::builder(Arc::new(Fixed::new(&platform.url).unwrap()))
        .upstream(Upstream::new(Mode::Propagate, Some(Arc::new(accounts))))
        .extensions(Extensions::named(&[]).unwrap())
        .build();
    let audit = audit::Options { pause: Duration::from_millis(10), file, ..audit::Options::new(data) };
    let app = App::new(Options { client, settings: Settings { audit: Some(audit), ..Settings::default() } }).unwrap();
    let known = Known::default().with("one", user("tenant-1", "one", &["*"])).with("two", user("tenant-2", "two", &["*"]));
    serve(app, known.admission(), |_| {}).await
}

pub async fn called(served: &Served, token: &str, tool: &str) {
    let arguments = if tool == "tasks_list" { json!({}) } else { json!({ "id": "exec-1" }) };
    answer(served.modern(token, "tools/call", &json!({ "name": tool, "arguments": arguments }))).await.result();
}

/// The rows of a tenant that the platform took, by their ids, in the order in which it first took them.
pub fn taken(platform: &StandIn, tenant: &str, refused: &[String]) -> Vec<String> {
    let mut ids = Vec::new();
    for asked in platform.asked().iter().filter(|asked| asked.path == "/audit-logs" && asked.header("x-tenant-id") == tenant) {
        let id = asked.header("idempotency-key").to_owned();
        if !refused.contains(&id) && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

#[tokio::test]
async fn a_tenant_whose_account_ended_waits_apart_and_its_rows_come_in_order_later() {
    let trouble = Trouble::default();
    trouble.begin("tenant-1", StatusCode::UNAUTHORIZED);
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    let served = server(&platform, data.path()).await;
    for _ in 0..80 {
        called(&served, "one", "tasks_list").await;
        called(&served, "two", "tasks_list").await;
    }
    becomes(|| taken(&platform, "tenant-2", &[]).len() == 80).await.unwrap();
    becomes(|| backlog(data.path()) == Backlog { waiting: 80, backing_off: 80, dead: 0, lost: 0 }).await.unwrap();
    assert!(taken(&platform, "tenant-2", &[]).is_sorted());
    let tried = platform.asked().len();

    trouble.end();
    called(&served, "one", "tasks_list").await;
    becomes(|| backlog(data.path()) == Backlog::default()).await.unwrap();
    let asked = platform.asked().split_off(tried);
    let late: Vec<&str> =
        asked.iter().filter(|asked| asked.header("x-tenant-id") == "tenant-1").map(|asked| asked.header("idempotency-key")).collect();
    let late: Vec<&str> = late.into_iter().filter(|id| !id.is_empty()).collect();
    assert!(late.len() == 81 && late.is_sorted(), "{} rows, each once and in order", late.len());
}

#[tokio::test]
async fn what_waits_apart_is_taken_over_by_the_next_process_before_what_came_later() {
    let trouble = Trouble::default();
    trouble.begin("tenant-1", StatusCode::UNAUTHORIZED);
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    let first = server(&platform, data.path()).await;
    for _ in 0..5 {
        called(&first, "one", "tasks_list").await;
    }
    becomes(|| backlog(data.path()).backing_off == 5).await.unwrap();
    drop(first);
    let second = server(&platform, data.path()).await;
    called(&second, "one", "tasks_list").await;
    becomes(|| backlog(data.path()).backing_off == 6).await.unwrap();
    let refused = platform.asked().len();
    trouble.end();
    becomes(|| backlog(data.path()) == Backlog::default()).await.unwrap();
    let asked = platform.asked().split_off(refused);
    let late: Vec<&str> = asked.iter().map(|asked| asked.header("idempotency-key")).collect();
    assert!(late.len() == 6 && late.is_sorted(), "{late:?}");
}

#[tokio::test]
async fn a_row_that_the_platform_fails_on_is_set_aside_once_others_pass_it() {
    let trouble = Trouble::default();
    trouble.begin("executions_get", StatusCode::INTERNAL_SERVER_ERROR);
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    let served = server(&platform, data.path()).await;
    called(&served, "one", "tasks_list").await;
    called(&served, "one", "executions_get").await;
    for _ in 0..5 {
        called(&served, "one", "tasks_list").await;
        called(&served, "two", "tasks_list").await;
    }
    becomes(|| backlog(data.path()) == Backlog { waiting: 0, backing_off: 0, dead: 1, lost: 0 }).await.unwrap();
    let kept = dead_letters(data.path(), 0, 10).unwrap().remove(0);
    assert_eq!(kept.reason, "FM-AGS-TROUBLE: no");
    assert_eq!(kept.entry["resource"], "executions_get");
    let poison = kept.id.clone();
    let tries = platform.asked().iter().filter(|asked| asked.header("idempotency-key") == poison).count();
    assert!(tries > 5, "it was tried again and again: {tries}");
    for (tenant, rows) in [("tenant-1", 6), ("tenant-2", 5)] {
        let taken = taken(&platform, tenant, std::slice::from_ref(&poison));
        assert!(taken.len() == rows && taken.is_sorted(), "{tenant}: {taken:?}");
    }
}

#[tokio::test]
async fn where_the_platform_fails_on_every_row_of_a_tenant_none_is_set_aside() {
    let trouble = Trouble::default();
    trouble.begin("tenant-1", StatusCode::INTERNAL_SERVER_ERROR);
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    let served = server(&platform, data.path()).await;
    for _ in 0..4 {
        called(&served, "one", "tasks_list").await;
        called(&served, "two", "tasks_list").await;
    }
    let tries = || {
        let mut tries = HashMap::<String, usize>::new();
        for asked in platform.asked().iter().filter(|asked| asked.path == "/audit-logs" && asked.header("x-tenant-id") == "tenant-1") {
            *tries.entry(asked.header("idempotency-key").to_owned()).or_default() += 1;
        }
        tries
    };
    becomes(|| tries().len() == 4 && tries().values().sum::<usize>() >= 8).await.unwrap();
    becomes(|| taken(&platform, "tenant-2", &[]).len() == 4).await.unwrap();
    becomes(|| backlog(data.path()) == Backlog { waiting: 4, backing_off: 4, dead: 0, lost: 0 }).await.unwrap();
    trouble.end();
    becomes(|| backlog(data.path()) == Backlog::default()).await.unwrap();
}

#[tokio::test]
async fn a_trouble_that_ends_while_rows_are_tried_past_the_first_sets_nothing_aside() {
    // The platform fails on all until it meets a second row, and takes that one and all that follow.
    let met = Arc::<Mutex<Vec<String>>>::default();
    let platform = StandIn::start(move |asked| {
        let mut met = met.lock().unwrap();
        let id = asked.header("idempotency-key").to_owned();
        if asked.path == "/audit-logs" && !met.contains(&id) {
            met.push(id);
        }
        let fails = asked.path == "/audit-logs" && met.len() < 2;
        async move { if fails { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { Json(json!({ "items": [] })).into_response() } }
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let served = server(&platform, data.path()).await;
    for _ in 0..3 {
        called(&served, "one", "tasks_list").await;
    }
    becomes(|| taken(&platform, "tenant-1", &[]).len() == 3).await.unwrap();
    becomes(|| backlog(data.path()).waiting == 0).await.unwrap();
    assert_eq!(backlog(data.path()).dead, 0);
}

#[tokio::test]
async fn rows_of_nobody_are_set_aside_where_the_account_has_no_tenant() {
    let (platform, data) = (platform(&Trouble::default()).await, tempfile::tempdir().unwrap());
    let served = server(&platform, data.path()).await;
    answer(served.modern("a-token-that-nobody-knows", "tools/list", &json!({}))).await.refused(401, "FM-MCP-TOKEN-SIGNATURE");
    called(&served, "one", "tasks_list").await;
    becomes(|| backlog(data.path()) == Backlog { waiting: 0, backing_off: 0, dead: 1, lost: 0 }).await.unwrap();
    let kept = dead_letters(data.path(), 0, 10).unwrap().remove(0);
    assert!(kept.reason.starts_with("FM-MCP-NO-ACCOUNT: "), "{kept:?}");
    assert_eq!((&kept.entry["subject"], &kept.entry["tenant"]), (&json!("anonymous"), &Value::Null));
    let rows = || platform.asked().into_iter().filter(|asked| asked.path == "/audit-logs").count();
    becomes(|| rows() > 0).await.unwrap();
    assert_eq!(rows(), 1, "it went to nobody's tenant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_tells_what_waits_apart_and_what_was_set_aside() {
    let trouble = Trouble::default();
    trouble.begin("tenant-1", StatusCode::UNAUTHORIZED);
    let (platform, data) = (platform(&trouble).await, tempfile::tempdir().unwrap());
    let served = server(&platform, data.path()).await;
    answer(served.modern("a-token-that-nobody-knows", "tools/list", &json!({}))).await.refused(401, "FM-MCP-TOKEN-SIGNATURE");
    for _ in 0..3 {
        called(&served, "one", "tasks_list").await;
    }
    becomes(|| backlog(data.path()) == Backlog { waiting: 3, backing_off: 3, dead: 1, lost: 0 }).await.unwrap();
    let settings = [("FLOWMASTER_URL", platform.url.as_str()), ("FLOWMASTER_TOKEN", "own"), ("FLOWMASTER_SERVICE_TOKEN", "account")];
    let output = binary(data.path()).arg("doctor").envs(settings).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = told.split_whitespace().collect();
    let told = words.join(" ");
    assert!(told.contains("3 wait (3 of them of tenants whose entries the platform does not take now), 1 are dead letters"), "{told}");
    assert!(told.contains("[service.tokens]") && told.contains("audit:log") && !told.contains("set FLOWMASTER_SERVICE_TOKEN"), "{told}");

    // Where it has no account any more, that is what is to be done.
    let settings = [settings[0], settings[1], ("FLOWMASTER_AUDIT_FILE", "rows.jsonl")];
    let output = binary(data.path()).arg("doctor").current_dir(data.path()).envs(settings).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("set FLOWMASTER_SERVICE_TOKEN") && !told.contains("[service.tokens]"), "{told}");
}
