//! The Integration Hub over HTTP, with outside systems of the test's own on loopback.

mod nodes;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use flowmaster_mcp::platform::Options;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::platform::{Reply, TestPlatform};

/// Waits for something that happens by itself, at most ten seconds.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    for _ in 0..1_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen in time");
}

/// What came to a system.
#[derive(Clone, Debug)]
struct Came {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Came {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An outside system that answers as it is told, then 200, and remembers what came. `/echo` repeats the sign-in, `/token`
/// hands out tokens that live for ten minutes, `/away` leads elsewhere, `/hang` never answers.
#[derive(Clone, Default)]
struct System {
    url: String,
    came: Arc<Mutex<Vec<Came>>>,
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
}

impl System {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let system = Self { url: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let app = Router::new()
            .fallback(async |State(system): State<Self>, method, uri: Uri, headers, body| {
                let answer = system.answer(method, &uri, &headers, body);
                if uri.path() == "/hang" {
                    std::future::pending::<()>().await;
                }
                answer
            })
            .with_state(system.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        system
    }

    fn answer(&self, method: Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Response {
        let mut came = self.came.lock().unwrap();
        let path = uri.path_and_query().unwrap().to_string();
        came.push(Came { method, path: path.clone(), headers: headers.clone(), body });
        let of_tokens = came.iter().filter(|came| came.path == "/token").count();
        match path.as_str() {
            "/token" => axum::Json(json!({ "access_token": format!("token-{of_tokens}"), "expires_in": 600 })).into_response(),
            "/echo" => axum::Json(json!({ "id": 1, "sent": headers["authorization"].to_str().unwrap() })).into_response(),
            "/away" => (StatusCode::FOUND, [("location", "http://127.0.0.1:9/")]).into_response(),
            _ => {
                let (status, answer) = self.answers.lock().unwrap().pop_front().unwrap_or((200, json!({ "id": 42, "name": "Acme" })));
                (StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response()
            }
        }
    }

    /// Has the next calls answered so.
    fn say(&self, answers: impl IntoIterator<Item = u16>) {
        self.answers.lock().unwrap().extend(answers.into_iter().map(|status| (status, json!({ "said": status }))));
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

fn quick(options: &mut Options) {
    options.integrations.first_delay = Duration::from_millis(5);
    options.integrations.timeout = Duration::from_secs(2);
}

fn rest(system: &System) -> Value {
    json!({ "name": "CRM", "connectorType": "rest_api", "baseUrl": format!("{}/api", system.url) })
}

/// Registers an integration, and answers its id.
async fn register(platform: &TestPlatform, integration: Value) -> String {
    platform.post("/integrations", &platform.owner(), integration).await.ok()["integrationId"].as_str().unwrap().to_owned()
}

async fn execute(platform: &TestPlatform, id: &str, call: Value) -> Reply {
    platform.post(&format!("/integrations/{id}/execute"), &platform.owner(), call).await
}

async fn get(platform: &TestPlatform, id: &str) -> Value {
    platform.get(&format!("/integrations/{id}"), &platform.owner()).await.ok()
}

/// The data of the events that calls emitted.
async fn synced(platform: &TestPlatform) -> Vec<Value> {
    let page = platform.get("/events/replay?topic=integration.synced", &platform.owner()).await.ok();
    page["items"].as_array().unwrap().iter().map(|event| event["data"].clone()).collect()
}

#[tokio::test]
async fn credentials_are_sealed_and_never_shown() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let mut request = rest(&system);
    request["authType"] = json!("basic");
    request["credentials"] = json!({ "username": "flowmaster", "password": "correct-horse-battery" });
    let created = platform.post("/integrations", &platform.owner(), request).await;
    assert_eq!((created.status, &created.body["status"], &created.body["breaker"]), (201, &json!("registered"), &json!("closed")));
    assert_eq!(created.body["credentialsSet"], json!(["password", "username"]));
    let id = created.body["integrationId"].as_str().unwrap().to_owned();
    execute(&platform, &id, json!({ "path": "/contacts" })).await.ok();
    platform.put(&format!("/integrations/{id}"), &platform.owner(), json!({ "name": "CRM 2" })).await.ok();
    let audited = platform.get("/audit-logs?resourceType=integration", &platform.owner()).await.ok();
    let actions: Vec<&Value> = audited["items"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    for action in ["integration.created", "integration.called", "integration.updated"] {
        assert!(actions.contains(&&json!(action)), "{actions:?}");
    }
    for shown in [get(&platform, &id).await, audited, json!(synced(&platform).await)] {
        assert!(!shown.to_string().contains("correct-horse"), "{shown:#}");
    }
    let platform = platform.restart().await;
    for file in std::fs::read_dir(platform.folder.path().join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(13).any(|part| part == b"correct-horse"));
    }
}

#[tokio::test]
async fn a_call_signs_in_and_its_answer_is_mapped() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    for (auth, credentials, header, value) in [
        ("api_key", json!({ "apiKey": "key-1" }), "x-api-key", "key-1"),
        ("api_key", json!({ "apiKey": "key-1", "header": "Authorization", "prefix": "Token" }), "authorization", "Token key-1"),
        ("basic", json!({ "username": "Aladdin", "password": "open sesame" }), "authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("bearer", json!({ "token": "token-of-mine" }), "authorization", "Bearer token-of-mine"),
    ] {
        let mut request = rest(&system);
        request["authType"] = json!(auth);
        request["credentials"] = credentials;
        request["mapping"] = json!({ "external_id": "id", "external_name": "name" });
        let id = register(&platform, request).await;
        let call = json!({ "method": "POST", "path": "/contacts/42", "query": { "q": "a b" }, "body": { "x": 1 } });
        let outcome = execute(&platform, &id, call).await.ok();
        assert_eq!(outcome["transformedData"], json!({ "external_id": 42, "external_name": "Acme" }));
        assert_eq!((&outcome["statusCode"], &outcome["attempts"], &outcome["status"]), (&json!(200), &json!(1), &json!("connected")));
        let came = system.came().pop().unwrap();
        assert_eq!((came.path.as_str(), came.header(header)), ("/api/contacts/42?q=a+b", value));
        assert_eq!((&came.method, &came.body[..]), (&Method::POST, &br#"{"x":1}"#[..]));
        assert!(came.header("idempotency-key").starts_with("call-"));
        assert_eq!(get(&platform, &id).await["lastSyncAt"], outcome["lastSyncAt"]);
    }
    let events = synced(&platform).await;
    assert_eq!((events.len(), &events[0]["status"]), (4, &json!("completed")));
}

#[tokio::test]
async fn a_system_that_repeats_the_sign_in_gives_no_secret_away() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let mut request = rest(&system);
    request["baseUrl"] = json!(system.url);
    request["authType"] = json!("bearer");
    request["credentials"] = json!({ "token": "token-of-mine" });
    let id = register(&platform, request).await;
    let outcome = execute(&platform, &id, json!({ "path": "/echo" })).await.ok();
    assert_eq!(outcome["transformedData"]["sent"], "Bearer [redacted]");
    system.answers.lock().unwrap().push_back((400, json!({ "detail": "no such token-of-mine" })));
    let refused = execute(&platform, &id, json!({})).await.refused(502, "FM-IHS-REJECTED");
    assert!(refused["detail"].as_str().unwrap().contains("no such [redacted]"), "{refused}");
}

#[tokio::test]
async fn a_token_of_client_credentials_is_used_until_it_expires() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let mut request = rest(&system);
    request["authType"] = json!("oauth2");
    request["credentials"] = json!({ "clientId": "me", "clientSecret": "s3cret/+" });
    let id = register(&platform, request).await;
    execute(&platform, &id, json!({})).await.refused(409, "FM-IHS-CREDENTIALS");
    let path = format!("/integrations/{id}");
    let token = json!({ "credentials": { "tokenUrl": format!("{}/token", system.url), "scope": "read" } });
    platform.put(&path, &platform.owner(), token).await.ok();
    let tokens = || {
        system.came().iter().filter(|came| came.path != "/token").map(|came| came.header("authorization").to_owned()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        execute(&platform, &id, json!({})).await.ok();
    }
    platform.clock.advance(600.0);
    execute(&platform, &id, json!({})).await.ok();
    assert_eq!(tokens(), ["Bearer token-1", "Bearer token-1", "Bearer token-2"]);
    // One that the system does not take any more is fetched again.
    system.say([401]);
    execute(&platform, &id, json!({})).await.ok();
    assert_eq!(tokens()[3..], ["Bearer token-2", "Bearer token-3"]);
    let asked = system.came().remove(0);
    assert_eq!(
        (asked.header("authorization"), &asked.body[..]),
        ("Basic bWU6czNjcmV0JTJGJTJC", &b"grant_type=client_credentials&scope=read"[..])
    );
}

#[tokio::test]
async fn a_call_is_repeated_where_that_does_no_harm() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(|options| {
        quick(options);
        options.integrations.breaker_failures = 100;
    })
    .await;
    let id = register(&platform, rest(&system)).await;
    system.say([500, 503]);
    assert_eq!(execute(&platform, &id, json!({})).await.ok()["attempts"], 3);
    system.say([503]);
    assert_eq!(execute(&platform, &id, json!({ "method": "POST" })).await.ok()["attempts"], 2);
    let before = system.came().len();
    system.say([500]);
    let failed = execute(&platform, &id, json!({ "method": "POST" })).await.refused(503, "FM-IHS-UNAVAILABLE");
    assert!(failed["detail"].as_str().unwrap().contains("answered 500"), "{failed}");
    for (status, code) in [(404, "FM-IHS-REJECTED"), (403, "FM-IHS-SIGN-IN"), (422, "FM-IHS-REJECTED")] {
        system.say([status]);
        execute(&platform, &id, json!({})).await.refused(502, code);
    }
    assert_eq!(system.came().len(), before + 4);
    let keys: Vec<String> = system.came()[..3].iter().map(|came| came.header("idempotency-key").to_owned()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(get(&platform, &id).await["status"], "failed");
    let statuses: Vec<Value> = synced(&platform).await.iter().map(|event| event["status"].clone()).collect();
    assert_eq!(statuses, ["completed", "completed", "failed", "failed", "failed", "failed"]);
}

#[tokio::test]
async fn a_breaker_opens_after_failures_and_lets_one_call_try() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(|options| {
        quick(options);
        options.integrations.breaker_failures = 2;
    })
    .await;
    let id = register(&platform, rest(&system)).await;
    system.say([500, 500, 500]);
    for _ in 0..2 {
        execute(&platform, &id, json!({ "method": "POST" })).await.refused(503, "FM-IHS-UNAVAILABLE");
    }
    assert_eq!(get(&platform, &id).await["breaker"], "open");
    let refused = execute(&platform, &id, json!({})).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.refused(503, "FM-IHS-BREAKER-OPEN");
    assert_eq!(system.came().len(), 2);
    // It is kept, and one failure more opens it again.
    let platform = platform.restart_with(quick).await;
    platform.clock.advance(31.0);
    assert_eq!(get(&platform, &id).await["breaker"], "half_open");
    execute(&platform, &id, json!({ "method": "POST" })).await.refused(503, "FM-IHS-UNAVAILABLE");
    execute(&platform, &id, json!({})).await.refused(503, "FM-IHS-BREAKER-OPEN");
    platform.clock.advance(31.0);
    execute(&platform, &id, json!({})).await.ok();
    assert_eq!(get(&platform, &id).await["breaker"], "closed");
}

#[tokio::test]
async fn calls_go_nowhere_they_should_not() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let port = platform.running.address().port();
    for url in [
        format!("http://127.0.0.1:{port}"),
        format!("http://localhost:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        "http://10.0.0.1".to_owned(),
        "http://169.254.169.254/latest".to_owned(),
        "https://crm.example.com".to_owned(),
    ] {
        let id = register(&platform, json!({ "name": "x", "connectorType": "rest_api", "baseUrl": url })).await;
        execute(&platform, &id, json!({})).await.refused(403, "FM-IHS-HOST-NOT-ALLOWED");
        let tested = platform.post(&format!("/integrations/{id}/connect"), &platform.owner(), json!({})).await.ok();
        assert!(tested["error"].as_str().unwrap().starts_with("FM-IHS-HOST-NOT-ALLOWED"), "{url} {tested}");
    }
    let id = register(&platform, json!({ "name": "x", "connectorType": "rest_api", "baseUrl": system.url })).await;
    execute(&platform, &id, json!({ "path": "/away" })).await.refused(502, "FM-IHS-REDIRECT");
    for path in ["/../x", "/%2e%2e/x", "//evil.example", "/a?b=1", "x"] {
        execute(&platform, &id, json!({ "path": path })).await.refused(422, "FM-IHS-REQUEST");
    }
    execute(&platform, &id, json!({ "body": {} })).await.refused(422, "FM-IHS-REQUEST");
    assert_eq!(system.came().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_registered_is_refused_by_its_field() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let base = json!({ "name": "CRM", "connectorType": "rest_api", "baseUrl": "https://crm.example.com" });
    let with = |fields: Value| {
        let mut request = base.clone();
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        request
    };
    for connector in ["soap", "database", "ftp", "sftp"] {
        let refused = platform.post("/integrations", &owner, with(json!({ "connectorType": connector }))).await;
        refused.refused(501, "FM-IHS-CONNECTOR-UNSUPPORTED");
    }
    for (fields, pointer) in [
        (json!({ "name": "  " }), "/name"),
        (json!({ "baseUrl": "ftp://x" }), "/baseUrl"),
        (json!({ "baseUrl": "https://me:pw@crm.example.com" }), "/baseUrl"),
        (json!({ "baseUrl": "http://crm.example.com", "authType": "basic" }), "/baseUrl"),
        (json!({ "connectorType": "webhook", "baseUrl": null }), "/baseUrl"),
        (json!({ "authType": "basic", "credentials": { "pasword": "x" } }), "/credentials/pasword"),
        (json!({ "credentials": { "apiKey": "x" } }), "/credentials/apiKey"),
        (json!({ "authType": "api_key", "credentials": { "apiKey": 1 } }), "/credentials/apiKey"),
        (json!({ "authType": "api_key", "credentials": { "apiKey": "x\r\ny: z" } }), "/credentials/apiKey"),
        (json!({ "authType": "api_key", "credentials": { "header": "Host" } }), "/credentials/header"),
        (json!({ "authType": "oauth2", "credentials": { "tokenUrl": "http://crm.example.com" } }), "/credentials/tokenUrl"),
        (json!({ "mapping": { "a": 1 } }), "/mapping/a"),
    ] {
        let refused = platform.post("/integrations", &owner, with(fields)).await.refused(422, "FM-IHS-INVALID");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
}

#[tokio::test]
async fn credentials_do_not_follow_an_address_that_moves() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let id = register(
        &platform,
        json!({ "name": "CRM", "connectorType": "rest_api", "baseUrl": "https://crm.example.com/v1", "authType": "oauth2",
                "credentials": { "clientId": "me", "clientSecret": "secret", "tokenUrl": "https://crm.example.com/token" } }),
    )
    .await;
    let path = format!("/integrations/{id}");
    platform.put(&path, &owner, json!({ "baseUrl": "https://crm.example.com/v2" })).await.ok();
    for change in [json!({ "baseUrl": "https://evil.example" }), json!({ "credentials": { "tokenUrl": "https://evil.example/token" } })] {
        platform.put(&path, &owner, change).await.refused(422, "FM-IHS-CREDENTIALS-REQUIRED");
    }
    let moved = json!({ "baseUrl": "https://new.example", "credentials": { "clientSecret": "other" } });
    platform.put(&path, &owner, moved).await.ok();
    let changed = platform.put(&path, &owner, json!({ "authType": "bearer", "credentials": { "token": "t" } })).await.ok();
    assert_eq!(changed["credentialsSet"], json!(["token"]));
    let emptied = platform.put(&path, &owner, json!({ "credentials": { "token": null } })).await;
    assert_eq!(emptied.body["credentialsSet"], Value::Null);
    let stale = platform.request(Method::PUT, &path, &owner).header("if-match", "\"1\"").json(&json!({ "name": "New" }));
    platform.send(stale).await.refused(412, "FM-AGS-CHANGED");
}

#[tokio::test]
async fn a_test_tells_whether_system_and_sign_in_are_good() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    let test = async || platform.post(&format!("/integrations/{id}/connect"), &platform.owner(), json!({})).await.ok();
    for (status, expected) in [(200, "connected"), (404, "connected"), (401, "failed"), (503, "failed")] {
        system.say([status]);
        let tested = test().await;
        assert_eq!((&tested["status"], &tested["statusCode"]), (&json!(expected), &json!(status)), "{tested}");
        assert_eq!(tested["error"].is_string(), expected == "failed");
    }
    assert!(synced(&platform).await.is_empty());
}

#[tokio::test]
async fn a_mapping_is_tried_without_a_call() {
    let system = System::listen().await;
    let platform = TestPlatform::start().await;
    let mut request = rest(&system);
    request["mapping"] = json!({ "external_id": "id", "total": { "source": "sum.net", "type": "number", "required": true } });
    let id = register(&platform, request).await;
    let path = format!("/integrations/{id}/transform");
    let good = platform.post(&path, &platform.owner(), json!({ "data": { "id": 7, "sum": { "net": "12.5" } } })).await.ok();
    assert_eq!((&good["transformedData"], good.get("errors")), (&json!({ "external_id": 7, "total": 12.5 }), None));
    let bad = platform.post(&path, &platform.owner(), json!({ "data": { "sum": { "net": "much" } } })).await.ok();
    assert_eq!(bad["errors"].as_array().unwrap().len(), 2, "{bad}");
    let other = json!({ "data": { "id": 7 }, "mapping": { "key": "id" } });
    assert_eq!(platform.post(&path, &platform.owner(), other).await.ok()["transformedData"], json!({ "key": 7 }));
    let wrong = json!({ "data": {}, "mapping": { "key": { "from": "id" } } });
    platform.post(&path, &platform.owner(), wrong).await.refused(422, "FM-IHS-INVALID");
    assert!(system.came().is_empty());
}

#[tokio::test]
async fn a_queued_call_is_made_until_it_arrives_over_a_restart() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    system.say([503, 500]);
    let queued = execute(&platform, &id, json!({ "method": "POST", "path": "/orders", "body": { "n": 1 }, "async": true })).await.ok();
    let call = queued["callId"].as_str().unwrap();
    until(async || system.came().len() == 1).await;
    assert!(synced(&platform).await.is_empty());
    let platform = platform.restart_with(quick).await;
    until(async || {
        platform.clock.advance(2.0);
        !synced(&platform).await.is_empty()
    })
    .await;
    let came = system.came();
    assert_eq!(came.len(), 3);
    for came in came {
        assert_eq!((came.path.as_str(), came.header("idempotency-key"), &came.body[..]), ("/api/orders", call, &br#"{"n":1}"#[..]));
    }
    let events = synced(&platform).await;
    assert_eq!((events.len(), &events[0]["callId"], &events[0]["status"]), (1, &json!(call), &json!("completed")));
    assert_eq!(events[0]["integrationId"], id);
    let audited = platform.get("/audit-logs?action=integration.called", &platform.owner()).await.ok();
    assert_eq!(audited["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_queued_call_that_is_refused_is_given_up() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    execute(&platform, &id, json!({ "path": "/../x", "async": true })).await.refused(422, "FM-IHS-REQUEST");
    system.say([422]);
    execute(&platform, &id, json!({ "async": true })).await.ok();
    until(async || !synced(&platform).await.is_empty()).await;
    let event = synced(&platform).await.remove(0);
    assert_eq!((&event["status"], &event["errorCode"], &event["statusCode"]), (&json!("failed"), &json!("FM-IHS-REJECTED"), &json!(422)));
    assert_eq!(system.came().len(), 1);
}

#[tokio::test]
async fn a_call_that_a_stop_interrupts_is_logged_as_failed() {
    let system = System::listen().await;
    let platform = TestPlatform::start().await;
    let id = register(&platform, json!({ "name": "x", "connectorType": "rest_api", "baseUrl": system.url })).await;
    let call = platform.request(Method::POST, &format!("/integrations/{id}/execute"), &platform.owner()).json(&json!({ "path": "/hang" }));
    let calling = tokio::spawn(call.send());
    until(async || system.came().len() == 1).await;
    let platform = platform.restart().await;
    until(async || !synced(&platform).await.is_empty()).await;
    let event = synced(&platform).await.remove(0);
    assert_eq!((&event["status"], &event["errorCode"]), (&json!("failed"), &json!("FM-IHS-INTERRUPTED")));
    assert_eq!(system.came().len(), 1, "nothing tells whether it arrived, so it is not repeated");
    assert!(calling.await.unwrap().map_or(503, |answer| answer.status().as_u16()) == 503);
}

#[tokio::test]
async fn a_webhook_is_signed() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let hook = json!({
        "name": "Hook", "connectorType": "webhook", "baseUrl": format!("{}/hook", system.url),
        "credentials": { "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
    });
    let id = register(&platform, hook).await;
    execute(&platform, &id, json!({ "body": { "a": 1 } })).await.ok();
    let came = system.came().remove(0);
    assert_eq!((&came.method, came.header("webhook-id")), (&Method::POST, came.header("idempotency-key")));
    assert!(came.header("webhook-signature").starts_with("v1,"));
    execute(&platform, &id, json!({ "method": "GET" })).await.refused(422, "FM-IHS-REQUEST");
}

#[tokio::test]
async fn another_tenant_finds_no_integration() {
    let system = System::listen().await;
    let platform = TestPlatform::start_with(quick).await;
    let id = register(&platform, rest(&system)).await;
    let stranger = platform.signed_in("tenant-other", "eve", &["integration:*"]).await;
    platform.get(&format!("/integrations/{id}"), &stranger).await.refused(404, "FM-IHS-NOT-FOUND");
    platform.put(&format!("/integrations/{id}"), &stranger, json!({ "name": "x" })).await.refused(404, "FM-IHS-NOT-FOUND");
    for (verb, body) in
        [("connect", json!({})), ("transform", json!({ "data": {} })), ("execute", json!({})), ("execute", json!({ "async": true }))]
    {
        platform.post(&format!("/integrations/{id}/{verb}"), &stranger, body).await.refused(404, "FM-IHS-NOT-FOUND");
    }
    let viewer = platform.signed_in("tenant-local", "viewer", &["integration:view"]).await;
    platform.get(&format!("/integrations/{id}"), &viewer).await.ok();
    platform.post(&format!("/integrations/{id}/execute"), &viewer, json!({})).await.refused(403, "FM-AAS-FORBIDDEN");
    assert!(system.came().is_empty());
}
