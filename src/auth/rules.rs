//! The claims that a token must have, and the caller of its claims.

use secrecy::SecretString;

use super::token::{Claims, refusal};
use super::{Caller, CallerKind, Credential};
use crate::api::{Permissions, Timestamp};
use crate::error::{Error, Result};

/// Longest subject, in bytes.
const MAX_SUBJECT: usize = 256;
/// Longest name of a tenant, in bytes; it goes into a header.
const MAX_TENANT: usize = 128;

/// What this server is to the platform, which decides what a token must say about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One of the platform's own services: issuer and audience are compared where a token names them, and where it does
    /// not the platform is asked whether the token is one of its own.
    FirstParty,
    /// A resource of its own: issuer and audience are required.
    ResourceServer,
}

/// What a token must claim.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What this server is to the platform.
    pub mode: Mode,
    /// Who may issue tokens; in first-party mode an empty list leaves that to the keys.
    pub issuers: Vec<String>,
    /// A token's audience must name one of these.
    pub audiences_any: Vec<String>,
    /// A token's audience must name each of these too.
    pub audiences_all: Vec<String>,
    /// Seconds by which clocks may differ.
    pub leeway: i64,
}

impl Rules {
    /// Rules of a mode without issuers and audiences, with 30 seconds between clocks.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self { mode, issuers: Vec::new(), audiences_any: Vec::new(), audiences_all: Vec::new(), leeway: 30 }
    }

    /// Judges claims as of a moment, before a signature says whose they are.
    pub(super) fn judge(&self, claims: &Claims<'_>, now: i64) -> Result<Judgement> {
        let ends = claims.exp.ok_or_else(|| lacks("exp"))?.0.saturating_add(self.leeway);
        if now >= ends {
            return Err(expired());
        }
        for (name, from) in [("nbf", claims.nbf), ("iat", claims.iat)] {
            if from.is_some_and(|from| from.0 > now.saturating_add(self.leeway)) {
                return Err(refusal("FM-MCP-TOKEN-NOT-YET", format!("the token is not valid yet, by its `{name}`")));
            }
        }
        for (name, given, known) in
            [("typ", &claims.typ, &["access", "service", "bearer"][..]), ("token_use", &claims.token_use, &["access"])]
        {
            if given.as_ref().is_some_and(|given| !known.iter().any(|known| given.eq_ignore_ascii_case(known))) {
                return Err(refusal("FM-MCP-TOKEN-USE", format!("the token is not an access token, by its `{name}`")));
            }
        }
        for (name, given) in claims.other_uses() {
            if given.and_then(serde_json::Value::as_str).is_some_and(is_no_access) {
                return Err(refusal("FM-MCP-TOKEN-USE", format!("the token is not an access token, by its `{name}`")));
            }
        }
        self.judge_issuer(claims)?;
        self.judge_audience(claims)?;
        tenant(claims)?;
        let subject = claims.sub.as_ref().ok_or_else(|| lacks("sub"))?;
        if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.trim() != &**subject || subject.chars().any(char::is_control) {
            return Err(refusal("FM-MCP-TOKEN-MALFORMED", "the token's `sub` is empty, too long, unprintable or has spaces around it"));
        }
        Ok(Judgement { ends, confirm: self.mode == Mode::FirstParty && (claims.iss.is_none() || claims.aud.is_none()) })
    }

    fn judge_issuer(&self, claims: &Claims<'_>) -> Result<()> {
        let good = match (&claims.iss, self.mode) {
            (Some(_), Mode::FirstParty) if self.issuers.is_empty() => true,
            (Some(issuer), _) => self.issuers.iter().any(|known| *known == **issuer),
            (None, mode) => mode == Mode::FirstParty,
        };
        if good {
            Ok(())
        } else {
            Err(refusal("FM-MCP-TOKEN-ISSUER", "the token's `iss` is missing or names an issuer that is not accepted"))
        }
    }

    fn judge_audience(&self, claims: &Claims<'_>) -> Result<()> {
        let good = match (&claims.aud, self.mode) {
            (Some(audience), _) => {
                self.audiences_any.iter().any(|known| audience.names(known)) && self.audiences_all.iter().all(|known| audience.names(known))
            }
            (None, mode) => mode == Mode::FirstParty,
        };
        if good { Ok(()) } else { Err(refusal("FM-MCP-TOKEN-AUDIENCE", "the token's `aud` is missing or is not this server")) }
    }
}

/// What was found about a token whose claims are in order.
#[derive(Clone, Copy)]
pub(super) struct Judgement {
    /// From when on it is no longer taken, in seconds since 1970.
    pub(super) ends: i64,
    /// Whether the platform must have said that the token is its own.
    pub(super) confirm: bool,
}

/// The caller that judged claims make.
pub(super) fn caller(claims: &Claims<'_>, token: &str) -> Result<Caller> {
    let is_service = claims.typ.as_ref().is_some_and(|typ| typ.eq_ignore_ascii_case("service"));
    let permissions: Permissions = match (&claims.permissions, &claims.scope) {
        (Some(permissions), _) => permissions.iter().map(|permission| (**permission).to_owned()).collect(),
        (None, Some(scope)) => scope.split_ascii_whitespace().map(str::to_owned).collect(),
        (None, None) => Permissions::default(),
    };
    Ok(Caller {
        tenant: tenant(claims)?.into(),
        subject: claims.sub.as_deref().unwrap_or_default().to_owned(),
        roles: claims.roles.iter().flatten().map(|role| (**role).to_owned()).collect(),
        permissions: Some(permissions),
        kind: if is_service { CallerKind::Service } else { CallerKind::User },
        expires: claims.exp.map(|seconds| Timestamp::from_millis(seconds.0.saturating_mul(1000))),
        credential: Credential::Bearer(SecretString::from(token)),
    })
}

/// The one tenant that a token belongs to.
fn tenant<'a>(claims: &'a Claims<'_>) -> Result<&'a str> {
    let refuse = |message| Err(refusal("FM-MCP-TOKEN-TENANT", message));
    let tenant = match (&claims.tenant, &claims.tenant_in_snake_case) {
        (None, None) => return refuse("the token belongs to no tenant: it has no `tenantId`"),
        (Some(one), Some(other)) if **one != **other => return refuse("the token belongs to two tenants"),
        (Some(tenant), _) | (None, Some(tenant)) => &**tenant,
    };
    if tenant.is_empty() || tenant.len() > MAX_TENANT || !tenant.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("the token's `tenantId` is empty, too long or no name of a tenant");
    }
    Ok(tenant)
}

/// Why a token whose time is over is refused.
pub(super) fn expired() -> Error {
    refusal("FM-MCP-TOKEN-EXPIRED", "the token has expired").hint("Sign in again, or renew the token.")
}

/// Whether a claim's text says that a token is for something else than access, as `refresh_token` or `idToken` do.
fn is_no_access(said: &str) -> bool {
    let letters = || said.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' '));
    ["refresh", "refreshtoken", "id", "idtoken"].iter().any(|known| letters().map(|byte| byte.to_ascii_lowercase()).eq(known.bytes()))
}

fn lacks(claim: &str) -> Error {
    refusal("FM-MCP-TOKEN-MALFORMED", format!("the token lacks `{claim}`"))
}
