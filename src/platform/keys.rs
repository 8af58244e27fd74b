//! The folder's key and what is derived from it: signatures of tokens, seals, cursors and the proof of identity.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::io::hash;
use crate::io::hex::{hex, unhex};

/// Length of the folder's key in bytes.
pub(crate) const KEY_LENGTH: usize = 32;

/// Everything that is derived from the folder's key. Each use has a key of its own.
pub(crate) struct Keys {
    signing: Ed25519KeyPair,
    id: String,
    sealing: RandomizedNonceKey,
    proof: hmac::Key,
    cursor: hmac::Key,
    pseudonym: hmac::Key,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Keys {
    /// Derives the keys from the folder's.
    pub(crate) fn derive(folder_key: &[u8; KEY_LENGTH]) -> Result<Self> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, folder_key);
        let derived = |label: &str| hmac::sign(&root, label.as_bytes());
        let signing = Ed25519KeyPair::from_seed_unchecked(derived("flowmaster/sign").as_ref()).map_err(Error::internal)?;
        let id = hex(&hash::sha256(signing.public_key().as_ref())[..8]);
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, derived("flowmaster/seal").as_ref()).map_err(Error::internal)?;
        Ok(Self {
            signing,
            id,
            sealing,
            proof: hmac::Key::new(hmac::HMAC_SHA256, derived("flowmaster/prove").as_ref()),
            cursor: hmac::Key::new(hmac::HMAC_SHA256, derived("flowmaster/cursor").as_ref()),
            pseudonym: hmac::Key::new(hmac::HMAC_SHA256, derived("flowmaster/pseudonym").as_ref()),
        })
    }

    /// The id of the signing key, `kid` in tokens and checkpoints.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The signing key as PKCS#8, as the token library wants it.
    pub(crate) fn signing_pkcs8(&self) -> Result<Vec<u8>> {
        Ok(self.signing.to_pkcs8().map_err(Error::internal)?.as_ref().to_vec())
    }

    /// The public half of the signing key.
    pub(crate) fn public_key(&self) -> &[u8] {
        self.signing.public_key().as_ref()
    }

    /// The public key as a JWK set (RFC 8037).
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id, "x": URL_SAFE_NO_PAD.encode(self.public_key()),
        }] })
    }

    /// Signs bytes; hex.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        hex(self.signing.sign(message).as_ref())
    }

    /// Whether a signature of [`Keys::sign`] is good.
    pub(crate) fn verify(&self, message: &[u8], signature: &str) -> bool {
        unhex(signature).is_some_and(|signature| UnparsedPublicKey::new(&ED25519, self.public_key()).verify(message, &signature).is_ok())
    }

    /// What proves to a nonce that the folder's key is known here.
    pub(crate) fn prove(&self, nonce: &str, instance: &str) -> String {
        hex(hmac::sign(&self.proof, format!("{nonce}\0{instance}").as_bytes()).as_ref())
    }

    /// Whether a proof holds.
    pub(crate) fn proves(&self, nonce: &str, instance: &str, proof: &str) -> bool {
        unhex(proof).is_some_and(|proof| hmac::verify(&self.proof, format!("{nonce}\0{instance}").as_bytes(), &proof).is_ok())
    }

    /// A short tag over a text, for cursors.
    pub(crate) fn tag(&self, text: &[u8]) -> [u8; 16] {
        let mut tag = [0; 16];
        tag.copy_from_slice(&hmac::sign(&self.cursor, text).as_ref()[..16]);
        tag
    }

    /// What stands in a person's place in a tenant: always the same, and nobody without the key finds out whose it is.
    pub(crate) fn pseudonym(&self, tenant: &str, person: &str) -> String {
        let tag = hmac::sign(&self.pseudonym, format!("{tenant}\0{person}").as_bytes());
        format!("erased-{}", hex(tag.as_ref().get(..16).unwrap_or_default()))
    }

    /// Whether a name reads like what stands in an erased person's place. A user or a role of such a name would be taken for
    /// that person.
    pub(crate) fn is_like_pseudonym(name: &str) -> bool {
        let name = name.trim().to_lowercase();
        name.strip_prefix("erased").is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Encrypts bytes for storage; `about` must be the same when they are opened.
    pub(crate) fn seal(&self, about: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.sealing.seal_in_place_append_tag(Aad::from(about.as_bytes()), &mut sealed).map_err(Error::internal)?;
        sealed.splice(0..0, nonce.as_ref().iter().copied());
        Ok(sealed)
    }

    /// Decrypts what [`Keys::seal`] encrypted.
    pub(crate) fn open(&self, about: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let (nonce, cipher) = sealed.split_at_checked(NONCE_LEN).ok_or_else(|| Error::internal("a sealed value is cut short"))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(Error::internal)?;
        let mut plain = cipher.to_vec();
        let length = self.sealing.open_in_place(nonce, Aad::from(about.as_bytes()), &mut plain).map_err(Error::internal)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok(bytes)
}

/// A random secret as text: 256 bits, URL-safe.
pub(crate) fn random_token() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

/// SHA-256 as hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&hash::sha256(bytes))
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_the_same_purpose_only() {
        let keys = Keys::derive(&[7; KEY_LENGTH]).unwrap();
        let sealed = keys.seal("a", b"secret").unwrap();
        assert_eq!(keys.open("a", &sealed).unwrap(), b"secret");
        assert!(keys.open("b", &sealed).is_err());
        assert!(Keys::derive(&[8; KEY_LENGTH]).unwrap().open("a", &sealed).is_err());
        assert!(keys.open("a", &sealed[..4]).is_err());
    }

    #[test]
    fn signatures_and_proofs_hold_for_their_text_alone() {
        let keys = Keys::derive(&[7; KEY_LENGTH]).unwrap();
        let signature = keys.sign(b"text");
        assert!(keys.verify(b"text", &signature));
        assert!(!keys.verify(b"other", &signature));
        assert!(!keys.verify(b"text", "zz"));
        assert!(keys.proves("n", "i", &keys.prove("n", "i")));
        assert!(!keys.proves("n", "j", &keys.prove("n", "i")));
    }
}
