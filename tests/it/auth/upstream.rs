//! How calls go on to the platform: in every mode they say whose they are, by a token that belongs there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flowmaster_mcp::api::{catalogue, tasks};
use flowmaster_mcp::auth::{Caller, Confirm as _, Credential};
use flowmaster_mcp::client::{
    CallOptions, Client, Configured, Exchange, Fixed, Mode, ServiceAccounts, TokenEndpoint, TokenStatus, Upstream,
};
use flowmaster_mcp::error::{Error, Kind};
use flowmaster_mcp::server::{App, Fallback, Options, Settings};
use serde_json::{Value, json};

use crate::support::platform::TestPlatform;
use crate::support::raw::{Known, answer, serve, user};
use crate::support::standin::{Asked, StandIn};

/// A token of a tenant that nobody signed.
fn token(tenant: &str, name: &str) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(json!({ "tenantId": tenant, "sub": name }).to_string()))
}

fn caller(tenant: &str, name: &str) -> Arc<Caller> {
    Arc::new(Caller { credential: Credential::Bearer(token(tenant, name).into()), ..user(tenant, name, &["*"]) })
}

fn accounts() -> Arc<dyn ServiceAccounts> {
    let tokens = BTreeMap::from([("tenant-2".to_owned(), token("tenant-2", "service").into())]);
    Arc::new(Configured::new(Some(token("tenant-1", "service").into()), tokens).unwrap().unwrap())
}

fn client(platform: &StandIn, mode: Mode) -> Client {
    Client::builder(Arc::new(Fixed::new(&platform.url).unwrap())).upstream(Upstream::new(mode, Some(accounts()))).build()
}

/// A platform without tasks.
async fn empty_platform() -> StandIn {
    StandIn::start(|_| async { Json(json!({ "items": [] })).into_response() }).await
}

fn endpoint(issuer: &StandIn) -> TokenEndpoint {
    TokenEndpoint {
        url: format!("{}/token", issuer.url),
        client_id: "flowmaster mcp".to_owned(),
        client_secret: Some("s3cret:/".into()),
        audience: "flowmaster".to_owned(),
    }
}

/// Gives each caller a token of its own, for a number of seconds.
async fn issuer(expires_in: u64) -> StandIn {
    StandIn::start(move |asked| async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let subject = form(&asked).remove("subject_token").unwrap();
        let answer = json!({
            "access_token": format!("exchanged-{}", subject.len()), "token_type": "Bearer", "expires_in": expires_in,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        });
        Json(answer).into_response()
    })
    .await
}

fn form(asked: &Asked) -> BTreeMap<String, String> {
    reqwest::Url::parse(&format!("http://x/?{}", asked.body)).unwrap().query_pairs().into_owned().collect()
}

async fn list(client: &Client, caller: &Arc<Caller>) -> Result<(), Error> {
    client.send(caller, &tasks::List::default()).await.map(drop)
}

#[tokio::test]
async fn every_call_says_whose_it_is_in_every_mode() {
    let (platform, issuer) = (empty_platform().await, issuer(3600).await);
    let exchange = Exchange::new(endpoint(&issuer)).unwrap();
    let anna = caller("tenant-1", "anna");
    let own = token("tenant-1", "anna");
    let exchanged = format!("exchanged-{}", own.len());
    let service = token("tenant-1", "service");
    let itself = Arc::new(Caller { credential: Credential::Service, ..user("tenant-2", "flowmaster-mcp", &["*"]) });
    let in_two = token("tenant-2", "service");
    let modes = [
        (Mode::Propagate, &anna, &own, "tenant-1", ""),
        (Mode::Exchange(exchange), &anna, &exchanged, "tenant-1", ""),
        (Mode::Service { on_behalf_of: true }, &anna, &service, "tenant-1", "anna"),
        (Mode::Service { on_behalf_of: false }, &anna, &service, "tenant-1", "anna"),
        (Mode::Propagate, &itself, &in_two, "tenant-2", ""),
    ];
    for (mode, caller, token, tenant, on_behalf_of) in modes {
        let client = client(&platform, mode);
        list(&client, caller).await.unwrap();
        let asked = platform.asked().pop().unwrap();
        assert_eq!(asked.header("authorization"), format!("Bearer {token}"));
        assert_eq!(asked.header("x-tenant-id"), tenant);
        assert_eq!(asked.header("x-service-name"), "flowmaster-mcp");
        assert_eq!(asked.header("x-on-behalf-of"), on_behalf_of);
        let trace = asked.header("traceparent");
        assert!(trace.len() == 55 && trace.starts_with("00-"), "{trace}");
        let row = json!({ "actor": "a", "action": "contract.signed", "resourceType": "contract", "resourceId": "c-1" });
        let log = catalogue().get("audit_log").unwrap();
        client.call(caller, log, row.as_object().unwrap().clone(), CallOptions::default()).await.unwrap();
        let body: Value = serde_json::from_str(&platform.asked().pop().unwrap().body).unwrap();
        assert_eq!(body["tenantId"], tenant, "a body that names the tenant names the caller's");
    }
    let nobody = Arc::new(Caller { credential: Credential::Service, ..user("tenant-3", "flowmaster-mcp", &["*"]) });
    let before = platform.asked().len();
    let error = list(&client(&platform, Mode::Propagate), &nobody).await.unwrap_err();
    assert_eq!((error.code(), platform.asked().len()), ("FM-MCP-NO-ACCOUNT", before));
}

#[tokio::test]
async fn a_token_is_exchanged_once_however_many_calls_wait_and_for_one_caller_alone() {
    let (platform, issuer) = (empty_platform().await, issuer(3600).await);
    let client = client(&platform, Mode::Exchange(Exchange::new(endpoint(&issuer)).unwrap()));
    let (anna, bert) = (caller("tenant-1", "anna"), caller("tenant-1", "bertram"));
    let calls = (0..50).map(|index| list(&client, if index % 2 == 0 { &anna } else { &bert }));
    futures_util::future::try_join_all(calls).await.unwrap();
    let asked = issuer.asked();
    assert_eq!(asked.len(), 2, "one exchange for each");
    let form = form(&asked[0]);
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(form["subject_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(form["audience"], "flowmaster");
    assert!(!form.contains_key("client_secret"));
    assert_eq!(asked[0].header("authorization"), format!("Basic {}", STANDARD.encode("flowmaster%20mcp:s3cret%3A%2F")));
    for asked in platform.asked() {
        let own = format!("Bearer exchanged-{}", token("tenant-1", "anna").len());
        let other = format!("Bearer exchanged-{}", token("tenant-1", "bertram").len());
        assert!([own, other].contains(&asked.header("authorization").to_owned()));
    }
}

#[tokio::test]
async fn a_token_that_ends_soon_or_was_refused_is_exchanged_anew() {
    let platform = StandIn::start(|asked| async move {
        let again = asked.header("authorization").ends_with("refused");
        if again { http::StatusCode::UNAUTHORIZED.into_response() } else { Json(json!({ "items": [] })).into_response() }
    })
    .await;
    let short = issuer(30).await;
    let by_short = client(&platform, Mode::Exchange(Exchange::new(endpoint(&short)).unwrap()));
    let anna = caller("tenant-1", "anna");
    for _ in 0..3 {
        list(&by_short, &anna).await.unwrap();
    }
    assert_eq!(short.asked().len(), 3, "a token is not used in its last minute");

    let fresh = Arc::new(AtomicUsize::new(0));
    let issuer = StandIn::start(move |_| {
        let name = if fresh.fetch_add(1, Ordering::Relaxed) == 0 { "refused" } else { "taken" };
        async move { Json(json!({ "access_token": name, "token_type": "bearer" })).into_response() }
    })
    .await;
    let client = client(&platform, Mode::Exchange(Exchange::new(endpoint(&issuer)).unwrap()));
    assert_eq!(list(&client, &anna).await.unwrap_err().kind(), Kind::Unauthenticated);
    list(&client, &anna).await.unwrap();
    list(&client, &anna).await.unwrap();
    assert_eq!(issuer.asked().len(), 2);
}

#[tokio::test]
async fn what_a_token_was_exchanged_for_is_exchanged_once_more_when_the_platform_refuses_it() {
    let good = Arc::new(AtomicUsize::new(1));
    let platform = {
        let good = Arc::clone(&good);
        StandIn::start(move |asked| {
            let is_good = asked.header("authorization") == format!("Bearer exchanged-{}", good.load(Ordering::SeqCst));
            let answer =
                if is_good { Json(json!({ "items": [] })).into_response() } else { http::StatusCode::UNAUTHORIZED.into_response() };
            std::future::ready(answer)
        })
        .await
    };
    let given = Arc::new(AtomicUsize::new(0));
    let issuer = StandIn::start(move |_| {
        let name = format!("exchanged-{}", given.fetch_add(1, Ordering::SeqCst) + 1);
        async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Json(json!({ "access_token": name, "token_type": "bearer", "expires_in": 3600 })).into_response()
        }
    })
    .await;
    let client = client(&platform, Mode::Exchange(Exchange::new(endpoint(&issuer)).unwrap()));
    let anna = caller("tenant-1", "anna");
    list(&client, &anna).await.unwrap();
    let asked = || (issuer.asked().len(), platform.asked().len());
    assert_eq!(asked(), (1, 1));

    // The platform has forgotten what it took before: those who call meanwhile share what it is exchanged for again.
    good.store(2, Ordering::SeqCst);
    futures_util::future::try_join_all((0..20).map(|_| list(&client, &anna))).await.unwrap();
    assert_eq!(asked().0, 2);
    list(&client, &anna).await.unwrap();
    assert_eq!(asked().0, 2);

    // It takes none of this caller's any more: once again, then refused.
    good.store(0, Ordering::SeqCst);
    let before = asked();
    let error = list(&client, &anna).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
    let said = format!("{error} {error:?}");
    assert!(!said.contains("exchanged-") && !said.contains("e30."), "{said}");
    assert_eq!(asked(), (before.0 + 1, before.1 + 2));
    // What was exchanged just now and is refused is not exchanged again in the same call.
    assert_eq!(list(&client, &anna).await.unwrap_err().kind(), Kind::Unauthenticated);
    assert_eq!(asked(), (before.0 + 2, before.1 + 3));
    good.store(before.0 + 3, Ordering::SeqCst);
    list(&client, &anna).await.unwrap();
}

#[tokio::test]
async fn what_a_token_endpoint_does_wrong_reaches_no_platform_and_shows_no_token() {
    fn with(status: u16, body: impl Into<String>) -> Response {
        (http::StatusCode::from_u16(status).unwrap(), body.into()).into_response()
    }
    let good = |token: &str| json!({ "access_token": token, "token_type": "Bearer" }).to_string();
    let foreign = good(&token("tenant-2", "anna"));
    let cases: Vec<(u16, String, &str)> = vec![
        (400, json!({ "error": "invalid_grant", "error_description": "topsecret" }).to_string(), "FM-MCP-EXCHANGE-TOKEN"),
        (401, json!({ "error": "invalid_client" }).to_string(), "FM-MCP-EXCHANGE-CLIENT"),
        (400, json!({ "error": "invalid_target" }).to_string(), "FM-MCP-EXCHANGE-REFUSED"),
        (401, String::new(), "FM-MCP-EXCHANGE-CLIENT"),
        (403, json!({ "error": "topsecret" }).to_string(), "FM-MCP-EXCHANGE-ANSWER"),
        (404, "<h1>topsecret</h1>".to_owned(), "FM-MCP-EXCHANGE-ANSWER"),
        (500, "topsecret".to_owned(), "FM-MCP-EXCHANGE-UNAVAILABLE"),
        (302, String::new(), "FM-MCP-EXCHANGE-ANSWER"),
        (200, "topsecret".to_owned(), "FM-MCP-EXCHANGE-ANSWER"),
        (200, "x".repeat(100_000), "FM-MCP-EXCHANGE-ANSWER"),
        (200, json!({ "access_token": "topsecret" }).to_string(), "FM-MCP-EXCHANGE-ANSWER"),
        (200, json!({ "access_token": "topsecret", "token_type": "N_A" }).to_string(), "FM-MCP-EXCHANGE-ANSWER"),
        (200, good("top secret"), "FM-MCP-EXCHANGE-ANSWER"),
        (200, good(&"t".repeat(20_000)), "FM-MCP-EXCHANGE-ANSWER"),
        (200, foreign, "FM-MCP-EXCHANGE-TENANT"),
    ];
    let platform = empty_platform().await;
    for (status, body, code) in cases {
        let shown = body.clone();
        let issuer = StandIn::start(move |_| std::future::ready(with(status, body.clone()))).await;
        let client = client(&platform, Mode::Exchange(Exchange::new(endpoint(&issuer)).unwrap()));
        let anna = caller("tenant-1", "anna");
        let all = futures_util::future::join_all((0..20).map(|_| list(&client, &anna))).await;
        for error in all.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.code(), code, "{status} {shown:.60}");
            let said = format!("{error} {error:?}");
            assert!(!said.contains("topsecret") && !said.contains("e30.") && !said.contains("s3cret"), "{said}");
        }
        assert_eq!(issuer.asked().len(), 1, "those that waited are told the same");
    }
    assert!(platform.asked().is_empty());

    let away = TokenEndpoint { url: "http://127.0.0.1:1/token".to_owned(), ..endpoint(&platform) };
    let client = client(&platform, Mode::Exchange(Exchange::new(away).unwrap()));
    let error = list(&client, &caller("tenant-1", "anna")).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("FM-MCP-EXCHANGE-UNREACHABLE", true));
    for url in ["http://login.example.com/token", "ftp://x/", "no url", "https://user:pw@login.example.com/token"] {
        let endpoint = TokenEndpoint { url: url.to_owned(), ..endpoint(&platform) };
        assert_eq!(Exchange::new(endpoint).map(drop).unwrap_err().code(), "FM-CONFIG-TOKEN-URL", "{url}");
    }
}

#[tokio::test]
async fn a_question_about_a_token_costs_one_exchange_and_one_answer_whatever_it_is() {
    for (expires_in, is_good) in [(3600, true), (3600, false), (30, true), (30, false)] {
        let platform = StandIn::start(move |_| {
            let answer =
                if is_good { Json(json!({ "valid": true })).into_response() } else { http::StatusCode::UNAUTHORIZED.into_response() };
            std::future::ready(answer)
        })
        .await;
        let issuer = issuer(expires_in).await;
        let validation = TokenStatus::new(client(&platform, Mode::Exchange(Exchange::new(endpoint(&issuer)).unwrap())));
        let anna = caller("tenant-1", "anna");
        for round in 1..=3 {
            assert_eq!(validation.confirm(&anna).await.unwrap(), is_good);
            assert_eq!((issuer.asked().len(), platform.asked().len()), (round, round), "{expires_in} {is_good}");
        }
        let exchanged = format!("Bearer exchanged-{}", token("tenant-1", "anna").len());
        assert!(platform.asked().iter().all(|asked| asked.header("authorization") == exchanged));
    }
}

#[tokio::test]
async fn what_was_exchanged_before_outlasts_everything_but_the_endpoints_own_no() {
    let said = |code: &str| json!({ "error": code }).to_string();
    let foreign = json!({ "access_token": token("tenant-2", "anna"), "token_type": "Bearer" }).to_string();
    let cases: Vec<(u16, String, Option<&str>)> = vec![
        (302, String::new(), None),
        (401, String::new(), None),
        (401, said("invalid_client"), None),
        (403, "<h1>Blocked</h1>".to_owned(), None),
        (404, json!({ "error": "Not Found" }).to_string(), None),
        (429, said("slow_down"), None),
        (503, said("temporarily_unavailable"), None),
        (200, "<h1>Soon back</h1>".to_owned(), None),
        (400, said("invalid_grant"), Some("FM-MCP-EXCHANGE-TOKEN")),
        (400, said("invalid_target"), Some("FM-MCP-EXCHANGE-REFUSED")),
        (200, foreign, Some("FM-MCP-EXCHANGE-TENANT")),
    ];
    let platform = StandIn::start(|_| async { Json(json!({ "valid": true, "items": [] })).into_response() }).await;
    for (status, body, refused) in cases {
        let good = json!({ "access_token": "exchanged", "token_type": "Bearer", "expires_in": 3600 }).to_string();
        let answers = Arc::new(Mutex::new((200, good)));
        let issuer = {
            let answers = Arc::clone(&answers);
            StandIn::start(move |_| {
                let (status, body) = answers.lock().unwrap().clone();
                std::future::ready((http::StatusCode::from_u16(status).unwrap(), body).into_response())
            })
            .await
        };
        let client = client(&platform, Mode::Exchange(Exchange::new(endpoint(&issuer)).unwrap()));
        let anna = caller("tenant-1", "anna");
        list(&client, &anna).await.unwrap();
        *answers.lock().unwrap() = (status, body.clone());
        let confirmed = TokenStatus::new(client.clone()).confirm(&anna).await;
        let listed = list(&client, &anna).await;
        assert_eq!(listed.as_ref().err().map(Error::code), refused, "{status} {body}");
        assert_ne!(confirmed.ok(), Some(true), "{status} {body}");
        assert_eq!(issuer.asked().len(), 2, "{status} {body}");
    }
}

/// A process with one task for a user.
async fn task_for(platform: &TestPlatform, tenant: &str, user: &str, admin: &str) -> String {
    let process = json!({ "name": "Approval", "nodes": [
        { "id": "start", "type": "start", "name": "Start" },
        { "id": "approve", "type": "human_task", "name": "Approve", "config": {
            "assignee": user,
            "form": { "fields": [{ "name": "decision", "type": "enum", "options": ["approve", "reject"], "required": true }] },
        } },
        { "id": "end", "type": "end", "name": "End" },
    ] });
    let id = platform.post("/processes/designs", admin, process).await.ok()["id"].as_str().unwrap().to_owned();
    platform.post(&format!("/processes/{id}/publish"), admin, json!({})).await.ok();
    platform.post("/executions", admin, json!({ "processId": id })).await.ok();
    for _ in 0..500 {
        let tasks = platform.get("/tasks", admin).await.ok();
        if let Some(task) = tasks["items"].as_array().unwrap().first() {
            return task["taskId"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no task came for {user} of {tenant}");
}

async fn service_token(platform: &TestPlatform, tenant: &str, permissions: &[&str]) -> String {
    let request = json!({ "name": "flowmaster-mcp", "tenantId": tenant, "permissions": permissions });
    platform.post("/service-tokens", &platform.owner(), request).await.ok()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_decision_by_the_servers_account_counts_as_the_persons_or_is_not_made() {
    let platform = TestPlatform::start().await;
    let admin = platform.signed_in("tenant-1", "admin", &["*"]).await;
    let anna = platform.user("tenant-1", "anna", &[], &["task:view", "task:approve"]).await;
    let task = task_for(&platform, "tenant-1", &anna, &admin).await;
    let service = service_token(&platform, "tenant-1", &["task:view", "task:approve", "audit:log"]).await;

    for (on_behalf_of, honoured) in [(false, false), (true, true)] {
        let accounts = Configured::new(Some(service.clone().into()), BTreeMap::new()).unwrap().unwrap();
        let upstream = Upstream::new(Mode::Service { on_behalf_of }, Some(Arc::new(accounts)));
        let client = Client::builder(Arc::new(Fixed::new(&platform.running.url()).unwrap())).upstream(upstream).build();
        let settings = Settings { confirm: Fallback::Host, ..Settings::default() };
        let app = App::new(Options { client, settings }).unwrap();
        let served = serve(app, Known::default().with("anna", user("tenant-1", &anna, &["task:*"])).admission(), |_| {}).await;
        let call = |name: &str, arguments: Value| served.modern("anna", "tools/call", &json!({ "name": name, "arguments": arguments }));

        let listed = answer(call("tasks_list", json!({}))).await;
        assert_eq!(listed.result()["structuredContent"]["items"][0]["taskId"], task.as_str());
        for (tool, arguments) in
            [("auth_logout", json!({})), ("permissions_list", json!({})), ("roles_create", json!({ "name": "r", "permissions": ["*"] }))]
        {
            let refused = answer(call(tool, arguments)).await;
            let text = refused.result()["content"][0]["text"].as_str().unwrap();
            assert!(text.starts_with("FM-MCP-AS-SERVICE") || text.starts_with("FM-MCP-FORBIDDEN"), "{tool}: {text}");
        }
        let decided = answer(call("tasks_respond", json!({ "id": task, "decision": "approve" }))).await;
        let text = decided.result()["content"][0]["text"].as_str().unwrap();
        if honoured {
            assert_eq!(decided.result()["isError"], false, "{text}");
        } else {
            assert!(text.starts_with("FM-MCP-DECIDE-AS-SERVICE"), "{text}");
        }
    }
    let rows = platform.get("/audit-logs?action=task.responded", &admin).await.ok();
    let row = &rows["items"][0];
    assert_eq!((row["actor"].as_str(), row["recordedBy"].as_str()), (Some(anna.as_str()), Some("service-flowmaster-mcp")), "{rows}");
}
