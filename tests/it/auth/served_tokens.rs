//! Tokens before the real program over HTTP, as an operator sets it up: whom it lets in, what it hears of revocations
//! behind an exchange, and that no log holds a token.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::json;

use crate::auth::tokens::{ISSUER, RESOURCE, claims, list, signed};
use crate::support::platform::{TestPlatform, http};
use crate::support::program::binary;
use crate::support::raw::{Served, answer};
use crate::support::served::ServedProgram;
use crate::support::standin::{StandIn, becomes};

/// The status of a session's beginning by a token.
async fn status(program: &ServedProgram, token: &str) -> u16 {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
    let request = http().post(format!("http://{}/mcp", program.address)).bearer_auth(token);
    let request = request.header("accept", "application/json, text/event-stream").header("content-type", "application/json");
    request.body(body.to_string()).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn before_a_real_platform_its_tokens_come_in_and_no_log_holds_one() {
    let platform = TestPlatform::start().await;
    let home = tempfile::tempdir().unwrap();
    let url = platform.running.url();
    let settings = [("FLOWMASTER_URL", url.as_str()), ("FLOWMASTER_AUTH_MODE", "first-party"), ("FLOWMASTER_LOG", "trace")];
    let program = ServedProgram::start(home.path(), &settings, &[]);
    let good = platform.signed_in("tenant-a", "anna@example.com", &["task:view"]).await;
    let (message, signature) = good.rsplit_once('.').unwrap();
    let tampered = format!("{message}.{}", signature.chars().rev().collect::<String>());
    let huge = "x".repeat(100_000);
    let statuses = [
        status(&program, &good).await,
        status(&program, &tampered).await,
        status(&program, &platform.owner()).await,
        status(&program, &huge).await,
    ];
    assert_eq!(statuses[..3], [200, 401, 401]);
    assert!([401, 431].contains(&statuses[3]), "{statuses:?}");
    let log = program.log();
    assert!(log.contains("FM-MCP-TOKEN-SIGNATURE"), "{log}");
    for secret in good.split('.').chain(tampered.split('.')).chain([platform.owner().as_str(), &huge]) {
        let place = log.find(secret);
        assert!(place.is_none(), "{:?}", place.map(|place| &log[place.saturating_sub(600)..place + 20]));
    }
}

#[tokio::test]
async fn keys_and_validation_are_asked_of_the_auth_service_where_it_has_a_url_of_its_own() {
    let platform = TestPlatform::start().await;
    let gateway = StandIn::start(|_| async { StatusCode::NOT_FOUND.into_response() }).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("services.toml");
    let services = format!("[discovery]\nmode = 'services'\n[discovery.services]\nauthentication = '{}'\n", platform.running.url());
    std::fs::write(&file, services).unwrap();
    let settings = [("FLOWMASTER_URL", gateway.url.as_str()), ("FLOWMASTER_AUTH_MODE", "first-party")];
    let program = ServedProgram::start(home.path(), &settings, &["--config", file.to_str().unwrap()]);
    let good = platform.signed_in("tenant-a", "anna@example.com", &["task:view"]).await;
    assert_eq!([status(&program, &good).await, status(&program, &platform.owner()).await], [200, 401]);
    let asked: Vec<String> = gateway.asked().into_iter().map(|asked| asked.path).collect();
    assert!(asked.iter().all(|path| !path.contains("jwks") && !path.starts_with("/auth")), "{asked:?}");
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
    let program = ServedProgram::start(
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
        &[],
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
    // What it writes is read beside this.
    becomes(|| program.log().contains("FM-MCP-TOKEN-REVOKED")).await.unwrap_or_else(|_| panic!("{}", program.log()));
    let log = program.log();
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
