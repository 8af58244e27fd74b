//! Tokens of the contract's shape, signed by a key of the bench's own.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flowmaster_mcp::api::Timestamp;
use serde_json::json;

use crate::Failure;

/// Signs tokens.
pub struct Issuer(Ed25519KeyPair);

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    pub fn new() -> Result<Self, Failure> {
        Ok(Self(Ed25519KeyPair::generate()?))
    }

    /// The published keys.
    pub fn keys(&self) -> String {
        let key = text(self.0.public_key().as_ref());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "bench", "alg": "EdDSA", "x": key }] }).to_string()
    }

    /// A token of somebody who may do everything, good for an hour.
    pub fn token(&self, tenant: &str, subject: &str) -> String {
        let now = Timestamp::now().millis() / 1000;
        let header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": "bench" });
        let claims = json!({
            "iss": "urn:flowmaster:platform:0123456789abcdef", "aud": "flowmaster", "sub": subject, "tenantId": tenant,
            "roles": ["approver", "manager"], "permissions": ["*"], "iat": now, "exp": now + 3600,
            "jti": format!("tok-{tenant}-{subject}"), "sid": "sess-018f7d5e-0000-7000-8000-000000000000", "typ": "access",
        });
        let message = format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
        let signature = text(self.0.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}
