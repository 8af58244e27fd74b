//! Tokens of every kind before the verifier: each line of what is refused, and when keys and the platform are asked.

mod keys;
mod revocation;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use flowmaster_mcp::auth::{Admit as _, CallerKind, Credential, KeySet, KeySource, Mode, Rules, Verifier};
use flowmaster_mcp::error::{Error, Kind, Result};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;

/// Who signs tokens.
enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Secret(Vec<u8>),
}

impl Signer {
    fn ed(seed: u8) -> Self {
        Self::Ed(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn rsa(size: KeySize) -> Self {
        Self::Rsa(RsaKeyPair::generate(size).unwrap())
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
            Self::Secret(_) => "HS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::Ec(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Self::Secret(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed(key) => json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": text(key.public_key().as_ref()) }),
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Self::Rsa(key) => {
                let public: signature::RsaPublicKeyComponents<Vec<u8>> = key.public_key().into();
                json!({ "kty": "RSA", "kid": kid, "n": text(&public.n), "e": text(&public.e) })
            }
            Self::Secret(secret) => json!({ "kty": "oct", "kid": kid, "k": text(secret) }),
        }
    }

    fn token(&self, kid: &str, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "typ": "JWT", "kid": kid }), claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// A publication that counts how often it is fetched, and can be changed or taken away.
#[derive(Default)]
struct Publication {
    body: Mutex<Vec<u8>>,
    fetched: AtomicUsize,
    away: AtomicBool,
    slow: AtomicBool,
}

impl Publication {
    fn of(keys: &[Value]) -> Arc<Self> {
        let publication = Arc::new(Self::default());
        publication.publish(keys);
        publication
    }

    fn publish(&self, keys: &[Value]) {
        *self.body.lock().unwrap() = json!({ "keys": keys }).to_string().into_bytes();
    }

    fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }
}

impl KeySource for Publication {
    fn fetch(&self) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async {
            self.fetched.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            if self.slow.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_mins(10)).await;
            }
            if self.away.load(Ordering::SeqCst) {
                return Err(Error::new(Kind::Unavailable, "AWAY", "away"));
            }
            Ok(Bytes::from(self.body.lock().unwrap().clone()))
        })
    }
}

/// A time that tests move.
#[derive(Clone)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn now() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn of(&self, verifier: Verifier) -> Verifier {
        let time = Arc::clone(&self.0);
        verifier.clock(Arc::new(move || time.load(Ordering::SeqCst)))
    }
}

fn resource_server() -> Rules {
    let mut rules = Rules::new(Mode::ResourceServer);
    rules.issuers = vec!["https://login.example".to_owned()];
    rules.audiences_any = vec!["https://mcp.example/mcp".to_owned()];
    rules
}

fn first_party() -> Rules {
    let mut rules = Rules::new(Mode::FirstParty);
    rules.audiences_any = vec!["flowmaster".to_owned(), "flowmaster-mcp".to_owned()];
    rules
}

fn claims() -> Value {
    json!({
        "iss": "https://login.example", "aud": "https://mcp.example/mcp", "sub": "user-1", "tenantId": "tenant-1",
        "roles": ["approver"], "permissions": ["task:view"], "iat": NOW - 10, "exp": NOW + 600, "secret": "hush-hush",
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the changes are written in place")]
fn but(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

async fn code(verifier: &Verifier, token: &str) -> String {
    match verifier.admit(token).await {
        Ok(_) => "admitted".to_owned(),
        Err(error) => {
            let told = format!("{error} {error:?}");
            assert!(
                !told.contains("hush") && !told.contains("evil") && !token.split('.').any(|part| part.len() > 8 && told.contains(part)),
                "{told}"
            );
            error.code().to_owned()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_token_makes_the_caller_it_claims() {
    let signers = [Signer::ed(1), Signer::ec(), Signer::rsa(KeySize::Rsa2048)];
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk(signer.algorithm())).collect();
    let publication = Publication::of(&keys);
    let verifier = Time::now().of(Verifier::new(resource_server(), KeySet::published(publication.clone())));
    for signer in &signers {
        let token = signer.token(signer.algorithm(), &claims());
        let caller = verifier.admit(&token).await.unwrap();
        assert_eq!((caller.tenant.as_str(), caller.subject.as_str(), caller.kind), ("tenant-1", "user-1", CallerKind::User));
        assert_eq!(caller.roles, ["approver"]);
        assert!(caller.permissions.as_ref().is_some_and(|held| held.covers("task:view") && !held.covers("task:approve")));
        assert_eq!(caller.expires.unwrap().millis(), (NOW + 600) * 1000);
        assert!(matches!(caller.credential, Credential::Bearer(_)));
        assert!(Arc::ptr_eq(&caller, &verifier.admit(&token).await.unwrap()), "it is remembered");
    }
    assert_eq!(publication.fetched(), 1);

    let ed = &signers[0];
    let admitted = async |changes: Value| verifier.admit(&ed.token("EdDSA", &but(changes))).await.unwrap();
    let service = admitted(json!({ "typ": "service", "tenantId": null, "tenant_id": "tenant-2" })).await;
    assert_eq!((service.kind, service.tenant.as_str()), (CallerKind::Service, "tenant-2"));
    let scoped = admitted(json!({ "permissions": null, "scope": "task:view  process:*", "aud": ["x", "https://mcp.example/mcp"] })).await;
    assert!(scoped.permissions.as_ref().is_some_and(|held| held.covers("process:create") && held.covers("task:view")));
    let neither = admitted(json!({ "permissions": null })).await;
    assert_eq!(neither.permissions.as_ref().map(|held| held.iter().count()), Some(0));
}

#[tokio::test(start_paused = true)]
async fn every_bad_token_is_refused_by_its_own_code() {
    let signer = Signer::ed(1);
    let (rsa, ec) = (Signer::rsa(KeySize::Rsa2048), Signer::ec());
    let publication = Publication::of(&[signer.jwk("key"), rsa.jwk("rsa"), ec.jwk("ec")]);
    let verifier = Time::now().of(Verifier::new(resource_server(), KeySet::published(publication.clone())));
    assert_eq!(code(&verifier, &signer.token("key", &claims())).await, "admitted");

    for (changes, expected) in [
        (json!({ "exp": null }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "exp": "never" }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "exp": NOW - 30 }), "FM-MCP-TOKEN-EXPIRED"),
        (json!({ "exp": NOW - 29 }), "admitted"),
        (json!({ "nbf": NOW + 31 }), "FM-MCP-TOKEN-NOT-YET"),
        (json!({ "nbf": NOW + 30 }), "admitted"),
        (json!({ "iat": NOW + 31 }), "FM-MCP-TOKEN-NOT-YET"),
        (json!({ "iss": "https://evil.example" }), "FM-MCP-TOKEN-ISSUER"),
        (json!({ "iss": null }), "FM-MCP-TOKEN-ISSUER"),
        (json!({ "aud": "https://evil.example/mcp" }), "FM-MCP-TOKEN-AUDIENCE"),
        (json!({ "aud": [] }), "FM-MCP-TOKEN-AUDIENCE"),
        (json!({ "aud": null }), "FM-MCP-TOKEN-AUDIENCE"),
        (json!({ "tenantId": null }), "FM-MCP-TOKEN-TENANT"),
        (json!({ "tenantId": "" }), "FM-MCP-TOKEN-TENANT"),
        (json!({ "tenantId": "a b" }), "FM-MCP-TOKEN-TENANT"),
        (json!({ "tenant_id": "tenant-2" }), "FM-MCP-TOKEN-TENANT"),
        (json!({ "tenant_id": "tenant-1" }), "admitted"),
        (json!({ "tenantId": ["tenant-1", "tenant-2"] }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "sub": null }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "sub": "" }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "sub": "x".repeat(257) }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "sub": "a\nb" }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "sub": " user-1" }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "sub": "user-1\u{a0}" }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "sub": "Ada Lovelace" }), "admitted"),
        (json!({ "typ": "Refresh" }), "FM-MCP-TOKEN-USE"),
        (json!({ "typ": "ID" }), "FM-MCP-TOKEN-USE"),
        (json!({ "token_use": "id" }), "FM-MCP-TOKEN-USE"),
        (json!({ "typ": "Bearer", "token_use": "access" }), "admitted"),
        (json!({ "more": "x".repeat(100_000) }), "FM-MCP-TOKEN-TOO-LONG"),
    ] {
        assert_eq!(code(&verifier, &signer.token("key", &but(changes.clone()))).await, expected, "{changes}");
    }

    let good = json!({ "alg": "EdDSA", "kid": "key" });
    let with = |changes: Value| {
        let mut header = good.clone();
        header.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        signer.token_with(&header, &claims())
    };
    for (changes, expected) in [
        (json!({ "alg": "none" }), "FM-MCP-TOKEN-ALGORITHM"),
        (json!({ "alg": "None" }), "FM-MCP-TOKEN-ALGORITHM"),
        (json!({ "alg": "HS512" }), "FM-MCP-TOKEN-ALGORITHM"),
        (json!({ "alg": "RS256" }), "FM-MCP-TOKEN-ALGORITHM"),
        (json!({ "alg": "HS256" }), "FM-MCP-TOKEN-ALGORITHM"),
        (json!({ "kid": "ec" }), "FM-MCP-TOKEN-ALGORITHM"),
        (json!({ "kid": "unknown" }), "FM-MCP-TOKEN-KEY"),
        (json!({ "jku": "https://evil.example/keys" }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "jwk": Signer::ed(2).jwk("key") }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "x5u": "https://evil.example/cert" }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "crit": ["exp"] }), "FM-MCP-TOKEN-MALFORMED"),
        (json!({ "typ": "dpop+jwt" }), "FM-MCP-TOKEN-USE"),
    ] {
        assert_eq!(code(&verifier, &with(changes.clone())).await, expected, "{changes}");
    }
    assert_eq!(code(&verifier, &Signer::ed(2).token("key", &claims())).await, "FM-MCP-TOKEN-SIGNATURE");
    // The public key of another algorithm, taken for a shared secret.
    let Signer::Rsa(pair) = &rsa else { unreachable!() };
    let confused = Signer::Secret(pair.public_key().as_ref().to_vec());
    assert_eq!(code(&verifier, &confused.token("rsa", &claims())).await, "FM-MCP-TOKEN-ALGORITHM");

    let token = signer.token("key", &claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let other = signer.token("key", &but(json!({ "permissions": ["*"] })));
    for (token, expected) in [
        (String::new(), "FM-MCP-TOKEN-MALFORMED"),
        ("no.token".to_owned(), "FM-MCP-TOKEN-MALFORMED"),
        (format!("{message}."), "FM-MCP-TOKEN-MALFORMED"),
        (format!("{message}.{signature}.{signature}"), "FM-MCP-TOKEN-MALFORMED"),
        (format!("{}.{signature}", other.rsplit_once('.').unwrap().0), "FM-MCP-TOKEN-SIGNATURE"),
        (format!("{message}.AAAA"), "FM-MCP-TOKEN-SIGNATURE"),
        (format!("{message}.!!!!"), "FM-MCP-TOKEN-SIGNATURE"),
        (format!("{{}}.{}.x", "?".repeat(50)), "FM-MCP-TOKEN-MALFORMED"),
        (format!("{}.{}.x", URL_SAFE_NO_PAD.encode(good.to_string()), URL_SAFE_NO_PAD.encode("[".repeat(5000))), "FM-MCP-TOKEN-MALFORMED"),
    ] {
        assert_eq!(code(&verifier, &token).await, expected, "{token}");
    }
    assert_eq!(publication.fetched(), 1, "in one moment an unknown key causes no second fetch");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_or_id_token_is_known_by_whatever_claim_says_so() {
    let signer = Signer::ed(1);
    let verifier = Time::now().of(Verifier::new(resource_server(), KeySet::published(Publication::of(&[signer.jwk("key")]))));
    for name in ["type", "token_type", "tokenType", "use"] {
        for (said, expected) in [
            (json!("refresh"), "FM-MCP-TOKEN-USE"),
            (json!("Refresh_Token"), "FM-MCP-TOKEN-USE"),
            (json!("refreshToken"), "FM-MCP-TOKEN-USE"),
            (json!("id"), "FM-MCP-TOKEN-USE"),
            (json!("ID-Token"), "FM-MCP-TOKEN-USE"),
            // Other issuers mean other things by these names.
            (json!("Bearer"), "admitted"),
            (json!("access"), "admitted"),
            (json!("employee"), "admitted"),
            (json!(["refresh"]), "admitted"),
            (json!(5), "admitted"),
        ] {
            let token = signer.token("key", &but(json!({ name: said })));
            assert_eq!(code(&verifier, &token).await, expected, "{name}: {said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_remembered_token_ends_when_it_says() {
    let (signer, time) = (Signer::ed(1), Time::now());
    let verifier = time.of(Verifier::new(resource_server(), KeySet::published(Publication::of(&[signer.jwk("key")]))));
    let token = signer.token("key", &claims());
    assert_eq!(code(&verifier, &token).await, "admitted");
    time.pass(629);
    assert_eq!(code(&verifier, &token).await, "admitted");
    time.pass(1);
    assert_eq!(code(&verifier, &token).await, "FM-MCP-TOKEN-EXPIRED");
    assert_eq!(code(&verifier, &token).await, "FM-MCP-TOKEN-EXPIRED");
}

#[tokio::test(start_paused = true)]
async fn audiences_are_needed_all_where_tokens_are_passed_on() {
    let signer = Signer::ed(1);
    let mut rules = resource_server();
    rules.audiences_all = vec!["flowmaster".to_owned()];
    let verifier = Time::now().of(Verifier::new(rules, KeySet::published(Publication::of(&[signer.jwk("key")]))));
    assert_eq!(code(&verifier, &signer.token("key", &claims())).await, "FM-MCP-TOKEN-AUDIENCE");
    assert_eq!(code(&verifier, &signer.token("key", &but(json!({ "aud": "flowmaster" })))).await, "FM-MCP-TOKEN-AUDIENCE");
    let both = but(json!({ "aud": ["flowmaster", "https://mcp.example/mcp"] }));
    assert_eq!(code(&verifier, &signer.token("key", &both)).await, "admitted");
}
