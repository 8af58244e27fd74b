//! Who is behind a request: the owner's token, a user's or a service's, and what they may do right now.

use http::{HeaderMap, header};
use rusqlite::{Connection, OptionalExtension as _};

use super::conditions::Facts;
use super::tokens::{self, TokenClaims, Use};
use super::{Identity, Session, roles, unauthenticated, users};
use crate::api::{Spec, Timestamp};
use crate::auth::{Caller, CallerKind, Credential, MAX_TOKEN};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;

/// Finds out who asks. Every cause of a refusal has the same answer.
///
/// Rights are read again for each call: a role that was changed or a login that was ended counts at once.
pub(crate) async fn authenticate(platform: &Platform, headers: &HeaderMap, spec: &Spec, path: &[(String, String)]) -> Result<Identity> {
    let token = bearer(headers).ok_or_else(unauthenticated)?;
    let on_behalf_of = headers.get("x-on-behalf-of").map(|value| value.to_str().unwrap_or_default().to_owned());
    if platform.is_owner_token(token) {
        let caller = Caller::owner(Credential::Verified);
        refuse_on_behalf_of(on_behalf_of.as_deref(), &caller.subject)?;
        return Ok(Identity { recorded_by: caller.subject.clone(), caller, session: None });
    }
    let claims = tokens::verify(platform, token).ok_or_else(unauthenticated)?;
    match claims.typ {
        Use::Access => {
            refuse_on_behalf_of(on_behalf_of.as_deref(), &claims.sub)?;
            let facts = Facts::new(spec, path, platform.now());
            let now = platform.now();
            let tenant = claims.tenant_id.clone();
            platform.database().read_for(&tenant, move |connection| user(connection, &claims, &facts, now)).await
        }
        Use::Service => {
            let tenant = claims.tenant_id.clone();
            platform.database().read_for(&tenant, move |connection| service(connection, &claims, on_behalf_of)).await
        }
    }
}

fn user(connection: &Connection, claims: &TokenClaims, facts: &Facts, now: Timestamp) -> Result<Identity> {
    let session = claims.sid.as_deref().ok_or_else(unauthenticated)?;
    let live = connection
        .prepare_cached(
            "SELECT 1 FROM sessions WHERE id = ?1 AND tenant_id = ?2 AND user_id = ?3 AND revoked_at IS NULL AND expires_at > ?4",
        )?
        .exists((session, &claims.tenant_id, &claims.sub, now.millis()))?;
    if !live {
        return Err(unauthenticated());
    }
    let user = users::find(connection, &claims.tenant_id, &claims.sub)?.ok_or_else(unauthenticated)?;
    let (counted, permissions) = roles::granted(connection, &claims.tenant_id, &user, facts)?;
    let caller = Caller {
        tenant: claims.tenant_id.as_str().into(),
        subject: claims.sub.clone(),
        roles: counted,
        permissions: Some(permissions),
        kind: CallerKind::User,
        expires: Some(Timestamp::from_millis(claims.exp.saturating_mul(1000))),
        credential: Credential::Verified,
    };
    Ok(Identity { recorded_by: caller.subject.clone(), caller, session: Some(Session { id: session.to_owned(), issued_at: claims.iat }) })
}

fn service(connection: &Connection, claims: &TokenClaims, on_behalf_of: Option<String>) -> Result<Identity> {
    let permissions: Option<String> = connection
        .prepare_cached("SELECT permissions FROM service_tokens WHERE id = ?1 AND tenant_id = ?2 AND revoked_at IS NULL")?
        .query_row((&claims.jti, &claims.tenant_id), |row| row.get(0))
        .optional()?;
    let permissions: Vec<String> = serde_json::from_str(&permissions.ok_or_else(unauthenticated)?).map_err(Error::internal)?;
    let (subject, roles) = match on_behalf_of {
        None => (claims.sub.clone(), Vec::new()),
        Some(user) => {
            let found = users::find(connection, &claims.tenant_id, &user)?.ok_or_else(|| {
                Error::new(Kind::Forbidden, "FM-AAS-ON-BEHALF-OF", "X-On-Behalf-Of names no user of the token's tenant")
                    .hint("Give the id of a user, as a login shows it.")
            })?;
            (user, found.roles)
        }
    };
    let caller = Caller {
        tenant: claims.tenant_id.as_str().into(),
        subject,
        roles,
        permissions: Some(permissions.into()),
        kind: CallerKind::Service,
        expires: Some(Timestamp::from_millis(claims.exp.saturating_mul(1000))),
        credential: Credential::Verified,
    };
    Ok(Identity { caller, recorded_by: claims.sub.clone(), session: None })
}

/// Only a service may act on behalf of a user; any other caller that names one is rejected.
fn refuse_on_behalf_of(named: Option<&str>, own: &str) -> Result<()> {
    if named.is_none_or(|named| named == own) {
        return Ok(());
    }
    Err(Error::new(Kind::Forbidden, "FM-AAS-ON-BEHALF-OF", "only a service's token can speak on behalf of others")
        .hint("Leave X-On-Behalf-Of out, or use a service token."))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN).then(|| token.trim())
}
