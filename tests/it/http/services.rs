//! The services' state: the breaker opens and closes before the eyes of a host, of `/readyz` and of `doctor`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::auth::Caller;
use flowmaster_mcp::client::{BreakerSettings, Client, Fixed, Settings as ClientSettings};
use flowmaster_mcp::server::{App, Authentication, Options, Settings};
use http::StatusCode;
use reqwest::Method;
use rmcp::model::ReadResourceRequestParams;
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};

use crate::support::home::{run, stdout};
use crate::support::mcp::{Host, Session, call, ok, revisions, text};
use crate::support::platform::http as client;
use crate::support::raw::{Served, answer, serve};
use crate::support::standin::StandIn;

/// How long a service is left alone at first.
const WAIT: Duration = Duration::from_secs(3);

/// A platform whose Human Task service fails as long as it is told to.
async fn platform(fails: Arc<AtomicBool>) -> StandIn {
    StandIn::start(move |asked| {
        let fails = fails.load(Ordering::SeqCst) && asked.path.starts_with("/tasks");
        async move {
            if fails {
                let problem =
                    json!({ "status": 503, "code": "FM-HTS-DOWN", "title": "Down", "detail": "the database of tenant-9 is away" });
                return (StatusCode::SERVICE_UNAVAILABLE, Json(problem)).into_response();
            }
            Json(json!({ "items": [] })).into_response()
        }
    })
    .await
}

/// A server before it that makes one attempt a call.
async fn served(url: &str) -> Served {
    let breaker = BreakerSettings { wait: WAIT, ..BreakerSettings::default() };
    let settings = ClientSettings { attempts: 1, breaker, ..ClientSettings::default() };
    let client = Client::builder(Arc::new(Fixed::new(url).unwrap())).settings(settings).build();
    let app = App::new(Options { client, settings: Settings::default() }).unwrap();
    let caller = Caller::of_unverified_token("token".into(), Some("tenant-1")).unwrap();
    serve(app, Authentication::Open(Arc::new(caller)), |_| {}).await
}

async fn connect(served: &Served, revision: ClientLifecycleMode) -> Session {
    let config = StreamableHttpClientTransportConfig::with_uri(format!("http://{}/mcp", served.address));
    Host::new(None).serve_with_lifecycle(StreamableHttpClientTransport::with_client(client(), config), revision).await.unwrap()
}

async fn services(session: &Session) -> Value {
    let read = session.read_resource(ReadResourceRequestParams::new("flowmaster://services")).await.unwrap();
    let contents = serde_json::to_value(&read.contents[0]).unwrap();
    serde_json::from_str(contents["text"].as_str().unwrap()).unwrap()
}

fn of<'a>(services: &'a Value, name: &str) -> &'a Value {
    services["items"].as_array().unwrap().iter().find(|service| service["service"] == name).unwrap()
}

#[tokio::test]
async fn an_open_circuit_is_seen_by_hosts_and_by_readyz_until_the_service_is_back() {
    for revision in revisions() {
        let fails = Arc::new(AtomicBool::new(true));
        let platform = platform(Arc::clone(&fails)).await;
        let served = served(&platform.url).await;
        let session = connect(&served, revision).await;
        assert!(session.list_all_resources().await.unwrap().iter().any(|resource| resource.uri == "flowmaster://services"));
        let before = services(&session).await;
        assert_eq!(before["items"].as_array().unwrap().len(), 22);
        let of_tasks = of(&before, "human-task");
        assert_eq!(
            (&of_tasks["circuit"], &of_tasks["layer"], &of_tasks["toolset"], &of_tasks["place"]),
            (&json!("closed"), &json!("core"), &json!("tasks"), &json!("elsewhere"))
        );
        let ready = || async { answer(served.request(Method::GET, "/readyz", "")).await };
        let first = ready().await;
        assert_eq!((first.status, &first.body), (200, &json!({ "status": "ready", "refused": [] })));

        for _ in 0..5 {
            assert_eq!(call(&session, "tasks_list", json!({})).await.is_error, Some(true));
        }
        let refused = call(&session, "tasks_list", json!({})).await;
        assert!(text(&refused).starts_with("FM-MCP-CIRCUIT-OPEN: Human Task is not answering; try again in "), "{}", text(&refused));
        let open = services(&session).await;
        let of_tasks = of(&open, "human-task");
        assert!(of_tasks["circuit"] == "open" && of_tasks["openUntil"].is_string(), "{of_tasks}");
        assert_eq!(of_tasks["lastError"]["code"], "FM-HTS-DOWN", "{of_tasks}");
        assert!(!open.to_string().contains("tenant-9"), "the text of an error may be another tenant's");
        assert_eq!(of(&open, "internal-data-hub")["circuit"], "closed");
        let told = ready().await;
        assert_eq!((told.status, &told.body["status"]), (200, &json!("ready")), "the other services are served");
        assert_eq!((&told.body["refused"][0]["service"], &told.body["refused"][0]["circuit"]), (&json!("human-task"), &json!("open")));
        ok(call(&session, "documents_list", json!({})).await);

        let home = tempfile::tempdir().unwrap();
        let listen = served.address.to_string();
        let report = run(&home.path().join("data"), &["doctor", "--json"], &[("FLOWMASTER_HTTP_LISTEN", &listen)], "").await;
        let report: Value = serde_json::from_str(&stdout(&report)).unwrap();
        let found = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "services").unwrap();
        assert!(found["text"].as_str().unwrap().contains("human-task (") && found["state"] == "care", "{found}");
        assert!(found["text"].as_str().unwrap().contains("FM-HTS-DOWN"), "{found}");

        fails.store(false, Ordering::SeqCst);
        while of(&services(&session).await, "human-task")["circuit"] == "open" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(of(&services(&session).await, "human-task")["circuit"], "half-open");
        ok(call(&session, "tasks_list", json!({})).await);
        assert_eq!(of(&services(&session).await, "human-task")["circuit"], "closed");
        assert_eq!(ready().await.body["refused"], json!([]));
    }
}
