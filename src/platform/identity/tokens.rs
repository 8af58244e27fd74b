//! Access tokens: EdDSA JWTs of the contract's shape, signed with the folder's key.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::api::Timestamp;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// How long an access token is good, in seconds.
pub(crate) const LIFETIME: u32 = 3600;
/// Who tokens are for.
const AUDIENCE: &str = "flowmaster";

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Use {
    /// A user's calls.
    Access,
    /// A service's calls.
    Service,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenClaims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) tenant_id: String,
    pub(crate) roles: Vec<String>,
    pub(crate) permissions: Vec<String>,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    pub(crate) jti: String,
    /// The login, for a user's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<String>,
    pub(crate) typ: Use,
}

/// What goes into a new token.
pub(crate) struct Subject {
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) roles: Vec<String>,
    pub(crate) permissions: Vec<String>,
    pub(crate) session: Option<String>,
    pub(crate) token_id: String,
    pub(crate) kind: Use,
}

/// Signs a token.
pub(crate) fn issue(platform: &Platform, subject: Subject, now: Timestamp, lifetime: u32) -> Result<String> {
    let issued = now.millis() / 1000;
    let claims = TokenClaims {
        iss: issuer(platform),
        aud: AUDIENCE.to_owned(),
        sub: subject.id,
        tenant_id: subject.tenant,
        roles: subject.roles,
        permissions: subject.permissions,
        iat: issued,
        exp: issued + i64::from(lifetime),
        jti: subject.token_id,
        sid: subject.session,
        typ: subject.kind,
    };
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(platform.keys().id().to_owned());
    let key = EncodingKey::from_ed_der(&platform.keys().signing_pkcs8()?);
    jsonwebtoken::encode(&header, &claims, &key).map_err(Error::internal)
}

/// What a token says, if it is one of this platform and still good.
pub(crate) fn verify(platform: &Platform, token: &str) -> Option<TokenClaims> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[issuer(platform)]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // The end is held against the platform's own clock, below.
    validation.validate_exp = false;
    let key = DecodingKey::from_ed_der(platform.keys().public_key());
    let claims = jsonwebtoken::decode::<TokenClaims>(token, &key, &validation).ok()?.claims;
    (claims.exp > platform.now().millis() / 1000).then_some(claims)
}

/// Who issues: this data folder's platform, whichever port it listens on.
fn issuer(platform: &Platform) -> String {
    format!("urn:flowmaster:platform:{}", platform.keys().id())
}
