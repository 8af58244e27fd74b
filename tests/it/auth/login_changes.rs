//! Logins that change under a server that runs: somebody else signs in on the same file, or the file takes no more pairs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use flowmaster_mcp::api::auth::Validate;
use flowmaster_mcp::auth::Principal as _;
use flowmaster_mcp::client::credentials::login::{Grant, Source, Store};
use flowmaster_mcp::server::{App, Options, Settings};
use serde_json::{Value, json};

use crate::support::home::{ADA, Home, login_at, login_of};
use crate::support::mcp::{self, Meanwhile, call, revisions, text};
use crate::support::program::REVISIONS;
use crate::support::standin::StandIn;

/// A home whose platform knows three users who may do everything, two of them by one name.
async fn home() -> Home {
    let home = Home::new().await;
    for (tenant, user) in [("acme", "anna"), ("acme", "bert"), ("globex", "bert")] {
        home.platform.user(tenant, user, &[], &["*"]).await;
    }
    home
}

/// The names of a tenant's customers.
async fn customers(home: &Home, tenant: &str) -> Vec<String> {
    let reader = home.platform.login(tenant, "bert").await;
    let found = home.platform.get("/entities/customer", &reader).await.ok();
    let mut names: Vec<String> =
        found["items"].as_array().unwrap().iter().map(|record| record["data"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn customer(name: &str) -> Value {
    json!({ "type": "customer", "data": { "name": name } })
}

#[tokio::test]
async fn what_one_user_began_is_not_done_by_another_who_signed_in_meanwhile() {
    for (revision, ended) in REVISIONS.into_iter().zip([false, true]) {
        let home = home().await;
        home.login_as("acme", "anna").await;
        let mut host = home.host_of(revision, &[]).await;
        host.good("entities_insert", customer("1 by anna")).await;
        let anna = host.good("auth_validate", json!({})).await["claims"]["sub"].clone();

        // The token of the one who was signed in ends by itself, or is ended by the one who signs in.
        if ended {
            home.pass_two_hours();
        }
        home.login_as("acme", "bert").await;
        let told = host.bad("entities_insert", customer("2 meant by anna")).await;
        assert!(told.contains("FM-MCP-LOGIN-CHANGED") && told.contains("nothing was done"), "{told}");
        host.good("entities_insert", customer("3 by bert")).await;
        assert_ne!(host.good("auth_validate", json!({})).await["claims"]["sub"], anna);
        assert_eq!(customers(&home, "acme").await, ["1 by anna", "3 by bert"]);

        // Whoever signs in once more, or is renewed, stays the same.
        home.login_as("acme", "bert").await;
        host.good("entities_insert", customer("4 by bert")).await;
        home.pass_two_hours();
        host.good("entities_insert", customer("5 by bert")).await;

        // The same name in another tenant is somebody else.
        home.login_as("globex", "bert").await;
        let told = host.bad("entities_insert", customer("6 meant for acme")).await;
        assert!(told.contains("FM-MCP-LOGIN-CHANGED"), "{told}");
        host.good("entities_insert", customer("7 for globex")).await;
        assert_eq!(customers(&home, "acme").await, ["1 by anna", "3 by bert", "4 by bert", "5 by bert"]);
        assert_eq!(customers(&home, "globex").await, ["7 for globex"]);
    }
}

#[tokio::test]
async fn what_a_person_agreed_to_is_not_done_as_another_who_signed_in_while_it_was_asked() {
    for revision in revisions() {
        let home = Arc::new(home().await);
        home.login_as("acme", "anna").await;
        let boss = home.platform.login("acme", "bert").await;
        let record = home.platform.post("/entities/customer", &boss, json!({ "data": { "name": "Acme" } })).await.ok();
        let (login, client, _) = login_of(&home, Source::Stored(home.store()));
        let app = App::new(Options { client, settings: Settings::default() }).unwrap();
        let meanwhile: Meanwhile = {
            let home = Arc::clone(&home);
            Arc::new(move || {
                let home = Arc::clone(&home);
                Box::pin(async move { drop(home.login_as("acme", "bert").await) })
            })
        };
        let host = mcp::Host::after(meanwhile);
        let (session, _) = mcp::over_stdio(app, Arc::new(login), revision, host.clone()).await;
        let refused = call(&session, "entities_delete", json!({ "type": "customer", "id": record["id"] })).await;
        assert!(refused.is_error == Some(true) && text(&refused).starts_with("FM-MCP-LOGIN-CHANGED"), "{}", text(&refused));
        assert_eq!(host.asked().len(), 1);
        assert_eq!(customers(&home, "acme").await, ["Acme"]);
    }
}

#[tokio::test]
async fn a_token_that_says_nothing_is_followed_by_one_that_says_whose_it_is() {
    let platform = StandIn::start(|asked| async move {
        let user = json!({ "id": "user-1", "email": ADA, "roles": [], "permissions": ["*"] });
        match (asked.path.as_str(), asked.header("authorization")) {
            ("/auth/refresh", _) => {
                axum::Json(json!({ "accessToken": "opaque-2", "refreshToken": "next", "expiresIn": 3600, "user": user })).into_response()
            }
            (_, "Bearer opaque-2") => axum::Json(json!({ "valid": true })).into_response(),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let refresh = "first".into();
    let grant = Grant::of_settings(&"opaque-1".into(), Some(&refresh), Some("acme")).unwrap();
    let (login, client, asked) =
        login_at(&platform.url, Source::Given(Box::new(grant), Some(Store::of_refresh_token(folder.path(), &refresh))));
    let before = login.caller().await.unwrap();
    assert!(client.send(&before, &Validate {}).await.unwrap().valid, "nobody else signed in");
    let after = login.caller().await.unwrap();
    assert!(before.is_nameless());
    assert_eq!((after.subject.as_str(), after.tenant.as_str(), asked.load(Ordering::SeqCst)), ("user-1", "acme", 1));
}

#[tokio::test]
async fn a_pair_that_cannot_be_written_lives_on_in_its_process_and_no_token_is_spent_twice() {
    for stored in [true, false] {
        let home = Home::new().await;
        home.login().await;
        let (source, again, store, first) = if stored {
            let first = home.kept()["refreshToken"].as_str().unwrap().to_owned();
            (Source::Stored(home.store()), Source::Stored(home.store()), home.store(), first)
        } else {
            let (access, refresh) = home.pair().await;
            let store = Store::of_refresh_token(&home.data(), &refresh.clone().into());
            let grant = || Box::new(Grant::of_settings(&access.clone().into(), Some(&refresh.clone().into()), None).unwrap());
            (Source::Given(grant(), Some(store.clone())), Source::Given(grant(), Some(store.clone())), store, refresh)
        };
        let before = std::fs::read(store.file()).ok();
        // A folder stands where the new file is written before it takes the old one's place.
        let name = store.file().file_stem().unwrap().to_str().unwrap().to_owned();
        let in_the_way = store.file().with_file_name(format!(".{name}.new"));
        drop(store.lock().await.unwrap());
        std::fs::create_dir(&in_the_way).unwrap();

        let (login, client, asked) = login_of(&home, source);
        for round in 1..=3 {
            let caller = login.caller().await.unwrap();
            home.pass_two_hours();
            assert!(client.send(&caller, &Validate {}).await.unwrap().valid);
            assert_eq!((asked.load(Ordering::SeqCst), std::fs::read(store.file()).ok()), (round, before.clone()));
        }

        // The file takes pairs again: the next one is kept, and another process goes on with it.
        std::fs::remove_dir(&in_the_way).unwrap();
        let caller = login.caller().await.unwrap();
        home.pass_two_hours();
        assert!(client.send(&caller, &Validate {}).await.unwrap().valid);
        assert_eq!(asked.load(Ordering::SeqCst), 4);
        assert_ne!(std::fs::read(store.file()).ok(), before);
        let (other, elsewhere, asked) = login_of(&home, again);
        for round in 0..=1 {
            let caller = other.caller().await.unwrap();
            assert!(elsewhere.send(&caller, &Validate {}).await.unwrap().valid);
            assert_eq!(asked.load(Ordering::SeqCst), round);
            home.pass_two_hours();
        }

        // Had the first one been spent twice, the login would have ended then, as it does now.
        let spent = home.platform.post("/auth/refresh", "", json!({ "refreshToken": first })).await;
        assert_eq!(spent.status, 401, "{}", spent.body);
        let caller = other.caller().await.unwrap();
        assert_eq!(elsewhere.send(&caller, &Validate {}).await.unwrap_err().code(), "FM-MCP-LOGIN-ENDED");
    }
}

#[tokio::test]
async fn a_login_on_the_file_counts_for_more_than_a_pair_that_could_not_be_written() {
    let home = home().await;
    home.login_as("acme", "anna").await;
    let store = home.store();
    let name = store.file().file_stem().unwrap().to_str().unwrap().to_owned();
    let in_the_way = store.file().with_file_name(format!(".{name}.new"));
    std::fs::create_dir(&in_the_way).unwrap();
    let (login, client, _) = login_of(&home, Source::Stored(store));
    let anna = login.caller().await.unwrap();
    home.pass_two_hours();
    assert!(client.send(&anna, &Validate {}).await.unwrap().valid);
    std::fs::remove_dir(&in_the_way).unwrap();
    home.login_as("acme", "bert").await;
    home.pass_two_hours();
    let anna = login.caller().await.unwrap();
    assert_eq!(client.send(&anna, &Validate {}).await.unwrap_err().code(), "FM-MCP-LOGIN-CHANGED");
    let bert = login.caller().await.unwrap();
    assert_ne!(anna.subject, bert.subject);
    assert!(client.send(&bert, &Validate {}).await.unwrap().valid);
}
