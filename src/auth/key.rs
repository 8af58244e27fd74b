//! A key that signs tokens, and the one algorithm that it is for. The algorithm is the key's, never the token's.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::token::{Parts, refusal};
use crate::error::{Error, Kind, Result};

/// The algorithms that tokens may be signed with, by their names in a header.
/// RFC 9864 calls EdDSA on this curve `Ed25519`.
const ALGORITHMS: [(&str, Algorithm); 5] = [
    ("EdDSA", Algorithm::EdDSA),
    ("Ed25519", Algorithm::EdDSA),
    ("ES256", Algorithm::ES256),
    ("RS256", Algorithm::RS256),
    ("HS256", Algorithm::HS256),
];
/// Reads members of published keys, which some issuers pad.
const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);
/// Fewest bytes of a shared secret: as many as the digest has.
const SHORTEST_SECRET: usize = 32;

/// One key.
pub(super) struct Key {
    algorithm: Algorithm,
    material: Material,
}

/// What signatures are checked with.
enum Material {
    /// Read once, when the key comes: reading an RSA key costs as much as half a check.
    Public(ParsedPublicKey),
    Secret(DecodingKey),
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
    /// A published key. A shared secret is never taken from a publication.
    ///
    /// # Errors
    /// Why it is of no use: it is for another purpose, of another kind, or broken.
    pub(super) fn of_jwk(jwk: &Jwk) -> Result<Self, &'static str> {
        const BROKEN: &str = "its members cannot be read";
        let (algorithm, public) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, ParsedPublicKey::new(&ED25519, exact(jwk.x.as_ref()).ok_or(BROKEN)?)),
            ("EC", Some("P-256")) => {
                let (x, y) = coordinate(jwk.x.as_ref()).zip(coordinate(jwk.y.as_ref())).ok_or(BROKEN)?;
                (Algorithm::ES256, ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4][..], &x, &y].concat()))
            }
            ("RSA", _) => {
                let (n, e) = member(jwk.n.as_ref()).zip(member(jwk.e.as_ref())).ok_or(BROKEN)?;
                if !(256..=1024).contains(&n.len()) {
                    return Err("an RSA key has 2048 to 8192 bits");
                }
                if !(1..=8).contains(&e.len()) {
                    return Err(BROKEN);
                }
                (Algorithm::RS256, RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256))
            }
            ("oct", _) => return Err("a shared secret is not taken from a publication"),
            _ => return Err("neither Ed25519, P-256 nor RSA"),
        };
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("its `use` is not `sig`");
        }
        if jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return Err("its `key_ops` lack `verify`");
        }
        if jwk.alg.as_deref().is_some_and(|name| algorithm_of(name) != Some(algorithm)) {
            return Err("its `alg` is none of EdDSA, Ed25519, ES256 and RS256 that fits it");
        }
        Ok(Self { algorithm, material: Material::Public(public.map_err(|_| BROKEN)?) })
    }

    /// A public key in PEM: RSA, EC P-256 or Ed25519.
    pub(super) fn of_pem(pem: &[u8]) -> Result<Self> {
        let refuse = |why: &str| {
            Error::configuration(Kind::Invalid, "FM-CONFIG-AUTH-KEY", format!("the key of tokens {why}"))
                .hint("Give a public key in PEM (`-----BEGIN PUBLIC KEY-----`): Ed25519, EC P-256, or RSA of 2048 bits or more.")
        };
        if pem.windows(12).any(|window| window == b"PRIVATE KEY-") {
            return Err(refuse("is a private one, which belongs to the issuer of tokens alone"));
        }
        let public = |algorithm, public: std::result::Result<_, _>, why| {
            public.map(|public| Self { algorithm, material: Material::Public(public) }).map_err(|_| refuse(why))
        };
        let bytes = |key: &DecodingKey| key.try_get_as_bytes().map(<[u8]>::to_vec).unwrap_or_default();
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return public(Algorithm::EdDSA, ParsedPublicKey::new(&ED25519, bytes(&key)), "is not an Ed25519 key");
        }
        if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            return public(Algorithm::ES256, ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes(&key)), "is on another curve than P-256");
        }
        let key = DecodingKey::from_rsa_pem(pem).map_err(|_| refuse("cannot be read"))?;
        let bytes = bytes(&key);
        // 256 bytes of modulus and what DER writes around them.
        if bytes.len() < 266 {
            return Err(refuse("has fewer than 2048 bits"));
        }
        public(Algorithm::RS256, ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, bytes), "is not an RSA key of 2048 to 8192 bits")
    }

    /// A secret that this server shares with the issuer.
    pub(super) fn of_secret(secret: &SecretString) -> Result<Self> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < SHORTEST_SECRET {
            return Err(Error::configuration(
                Kind::Invalid,
                "FM-CONFIG-AUTH-SECRET",
                format!("the shared secret of tokens has fewer than {SHORTEST_SECRET} bytes"),
            ));
        }
        Ok(Self { algorithm: Algorithm::HS256, material: Material::Secret(DecodingKey::from_secret(secret)) })
    }

    /// The algorithm that the key is for.
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks a token's signature.
    pub(super) fn check(&self, parts: Parts<'_>) -> Result<()> {
        let good = match &self.material {
            Material::Public(key) => {
                decode(parts.signature).is_some_and(|signature| key.verify_sig(parts.message.as_bytes(), &signature).is_ok())
            }
            Material::Secret(key) => {
                jsonwebtoken::crypto::verify(parts.signature, parts.message.as_bytes(), key, self.algorithm).unwrap_or(false)
            }
        };
        if good { Ok(()) } else { Err(refusal("FM-MCP-TOKEN-SIGNATURE", "the token's signature is not by the key that it names")) }
    }
}

/// Only published keys are compared, to see whether one was withdrawn.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (&self.material, &other.material) {
            (Material::Public(one), Material::Public(two)) => self.algorithm == other.algorithm && one.as_ref() == two.as_ref(),
            _ => false,
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A member of a published key, without leading zeros.
fn member(text: Option<&String>) -> Option<Vec<u8>> {
    let bytes = PADDED_OR_NOT.decode(text?).ok()?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// A public key of Ed25519, whose bytes are no number.
fn exact(text: Option<&String>) -> Option<[u8; 32]> {
    PADDED_OR_NOT.decode(text?).ok()?.try_into().ok()
}

/// A coordinate of a curve of 256 bits, whatever number of leading zeros it was written with.
fn coordinate(text: Option<&String>) -> Option<[u8; 32]> {
    let bytes = PADDED_OR_NOT.decode(text?).ok()?;
    let (zeros, bytes) = bytes.split_at(bytes.len().saturating_sub(32));
    let mut whole = [0; 32];
    whole.get_mut(32 - bytes.len()..)?.copy_from_slice(bytes);
    (!bytes.is_empty() && zeros.iter().all(|byte| *byte == 0)).then_some(whole)
}
