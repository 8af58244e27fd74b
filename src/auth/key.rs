//! A key that signs tokens, and the one algorithm that it is for. The algorithm is the key's, never the token's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::token::{Parts, refusal};
use crate::error::{Error, Kind, Result};

/// The algorithms that tokens may be signed with, by their names in a header.
const ALGORITHMS: [(&str, Algorithm); 4] =
    [("EdDSA", Algorithm::EdDSA), ("ES256", Algorithm::ES256), ("RS256", Algorithm::RS256), ("HS256", Algorithm::HS256)];
/// Fewest bytes of a shared secret: as many as the digest has.
const SHORTEST_SECRET: usize = 32;

/// One key.
pub(super) struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// The algorithm that a header names, if tokens may be signed with it.
pub(super) fn algorithm_of(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// A member of a JWK set, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl Key {
    /// A published key; nothing if it is for another purpose, of a kind that is not taken, or broken. A shared secret
    /// is never taken from a publication.
    pub(super) fn of_jwk(jwk: &Jwk) -> Option<Self> {
        let for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        let (algorithm, decoding) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_der(&coordinate(jwk.x.as_ref()?)?)),
            ("EC", Some("P-256")) => {
                let point = [&[4][..], &coordinate(jwk.x.as_ref()?)?, &coordinate(jwk.y.as_ref()?)?].concat();
                (Algorithm::ES256, DecodingKey::from_ec_der(&point))
            }
            ("RSA", _) => {
                let (modulus, exponent) = (decode(jwk.n.as_ref()?)?, decode(jwk.e.as_ref()?)?);
                let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
                let sound = (256..=1024).contains(&significant) && (1..=8).contains(&exponent.len());
                (Algorithm::RS256, sound.then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))?)
            }
            _ => return None,
        };
        let named = jwk.alg.as_deref().is_none_or(|name| algorithm_of(name) == Some(algorithm));
        (for_signatures && named).then_some(Self { algorithm, decoding })
    }

    /// A public key in PEM: RSA, EC P-256 or Ed25519.
    pub(super) fn of_pem(pem: &[u8]) -> Result<Self> {
        let refuse = |why: &str| {
            Error::new(Kind::Invalid, "FM-CONFIG-AUTH-KEY", format!("the key of tokens {why}"))
                .hint("Give a public key in PEM (`-----BEGIN PUBLIC KEY-----`): Ed25519, EC P-256, or RSA of 2048 bits or more.")
        };
        if pem.windows(12).any(|window| window == b"PRIVATE KEY-") {
            return Err(refuse("is a private one, which belongs to whoever issues tokens alone"));
        }
        if let Ok(decoding) = DecodingKey::from_ed_pem(pem) {
            return Ok(Self { algorithm: Algorithm::EdDSA, decoding });
        }
        if let Ok(decoding) = DecodingKey::from_ec_pem(pem) {
            let on_p256 = decoding.try_get_as_bytes().is_ok_and(|point| point.len() == 65);
            return if on_p256 {
                Ok(Self { algorithm: Algorithm::ES256, decoding })
            } else {
                Err(refuse("is on another curve than P-256"))
            };
        }
        match DecodingKey::from_rsa_pem(pem) {
            // 256 bytes of modulus and what DER writes around them.
            Ok(decoding) if decoding.try_get_as_bytes().is_ok_and(|der| der.len() >= 266) => {
                Ok(Self { algorithm: Algorithm::RS256, decoding })
            }
            Ok(_) => Err(refuse("has fewer than 2048 bits")),
            Err(_) => Err(refuse("cannot be read")),
        }
    }

    /// A secret that this server shares with whoever issues tokens.
    pub(super) fn of_secret(secret: &SecretString) -> Result<Self> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < SHORTEST_SECRET {
            return Err(Error::new(
                Kind::Invalid,
                "FM-CONFIG-AUTH-SECRET",
                format!("the shared secret of tokens has fewer than {SHORTEST_SECRET} bytes"),
            ));
        }
        Ok(Self { algorithm: Algorithm::HS256, decoding: DecodingKey::from_secret(secret) })
    }

    /// The algorithm that the key is for.
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks a token's signature.
    pub(super) fn check(&self, parts: Parts<'_>) -> Result<()> {
        match jsonwebtoken::crypto::verify(parts.signature, parts.message.as_bytes(), &self.decoding, self.algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(refusal("FM-MCP-TOKEN-SIGNATURE", "the token's signature is not by the key that it names")),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        use jsonwebtoken::DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        self.algorithm == other.algorithm
            && match (self.decoding.kind(), other.decoding.kind()) {
                (SecretOrDer(one), SecretOrDer(two)) => one == two,
                (RsaModulusExponent { n, e }, RsaModulusExponent { n: modulus, e: exponent }) => n == modulus && e == exponent,
                _ => false,
            }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A coordinate of a curve of 256 bits.
fn coordinate(text: &str) -> Option<[u8; 32]> {
    decode(text)?.try_into().ok()
}
