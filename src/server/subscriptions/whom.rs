//! Whom a subscription speaks for, asked again before every message: a token may have ended or lost its rights meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use secrecy::ExposeSecret as _;

use crate::auth::{Admit, Caller, Credential, Principal};
use crate::error::{Kind, Result};
use crate::server::http::expiry;
use crate::server::request::Request;

/// See the module.
pub(in crate::server) enum Whom {
    /// The principal of a connection over stdio.
    Connection(Arc<dyn Principal>),
    /// The caller of the last request, by whose token it is judged again.
    Token {
        /// The caller.
        last: Mutex<Arc<Caller>>,
        /// What judges the token.
        admit: Option<Arc<dyn Admit>>,
    },
}

impl Whom {
    /// The one who makes a request.
    pub(in crate::server) fn of(request: &Request) -> Self {
        match &request.principal {
            Some(principal) => Self::Connection(Arc::clone(principal)),
            None => Self::Token { last: Mutex::new(Arc::clone(&request.caller)), admit: request.admit.clone() },
        }
    }

    /// A later request of the same session came with a token of its own.
    pub(in crate::server) fn comes_again(&self, caller: &Arc<Caller>) {
        if let Self::Token { last, .. } = self {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(caller);
        }
    }

    /// Returns the caller as of now.
    ///
    /// # Errors
    /// The login or the token has ended or was revoked.
    pub(super) async fn now(&self) -> Result<Arc<Caller>> {
        let (last, admit) = match self {
            Self::Connection(principal) => return principal.caller().await,
            Self::Token { last, admit } => (Arc::clone(&last.lock().unwrap_or_else(PoisonError::into_inner)), admit),
        };
        if expiry::has_ended(&last) {
            return Err(expiry::ended());
        }
        match (admit, &last.credential) {
            (Some(admit), Credential::Bearer(token)) => match admit.admit(token.expose_secret()).await {
                // While the validator is away, the token stays valid.
                Err(error) if !matches!(error.kind(), Kind::Unauthenticated | Kind::Forbidden) => Ok(last),
                admitted => admitted,
            },
            _ => Ok(last),
        }
    }
}
