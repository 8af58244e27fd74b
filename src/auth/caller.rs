//! The caller: who asks, for which tenant, with what rights and by which credential.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::api::ids::TenantId;
use crate::api::{Permissions, Timestamp};
use crate::error::{Error, Kind, Result};

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// Who asks. Part of every call, cache key and limit.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The tenant, from the token's claim.
    pub tenant: TenantId,
    /// The user or service, the token's `sub`.
    pub subject: String,
    /// The roles held.
    pub roles: Vec<String>,
    /// The permissions held; `None` where the credential does not say, and the platform alone knows.
    pub permissions: Option<Permissions>,
    /// What kind of caller it is.
    pub kind: CallerKind,
    /// When the credential ends.
    pub expires: Option<Timestamp>,
    /// What proves it to the platform.
    pub credential: Credential,
}

/// What kind of caller it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallerKind {
    /// A person.
    User,
    /// A service with a token of its own.
    Service,
    /// The owner of an embedded platform's data folder.
    Owner,
}

/// What proves a caller to the platform.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A bearer token that is passed on.
    Bearer(SecretString),
    /// The owner's token of the embedded platform; the provider of the platform's address provides it too.
    Owner,
    /// The server's own account in the caller's tenant; the client knows its token.
    Service,
    /// Nothing: the caller was verified on this side, as by the platform itself.
    Verified,
}

/// The tenant that a data folder's owner works in.
pub const OWNER_TENANT: &str = "tenant-local";
/// The owner's user id.
pub const OWNER_SUBJECT: &str = "user-owner";

/// Who a token belongs to that does not say so.
const NAMELESS: &str = "unknown";

impl Caller {
    /// The server's own account in a tenant, whose token is found when it is used.
    pub(crate) fn service(tenant: TenantId) -> Self {
        Self {
            tenant,
            subject: "flowmaster-mcp".to_owned(),
            roles: Vec::new(),
            permissions: None,
            kind: CallerKind::Service,
            expires: None,
            credential: Credential::Service,
        }
    }

    /// The owner of an embedded platform's data folder: may do everything in it.
    #[must_use]
    pub fn owner(credential: Credential) -> Self {
        Self {
            tenant: OWNER_TENANT.into(),
            subject: OWNER_SUBJECT.to_owned(),
            roles: vec!["admin".to_owned()],
            permissions: Some(Permissions::all()),
            kind: CallerKind::Owner,
            expires: None,
            credential,
        }
    }

    /// Reads the caller out of a token without verifying it: good for listing what it may see, since the platform
    /// verifies every call. A token that is not a JWT has a caller whose permissions are unknown.
    ///
    /// # Errors
    /// A token that is too long, cannot go into a header, or names another tenant than the one asserted.
    pub fn of_unverified_token(token: SecretString, asserted_tenant: Option<&str>) -> Result<Self> {
        let text = token.expose_secret();
        if text.is_empty() || text.len() > MAX_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::new(
                Kind::Unauthenticated,
                "FM-MCP-TOKEN",
                "the token is empty, too long, or holds characters that no token has",
            )
            .hint("Set FLOWMASTER_TOKEN to an access token as FlowMaster's login gives it."));
        }
        let claims = claims_of(text).unwrap_or_default();
        let tenant = match (claims.tenant_id, asserted_tenant) {
            (Some(claimed), Some(asserted)) if claimed != asserted => {
                return Err(Error::new(
                    Kind::Forbidden,
                    "FM-MCP-TENANT-MISMATCH",
                    format!("the token belongs to tenant {claimed}, but FLOWMASTER_TENANT says {asserted}"),
                )
                .hint("Use a token of that tenant, or correct FLOWMASTER_TENANT."));
            }
            (Some(claimed), _) => claimed,
            (None, Some(asserted)) => asserted.to_owned(),
            (None, None) => OWNER_TENANT.to_owned(),
        };
        Ok(Self {
            tenant: tenant.into(),
            subject: claims.sub.unwrap_or_else(|| NAMELESS.to_owned()),
            roles: claims.roles,
            permissions: claims.permissions.map(Permissions::from),
            kind: CallerKind::User,
            expires: claims.exp.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000))),
            credential: Credential::Bearer(token),
        })
    }

    /// Whether the token did not say whose it is.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        self.subject == NAMELESS
    }

    /// Whether the one whom a login speaks for after its renewal is the same. A token that said nothing may be followed by
    /// one that says more.
    pub(crate) fn is_still(&self, renewed: &Self) -> bool {
        self.tenant == renewed.tenant && (self.is_nameless() || (&self.subject, self.kind) == (&renewed.subject, renewed.kind))
    }

    /// The tenant that a token says it belongs to, unverified; `None` where it is not a JWT or says nothing.
    #[must_use]
    pub fn tenant_claimed_by(token: &SecretString) -> Option<TenantId> {
        #[derive(Deserialize)]
        struct Claim {
            #[serde(rename = "tenantId", alias = "tenant_id")]
            tenant: Option<String>,
        }
        payload_of(token.expose_secret())
            .and_then(|payload| serde_json::from_slice::<Claim>(&payload).ok())
            .and_then(|claim| claim.tenant)
            .map(TenantId::from)
    }

    /// Whether the caller may do everything in its tenant.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == "admin") || self.permissions.as_ref().is_some_and(|held| held.covers("*"))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UnverifiedClaims {
    sub: Option<String>,
    tenant_id: Option<String>,
    roles: Vec<String>,
    permissions: Option<Vec<String>>,
    exp: Option<i64>,
}

fn claims_of(token: &str) -> Option<UnverifiedClaims> {
    serde_json::from_slice(&payload_of(token)?).ok()
}

fn payload_of(token: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()
}
