//! The page of figures and the way of a trace: what a host asks for is counted by service and operation, and its span goes on
//! to the platform; the page is for loopback or for those with its token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::client::{CacheSettings, Client, Fixed, Settings as ClientSettings};
use flowmaster_mcp::server::{App, MetricsOptions, Options, Settings, metrics_page};
use flowmaster_mcp::telemetry::metrics::Metrics;
use http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::platform::http as client;
use crate::support::raw::{Known, Served, answer, serve, user};
use crate::support::standin::StandIn;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A platform that fails the first so many requests.
async fn platform(failures: usize) -> StandIn {
    let left = Arc::new(AtomicUsize::new(failures));
    StandIn::start(move |_| {
        let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        async move {
            if fails {
                return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": 503, "title": "Down" }))).into_response();
            }
            Json(json!({ "items": [] })).into_response()
        }
    })
    .await
}

fn app(platform: &StandIn) -> Arc<App> {
    let settings = ClientSettings { cache: CacheSettings { bytes: 1 << 20, ..CacheSettings::default() }, ..ClientSettings::default() };
    let client =
        Client::builder(Arc::new(Fixed::new(&platform.url).unwrap())).settings(settings).metrics(Metrics::kept(true).unwrap()).build();
    App::new(Options { client, settings: Settings::default() }).unwrap()
}

async fn served(app: &Arc<App>) -> Served {
    let known = Known::default().with("anna", user("tenant-1", "anna", &["*"])).with("bert", user("tenant-2", "bert", &["task:view"]));
    serve(Arc::clone(app), known.admission(), |_| {}).await
}

/// Shows the page; gives its URL, and what ends it.
async fn shown(app: &Arc<App>, token: Option<&str>) -> (String, tokio_util::sync::DropGuard) {
    let shutdown = CancellationToken::new();
    let options = MetricsOptions { listen: "127.0.0.1:0".parse().unwrap(), token: token.map(Into::into) };
    let (address, serving) = metrics_page(app, options, shutdown.clone()).await.unwrap();
    tokio::spawn(serving);
    (format!("http://{address}/metrics"), shutdown.drop_guard())
}

async fn page(url: &str) -> String {
    let answer = client().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// The value of a series, without which the test fails and shows the page.
#[track_caller]
fn value(page: &str, series: &str) -> u64 {
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{series} is not on the page:\n{page}"))
}

fn called(tool: &str, arguments: &Value) -> Value {
    json!({ "name": tool, "arguments": arguments })
}

#[tokio::test]
async fn what_hosts_ask_for_is_on_the_page_by_service_and_operation() {
    let platform = platform(1).await;
    let app = app(&platform);
    let (served, (url, _open)) = (served(&app).await, shown(&app, None).await);
    let call = |token: &'static str, tool: &str| answer(served.modern(token, "tools/call", &called(tool, &json!({}))));
    for _ in 0..2 {
        call("anna", "agents_list").await.result();
    }
    for _ in 0..2 {
        call("bert", "agents_list").await.result();
    }
    answer(served.modern("anna", "tools/list", &json!({}))).await.result();
    answer(served.modern("nobody", "tools/list", &json!({}))).await.refused(401, "FM-MCP-TOKEN-SIGNATURE");
    let page = page(&url).await;
    let of =
        |name: &str, more: &str| value(&page, &format!("flowmaster_mcp_{name}{{service=\"ai-agent\",operation=\"agents_list\"{more}}}"));
    let asked = platform.asked().iter().filter(|asked| asked.path.starts_with("/agents")).count() as u64;
    assert_eq!((of("attempts_total", ""), of("retries_total", "")), (asked, 1));
    assert_eq!((of("cache_reads_total", ",result=\"hit\""), of("cache_reads_total", ",result=\"miss\"")), (1, 1));
    let duration = |labels: &str| value(&page, &format!("mcp_server_operation_duration_seconds_count{{{labels}}}"));
    let tool = "mcp_method_name=\"tools/call\",gen_ai_tool_name=\"agents_list\",service=\"ai-agent\"";
    assert_eq!((duration(tool), duration(&format!("{tool},error_type=\"tool_error\""))), (2, 2));
    assert_eq!(duration("mcp_method_name=\"tools/list\""), 1);
    let tenant = |labels: &str| value(&page, &format!("flowmaster_mcp_tenant_calls_total{{{labels}}}"));
    assert_eq!((tenant("tenant=\"tenant-1\",outcome=\"ok\""), tenant("tenant=\"tenant-2\",outcome=\"failed\"")), (2, 2));
    assert_eq!(value(&page, "flowmaster_mcp_http_refusals_total{code=\"FM-MCP-TOKEN-SIGNATURE\"}"), 1);
    assert_eq!(value(&page, "flowmaster_mcp_breaker_state{service=\"ai-agent\"}"), 0);
    assert!(!page.contains("anna"), "no figure names a person");
}

#[tokio::test]
async fn a_hosts_span_goes_on_to_the_platform_from_meta_or_header() {
    let platform = platform(0).await;
    let served = served(&app(&platform)).await;
    let mut params = called("tasks_list", &json!({}));
    let session = served.open("anna").await;
    let by_header = served.legacy("anna", &session, "tools/call", &params).header("traceparent", PARENT);
    answer(by_header.header("tracestate", "a=1").header("tracestate", "b=2")).await.result();
    params = called("documents_list", &json!({}));
    params["_meta"] = json!({ "traceparent": PARENT, "tracestate": "vendor=1" });
    let other = "00-ffffffffffffffffffffffffffffffff-00f067aa0ba902b7-01";
    let by_both = served.legacy("anna", &session, "tools/call", &params).header("traceparent", other);
    answer(by_both.header("tracestate", "other=1")).await.result();
    // What belongs to no parent, or is none, ends here.
    for (tool, headers) in
        [("agents_list", &[("tracestate", "orphan=1")][..]), ("services_list", &[("traceparent", PARENT), ("tracestate", "Broken=1")])]
    {
        let request = served.legacy("anna", &session, "tools/call", &called(tool, &json!({})));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answer(request).await.result();
    }
    let asked = platform.asked().into_iter().filter(|asked| !asked.header("traceparent").is_empty());
    let (mut spans, states): (Vec<_>, Vec<_>) =
        asked.map(|asked| (asked.header("traceparent").to_owned(), asked.header("tracestate").to_owned())).unzip();
    assert_eq!(states, ["a=1,b=2", "vendor=1", "", ""], "{spans:?}");
    spans.truncate(2);
    assert!(spans.iter().all(|span| span[..36] == PARENT[..36] && span != PARENT) && spans[0] != spans[1], "{spans:?}");
}

#[tokio::test]
async fn the_page_is_for_loopback_or_for_its_token() {
    let app = app(&platform(0).await);
    let (open, _open) = shown(&app, None).await;
    let rebound = client().get(&open).header("host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), 403);
    let (kept, _kept) = shown(&app, Some("a token of the scraper")).await;
    for wrong in [None, Some("a token of the scrapes")] {
        let mut request = client().get(&kept);
        if let Some(token) = wrong {
            request = request.bearer_auth(token);
        }
        let refused = request.send().await.unwrap();
        assert_eq!(refused.status(), 401);
        assert!(refused.headers().contains_key("www-authenticate") && refused.text().await.unwrap().is_empty());
    }
    let named = client().get(&kept).bearer_auth("a token of the scraper").header("host", "mcp.example.com:9464");
    assert_eq!(named.send().await.unwrap().status(), 200);
    let everywhere = MetricsOptions { listen: "0.0.0.0:0".parse().unwrap(), token: None };
    let refused = metrics_page(&app, everywhere, CancellationToken::new()).await.err().unwrap();
    assert_eq!(refused.code(), "FM-CONFIG-METRICS");
}

#[tokio::test]
async fn health_answers_as_livez() {
    let served = served(&app(&platform(0).await)).await;
    for path in ["/livez", "/health"] {
        let answer = answer(served.request(Method::GET, path, "")).await;
        assert_eq!((answer.status, &answer.body), (200, &json!("ok\n")), "{path}");
    }
}
