//! MCP over HTTP by hand, in both revisions: what a host's library would hide, such as statuses, challenges and foreign sessions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use flowmaster_mcp::auth::{Admit, Caller, CallerKind, Credential};
use flowmaster_mcp::error::{Error, Kind, Result};
use flowmaster_mcp::server::{App, Authentication, HttpOptions, serve_http};
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::platform::http;

/// A listening server that ends with its test.
pub struct Served {
    pub address: SocketAddr,
    pub http: reqwest::Client,
    shutdown: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The code of an error that JSON-RPC carries.
    pub fn code(&self) -> &str {
        self.body["error"]["data"]["code"].as_str().unwrap_or_default()
    }

    /// The challenge of a refusal.
    pub fn challenge(&self) -> &str {
        self.headers.get(WWW_AUTHENTICATE).map_or("", |value| value.to_str().unwrap())
    }

    /// The result of a request that succeeded.
    #[track_caller]
    pub fn result(&self) -> &Value {
        assert_eq!(self.status, 200, "{:#}", self.body);
        assert!(self.body.get("result").is_some(), "{:#}", self.body);
        &self.body["result"]
    }

    /// Holds the answer to be a refusal of a status and a code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code()), (status, code), "{:#}", self.body);
        self
    }
}

/// Serves an app, with options as the test changes them.
pub async fn serve(app: Arc<App>, admission: Authentication, change: impl FnOnce(&mut HttpOptions)) -> Served {
    let (bound, address) = oneshot::channel();
    let mut options = HttpOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)), admission);
    options.bound = Some(bound);
    change(&mut options);
    let shutdown = CancellationToken::new();
    tokio::spawn(serve_http(app, options, shutdown.clone()));
    Served { address: address.await.unwrap(), http: http(), shutdown }
}

impl Served {
    /// A server that somebody else started and ends.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, http: http(), shutdown: CancellationToken::new() }
    }

    /// A request to a path, with a token where there is one.
    pub fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("http://{}{path}", self.address))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    /// A request of the new revision, not sent yet.
    pub fn modern(&self, token: &str, method: &str, params: &Value) -> RequestBuilder {
        self.modern_numbered(1, token, method, params)
    }

    /// A request of the new revision with an id of its own.
    pub fn modern_numbered(&self, id: u64, token: &str, method: &str, params: &Value) -> RequestBuilder {
        let mut params = params.clone();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let mut request =
            self.request(Method::POST, "/mcp", token).header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
        if let Some(name) = params["name"].as_str().or(params["uri"].as_str()) {
            request = request.header("mcp-name", name);
        }
        request.body(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string())
    }

    /// A request within a session of the old revision, not sent yet.
    pub fn legacy(&self, token: &str, session: &str, method: &str, params: &Value) -> RequestBuilder {
        self.legacy_numbered(1, token, session, method, params)
    }

    /// A request within a session with an id of its own, since several may wait in one.
    pub fn legacy_numbered(&self, id: u64, token: &str, session: &str, method: &str, params: &Value) -> RequestBuilder {
        self.request(Method::POST, "/mcp", token)
            .header("mcp-protocol-version", "2025-11-25")
            .header("mcp-session-id", session)
            .body(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string())
    }

    /// The request that opens a session, not sent yet.
    pub fn initialize(&self, token: &str, capabilities: &Value) -> RequestBuilder {
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": { "name": "test", "version": "1" },
        });
        self.request(Method::POST, "/mcp", token)
            .body(json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }).to_string())
    }

    /// Opens a session of the old revision, and answers its id.
    pub async fn open(&self, token: &str) -> String {
        self.open_with(token, &json!({})).await
    }

    /// Opens a session of a host with capabilities.
    pub async fn open_with(&self, token: &str, capabilities: &Value) -> String {
        let answer = answer(self.initialize(token, capabilities)).await;
        answer.result();
        let session = answer.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let request = self
            .request(Method::POST, "/mcp", token)
            .header("mcp-protocol-version", "2025-11-25")
            .header("mcp-session-id", &session)
            .body(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
        assert_eq!(request.send().await.unwrap().status(), 202);
        session
    }

    /// Another method than POST on a session.
    pub fn on_session(&self, method: Method, token: &str, session: &str) -> RequestBuilder {
        self.request(method, "/mcp", token).header("mcp-protocol-version", "2025-11-25").header("mcp-session-id", session)
    }
}

/// Sends a request and reads the answer: JSON, or the last message of a stream.
pub async fn answer(request: RequestBuilder) -> Answer {
    read(request.send().await.unwrap()).await
}

/// Reads an answer: JSON, or the last message of a stream.
pub async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let last = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).rfind(|data| !data.is_empty());
    let body = serde_json::from_str(last.unwrap_or(&text)).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}

/// Knows its callers by their tokens, for tests that are not about tokens.
#[derive(Clone, Default)]
pub struct Known(HashMap<String, Arc<Caller>>);

impl Known {
    /// Knows one more.
    #[must_use]
    pub fn with(mut self, token: &str, caller: Caller) -> Self {
        self.0.insert(token.to_owned(), Arc::new(caller));
        self
    }

    pub fn admission(self) -> Authentication {
        Authentication::Bearer(Arc::new(self))
    }
}

impl Admit for Known {
    fn admit<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>>> {
        let unknown = || Error::new(Kind::Unauthenticated, "FM-MCP-TOKEN-SIGNATURE", "the token is not known");
        Box::pin(std::future::ready(self.0.get(token).cloned().ok_or_else(unknown)))
    }
}

/// A user of a tenant with permissions, whose token the platform would not know.
pub fn user(tenant: &str, subject: &str, permissions: &[&str]) -> Caller {
    Caller {
        tenant: tenant.into(),
        subject: subject.to_owned(),
        roles: Vec::new(),
        permissions: Some(permissions.iter().map(|name| (*name).to_owned()).collect()),
        kind: CallerKind::User,
        expires: None,
        credential: Credential::Bearer("not-known-to-the-platform".into()),
    }
}
