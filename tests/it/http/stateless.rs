//! The way of plain calls of 2026-07-28 beside rmcp: a table of requests goes down both, and is answered alike.
//!
//! A request whose method is spelled with an escape is the same in JSON, and is left to rmcp.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::client::{Client, Fixed};
use flowmaster_mcp::server::{App, Options, Settings, audit};
use http::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use serde_json::{Value, json};

use crate::support::mcp;
use crate::support::raw::{Answer, Known, Served, read, serve, user};
use crate::support::standin::{Asked, StandIn, becomes};

const REVISION: &str = "2026-07-28";

/// A change of a request.
type Change = fn(&mut Request);

/// One request of the table.
struct Case {
    what: &'static str,
    token: &'static str,
    params: Value,
    /// What `_meta` holds beside what it has to, or instead.
    meta: Value,
    id: Value,
    change: Change,
    /// Status, and what the answer holds.
    answered: (u16, &'static str),
}

fn case(what: &'static str, params: Value, answered: (u16, &'static str)) -> Case {
    Case { what, token: "anna", params, meta: json!({}), id: json!(7), change: |_| {}, answered }
}

fn get(id: &str) -> Value {
    json!({ "name": "tasks_get", "arguments": { "id": id } })
}

fn set(request: &mut Request, name: &'static str, value: &'static str) {
    request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

fn add(request: &mut Request, name: &'static str, value: &'static str) {
    request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
}

fn edit(request: &mut Request, from: &str, to: &str) {
    let body = String::from_utf8(request.body().unwrap().as_bytes().unwrap().to_vec()).unwrap();
    assert!(body.contains(from), "{body}");
    *request.body_mut() = Some(body.replace(from, to).into());
}

impl Case {
    fn by(self, token: &'static str) -> Self {
        Self { token, ..self }
    }

    fn of(self, id: Value) -> Self {
        Self { id, ..self }
    }

    fn with_meta(self, meta: Value) -> Self {
        Self { meta, ..self }
    }

    fn but(self, change: Change) -> Self {
        Self { change, ..self }
    }

    /// The request, with the method as it is given.
    fn request(&self, served: &Served, method: &str) -> Request {
        let mut params = self.params.clone();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        for (name, value) in self.meta.as_object().unwrap() {
            params["_meta"][name] = value.clone();
        }
        let body = json!({ "jsonrpc": "2.0", "id": self.id, "method": "tools/call", "params": params }).to_string();
        let mut request = served.request(Method::POST, "/mcp", self.token).body(body).build().unwrap();
        set(&mut request, "mcp-protocol-version", REVISION);
        set(&mut request, "mcp-method", "tools/call");
        if let Some(name) = self.params["name"].as_str() {
            request.headers_mut().insert("mcp-name", name.parse().unwrap());
        }
        (self.change)(&mut request);
        if method != "tools/call" {
            edit(&mut request, "\"tools/call\"", &format!("\"{method}\""));
        }
        request
    }
}

/// The requests, of which the last are those that rmcp has to judge.
fn table() -> Vec<Case> {
    let wait = || json!({ "name": "tasks_wait", "arguments": { "id": "task-1", "timeoutSeconds": 1 } });
    let delete = || json!({ "name": "entities_delete", "arguments": { "type": "customer", "id": "entity-1" } });
    let capable = |capabilities: Value| json!({ "io.modelcontextprotocol/clientCapabilities": capabilities });
    vec![
        case("a read", get("task-1"), (200, "\"structuredContent\"")),
        case("a read with a text as its id", get("task-1"), (200, "\"id\":\"seven\"")).of(json!("seven")),
        case("a read whose id is a fraction in form alone", get("task-1"), (200, "\"id\":7")).of(json!(7.0)),
        case("a read of a named charset", get("task-1"), (200, "Sign"))
            .but(|request| set(request, "content-type", "Application/JSON; charset=utf-8")),
        case("a read of a host that accepts JSON alone", get("task-1"), (200, "Sign"))
            .but(|request| set(request, "accept", "application/*;q=0.5")),
        case("a list without arguments", json!({ "name": "tasks_list" }), (200, "\"items\"")),
        case("a list with null for arguments", json!({ "name": "tasks_list", "arguments": null }), (200, "\"items\"")),
        case("a trace in the metadata", get("task-1"), (200, "Sign"))
            .with_meta(json!({ "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" })),
        case("a trace in a header", get("task-1"), (200, "Sign"))
            .but(|request| set(request, "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
        case("a wrong argument", json!({ "name": "tasks_get", "arguments": { "id": 5, "x": 1 } }), (200, "\"isError\":true")),
        case("a missing argument", json!({ "name": "tasks_get", "arguments": {} }), (200, "\"isError\":true")),
        case("what the platform does not know", get("task-404"), (200, "FM-HTS-NOT-FOUND")),
        case("what the platform fails in", get("task-500"), (200, "\"isError\":true")),
        case("a tool that there is not", json!({ "name": "tasks_gett", "arguments": {} }), (200, "there is no tool")),
        case("no tool of those that were chosen", get("task-1"), (200, "FM-MCP-TOOLSET"))
            .but(|request| request.url_mut().set_query(Some("toolsets=audit"))),
        case("a toolset that there is not", get("task-1"), (400, "FM-MCP-TOOLSET"))
            .but(|request| request.url_mut().set_query(Some("toolsets=none"))),
        case("a token that covers less", get("task-1"), (403, "FM-MCP-FORBIDDEN")).by("bert"),
        case("a person's consent that cannot be asked for", delete(), (200, "FM-MCP-CONFIRM")),
        case("a person's consent", delete(), (200, "\"inputRequests\"")).with_meta(capable(json!({ "elicitation": { "form": {} } }))),
        case("a wait", wait(), (200, "\"reached\":false")),
        case("a wait that may be a task", wait(), (200, "\"taskId\""))
            .with_meta(capable(json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } }))),
        case("no token", get("task-1"), (401, "FM-MCP-TOKEN-MISSING")).by(""),
        case("a wrong token", get("task-1"), (401, "FM-MCP-TOKEN-SIGNATURE")).by("nobody"),
        case("another tenant's name", get("task-1"), (403, "FM-MCP-TENANT-MISMATCH"))
            .but(|request| set(request, "x-tenant-id", "tenant-2")),
        case("another site's page", get("task-1"), (403, "FM-MCP-")).but(|request| set(request, "origin", "https://elsewhere.example")),
        case("a body that is too large", get(&"x".repeat(5 << 20)), (413, "FM-MCP-BODY-TOO-LARGE")),
        case("a number that would be rounded", get("task-1"), (422, "FM-MCP-NUMBER"))
            .but(|request| edit(request, "\"task-1\"", "12345678901234567890123")),
        case("progress that is asked for", get("task-1"), (200, "Sign")).with_meta(json!({ "progressToken": "p" })),
        case("an answer that nothing asked for", get("task-1"), (200, "Sign"))
            .but(|request| edit(request, "\"name\":", "\"requestState\":\"x\",\"name\":")),
        case("a further field", get("task-1"), (200, "Sign")).but(|request| edit(request, "\"name\":", "\"more\":{},\"name\":")),
        case("a field twice", get("task-1"), (400, "error")).but(|request| edit(request, "\"jsonrpc\":", "\"id\":8,\"jsonrpc\":")),
        case("no name", json!({ "arguments": {} }), (200, "FM-MCP-PARAMS")),
        case("arguments that are no object", json!({ "name": "tasks_get", "arguments": [] }), (200, "FM-MCP-PARAMS")),
        case("an id that is none", get("task-1"), (400, "FM-MCP-MESSAGE")).of(json!([7])),
        case("another method in the header", get("task-1"), (400, "-32020")).but(|request| set(request, "mcp-method", "tools/list")),
        case("no method in the header", get("task-1"), (400, "-32020")).but(|request| drop(request.headers_mut().remove("mcp-method"))),
        case("the method in two headers", get("task-1"), (400, "-32020")).but(|request| add(request, "mcp-method", "tools/call")),
        case("another name in the header", get("task-1"), (400, "-32020")).but(|request| set(request, "mcp-name", "tasks_list")),
        case("no name in the header", get("task-1"), (400, "-32020")).but(|request| drop(request.headers_mut().remove("mcp-name"))),
        case("the name in Base64", get("task-1"), (200, "Sign")).but(|request| set(request, "mcp-name", "=?base64?dGFza3NfZ2V0?=")),
        case("a name that looks like Base64", json!({ "name": "=?base64?dGFza3NfZ2V0?=" }), (400, "-32020")),
        case("another revision in the header", get("task-1"), (400, "-32020"))
            .but(|request| set(request, "mcp-protocol-version", "2025-11-25")),
        case("no revision in the header", get("task-1"), (400, "error"))
            .but(|request| drop(request.headers_mut().remove("mcp-protocol-version"))),
        case("a revision that there is not", get("task-1"), (400, "-32022"))
            .with_meta(json!({ "io.modelcontextprotocol/protocolVersion": "2099-01-01" }))
            .but(|request| set(request, "mcp-protocol-version", "2099-01-01")),
        case("no revision in the metadata", get("task-1"), (400, "-32602"))
            .with_meta(json!({ "io.modelcontextprotocol/protocolVersion": null })),
        case("capabilities that are none", get("task-1"), (400, "-32602")).with_meta(capable(json!(5))),
        case("JSON that is not accepted", get("task-1"), (406, "FM-MCP-ACCEPT")).but(|request| set(request, "accept", "text/html")),
        case("another media type", get("task-1"), (415, "FM-MCP-CONTENT-TYPE")).but(|request| set(request, "content-type", "text/plain")),
    ]
}

fn known() -> Known {
    Known::default()
        .with("anna", user("tenant-1", "anna", &["*"]))
        .with("bert", user("tenant-1", "bert", &["entity:view"]))
        .with("carl", user("tenant-1", "carl", &["*"]))
}

/// A platform of fixed answers.
async fn platform() -> StandIn {
    StandIn::start(|asked: Asked| async move {
        let task = |id: &str| json!({ "taskId": id, "title": "Sign", "status": "created", "createdAt": "2026-03-01T08:30:00.000Z" });
        let problem = |status: u16, code: &str| {
            let body = json!({ "type": "about:blank", "title": "no", "status": status, "code": code, "detail": "it is not there", "requestId": "req-1" });
            (StatusCode::from_u16(status).unwrap(), [("content-type", "application/problem+json")], body.to_string()).into_response()
        };
        match asked.path.rsplit('/').next().unwrap_or_default() {
            "tasks" => Json(json!({ "items": [task("task-1")] })).into_response(),
            "task-1" => Json(task("task-1")).into_response(),
            "task-500" => problem(400, "FM-HTS-STATE"),
            "entity-1" => Json(json!({ "id": "entity-1", "entityType": "customer", "version": 1, "data": { "name": "Acme" } })).into_response(),
            _ => problem(404, "FM-HTS-NOT-FOUND"),
        }
    })
    .await
}

/// What an answer says, without what is new in each.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let mut body = answer.body.clone();
    mask(&mut body);
    (answer.status, headers, body)
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_new =
                    ["requestState", "createdAt", "lastUpdatedAt"].contains(&name.as_str()) || (name == "taskId" && value != "task-1");
                if is_new && value.is_string() { *value = json!("…") } else { mask(value) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// What the platform was asked, by the trace that a host began where there is one.
fn heard(asked: &[Asked]) -> Vec<(String, String, HeaderMap)> {
    let heard = asked.iter().map(|asked| {
        let mut headers = asked.headers.clone();
        let trace = headers["traceparent"].to_str().unwrap()[..36].to_owned();
        let trace = if trace.contains("4bf92f3577b34da6a3ce929d0e0e4736") { trace } else { String::new() };
        headers.insert("traceparent", trace.parse().unwrap());
        (asked.method.to_string(), asked.path.clone(), headers)
    });
    heard.collect()
}

#[tokio::test]
async fn a_plain_call_is_answered_as_rmcp_would() {
    let platform = platform().await;
    let served = serve(mcp::app_before(&platform.url, Settings::default()), known().admission(), |options| {
        options.public_url = Some("https://mcp.example/mcp".to_owned());
        options.authorization_servers = vec!["https://login.example".to_owned()];
    })
    .await;
    let mut faults = Vec::new();
    for case in table() {
        let mut ways = Vec::new();
        for method in ["tools/call", r"tools\u002fcall"] {
            let before = platform.asked().len();
            let answered = read(served.http.execute(case.request(&served, method)).await.unwrap()).await;
            let (status, holds) = case.answered;
            if answered.status != status || !answered.body.to_string().contains(holds) {
                faults.push(format!("{} by {method}: {answered:#?}", case.what));
            }
            ways.push((told(&answered), heard(&platform.asked()[before..])));
        }
        if ways[0] != ways[1] {
            faults.push(format!("{}: {ways:#?}", case.what));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn a_call_whose_host_hangs_up_is_cancelled_and_recorded() {
    let working = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&working);
    let platform = StandIn::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        let end = Ending(Arc::clone(&counted));
        async move {
            std::future::pending::<()>().await;
            drop(end);
            ().into_response()
        }
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("audit.jsonl");
    let audit = audit::Options { platform: false, file: Some(file.clone()), ..audit::Options::new(data.path()) };
    let client = Client::builder(Arc::new(Fixed::new(&platform.url).unwrap())).build();
    let app = App::new(Options { client, settings: Settings { audit: Some(audit), ..Settings::default() } }).unwrap();
    let left = Arc::downgrade(&app);
    let served = serve(app, known().admission(), |_| {}).await;
    // Of two callers, since what one refused call repeats is counted later.
    for (ways, (token, method)) in [("anna", "tools/call"), ("carl", r"tools\u002fcall")].into_iter().enumerate() {
        let call = tokio::spawn(served.http.execute(case("a read", get("task-1"), (0, "")).by(token).request(&served, method)));
        assert!(becomes(|| working.load(Ordering::SeqCst) == 1).await.is_ok());
        call.abort();
        assert!(becomes(|| working.load(Ordering::SeqCst) == 0).await.is_ok(), "the platform still works for {method}");
        let recorded = || std::fs::read_to_string(&file).unwrap_or_default().matches("FM-MCP-CANCELLED").count();
        assert!(becomes(|| recorded() == ways + 1).await.is_ok(), "{method}: {}", std::fs::read_to_string(&file).unwrap_or_default());
    }
    // The log is written to its end before the runtime is gone.
    drop(served);
    assert!(becomes(|| left.strong_count() == 0).await.is_ok());
}

/// One request that the platform works on, until it is dropped.
struct Ending(Arc<AtomicUsize>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
