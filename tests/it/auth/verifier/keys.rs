//! When keys are fetched, how long they serve, and what stands in their place.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_unknown_key_causes_one_fetch_in_half_a_minute_however_many_ask() {
    let (old, new, time) = (Signer::ed(1), Signer::ed(2), Time::now());
    let publication = Publication::of(&[old.jwk("old")]);
    let verifier = Arc::new(time.of(Verifier::new(resource_server(), KeySet::published(publication.clone()))));
    let many = |token: String| {
        let asking = (0..50).map(|_| {
            let (verifier, token) = (Arc::clone(&verifier), token.clone());
            tokio::spawn(async move { code(&verifier, &token).await })
        });
        futures_util::future::join_all(asking.collect::<Vec<_>>())
    };
    for answer in many(old.token("old", &claims())).await {
        assert_eq!(answer.unwrap(), "admitted", "all wait for the first fetch");
    }
    assert_eq!(publication.fetched(), 1);
    publication.publish(&[old.jwk("old"), new.jwk("new")]);
    for answer in many(new.token("new", &claims())).await {
        assert_eq!(answer.unwrap(), "FM-MCP-TOKEN-KEY");
    }
    assert_eq!(publication.fetched(), 1);
    time.pass(30);
    for answer in many(new.token("new", &claims())).await {
        assert_eq!(answer.unwrap(), "admitted");
    }
    assert_eq!(publication.fetched(), 2);
    assert_eq!(code(&verifier, &old.token("old", &claims())).await, "admitted");
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_first_may_go_away() {
    let (signer, publication) = (Signer::ed(1), Publication::default());
    publication.publish(&[signer.jwk("key")]);
    let publication = Arc::new(publication);
    let verifier = Time::now().of(Verifier::new(resource_server(), KeySet::published(publication.clone())));
    let token = signer.token("key", &claims());
    assert!(tokio::time::timeout(Duration::from_millis(1), verifier.admit(&token)).await.is_err());
    assert_eq!(code(&verifier, &token).await, "admitted");
    assert_eq!(publication.fetched(), 1);
}

#[tokio::test(start_paused = true)]
async fn known_keys_serve_while_the_publication_is_away_and_new_ones_come_behind() {
    let (signer, time) = (Signer::ed(1), Time::now());
    let publication = Publication::of(&[signer.jwk("key")]);
    let verifier = time.of(Verifier::new(resource_server(), KeySet::published(publication.clone())));
    let lasting = |serial: u64| signer.token("key", &but(json!({ "exp": NOW + 1_000_000, "jti": serial })));
    assert_eq!(code(&verifier, &lasting(0)).await, "admitted");
    publication.away.store(true, Ordering::SeqCst);
    time.pass(600);
    assert_eq!(code(&verifier, &lasting(1)).await, "admitted");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(publication.fetched(), 2, "they are fetched again in the background");
    assert_eq!(code(&verifier, &lasting(0)).await, "admitted");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(publication.fetched(), 2, "and not at every use");
    assert_eq!(code(&verifier, &Signer::ed(2).token("other", &claims())).await, "FM-MCP-KEYS-AWAY", "it may be a new key");
    time.pass(24 * 3600);
    assert_eq!(code(&verifier, &lasting(2)).await, "FM-MCP-KEYS-AWAY", "after a day they serve no longer");
    assert_eq!(code(&verifier, &lasting(0)).await, "FM-MCP-KEYS-AWAY", "nor does what they proved before");

    // One that was withdrawn is no longer good, also for what is remembered.
    publication.away.store(false, Ordering::SeqCst);
    time.pass(30);
    assert_eq!(code(&verifier, &lasting(0)).await, "admitted");
    publication.publish(&[Signer::ed(2).jwk("new")]);
    time.pass(600);
    assert_eq!(code(&verifier, &lasting(0)).await, "admitted");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(code(&verifier, &lasting(0)).await, "FM-MCP-TOKEN-KEY");
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_is_down_slow_huge_or_wrong_lets_nobody_in_and_is_not_asked_all_the_time() {
    let (signer, time) = (Signer::ed(1), Time::now());
    let token = signer.token("key", &claims());
    let publication = Publication::of(&[]);
    let verifier = time.of(Verifier::new(resource_server(), KeySet::published(publication.clone())));
    let small = Signer::rsa(KeySize::Rsa2048).jwk("key");
    let mut short = small.clone();
    short["n"] = json!(&small["n"].as_str().unwrap()[..170]);
    let bodies: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"<html>".to_vec(),
        b"[]".to_vec(),
        b"{\"keys\":{}}".to_vec(),
        json!({ "keys": [] }).to_string().into_bytes(),
        json!({ "keys": [Signer::Secret(vec![7; 32]).jwk("key"), short, 5, { "kty": "EC", "crv": "P-384", "kid": "key" }] })
            .to_string()
            .into_bytes(),
        json!({ "keys": vec![signer.jwk("key"); 65] }).to_string().into_bytes(),
        json!({ "keys": [signer.jwk("key")], "more": "x".repeat(300_000) }).to_string().into_bytes(),
    ];
    for (place, body) in bodies.into_iter().enumerate() {
        *publication.body.lock().unwrap() = body;
        for _ in 0..3 {
            let refused = verifier.admit(&token).await.unwrap_err();
            assert_eq!((refused.kind(), refused.code()), (Kind::Unavailable, "FM-MCP-KEYS-AWAY"), "{place}");
            assert!(refused.when_to_retry().is_some());
        }
        assert_eq!(publication.fetched(), place + 1);
        time.pass(5);
    }
    publication.publish(&[signer.jwk("key")]);
    publication.slow.store(true, Ordering::SeqCst);
    let begun = std::time::Instant::now();
    assert_eq!(code(&verifier, &token).await, "FM-MCP-KEYS-AWAY");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    publication.slow.store(false, Ordering::SeqCst);
    time.pass(5);
    assert_eq!(code(&verifier, &token).await, "admitted");
}

#[tokio::test(start_paused = true)]
async fn a_configured_key_takes_the_place_of_published_ones() {
    let pem = |der: &[u8]| format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    let verifier = |keys| Time::now().of(Verifier::new(resource_server(), keys));
    let (ed, ec, rsa, secret) = (Signer::ed(1), Signer::ec(), Signer::rsa(KeySize::Rsa2048), Signer::Secret(vec![7; 32]));
    let spki = |signer: &Signer| match signer {
        Signer::Ed(key) => {
            [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], key.public_key().as_ref()].concat()
        }
        Signer::Ec(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
        Signer::Rsa(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
        Signer::Secret(_) => Vec::new(),
    };
    for signer in [&ed, &ec, &rsa] {
        let verifier = verifier(KeySet::of_pem(pem(&spki(signer)).as_bytes()).unwrap());
        assert_eq!(code(&verifier, &signer.token("any", &claims())).await, "admitted", "{}", signer.algorithm());
        assert_eq!(code(&verifier, &secret.token("any", &claims())).await, "FM-MCP-TOKEN-ALGORITHM");
    }
    let shared = verifier(KeySet::of_secret(&"\u{7}".repeat(32).into()).unwrap());
    assert_eq!(code(&shared, &secret.token("any", &claims())).await, "admitted");
    assert_eq!(code(&shared, &ed.token("any", &claims())).await, "FM-MCP-TOKEN-ALGORITHM");
    assert_eq!(code(&shared, &Signer::Secret(vec![8; 32]).token("any", &claims())).await, "FM-MCP-TOKEN-SIGNATURE");

    assert_eq!(KeySet::of_secret(&"short".into()).err().unwrap().code(), "FM-CONFIG-AUTH-SECRET");
    let private = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private = STANDARD.encode(aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&private).unwrap().as_ref());
    for wrong in
        [String::new(), "no key".to_owned(), pem(b"junk"), format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n")]
    {
        assert_eq!(KeySet::of_pem(wrong.as_bytes()).err().map(|error| error.code().to_owned()).as_deref(), Some("FM-CONFIG-AUTH-KEY"));
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_read_as_issuers_write_them_and_others_named() {
    let (ed, ec, rsa) = (Signer::ed(1), Signer::ec(), Signer::rsa(KeySize::Rsa2048));
    let zeros = |text: &Value, count: usize| {
        let bytes = URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap();
        json!(URL_SAFE.encode([vec![0; count], bytes].concat()))
    };
    let (mut first, mut second, mut third) = (ed.jwk("ed"), ec.jwk("ec"), rsa.jwk("rsa"));
    first["alg"] = json!("Ed25519");
    first["x"] = zeros(&first["x"], 0);
    first["x5t#S256"] = json!("unknown here");
    second["x"] = zeros(&second["x"], 1);
    second["key_ops"] = json!(["verify"]);
    third["n"] = zeros(&third["n"], 1);
    third["e"] = json!("AAEAAQ==");
    third["x5c"] = json!(["MIIC"]);
    let mut sealing = rsa.jwk("enc");
    sealing["use"] = json!("enc");
    let mut other = ed.jwk("es512");
    other["alg"] = json!("ES512");
    let useless = [sealing, other, json!({ "kty": "OKP", "crv": "X25519", "kid": "x", "x": "AA" }), json!(5), rsa.jwk("rsa")];
    let publication = Publication::of(&[vec![first, second, third], useless.to_vec()].concat());
    let keys = KeySet::published(publication.clone());
    let skipped = keys.inspect().await.unwrap();
    assert_eq!(
        skipped,
        [
            "key `enc`: its `use` is not `sig`",
            "key `es512`: its `alg` is none of EdDSA, Ed25519, ES256 and RS256 that fits it",
            "key `x`: neither Ed25519, P-256 nor RSA",
            "key number 7: it is not a JWK",
            "key `rsa`: another key has its name and algorithm",
        ]
    );
    let verifier = Time::now().of(Verifier::new(resource_server(), keys));
    for (signer, kid) in [(&ed, "ed"), (&ec, "ec"), (&rsa, "rsa")] {
        assert_eq!(code(&verifier, &signer.token(kid, &claims())).await, "admitted", "{kid}");
    }
    let renamed = ed.token_with(&json!({ "alg": "Ed25519", "kid": "ed" }), &claims());
    assert_eq!(code(&verifier, &renamed).await, "admitted");
    assert_eq!(code(&verifier, &ec.token_with(&json!({ "alg": "Ed25519", "kid": "ec" }), &claims())).await, "FM-MCP-TOKEN-ALGORITHM");
}
