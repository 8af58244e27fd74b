//! MCP over streamable HTTP before a real platform: both revisions on one endpoint, the token, the bounds, the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowmaster_mcp::auth::{Caller, Credential, OwnerToken};
use flowmaster_mcp::error::{Kind, Result};
use flowmaster_mcp::server::{App, Authentication, HttpOptions, Settings, serve_http};
use reqwest::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use rmcp::model::ElicitationAction;
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::mcp::{self, Host, Session, call, ok, revisions, text};
use crate::support::platform::{TestPlatform, http};

const TOKEN: &str = "a-token-of-the-owner";

/// A listening server.
struct Served {
    address: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<()>>,
}

/// Everybody is the owner.
fn open() -> Authentication {
    Authentication::Open(Arc::new(Caller::owner(Credential::Owner)))
}

async fn serve(app: Arc<App>, token: Option<&str>) -> Served {
    let (bound, address) = oneshot::channel();
    let admission = token.map_or_else(open, |token| Authentication::Bearer(Arc::new(OwnerToken::new(&token.into(), None))));
    let options = HttpOptions { bound: Some(bound), ..HttpOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)), admission) };
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(serve_http(app, options, shutdown.clone()));
    Served { address: address.await.unwrap(), shutdown, ended }
}

impl Served {
    async fn connect(&self, revision: ClientLifecycleMode, host: Host) -> Session {
        let config = StreamableHttpClientTransportConfig::with_uri(format!("http://{}/mcp", self.address)).auth_header(TOKEN);
        host.serve_with_lifecycle(StreamableHttpClientTransport::with_client(http(), config), revision).await.unwrap()
    }

    /// A request as a host of the new revision sends it.
    fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        http()
            .post(format!("http://{}/mcp", self.address))
            .bearer_auth(TOKEN)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(body)
    }
}

fn list(id: u64) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list", "params": { "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    } } })
    .to_string()
}

fn modern(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/list")
}

#[tokio::test]
async fn both_eras_list_call_read_and_ask_on_one_endpoint() {
    let platform = TestPlatform::start().await;
    let served = serve(mcp::app(&platform, Settings::default()), Some(TOKEN)).await;
    for (revision, kind) in revisions().into_iter().zip(["customer", "supplier"]) {
        let host = Host::new(ElicitationAction::Accept);
        let session = served.connect(revision, host.clone()).await;
        let tools = session.list_all_tools().await.unwrap();
        assert_eq!(json!({ "tools": tools }), mcp::all_tools());
        ok(call(&session, "entities_define", json!({ "entityType": kind })).await);
        let record = ok(call(&session, "entities_insert", json!({ "type": kind, "data": { "name": "Acme" } })).await);
        let id = record["id"].as_str().unwrap();
        let read = session.read_resource(rmcp::model::ReadResourceRequestParams::new(format!("flowmaster://entities/{kind}/{id}"))).await;
        assert!(serde_json::to_string(&read.unwrap().contents).unwrap().contains("Acme"));
        ok(call(&session, "entities_delete", json!({ "type": kind, "id": id })).await);
        let asked = host.asked();
        assert!(asked.len() == 1 && asked[0].contains("Acme") && asked[0].contains(id), "{asked:?}");
        let gone = call(&session, "entities_get", json!({ "type": kind, "id": id })).await;
        assert!(text(&gone).starts_with("FM-IDHS-") && text(&gone).contains("entities_query"), "{}", text(&gone));
    }
}

#[tokio::test]
async fn what_is_declined_stays() {
    let platform = TestPlatform::start().await;
    let served = serve(mcp::app(&platform, Settings::default()), Some(TOKEN)).await;
    for (revision, kind) in revisions().into_iter().zip(["customer", "supplier"]) {
        let session = served.connect(revision, Host::new(ElicitationAction::Decline)).await;
        ok(call(&session, "entities_define", json!({ "entityType": kind })).await);
        let record = ok(call(&session, "entities_insert", json!({ "type": kind, "data": {} })).await);
        let refused = call(&session, "entities_delete", json!({ "type": kind, "id": record["id"] })).await;
        assert!(text(&refused).starts_with("FM-MCP-DECLINED"), "{}", text(&refused));
        ok(call(&session, "entities_get", json!({ "type": kind, "id": record["id"] })).await);
    }
}

#[tokio::test]
async fn nobody_comes_in_without_the_token() {
    let platform = TestPlatform::start().await;
    let served = serve(mcp::app(&platform, Settings::default()), Some(TOKEN)).await;
    for header in [None, Some("Bearer wrong"), Some("Basic YTpi"), Some("Bearer"), Some("Bearer a-token-of-the-owne")] {
        let mut request = modern(served.post(list(1))).build().unwrap();
        match header {
            None => request.headers_mut().remove(AUTHORIZATION),
            Some(value) => request.headers_mut().insert(AUTHORIZATION, value.parse().unwrap()),
        };
        let response = http().execute(request).await.unwrap();
        assert_eq!(response.status(), 401, "{header:?}");
        assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
    }
    let response = http().get(format!("http://{}/mcp", served.address)).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(modern(served.post(list(1))).send().await.unwrap().status(), 200);
    for path in ["livez", "readyz"] {
        assert_eq!(http().get(format!("http://{}/{path}", served.address)).send().await.unwrap().status(), 200);
    }
    let open = HttpOptions::new("0.0.0.0:0".parse().unwrap(), open());
    let refused = serve_http(mcp::app(&platform, Settings::default()), open, CancellationToken::new()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_in_json_rpc_and_the_server_lives_on() {
    let platform = TestPlatform::start().await;
    let served = serve(mcp::app(&platform, Settings::default()), Some(TOKEN)).await;
    for (body, status, code) in [
        (r#"{"jsonrpc": "2.0", "id": 1"#.to_owned(), 400, -32700),
        ("not json".to_owned(), 400, -32700),
        (String::new(), 400, -32700),
        (format!("[{}]", list(1)), 400, -32600),
        (r#"{"hello": "world", "id": 7}"#.to_owned(), 400, -32600),
        (format!("\"{}\"", "x".repeat(5 * 1024 * 1024)), 413, -32600),
    ] {
        let response = served.post(body.clone()).send().await.unwrap();
        let got = response.status().as_u16();
        let error: Value = response.json().await.unwrap();
        assert_eq!((got, error["error"]["code"].as_i64()), (status, Some(code)), "{} {error}", body.chars().take(40).collect::<String>());
        assert_eq!(error["jsonrpc"], "2.0");
    }
    for (header, value) in [(HOST, "evil.example"), (ORIGIN, "http://evil.example")] {
        assert_eq!(modern(served.post(list(1))).header(header, value).send().await.unwrap().status(), 403);
    }
    let answer: Value = modern(served.post(list(5))).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["id"], 5);
    assert_eq!(answer["result"]["cacheScope"], "private");
    assert_eq!(answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "flowmaster-mcp");
}

#[tokio::test]
async fn it_ends_while_a_host_is_connected() {
    let platform = TestPlatform::start().await;
    let served = serve(mcp::app(&platform, Settings::default()), Some(TOKEN)).await;
    let session = served.connect(revisions()[0].clone(), Host::new(None)).await;
    session.list_all_tools().await.unwrap();
    served.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(8), served.ended).await.unwrap().unwrap().unwrap();
}
