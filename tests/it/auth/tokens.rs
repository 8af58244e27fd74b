//! Tokens over HTTP: whom the embedded platform's own let in, what every bad one is answered, and what happens while the
//! keys or the platform are away. Nothing of a token comes back in an answer.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
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
use flowmaster_mcp::server::{Authentication, Settings};
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};

use crate::support::mcp;
use crate::support::platform::{PASSWORD, TestPlatform};
use crate::support::raw::{Answer, Served, answer, serve};

pub(crate) const ISSUER: &str = "https://login.example";
pub(crate) const RESOURCE: &str = "https://mcp.example/mcp";

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

pub(crate) fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "JWT", "kid": "key-1" })
}

pub(crate) fn claims() -> Value {
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

pub(crate) async fn list(served: &Served, token: &str) -> Answer {
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

async fn before(platform: &TestPlatform, admission: Authentication) -> Served {
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
    assert_eq!(json!({ "tools": list(&served, &platform.owner()).await.result()["tools"] }), crate::support::mcp::all_tools());

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
    let served = before(&platform, mcp::admission_by_its_clock(&platform, Duration::from_secs(1))).await;
    let user = platform.signed_in("tenant-a", "anna@example.com", &["task:view"]).await;
    list(&served, &user).await.result();
    platform.post("/auth/logout", &user, json!({})).await;
    platform.clock.advance(2.0);
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
    let served = before(&platform, mcp::admission_by_its_clock(&platform, Duration::from_secs(1))).await;
    let known = platform.signed_in("tenant-a", "anna@example.com", &["task:view"]).await;
    let unknown = platform.signed_in("tenant-a", "bert@example.com", &["task:view"]).await;
    list(&served, &known).await.result();
    let (folder, clock) = (platform.folder, platform.clock);
    platform.running.shutdown().await;
    clock.advance(2.0);
    list(&served, &known).await.result();
    let waits = list(&served, &unknown).await;
    assert!(waits.refused(503, "FM-MCP-TOKEN-UNCONFIRMED").headers.contains_key(RETRY_AFTER));
    drop(folder);
}

#[tokio::test]
async fn every_bad_token_has_its_status_and_its_challenge() {
    let (platform, issuer) = (TestPlatform::start().await, Issuer::start().await);
    let served = before(&platform, Authentication::Bearer(Arc::new(issuer.verifier()))).await;
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
        let served = before(&platform, Authentication::Bearer(Arc::new(issuer.verifier()))).await;
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
    let served = before(&platform, Authentication::Bearer(Arc::new(Verifier::new(rules, nowhere)))).await;
    list(&served, &token).await.refused(503, "FM-MCP-KEYS-AWAY");

    *issuer.publishes.lock().unwrap() = Publishes::Nothing;
    let passed = Arc::new(AtomicI64::new(0));
    let time = Arc::clone(&passed);
    let clock = Arc::new(move || Timestamp::now().millis().div_euclid(1000) + time.load(Ordering::Relaxed));
    let served = before(&platform, Authentication::Bearer(Arc::new(issuer.verifier().clock(clock)))).await;
    list(&served, &token).await.refused(503, "FM-MCP-KEYS-AWAY");
    *issuer.publishes.lock().unwrap() = Publishes::Keys(jwks(&issuer.key));
    passed.store(6, Ordering::Relaxed);
    list(&served, &token).await.result();
    *issuer.publishes.lock().unwrap() = Publishes::Nothing;
    list(&served, &issuer.token(&header(), &but(claims(), &json!({ "jti": "2" })))).await.result();
}
