//! Who is behind a request: tokens, passwords, conditions of roles, and the caller that they add up to.

pub(crate) mod assignee;
pub(crate) mod attempts;
pub(crate) mod authenticate;
pub(crate) mod conditions;
pub(crate) mod directory;
pub(crate) mod passwords;
pub(crate) mod roles;
pub(crate) mod tokens;
pub(crate) mod users;

use crate::api::Permissions;
use crate::auth::{Caller, CallerKind, Credential};
use crate::error::{Error, Kind};

/// Who is behind a request.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The caller.
    pub(crate) caller: Caller,
    /// Whose token it is.
    pub(crate) recorded_by: String,
    /// The login, where there is one.
    pub(crate) session: Option<Session>,
}

/// The login that a token belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The login.
    pub(crate) id: String,
    /// When the token was issued, in seconds since 1970.
    pub(crate) issued_at: i64,
}

/// The caller of an operation that needs no token.
pub(crate) fn public() -> Identity {
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

/// The one answer to everybody who is not known, whatever the cause.
pub(crate) fn unauthenticated() -> Error {
    Error::new(Kind::Unauthenticated, "FM-AAS-UNAUTHENTICATED", "the call carries no valid credentials for this platform")
        .hint("Sign in again, or use an access token of this platform.")
}
