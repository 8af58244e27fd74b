//! What makes a caller of a bearer token.

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Caller, Credential};
use crate::error::{Error, Kind, Result};

/// Makes a caller of a bearer token, or refuses it.
pub trait Admit: Send + Sync {
    /// The caller that a token proves.
    fn admit<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>>>;
}

/// Knows the owner of an embedded platform by the owner's token, and leaves every other token to another verifier.
pub struct OwnerToken {
    /// Digests are of one length, so nothing of the token shows in the time that a comparison takes.
    digest: digest::Digest,
    owner: Arc<Caller>,
    others: Option<Arc<dyn Admit>>,
}

impl OwnerToken {
    /// Lets the owner in, and whomever `others` admits.
    #[must_use]
    pub fn new(token: &SecretString, others: Option<Arc<dyn Admit>>) -> Self {
        Self {
            digest: digest::digest(&digest::SHA256, token.expose_secret().as_bytes()),
            owner: Arc::new(Caller::owner(Credential::Owner)),
            others,
        }
    }
}

impl Admit for OwnerToken {
    fn admit<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>>> {
        let given = digest::digest(&digest::SHA256, token.as_bytes());
        if constant_time::verify_slices_are_equal(given.as_ref(), self.digest.as_ref()).is_ok() {
            return Box::pin(std::future::ready(Ok(Arc::clone(&self.owner))));
        }
        match &self.others {
            Some(others) => others.admit(token),
            None => Box::pin(std::future::ready(Err(Error::new(
                Kind::Unauthenticated,
                "FM-MCP-TOKEN",
                "the bearer token is not the owner's; `flowmaster-mcp token` prints that",
            )))),
        }
    }
}
