//! Who is calling, and what they may do.

mod access;
mod admit;
mod caller;
mod http_keys;
mod jwks;
mod key;
mod principal;
mod revocation;
mod rules;
mod token;
mod verifier;

pub use access::{Access, Filter};
pub use admit::{Admit, OwnerToken};
pub use caller::{Caller, CallerKind, Credential, MAX_TOKEN, OWNER_SUBJECT, OWNER_TENANT};
pub use http_keys::HttpKeys;
pub(crate) use http_keys::fetch_keys;
pub use jwks::{KeySet, KeySource, LARGEST_KEY_SET};
pub use principal::Principal;
pub use revocation::Confirm;
pub use rules::{Mode, Rules};
pub use verifier::{Clock, Verifier};
