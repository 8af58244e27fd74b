//! Tokens over HTTP: whom the embedded platform's own let in, what every bad one is answered, and what happens while the
//! keys or the platform are away. Nothing of a token comes back in an answer or goes into a log.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flowmaster_mcp::api::Timestamp;
use flowmaster_mcp::auth::{HttpKeys, KeySet, Mode, Rules, Verifier};
use flowmaster_mcp::server::{Admission, Settings};
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};

use crate::support::mcp;
use crate::support::platform::{PASSWORD, TestPlatform, http};
use crate::support::program::{binary, program};
use crate::support::raw::{Answer, Served, answer, serve};
use crate::support::standin::StandIn;

const ISSUER: &str = "https://login.example";
const RESOURCE: &str = "https://mcp.example/mcp";

/// How an issuer publishes its keys.
#[derive(Clone)]
enum Publishes {
    Keys(Value),
    Text(&'static str),
    Spaces(usize),
    Slowly,
    Elsewhere,
    Nothing,
}

/// Somebody who issues tokens and publishes keys over HTTP.
struct Issuer {
    key: Ed25519KeyPair,
    url: String,
    publishes: Arc<Mutex<Publishes>>,
    fetched: Arc<AtomicUsize>,
}

async fn publish(State((publishes, fetched)): State<(Arc<Mutex<Publishes>>, Arc<AtomicUsize>)>) -> Response {
    fetched.fetch_add(1, Ordering::SeqCst);
    let publishes = publishes.lock().unwrap().clone();
    match publishes {
        Publishes::Keys(keys) => axum::Json(keys).into_response(),
        Publishes::Text(text) => text.into_response(),
        Publishes::Spaces(count) => " ".repeat(count).into_response(),
        Publishes::Slowly => std::future::pending().await,
        Publishes::Elsewhere => Redirect::temporary("/moved").into_response(),
        Publishes::Nothing => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

impl Issuer {
    async fn start() -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let publishes = Arc::new(Mutex::new(Publishes::Keys(jwks(&key))));
        let fetched = Arc::new(AtomicUsize::new(0));
        let routes = Router::new().route("/keys", get(publish)).with_state((Arc::clone(&publishes), Arc::clone(&fetched))).route(
            "/moved",
            get({
                let keys = jwks(&key);
                move || std::future::ready(axum::Json(keys.clone()))
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { key, url, publishes, fetched }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims, |message| self.key.sign(message).as_ref().to_vec())
    }

    fn verifier(&self) -> Verifier {
        let mut rules = Rules::new(Mode::ResourceServer);
        rules.issuers = vec![ISSUER.to_owned()];
        rules.audiences_any = vec![RESOURCE.to_owned()];
        Verifier::new(rules, KeySet::published(Arc::new(HttpKeys::new(&self.url).unwrap())))
    }
}

fn jwks(key: &Ed25519KeyPair) -> Value {
    let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "key-1", "x": x }] })
}

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "JWT", "kid": "key-1" })
}

fn claims() -> Value {
    let now = Timestamp::now().millis() / 1000;
    json!({
        "iss": ISSUER, "aud": RESOURCE, "sub": "a-subject-to-hide", "tenantId": "a-tenant-to-hide", "permissions": ["task:view"],
        "iat": now, "exp": now + 600,
    })
}

/// An object with members changed, or taken out by null.
fn but(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

async fn list(served: &Served, token: &str) -> Answer {
    let answer = answer(served.modern(token, "tools/list", &json!({}))).await;
    if answer.status != 200 {
        let told = format!("{} {:?}", answer.body, answer.headers);
        assert!(!told.contains("to-hide") && !told.contains("evil"), "{told}");
        assert!(!token.split('.').any(|part| part.len() > 8 && told.contains(part)), "{told}");
    }
    answer
}

fn names(answer: &Answer) -> Vec<&str> {
    answer.result()["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

async fn before(platform: &TestPlatform, admission: Admission) -> Served {
    serve(mcp::app(platform, Settings::default()), admission, |_| {}).await
}

#[tokio::test]
async fn users_and_services_of_the_embedded_platform_come_in_as_themselves() {
    let platform = TestPlatform::start().await;
    let served = before(&platform, mcp::admission(&platform, Duration::from_mins(1))).await;
    let user = platform.signed_in("tenant-a", "anna@example.com", &["task:view"]).await;
    let body = json!({ "name": "billing", "permissions": ["entity:*"], "tenantId": "tenant-b" });
    let service = platform.post("/service-tokens", &platform.owner(), body).await.ok();
    let service = service["token"].as_str().unwrap();

    let listed = list(&served, &user).await;
    let seen = names(&listed);
    assert!(seen.contains(&"tasks_list") && !seen.contains(&"tasks_respond") && !seen.contains(&"entities_query"), "{seen:?}");
    let listed = list(&served, service).await;
    let seen = names(&listed);
    assert!(seen.contains(&"entities_define") && !seen.contains(&"tasks_list"), "{seen:?}");
    assert_eq!(json!({ "tools": list(&served, &platform.owner()).await.result()["tools"] }), flowmaster_mcp::server::list_tools_json());

    for (token, tenant) in [(user.as_str(), "tenant-a"), (service, "tenant-b"), (&platform.owner(), "tenant-local")] {
        let who = answer(served.modern(token, "tools/call", &json!({ "name": "auth_validate", "arguments": {} }))).await;
        assert_eq!(who.result()["structuredContent"]["claims"]["tenantId"], tenant);
    }
    let session = served.open(&user).await;
    let who = answer(served.legacy(&user, &session, "tools/call", &json!({ "name": "auth_validate", "arguments": {} }))).await;
    assert_eq!(who.result()["structuredContent"]["claims"]["tenantId"], "tenant-a");
}

#[tokio::test]
async fn a_logout_takes_effect_within_the_interval() {
    let platform = TestPlatform::start().await;
    let served = before(&platform, mcp::admission(&platform, Duration::from_secs(1))).await;
    let user = platform.signed_in("tenant-a", "anna@example.com", &["task:view"]).await;
    list(&served, &user).await.result();
    platform.post("/auth/logout", &user, json!({})).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let refused = list(&served, &user).await;
    assert!(refused.refused(401, "FM-MCP-TOKEN-REVOKED").challenge().contains("error=\"invalid_token\""));
    // A token that was ended before it was ever seen is not let in at all.
    let other = platform.login("tenant-a", "anna@example.com").await;
    platform.post("/auth/logout", &other, json!({})).await;
    list(&served, &other).await.refused(401, "FM-MCP-TOKEN-REVOKED");
    let login = json!({ "username": "anna@example.com", "password": PASSWORD, "tenantId": "tenant-a" });
    let refresh = platform.post("/auth/login", "", login).await.ok();
    list(&served, refresh["refreshToken"].as_str().unwrap()).await.refused(401, "FM-MCP-TOKEN-MALFORMED");
}

#[tokio::test]
async fn while_the_platform_is_away_those_who_were_in_stay_in_and_others_wait() {
    let platform = TestPlatform::start().await;
    let served = before(&platform, mcp::admission(&platform, Duration::from_secs(1))).await;
    let known = platform.signed_in("tenant-a", "anna@example.com", &["task:view"]).await;
    let unknown = platform.signed_in("tenant-a", "bert@example.com", &["task:view"]).await;
    list(&served, &known).await.result();
    let folder = platform.folder;
    platform.running.shutdown().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    list(&served, &known).await.result();
    let waits = list(&served, &unknown).await;
    assert!(waits.refused(503, "FM-MCP-TOKEN-UNCONFIRMED").headers.contains_key(RETRY_AFTER));
    drop(folder);
}

#[tokio::test]
async fn every_bad_token_has_its_status_and_its_challenge() {
    let (platform, issuer) = (TestPlatform::start().await, Issuer::start().await);
    let served = before(&platform, Admission::Bearer(Arc::new(issuer.verifier()))).await;
    let now = Timestamp::now().millis() / 1000;
    assert!(names(&list(&served, &issuer.token(&header(), &claims())).await).contains(&"tasks_list"));

    let evil = "https://evil.example";
    let mut bad: Vec<(String, &str)> = [
        (json!({ "aud": evil }), "FM-MCP-TOKEN-AUDIENCE"),
        (json!({ "aud": null }), "FM-MCP-TOKEN-AUDIENCE"),
        (json!({ "iss": evil }), "FM-MCP-TOKEN-ISSUER"),
        (json!({ "iss": null }), "FM-MCP-TOKEN-ISSUER"),
        (json!({ "exp": now - 31 }), "FM-MCP-TOKEN-EXPIRED"),
        (json!({ "exp": null }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "nbf": now + 60 }), "FM-MCP-TOKEN-NOT-YET"),
        (json!({ "tenantId": null }), "FM-MCP-TOKEN-TENANT"),
        (json!({ "tenant_id": "another-to-hide" }), "FM-MCP-TOKEN-TENANT"),
        (json!({ "tenantId": ["a-tenant-to-hide", "another-to-hide"] }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "typ": "refresh" }), "FM-MCP-TOKEN-USE"),
        (json!({ "token_use": "id" }), "FM-MCP-TOKEN-USE"),
        (json!({ "more": "x".repeat(12_500) }), "FM-MCP-TOKEN-TOO-LONG"),
    ]
    .into_iter()
    .map(|(changes, code)| (issuer.token(&header(), &but(claims(), &changes)), code))
    .collect();
    for (changes, code) in [
        (json!({ "alg": "none" }), "FM-MCP-TOKEN-ALGORITHM"),
        (json!({ "alg": "HS256" }), "FM-MCP-TOKEN-ALGORITHM"),
        (json!({ "alg": "RS256" }), "FM-MCP-TOKEN-ALGORITHM"),
        (json!({ "kid": "key-to-hide" }), "FM-MCP-TOKEN-KEY"),
        (json!({ "jku": evil }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "jwk": { "kty": "OKP" } }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "x5u": evil }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "crit": ["exp"] }), "FM-MCP-TOKEN-MALFORMED"),
    ] {
        bad.push((issuer.token(&but(header(), &changes), &claims()), code));
    }
    let public = hmac::Key::new(hmac::HMAC_SHA256, issuer.key.public_key().as_ref());
    let confused = signed(&but(header(), &json!({ "alg": "HS256" })), &claims(), |message| hmac::sign(&public, message).as_ref().to_vec());
    bad.push((confused, "FM-MCP-TOKEN-ALGORITHM"));
    let foreign = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    bad.push((signed(&header(), &claims(), |message| foreign.sign(message).as_ref().to_vec()), "FM-MCP-TOKEN-SIGNATURE"));
    let unsigned = issuer.token(&but(header(), &json!({ "alg": "none" })), &claims());
    bad.push((format!("{}.", unsigned.rsplit_once('.').unwrap().0), "FM-MCP-TOKEN-MALFORMED"));
    bad.push(("no-token-at-all".to_owned(), "FM-MCP-TOKEN-MALFORMED"));

    for (token, code) in &bad {
        let refused = list(&served, token).await;
        assert_eq!(refused.refused(401, code).challenge(), "Bearer realm=\"flowmaster-mcp\", error=\"invalid_token\"", "{code}");
    }
    assert_eq!(issuer.fetched.load(Ordering::SeqCst), 1, "an unknown key causes no fetch within half a minute");
    let session = served.open(&issuer.token(&header(), &claims())).await;
    for (token, code) in &bad {
        answer(served.legacy(token, &session, "tools/list", &json!({}))).await.refused(401, code);
    }
}

#[tokio::test]
async fn keys_that_are_down_slow_huge_wrong_or_elsewhere_let_nobody_in_until_they_are_there() {
    let (platform, issuer) = (TestPlatform::start().await, Issuer::start().await);
    let token = issuer.token(&header(), &claims());
    for (publishes, longest) in [
        (Publishes::Nothing, 3),
        (Publishes::Text("<html>"), 3),
        (Publishes::Text("{\"keys\": []}"), 3),
        (Publishes::Spaces(300_000), 3),
        (Publishes::Elsewhere, 3),
        (Publishes::Slowly, 8),
    ] {
        *issuer.publishes.lock().unwrap() = publishes;
        let served = before(&platform, Admission::Bearer(Arc::new(issuer.verifier()))).await;
        let begun = Instant::now();
        let refused = list(&served, &token).await;
        let wait = refused.refused(503, "FM-MCP-KEYS-AWAY").headers[RETRY_AFTER].to_str().unwrap().to_owned();
        assert_eq!(wait, "5");
        assert!(begun.elapsed() < Duration::from_secs(longest), "{:?}", begun.elapsed());
    }
    // Nobody listens where the keys should be.
    let mut rules = Rules::new(Mode::FirstParty);
    rules.audiences_any = vec![RESOURCE.to_owned()];
    let nowhere = KeySet::published(Arc::new(HttpKeys::new("http://127.0.0.1:9/keys").unwrap()));
    let served = before(&platform, Admission::Bearer(Arc::new(Verifier::new(rules, nowhere)))).await;
    list(&served, &token).await.refused(503, "FM-MCP-KEYS-AWAY");

    *issuer.publishes.lock().unwrap() = Publishes::Nothing;
    let served = before(&platform, Admission::Bearer(Arc::new(issuer.verifier()))).await;
    list(&served, &token).await.refused(503, "FM-MCP-KEYS-AWAY");
    *issuer.publishes.lock().unwrap() = Publishes::Keys(jwks(&issuer.key));
    tokio::time::sleep(Duration::from_secs(6)).await;
    list(&served, &token).await.result();
    *issuer.publishes.lock().unwrap() = Publishes::Nothing;
    list(&served, &issuer.token(&header(), &but(claims(), &json!({ "jti": "2" })))).await.result();
}

/// The program over HTTP, and all that it logs.
struct Program {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Program {
    fn start(home: &std::path::Path, settings: &[(&str, &str)]) -> Self {
        let mut command = program(home);
        command.envs(settings.iter().copied()).args(["serve", "--http", "0"]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let (log, mut line) = (Arc::new(Mutex::new(String::new())), String::new());
        while !line.contains("flowmaster-mcp serves") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended: {}", log.lock().unwrap());
            log.lock().unwrap().push_str(&line);
        }
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        let rest = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = lines.read(&mut chunk) {
                rest.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..length]));
            }
        });
        Self { child, address, log }
    }

    async fn status(&self, token: &str) -> u16 {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
        let request = http().post(format!("http://{}/mcp", self.address)).bearer_auth(token);
        let request = request.header("accept", "application/json, text/event-stream").header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap().status().as_u16()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn before_a_real_platform_its_tokens_come_in_and_no_log_holds_one() {
    let platform = TestPlatform::start().await;
    let home = tempfile::tempdir().unwrap();
    let url = platform.running.url();
    let settings = [("FLOWMASTER_URL", url.as_str()), ("FLOWMASTER_AUTH_MODE", "first-party"), ("FLOWMASTER_LOG", "trace")];
    let program = Program::start(home.path(), &settings);
    let good = platform.signed_in("tenant-a", "anna@example.com", &["task:view"]).await;
    let (message, signature) = good.rsplit_once('.').unwrap();
    let tampered = format!("{message}.{}", signature.chars().rev().collect::<String>());
    let huge = "x".repeat(100_000);
    let statuses = [
        program.status(&good).await,
        program.status(&tampered).await,
        program.status(&platform.owner()).await,
        program.status(&huge).await,
    ];
    assert_eq!(statuses[..3], [200, 401, 401]);
    assert!([401, 431].contains(&statuses[3]), "{statuses:?}");
    let log = program.log.lock().unwrap().clone();
    assert!(log.contains("FM-MCP-TOKEN-SIGNATURE"), "{log}");
    for secret in good.split('.').chain(tampered.split('.')).chain([platform.owner().as_str(), &huge]) {
        let place = log.find(secret);
        assert!(place.is_none(), "{:?}", place.map(|place| &log[place.saturating_sub(600)..place + 20]));
    }
}

#[tokio::test]
async fn behind_an_exchange_a_revoked_token_is_noticed_and_an_outage_of_the_endpoint_is_none() {
    let platform = StandIn::start(|asked| async move {
        let is_exchanged = asked.header("authorization") == "Bearer exchanged-to-hide";
        let answer = match asked.path.as_str() {
            "/auth/validate" => json!({ "valid": is_exchanged, "claims": { "tenantId": "a-tenant-to-hide" } }),
            _ => json!({ "items": [] }),
        };
        let status = if is_exchanged { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        (status, axum::Json(answer)).into_response()
    })
    .await;
    let endpoint = Arc::new(Mutex::new((StatusCode::OK, json!({}))));
    let exchange = {
        let good = json!({ "access_token": "exchanged-to-hide", "token_type": "Bearer", "expires_in": 3600 });
        *endpoint.lock().unwrap() = (StatusCode::OK, good);
        let endpoint = Arc::clone(&endpoint);
        StandIn::start(move |_| {
            let (status, body) = endpoint.lock().unwrap().clone();
            async move { (status, axum::Json(body)).into_response() }
        })
        .await
    };
    let home = tempfile::tempdir().unwrap();
    let secret = "a shared secret of forty bytes or so, to hide";
    let program = Program::start(
        home.path(),
        &[
            ("FLOWMASTER_URL", platform.url.as_str()),
            ("FLOWMASTER_AUTH_MODE", "resource-server"),
            ("FLOWMASTER_PUBLIC_URL", RESOURCE),
            ("FLOWMASTER_AUTH_ISSUERS", ISSUER),
            ("FLOWMASTER_AUTH_SECRET", secret),
            ("FLOWMASTER_UPSTREAM_MODE", "exchange"),
            ("FLOWMASTER_UPSTREAM_TOKEN_URL", &format!("{}/token", exchange.url)),
            ("FLOWMASTER_UPSTREAM_CLIENT_ID", "flowmaster-mcp"),
            ("FLOWMASTER_VALIDATE_INTERVAL", "1"),
            ("FLOWMASTER_LOG", "trace"),
        ],
    );
    let served = Served::at(program.address);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let token = signed(&json!({ "alg": "HS256" }), &claims(), |message| hmac::sign(&key, message).as_ref().to_vec());
    let call = async || answer(served.modern(&token, "tools/call", &json!({ "name": "tasks_list", "arguments": {} }))).await;
    let works = async || assert_eq!(call().await.result()["isError"], false);
    let validated = || platform.asked().iter().filter(|asked| asked.path == "/auth/validate").count();
    works().await;
    works().await;
    let exchanged = exchange.asked().len();
    assert_eq!(validated(), exchanged, "one exchange serves the question and the calls behind it");

    // The endpoint is away when the token's turn comes: what it gave before goes on.
    *endpoint.lock().unwrap() = (StatusCode::SERVICE_UNAVAILABLE, json!({}));
    for _ in 0..1000 {
        works().await;
        if exchange.asked().len() > exchanged {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(exchange.asked().len() > exchanged, "it was asked again");
    works().await;

    // The token was revoked: what it was exchanged for is good for an hour yet, and does not count any more.
    *endpoint.lock().unwrap() = (StatusCode::BAD_REQUEST, json!({ "error": "invalid_grant" }));
    let mut last = call().await;
    for _ in 0..1000 {
        if last.status != 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        last = call().await;
    }
    last.refused(401, "FM-MCP-TOKEN-REVOKED");
    let before = platform.asked().len();
    list(&served, &token).await.refused(401, "FM-MCP-TOKEN-REVOKED");
    assert_eq!(platform.asked().len(), before, "nothing of it reaches the platform");
    let log = program.log.lock().unwrap().clone();
    assert!(log.contains("FM-MCP-TOKEN-REVOKED"), "{log}");
    for hidden in token.split('.').skip(1).chain([secret, "exchanged-to-hide"]) {
        assert!(!log.contains(hidden), "{hidden}: {log}");
    }
}

#[tokio::test]
async fn keys_over_plain_http_from_elsewhere_are_no_setting_to_start_with() {
    let home = tempfile::tempdir().unwrap();
    let mut command = binary(home.path());
    command.env("FLOWMASTER_JWKS_URL", "http://login.example/keys").stdin(Stdio::null());
    let output = command.args(["serve", "--http", "127.0.0.1:0"]).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("FM-CONFIG-JWKS-URL") && told.contains("https"), "{:?} {told}", output.status);
}
