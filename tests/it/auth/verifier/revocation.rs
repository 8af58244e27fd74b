//! When the platform is asked whether it still takes a token, and what its answer, its silence and an asker who goes away do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowmaster_mcp::auth::{Admit as _, Caller, Confirm, KeySet, Verifier};
use flowmaster_mcp::error::{Error, Kind, Result};
use futures_util::future::BoxFuture;
use serde_json::json;

use super::{Publication, Signer, Time, but, claims, code, first_party, resource_server};

/// A platform that is asked about tokens.
struct Platform {
    answer: Mutex<Option<bool>>,
    asked: AtomicUsize,
}

impl Platform {
    fn saying(answer: Option<bool>) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(answer), asked: AtomicUsize::new(0) })
    }
}

impl Confirm for Platform {
    fn confirm<'a>(&'a self, _: &'a Arc<Caller>) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.answer.lock().unwrap().ok_or_else(|| Error::new(Kind::Unavailable, "AWAY", "away"))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_platform_is_asked_once_an_interval_and_its_no_counts() {
    let (signer, time) = (Signer::ed(1), Time::now());
    let platform = Platform::saying(Some(true));
    let keys = KeySet::published(Publication::of(&[signer.jwk("key")]));
    let verifier = Verifier::new(resource_server(), keys).confirmed_by(platform.clone(), Duration::from_mins(1));
    let verifier = Arc::new(time.of(verifier));
    let token = signer.token("key", &claims());
    let asking = (0..50).map(|_| {
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        tokio::spawn(async move { code(&verifier, &token).await })
    });
    for answer in futures_util::future::join_all(asking.collect::<Vec<_>>()).await {
        assert_eq!(answer.unwrap(), "admitted");
    }
    time.pass(59);
    assert_eq!(code(&verifier, &token).await, "admitted");
    assert_eq!(platform.asked.load(Ordering::SeqCst), 1);
    *platform.answer.lock().unwrap() = None;
    time.pass(1);
    assert_eq!(code(&verifier, &token).await, "admitted", "once confirmed it stays good while nobody can be asked");
    assert_eq!(code(&verifier, &token).await, "admitted");
    assert_eq!(platform.asked.load(Ordering::SeqCst), 2);
    let other = signer.token("key", &but(json!({ "jti": "2" })));
    let refused = verifier.admit(&other).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (Kind::Unavailable, "FM-MCP-TOKEN-UNCONFIRMED"));
    *platform.answer.lock().unwrap() = Some(false);
    time.pass(5);
    for _ in 0..3 {
        assert_eq!(code(&verifier, &token).await, "FM-MCP-TOKEN-REVOKED");
    }
    assert_eq!(platform.asked.load(Ordering::SeqCst), 4);
    *platform.answer.lock().unwrap() = None;
    time.pass(60);
    assert_eq!(code(&verifier, &token).await, "FM-MCP-TOKEN-REVOKED", "an outage gives nothing back");
}

/// A platform that thinks for as long as the test wants.
#[derive(Default)]
struct Thinking {
    asked: AtomicUsize,
    done: tokio::sync::Notify,
}

impl Confirm for Thinking {
    fn confirm<'a>(&'a self, _: &'a Arc<Caller>) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.done.notified().await;
            Ok(false)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_the_platform_first_may_go_away_too() {
    let signer = Signer::ed(1);
    let platform = Arc::new(Thinking::default());
    let keys = KeySet::published(Publication::of(&[signer.jwk("key")]));
    let verifier = Verifier::new(resource_server(), keys).confirmed_by(platform.clone(), Duration::from_mins(1));
    let verifier = Arc::new(Time::now().of(verifier));
    let token = signer.token("key", &claims());
    let ask = || {
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        tokio::spawn(async move { code(&verifier, &token).await })
    };
    let first = ask();
    while platform.asked.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = ask();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!second.is_finished(), "it waits for the answer to the same question");
    platform.done.notify_one();
    assert_eq!(second.await.unwrap(), "FM-MCP-TOKEN-REVOKED");
    assert_eq!(platform.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn in_first_party_mode_a_token_that_does_not_say_whose_it_is_must_be_confirmed() {
    let signer = Signer::ed(1);
    let publication = Publication::of(&[signer.jwk("key")]);
    let named = signer.token("key", &but(json!({ "aud": "flowmaster" })));
    let unnamed = [json!({ "iss": null, "aud": null }), json!({ "aud": null }), json!({ "iss": null, "aud": "flowmaster-mcp" })];
    for (platform, expected) in [
        (Some(Platform::saying(Some(true))), "admitted"),
        (Some(Platform::saying(Some(false))), "FM-MCP-TOKEN-REVOKED"),
        (Some(Platform::saying(None)), "FM-MCP-TOKEN-UNCONFIRMED"),
        (None, "FM-MCP-TOKEN-ISSUER"),
    ] {
        let mut verifier = Verifier::new(first_party(), KeySet::published(publication.clone()));
        if let Some(platform) = &platform {
            verifier = verifier.confirmed_by(platform.clone(), Duration::ZERO);
        }
        let verifier = Time::now().of(verifier);
        assert_eq!(code(&verifier, &named).await, "admitted");
        assert_eq!(platform.as_ref().map_or(0, |platform| platform.asked.load(Ordering::SeqCst)), 0);
        for changes in &unnamed {
            let token = signer.token("key", &but(changes.clone()));
            assert_eq!(code(&verifier, &token).await, expected, "{changes}");
            assert_eq!(code(&verifier, &token).await, expected, "{changes}");
        }
        assert_eq!(
            platform.map_or(0, |platform| platform.asked.load(Ordering::SeqCst)),
            if expected == "FM-MCP-TOKEN-ISSUER" { 0 } else { 3 }
        );
        assert_eq!(code(&verifier, &signer.token("key", &claims())).await, "FM-MCP-TOKEN-AUDIENCE", "an audience that is there counts");
    }
}
