//! Callers over HTTP: sessions belong to whoever opened them, are bounded, and end with the token; what is wrong with a
//! request is answered by its status, its challenge and a code, and by nothing of the token.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowmaster_mcp::api::Timestamp;
use flowmaster_mcp::auth::{Admit, Caller, CallerKind, Credential};
use flowmaster_mcp::client::{Client, Located, Origin};
use flowmaster_mcp::error::{Error, Kind, Result};
use flowmaster_mcp::server::{App, Authentication, HttpOptions, Options, Settings, serve_http};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HOST, ORIGIN, RETRY_AFTER};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::mcp;
use crate::support::platform::TestPlatform;
use crate::support::raw::{Known, Served, answer, read, serve, user};

/// A platform that takes connections and never answers.
struct Silent(SocketAddr);

impl Origin for Silent {
    fn locate(&self) -> BoxFuture<'_, Result<Located>> {
        let located = Located { base: format!("http://{}", self.0).into(), owner_token: None, loopback: true };
        Box::pin(std::future::ready(Ok(located)))
    }
}

/// A server before a platform that never answers.
fn app() -> Arc<App> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = Client::builder(Arc::new(Silent(listener.local_addr().unwrap()))).build();
    // It lives as long as the tests do: a closed port would answer.
    std::mem::forget(listener);
    App::new(Options { client, settings: Settings::default() }).unwrap()
}

/// Some callers, by their tokens.
fn known() -> Known {
    Known::default()
        .with("anna-1", user("tenant-1", "anna", &["*"]))
        .with("anna-2", user("tenant-1", "anna", &["*"]))
        .with("bert", user("tenant-1", "bert", &["*"]))
        .with("anna-elsewhere", user("tenant-2", "anna", &["*"]))
        .with("anna-the-service", Caller { kind: CallerKind::Service, ..user("tenant-1", "anna", &["*"]) })
        .with("looker", user("tenant-1", "looker", &["task:view"]))
}

/// A user whose token stops counting after some milliseconds: it ended half a minute ago but for those.
fn ending(after: i64) -> Caller {
    let expires = Timestamp::from_millis(Timestamp::now().millis() - 30_000 + after);
    Caller { expires: Some(expires), ..user("tenant-1", "ending", &["*"]) }
}

fn list(served: &Served, token: &str) -> RequestBuilder {
    served.modern(token, "tools/list", &json!({}))
}

const SERVERS: &str = "https://login.example.com";

fn resource_server(options: &mut HttpOptions) {
    options.public_url = Some("https://mcp.example.com/flow/mcp".to_owned());
    options.authorization_servers = vec![SERVERS.to_owned()];
}

#[tokio::test]
async fn a_session_is_there_for_its_caller_alone() {
    let served = serve(app(), known().admission(), |_| {}).await;
    let session = served.open("anna-1").await;
    let tools = |token| served.legacy(token, &session, "tools/list", &json!({}));
    for token in ["bert", "anna-elsewhere", "anna-the-service"] {
        assert_eq!(answer(tools(token)).await.status, 404, "{token}");
        assert_eq!(answer(served.on_session(Method::GET, token, &session)).await.status, 404, "{token}");
        answer(served.on_session(Method::DELETE, token, &session)).await.refused(404, "FM-MCP-SESSION");
        let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
        let request = served.on_session(Method::POST, token, &session).body(cancel.to_string());
        assert_eq!(answer(request).await.status, 404, "{token}");
    }
    // The foreign session is as unknown as one that never was.
    let never = "00000000-0000-4000-8000-000000000000";
    let (foreign, unknown) = (answer(tools("bert")).await, answer(served.legacy("bert", never, "tools/list", &json!({}))).await);
    assert_eq!((foreign.status, &foreign.body), (unknown.status, &unknown.body));
    let (foreign, unknown) =
        (answer(served.on_session(Method::DELETE, "bert", &session)).await, answer(served.on_session(Method::DELETE, "bert", never)).await);
    assert_eq!((foreign.status, &foreign.body), (unknown.status, &unknown.body));

    for token in ["anna-1", "anna-2"] {
        assert!(!answer(tools(token)).await.result()["tools"].as_array().unwrap().is_empty(), "a renewed token goes on");
    }
    assert_eq!(answer(served.on_session(Method::DELETE, "anna-2", &session)).await.status, 204);
    assert_eq!(answer(tools("anna-1")).await.status, 404);
}

#[tokio::test]
async fn sessions_of_a_tenant_are_bounded() {
    let served = serve(app(), known().admission(), |options| options.sessions_per_tenant = 2).await;
    let first = served.open("anna-1").await;
    let second = served.open("anna-1").await;
    let refused = answer(served.initialize("bert", &json!({}))).await;
    refused.refused(429, "FM-MCP-SESSIONS-TENANT");
    assert!(refused.headers.contains_key(RETRY_AFTER) && refused.body["id"] == 1, "{refused:?}");
    served.open("anna-elsewhere").await;
    answer(list(&served, "anna-1")).await.result();
    // Her own idle session gives way to a new one of hers; it frees no place for another caller.
    served.open("anna-1").await;
    assert_eq!(answer(served.on_session(Method::DELETE, "anna-1", &first)).await.status, 404);
    assert_eq!(answer(served.on_session(Method::DELETE, "anna-1", &second)).await.status, 204);
    served.open("bert").await;
}

#[tokio::test]
async fn a_new_session_evicts_the_longest_idle_of_a_caller_at_its_bound() {
    let served = serve(app(), known().admission(), |options| options.sessions_per_tenant = 40).await;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(served.open("anna-1").await);
    }
    answer(served.legacy("anna-1", &sessions[0], "tools/list", &json!({}))).await.result();
    served.open("anna-2").await;
    served.open("bert").await;
    served.open("anna-elsewhere").await;
    let mut alive = Vec::new();
    for session in &sessions {
        alive.push(answer(served.legacy("anna-1", session, "tools/list", &json!({}))).await.status == 200);
    }
    assert_eq!(alive, [true, false, true, true, true, true, true, true, true, true], "the first was used since");
}

#[tokio::test]
async fn of_many_sessions_begun_at_once_no_more_are_opened_than_may_be() {
    let served = serve(app(), known().admission(), |options| options.sessions_per_tenant = 5).await;
    let began = futures_util::future::join_all((0..40).map(|_| answer(served.initialize("anna-1", &json!({}))))).await;
    let of = |status: u16| began.iter().filter(|answer| answer.status == status).count();
    assert_eq!(of(200) + of(429), 40);
    let mut alive = 0;
    for session in began.iter().filter_map(|answer| answer.headers.get("mcp-session-id")) {
        let listed = answer(served.legacy("anna-1", session.to_str().unwrap(), "tools/list", &json!({}))).await;
        alive += usize::from(listed.status == 200);
    }
    assert!((1..=5).contains(&alive), "{alive}");
}

#[tokio::test]
async fn sessions_of_the_server_are_bounded() {
    let served = serve(app(), known().admission(), |options| options.sessions = 1).await;
    served.open("anna-1").await;
    let refused = answer(served.initialize("anna-elsewhere", &json!({}))).await;
    assert!(refused.refused(503, "FM-MCP-SESSIONS").headers.contains_key(RETRY_AFTER));
}

#[tokio::test]
async fn a_tenant_begins_so_many_sessions_a_minute() {
    let served = serve(app(), known().admission(), |options| options.initializations_per_minute = 3).await;
    for _ in 0..3 {
        let session = served.open("anna-1").await;
        answer(served.on_session(Method::DELETE, "anna-1", &session)).await;
    }
    let refused = answer(served.initialize("bert", &json!({}))).await;
    refused.refused(429, "FM-MCP-SESSIONS-RATE");
    let seconds: u64 = refused.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&seconds), "{seconds}");
    served.open("anna-elsewhere").await;
}

#[tokio::test]
async fn no_session_begins_unseen() {
    let served = serve(app(), known().admission(), |options| options.sessions_per_tenant = 1).await;
    served.open("bert").await;
    let message = served.initialize("anna-1", &json!({})).build().unwrap();
    let text = String::from_utf8(message.body().unwrap().as_bytes().unwrap().to_vec()).unwrap();
    // Twice the same member, or a session's name that nobody can read: the bound holds.
    for (body, session) in [
        (text.replacen('{', r#"{"method":"tools/list","#, 1), None),
        (text.replacen('{', r#"{"params":{"name":1},"#, 1), None),
        (text.clone(), Some(reqwest::header::HeaderValue::from_bytes(b"\xff").unwrap())),
        (text.clone(), Some(reqwest::header::HeaderValue::from_static(""))),
    ] {
        let mut request = served.request(Method::POST, "/mcp", "anna-1").body(body);
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let refused = answer(request).await;
        assert!(refused.status >= 400 && !refused.headers.contains_key("mcp-session-id"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_is_lied_about_is_refused() {
    let served = serve(app(), known().admission(), |_| {}).await;
    answer(list(&served, "anna-1").header("x-tenant-id", "tenant-1")).await.result();
    answer(list(&served, "anna-1").header("x-tenant-id", "tenant-2")).await.refused(403, "FM-MCP-TENANT-MISMATCH");
    let twice = list(&served, "anna-1").header("x-tenant-id", "tenant-1").header("x-tenant-id", "tenant-2");
    answer(twice).await.refused(403, "FM-MCP-TENANT-MISMATCH");
    let session = served.open("anna-1").await;
    let request = served.legacy("anna-1", &session, "tools/list", &json!({})).header("x-tenant-id", "tenant-2");
    answer(request).await.refused(403, "FM-MCP-TENANT-MISMATCH");
}

#[tokio::test]
async fn a_token_comes_once_in_its_header_and_is_not_repeated() {
    let served = serve(app(), known().admission(), |_| {}).await;
    let secret = "eyJhbGciOiJFZERTQSJ9.a-secret-part";
    let long = format!("{secret}{}", "x".repeat(100 * 1024));
    let body = list(&served, "").build().unwrap();
    let send = |path: &str, headers: &[&str]| {
        let mut request =
            served.request(Method::POST, path, "").header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/list");
        for header in headers {
            request = request.header(AUTHORIZATION, *header);
        }
        answer(request.body(body.body().unwrap().as_bytes().unwrap().to_vec()))
    };
    let bearer = |token: &str| format!("Bearer {token}");
    for (path, headers, status, code) in [
        ("/mcp".to_owned(), vec![], 401, "FM-MCP-TOKEN-MISSING"),
        ("/mcp".to_owned(), vec![bearer("")], 401, "FM-MCP-TOKEN-MALFORMED"),
        ("/mcp".to_owned(), vec![format!("Basic {secret}")], 401, "FM-MCP-TOKEN-MALFORMED"),
        ("/mcp".to_owned(), vec![secret.to_owned()], 401, "FM-MCP-TOKEN-MALFORMED"),
        ("/mcp".to_owned(), vec![bearer(&format!("{secret} {secret}"))], 401, "FM-MCP-TOKEN-MALFORMED"),
        ("/mcp".to_owned(), vec![bearer(secret)], 401, "FM-MCP-TOKEN-SIGNATURE"),
        ("/mcp".to_owned(), vec![bearer(&long)], 401, "FM-MCP-TOKEN-TOO-LONG"),
        ("/mcp".to_owned(), vec![bearer("anna-1"), bearer(secret)], 400, "FM-MCP-TOKEN-TWICE"),
        (format!("/mcp?access_token={secret}"), vec![], 400, "FM-MCP-TOKEN-IN-QUERY"),
        (format!("/mcp?x={secret}"), vec![bearer("anna-1")], 400, "FM-MCP-TOKEN-IN-QUERY"),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let refused = send(&path, &headers).await;
        refused.refused(status, code);
        let told = format!("{:?} {}", refused.headers, refused.body);
        assert!(!told.contains("a-secret-part") && !told.contains("eyJ"), "{told}");
        let challenge = match code {
            "FM-MCP-TOKEN-MISSING" => "Bearer realm=\"flowmaster-mcp\"",
            _ if status == 401 => "Bearer realm=\"flowmaster-mcp\", error=\"invalid_token\"",
            _ => "Bearer realm=\"flowmaster-mcp\", error=\"invalid_request\"",
        };
        assert_eq!(refused.challenge(), challenge, "{code}");
    }
    // The same for the other methods.
    answer(served.request(Method::GET, "/mcp", "")).await.refused(401, "FM-MCP-TOKEN-MISSING");
    answer(served.request(Method::DELETE, "/mcp", "")).await.refused(401, "FM-MCP-TOKEN-MISSING");
}

#[tokio::test]
async fn names_and_pages_that_are_not_allowed_are_refused() {
    let served = serve(app(), known().admission(), |options| {
        resource_server(options);
        options.allowed_hosts = vec!["flow.internal".to_owned()];
        options.allowed_origins = vec!["https://app.example.com".to_owned()];
    })
    .await;
    for host in ["evil.example", "mcp.example.com.evil.example", "127.0.0.1.nip.io"] {
        answer(list(&served, "anna-1").header(HOST, host)).await.refused(403, "FM-MCP-HOST");
    }
    for origin in ["https://evil.example", "null", "http://app.example.com"] {
        answer(list(&served, "anna-1").header(ORIGIN, origin)).await.refused(403, "FM-MCP-ORIGIN");
    }
    for (host, origin) in [("mcp.example.com", "https://app.example.com"), ("flow.internal:80", "http://localhost:6274")] {
        answer(list(&served, "anna-1").header(HOST, host).header(ORIGIN, origin)).await.result();
    }
}

#[tokio::test]
async fn without_an_authorization_server_there_is_no_metadata() {
    let served = serve(app(), known().admission(), |_| {}).await;
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        assert_eq!(answer(served.request(Method::GET, path, "")).await.status, 404);
    }
    assert_eq!(answer(list(&served, "")).await.refused(401, "FM-MCP-TOKEN-MISSING").challenge(), "Bearer realm=\"flowmaster-mcp\"");
    let called =
        answer(served.modern("looker", "tools/call", &json!({ "name": "entities_query", "arguments": { "type": "customer" } }))).await;
    let text = called.result()["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("FM-MCP-FORBIDDEN") && text.contains("entity:view"), "{text}");
}

#[tokio::test]
async fn metadata_and_challenges_tell_a_host_where_to_get_a_token_and_for_what() {
    let served = serve(app(), known().admission(), resource_server).await;
    for path in ["", "/mcp", "/flow/mcp"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let metadata = answer(served.request(Method::GET, &path, "")).await;
        assert_eq!(metadata.status, 200, "{path}");
        assert_eq!(metadata.body["resource"], "https://mcp.example.com/flow/mcp");
        assert_eq!(metadata.body["authorization_servers"], json!([SERVERS]));
        assert_eq!(metadata.body["bearer_methods_supported"], json!(["header"]));
        let scopes = metadata.body["scopes_supported"].as_array().unwrap();
        assert!(scopes.contains(&json!("task:approve")) && scopes.contains(&json!("task:view")), "{scopes:?}");
    }
    let url = "resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/flow/mcp\"";
    let missing = answer(list(&served, "")).await;
    let challenge = missing.refused(401, "FM-MCP-TOKEN-MISSING").challenge();
    assert!(challenge.starts_with("Bearer realm=") && challenge.contains(url) && !challenge.contains("error="), "{challenge}");
    assert!(challenge.contains("task:view") && !challenge.contains("task:approve"), "at first a host asks to see: {challenge}");
    let wrong = answer(list(&served, "nobody")).await;
    let challenge = wrong.refused(401, "FM-MCP-TOKEN-SIGNATURE").challenge();
    assert!(challenge.contains(url) && challenge.contains("error=\"invalid_token\""), "{challenge}");

    let session = served.open("looker").await;
    for (tool, arguments, scope) in [
        ("tasks_respond", json!({ "id": "task-1", "decision": "approve" }), "task:view task:approve"),
        ("entities_query", json!({ "type": "customer" }), "entity:view"),
    ] {
        let params = json!({ "name": tool, "arguments": arguments });
        for request in [served.modern("looker", "tools/call", &params), served.legacy("looker", &session, "tools/call", &params)] {
            let refused = answer(request).await;
            let challenge = refused.refused(403, "FM-MCP-FORBIDDEN").challenge();
            assert!(challenge.contains("error=\"insufficient_scope\"") && challenge.contains(url), "{challenge}");
            assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}");
            assert_eq!(refused.body["id"], 1);
        }
    }
    // What is covered, or is not a tool at all, is not the gate's business.
    let unknown = answer(served.modern("looker", "tools/call", &json!({ "name": "no_such_tool", "arguments": {} }))).await;
    assert_eq!((unknown.status, &unknown.body["error"]["code"]), (200, &json!(-32602)), "{unknown:?}");
}

#[tokio::test]
async fn a_server_that_is_set_up_wrongly_does_not_start() {
    for (change, code) in [
        (
            Box::new(|options: &mut HttpOptions| options.authorization_servers = vec![SERVERS.to_owned()]) as Box<dyn Fn(&mut HttpOptions)>,
            "FM-CONFIG-PUBLIC-URL",
        ),
        (Box::new(|options| options.public_url = Some("mcp.example.com".to_owned())), "FM-CONFIG-URL"),
        (Box::new(|options| options.public_url = Some("https://mcp.example.com/?x=\"".to_owned())), "FM-CONFIG-URL"),
        (Box::new(|options| options.allowed_hosts = vec!["https://x".to_owned()]), "FM-CONFIG-HOST"),
        (Box::new(|options| options.allowed_origins = vec!["*".to_owned()]), "FM-CONFIG-ORIGIN"),
    ] {
        let mut options = HttpOptions::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), known().admission());
        change(&mut options);
        let refused = serve_http(app(), options, CancellationToken::new()).await.unwrap_err();
        assert_eq!(refused.code(), code);
    }
}

/// Refuses everybody as it is told to.
struct Refuses(fn() -> Error);

impl Admit for Refuses {
    fn admit<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Caller>>> {
        Box::pin(std::future::ready(Err((self.0)())))
    }
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_fault_of_the_token() {
    let away = || Error::new(Kind::Unavailable, "FM-MCP-KEYS", "the keys cannot be had").retry_after(Duration::from_millis(6500));
    let served = serve(app(), Authentication::Bearer(Arc::new(Refuses(away))), |_| {}).await;
    let refused = answer(list(&served, "any")).await;
    refused.refused(503, "FM-MCP-KEYS");
    assert_eq!((refused.headers[RETRY_AFTER].to_str().unwrap(), refused.challenge()), ("7", ""));
}

#[tokio::test]
async fn what_a_token_began_ends_with_it() {
    let ends = 2500;
    let served = serve(app(), known().with("ending", ending(ends)).admission(), |_| {}).await;
    let began = Instant::now();
    let session = served.open("ending").await;
    let listening = served.on_session(Method::GET, "ending", &session).send().await.unwrap();
    assert_eq!(listening.status(), 200);
    let listening = async {
        let mut stream = listening.bytes_stream();
        while stream.next().await.is_some() {}
        began.elapsed()
    };
    let params = json!({ "name": "tasks_list", "arguments": {} });
    let old = async { (answer(served.legacy("ending", &session, "tools/call", &params)).await, began.elapsed()) };
    let new = async { (answer(served.modern("ending", "tools/call", &params)).await, began.elapsed()) };
    let (listened, (old, old_took), (new, new_took)) = tokio::join!(listening, old, new);
    for took in [listened, old_took, new_took] {
        assert!((1500..5000).contains(&took.as_millis()), "{listened:?} {old_took:?} {new_took:?}");
    }
    // The call says why it ended, if its stream was still there to say it.
    assert!(old.body == "" || old.body.to_string().contains("FM-MCP-TOKEN-EXPIRED") || old.body["result"].is_null(), "{old:?}");
    assert!(new.body.to_string().contains("FM-MCP-TOKEN-EXPIRED"), "{new:?}");
}

#[tokio::test]
async fn a_question_ends_with_the_token_of_its_call() {
    let platform = TestPlatform::start().await;
    let anna = platform.signed_in("tenant-1", "anna", &["entity:*"]).await;
    let caller = Caller { credential: Credential::Bearer(anna.into()), ..ending(4000) };
    let served = serve(mcp::app(&platform, Settings::default()), Known::default().with("anna", caller).admission(), |_| {}).await;
    let session = served.open_with("anna", &json!({ "elicitation": {} })).await;
    let call =
        |tool: &str, arguments: Value| served.legacy("anna", &session, "tools/call", &json!({ "name": tool, "arguments": arguments }));
    answer(call("entities_define", json!({ "entityType": "customer" }))).await.result();
    let record = answer(call("entities_insert", json!({ "type": "customer", "data": { "name": "Acme" } }))).await;
    let id = record.result()["structuredContent"]["id"].clone();
    let began = Instant::now();
    let asked = call("entities_delete", json!({ "type": "customer", "id": id })).send().await.unwrap();
    let ended = read(asked).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let last = ended.body.to_string();
    assert!(last.contains("elicitation/create") || last.contains("FM-MCP-TOKEN-EXPIRED"), "{last}");
}

/// Knows a token until it is revoked.
#[derive(Default)]
struct Taken(AtomicBool);

impl Admit for Taken {
    fn admit<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Caller>>> {
        let known = if self.0.load(Ordering::SeqCst) {
            Err(Error::new(Kind::Unauthenticated, "FM-MCP-TOKEN-REVOKED", "the token was revoked"))
        } else {
            Ok(Arc::new(user("tenant-1", "anna", &["*"])))
        };
        Box::pin(std::future::ready(known))
    }
}

#[tokio::test]
async fn an_open_stream_ends_when_its_token_is_taken_back() {
    let taken = Arc::new(Taken::default());
    let admission = Authentication::Bearer(Arc::clone(&taken) as Arc<dyn Admit>);
    let served = serve(app(), admission, |options| options.validate_interval = Duration::from_millis(200)).await;
    let session = served.open("any").await;
    let mut stream = served.on_session(Method::GET, "any", &session).send().await.unwrap().bytes_stream();
    let quiet = tokio::time::timeout(Duration::from_millis(900), async { while stream.next().await.is_some() {} }).await;
    assert!(quiet.is_err(), "it stays open while the token is good");
    taken.0.store(true, Ordering::SeqCst);
    tokio::time::timeout(Duration::from_secs(3), async { while stream.next().await.is_some() {} }).await.unwrap();
    answer(served.legacy("any", &session, "tools/list", &json!({}))).await.refused(401, "FM-MCP-TOKEN-REVOKED");
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_read_and_no_other() {
    let allow = |options: &mut HttpOptions| options.allowed_origins = vec!["https://app.example.com".to_owned()];
    let served = serve(app(), known().admission(), allow).await;
    let ask_at = |path, origin| {
        let request = served.request(Method::OPTIONS, path, "").header(ORIGIN, origin).header("access-control-request-method", "POST");
        answer(request.header("access-control-request-headers", "authorization,mcp-method"))
    };
    let ask = |origin| ask_at("/mcp", origin);
    assert_eq!(ask_at("/confirmations", "https://app.example.com").await.status, 204);
    let allowed = ask("https://app.example.com").await;
    assert_eq!((allowed.status, &allowed.headers["access-control-allow-origin"]), (204, &"https://app.example.com".parse().unwrap()));
    assert!(allowed.headers["access-control-allow-headers"].to_str().unwrap().starts_with("authorization"));
    let foreign = ask("https://evil.example").await;
    assert!(foreign.status == 403 && !foreign.headers.contains_key("access-control-allow-origin"), "{foreign:?}");
    // A refusal is readable too: the page has to see the challenge.
    let refused = answer(list(&served, "").header(ORIGIN, "https://app.example.com")).await;
    assert!(refused.status == 401 && refused.headers["access-control-allow-origin"] == "https://app.example.com", "{refused:?}");
    let called = answer(list(&served, "anna-1").header(ORIGIN, "https://app.example.com")).await;
    assert_eq!((called.status, &called.headers["vary"]), (200, &"origin".parse().unwrap()));
    let open = Authentication::Open(Arc::new(user("tenant-1", "anna", &["*"])));
    let served = serve(app(), open, allow).await;
    let called = answer(list(&served, "").header(ORIGIN, "https://app.example.com")).await;
    assert!(called.status == 200 && !called.headers.contains_key("access-control-allow-origin"), "{called:?}");
}

#[tokio::test]
async fn callers_approve_their_own_calls_over_http_and_nobody_elses() {
    let platform = TestPlatform::start().await;
    let mut callers = Known::default();
    for (tenant, name) in [("tenant-1", "anna"), ("tenant-1", "bert"), ("tenant-2", "cleo")] {
        let token = platform.signed_in(tenant, name, &["entity:*"]).await;
        callers = callers.with(name, Caller { credential: Credential::Bearer(token.into()), ..user(tenant, name, &["entity:*"]) });
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { data_dir: Some(folder.path().to_owned()), ..Settings::default() };
    let served = serve(mcp::app(&platform, settings), callers.admission(), |_| {}).await;
    let call = |tool: &str, arguments: Value| answer(served.modern("anna", "tools/call", &json!({ "name": tool, "arguments": arguments })));
    call("entities_define", json!({ "entityType": "customer" })).await.result();
    let record = call("entities_insert", json!({ "type": "customer", "data": { "name": "Acme" } })).await;
    let delete = json!({ "type": "customer", "id": record.result()["structuredContent"]["id"] });
    let refused = call("entities_delete", delete.clone()).await;
    assert!(refused.result()["content"][0]["text"].as_str().unwrap().starts_with("FM-MCP-CONFIRM"), "{refused:?}");

    let waiting = |name: &'static str| answer(served.request(Method::GET, "/confirmations", name));
    for other in ["bert", "cleo"] {
        assert_eq!(waiting(other).await.body["items"], json!([]), "{other}");
    }
    let items = waiting("anna").await.body["items"].clone();
    let id = items[0]["id"].as_str().unwrap().to_owned();
    assert!(items[0]["question"].as_str().unwrap().contains("Acme") && items[0]["tool"] == "entities_delete", "{items:#}");
    assert!(!refused.body.to_string().contains(&id) && items[0].get("call").is_none(), "{items:#}");
    let approve = |name: &'static str, id: &str| answer(served.request(Method::POST, &format!("/confirmations/{id}"), name));
    for other in ["bert", "cleo"] {
        approve(other, &id).await.refused(404, "FM-MCP-CONFIRM-UNKNOWN");
    }
    approve("nobody", &id).await.refused(401, "FM-MCP-TOKEN-SIGNATURE");
    answer(served.request(Method::GET, "/confirmations", "")).await.refused(401, "FM-MCP-TOKEN-MISSING");
    answer(served.request(Method::GET, "/confirmations", "anna").header(ORIGIN, "https://evil.example"))
        .await
        .refused(403, "FM-MCP-ORIGIN");
    approve("anna", "..%2F..%2Fother").await.refused(404, "FM-MCP-CONFIRM-UNKNOWN");
    let approved = approve("anna", &id).await;
    assert!(approved.status == 200 && approved.body["approvedAt"].is_string(), "{approved:?}");
    assert_eq!(call("entities_delete", delete.clone()).await.result()["isError"], false);
    assert_eq!(call("entities_delete", delete).await.result()["isError"], true);

    let open = Authentication::Open(Arc::new(user("tenant-1", "anna", &["*"])));
    let served = serve(app(), open, |_| {}).await;
    assert_eq!(answer(served.request(Method::GET, "/confirmations", "")).await.status, 404, "whoever calls could approve itself");
}
