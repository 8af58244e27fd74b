//! Authentication & Authorization Service: users, logins, roles, and who is behind a token.

use http::{HeaderMap, header};

use crate::api::auth::{Claims, Validate, Validity};
use crate::api::{Permissions, Spec};
use crate::auth::{Caller, CallerKind, Credential, MAX_TOKEN};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::context::Cx;
use crate::platform::routes::Routes;

/// What the service keeps in memory.
#[derive(Debug, Default)]
pub(crate) struct Guard {}

/// Who is behind a request.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The caller.
    pub(crate) caller: Caller,
    /// Whose token it is.
    pub(crate) recorded_by: String,
    /// The login, where there is one.
    pub(crate) session: Option<String>,
}

pub(crate) fn routes() -> Routes {
    Routes::new().on(validate)
}

/// The caller of an operation that needs no token.
pub(crate) fn nobody() -> Identity {
    let caller = Caller {
        tenant: "".into(),
        subject: "anonymous".to_owned(),
        roles: Vec::new(),
        permissions: Some(Permissions::default()),
        kind: CallerKind::User,
        expires: None,
        credential: Credential::Verified,
    };
    Identity { caller, recorded_by: "anonymous".to_owned(), session: None }
}

/// Finds out who asks. Every cause of a refusal has the same answer.
pub(crate) async fn authenticate(platform: &Platform, headers: &HeaderMap, _spec: &Spec, _path: &[(String, String)]) -> Result<Identity> {
    let token = bearer(headers).ok_or_else(unauthenticated)?;
    if platform.is_owner_token(token) {
        let caller = Caller::owner(Credential::Verified);
        return Ok(Identity { recorded_by: caller.subject.clone(), caller, session: None });
    }
    Err(unauthenticated())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN).then(|| token.trim())
}

fn unauthenticated() -> Error {
    Error::new(Kind::Unauthenticated, "FM-AAS-UNAUTHENTICATED", "the call carries no valid access token")
        .hint("Sign in again, or check that the token is meant for this platform.")
}

async fn validate(cx: Cx, _: Validate) -> Result<Validity> {
    let caller = &cx.caller;
    Ok(Validity {
        valid: true,
        claims: Some(Claims {
            sub: caller.subject.clone(),
            tenant_id: caller.tenant.clone(),
            roles: caller.roles.clone(),
            permissions: caller.permissions.iter().flat_map(Permissions::iter).map(str::to_owned).collect(),
            iat: None,
            exp: caller.expires.map(|at| at.millis() / 1000),
        }),
    })
}
