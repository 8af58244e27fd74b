//! What a token costs: remembered, at first sight against the signature check alone, and refused.
//!
//! `cargo bench --bench tokens` prints each figure with its aim: medians of single calls, which a busy machine does not
//! move, and of the ratios of rounds, which a faster or slower processor does not. Tokens are signed ahead and come in
//! rows, so that each side finds the processor as its own work leaves it. The check alone is the token library's, and
//! beside it the barest there is: of aws-lc, with a key that was read before.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use flowmaster_mcp::api::Timestamp;
use flowmaster_mcp::auth::{Admit as _, KeySet, KeySource, Mode, Rules, Verifier};
use flowmaster_mcp::error::Result;
use futures_util::future::BoxFuture;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Sign = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, Failure>>;

const ROUNDS: usize = 60;
const TOKENS: usize = 64;

/// A kind of key: its algorithm, its public half in three forms, and how it signs.
struct Signer {
    algorithm: Algorithm,
    jwk: Value,
    key: DecodingKey,
    read: ParsedPublicKey,
    sign: Sign,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signers() -> Result<[Signer; 3], Failure> {
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32])?;
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let (x, point) = (ed.public_key().as_ref().to_vec(), ec.public_key().as_ref().to_vec());
    let public: RsaPublicKeyComponents<Vec<u8>> = rsa.public_key().into();
    Ok([
        Signer {
            algorithm: Algorithm::EdDSA,
            jwk: json!({ "kty": "OKP", "crv": "Ed25519", "kid": "EdDSA", "x": text(&x) }),
            key: DecodingKey::from_ed_der(&x),
            read: ParsedPublicKey::new(&ED25519, &x)?,
            sign: Box::new(move |message| Ok(ed.sign(message).as_ref().to_vec())),
        },
        Signer {
            algorithm: Algorithm::ES256,
            jwk: json!({ "kty": "EC", "crv": "P-256", "kid": "ES256", "x": text(&point[1..33]), "y": text(&point[33..]) }),
            key: DecodingKey::from_ec_der(&point),
            read: ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)?,
            sign: Box::new(move |message| Ok(ec.sign(&SystemRandom::new(), message)?.as_ref().to_vec())),
        },
        Signer {
            algorithm: Algorithm::RS256,
            jwk: json!({ "kty": "RSA", "kid": "RS256", "n": text(&public.n), "e": text(&public.e) }),
            key: DecodingKey::from_rsa_raw_components(&public.n, &public.e),
            read: public.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).map_err(|_| "no RSA key")?,
            sign: Box::new(move |message| {
                let mut signature = vec![0; rsa.public_modulus_len()];
                rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
                Ok(signature)
            }),
        },
    ])
}

impl Signer {
    /// A token of the contract's shape, as the platform issues them.
    fn token(&self, kid: &str, serial: usize, exp: i64) -> Result<String, Failure> {
        let header = json!({ "typ": "JWT", "alg": format!("{:?}", self.algorithm), "kid": kid });
        let claims = json!({
            "iss": "urn:flowmaster:platform:0123456789abcdef", "aud": "flowmaster", "sub": "user-018f7d5e-0000-7000-8000-000000000000",
            "tenantId": "tenant-123", "roles": ["approver", "manager"],
            "permissions": ["process:view", "execution:start", "execution:view", "task:view", "task:approve", "entity:*"],
            "iat": exp - 3600, "exp": exp, "jti": format!("tok-{serial}"), "sid": "sess-018f7d5e-0000-7000-8000-000000000000", "typ": "access",
        });
        let message = format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
        let signature = text(&(self.sign)(message.as_bytes())?);
        Ok(format!("{message}.{signature}"))
    }
}

/// Publishes the keys from memory.
struct Keys(Bytes);

impl KeySource for Keys {
    fn fetch(&self) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

fn verifier(signers: &[Signer]) -> Verifier {
    let mut rules = Rules::new(Mode::FirstParty);
    rules.audiences_any = vec!["flowmaster".to_owned()];
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    let body = Bytes::from(json!({ "keys": keys }).to_string());
    Verifier::new(rules, KeySet::published(Arc::new(Keys(body))))
}

/// The check alone.
fn check(signer: &Signer, token: &str) -> Result<(), Failure> {
    let (message, signature) = token.rsplit_once('.').ok_or("no token")?;
    if jsonwebtoken::crypto::verify(signature, message.as_bytes(), &signer.key, signer.algorithm)? {
        return Ok(());
    }
    Err("a signature is wrong".into())
}

/// The barest check.
fn check_with_a_read_key(signer: &Signer, token: &str) -> Result<(), Failure> {
    let (message, signature) = token.rsplit_once('.').ok_or("no token")?;
    Ok(signer.read.verify_sig(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature)?)?)
}

/// How long each of a row of tokens takes.
fn each(tokens: &[String], act: impl Fn(&str) -> Result<(), Failure>) -> Result<Vec<Duration>, Failure> {
    let timed = |token: &String| {
        let begun = Instant::now();
        act(token).map(|()| begun.elapsed())
    };
    tokens.iter().map(timed).collect()
}

/// How long the verifier takes for each.
async fn admit(verifier: &Verifier, tokens: &[String]) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::with_capacity(tokens.len());
    for token in tokens {
        let begun = Instant::now();
        verifier.admit(token).await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// How long a refusal takes, in the median round.
async fn refuse(verifier: &Verifier, code: &str, tokens: &[String]) -> Result<Duration, Failure> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for token in tokens {
            let refused = verifier.admit(token).await.err().ok_or("it was let in")?;
            if refused.code() != code {
                return Err(format!("{code} expected: {refused}").into());
            }
        }
        rounds.push(begun.elapsed());
    }
    rounds.sort();
    Ok(rounds[ROUNDS / 2] / u32::try_from(tokens.len())?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let signers = signers()?;
    let verifier = verifier(&signers);
    let exp = Timestamp::now().millis() / 1000 + 3600;
    for signer in &signers {
        let kid = format!("{:?}", signer.algorithm);
        let mut rounds = Vec::with_capacity(ROUNDS);
        let mut length = 0;
        for round in 0..ROUNDS {
            let fresh = |place| signer.token(&kid, round * TOKENS + place, exp);
            let tokens = (0..TOKENS).map(fresh).collect::<Result<Vec<_>, _>>()?;
            length = tokens[0].len();
            // In turn, so that neither is always the one that comes after the signing.
            let (first, alone) = if round % 2 == 0 {
                let first = admit(&verifier, &tokens).await?;
                (first, each(&tokens, |token| check(signer, token))?)
            } else {
                let alone = each(&tokens, |token| check(signer, token))?;
                (admit(&verifier, &tokens).await?, alone)
            };
            let again = admit(&verifier, &tokens).await?;
            rounds.push([first, alone, again, each(&tokens, |token| check_with_a_read_key(signer, token))?].map(median));
        }
        let [first, alone, again, bare] = [0, 1, 2, 3].map(|what| median(rounds.iter().map(|round| round[what]).collect()));
        let ratio = |other: usize| {
            let mut ratios: Vec<f64> = rounds.iter().map(|round| round[0].as_secs_f64() / round[other].as_secs_f64()).collect();
            ratios.sort_by(f64::total_cmp);
            ratios[ROUNDS / 2]
        };
        println!(
            "{:?}, {length} bytes: first sight {first:?}, the signature alone {alone:?}, ratio {:.3} (aim 1.15), with a key read before {bare:?}, \
             ratio {:.3}; remembered {again:?} (aim 5 µs)",
            signer.algorithm,
            ratio(1),
            ratio(3),
        );
    }
    let signer = &signers[0];
    let many = |kid: &str, exp: i64| (0..TOKENS).map(|place| signer.token(kid, place, exp)).collect::<Result<Vec<_>, _>>();
    let good = many("EdDSA", exp)?;
    let malformed: Vec<String> = good.iter().map(|token| token.replacen('.', "!.", 1)).collect();
    let wrong_claims: Vec<String> = good.iter().map(|token| token.replacen('.', ".!", 1)).collect();
    for (what, code, tokens) in [
        ("malformed", "FM-MCP-TOKEN-MALFORMED", malformed),
        ("malformed in its claims", "FM-MCP-TOKEN-MALFORMED", wrong_claims),
        ("expired", "FM-MCP-TOKEN-EXPIRED", many("EdDSA", exp - 7200)?),
        ("of an unknown key", "FM-MCP-TOKEN-KEY", many("unknown", exp)?),
    ] {
        let took = refuse(&verifier, code, &tokens).await?;
        println!("{what}: {took:?}, {:.0} a second (aim 200,000)", 1.0 / took.as_secs_f64());
    }
    Ok(())
}
