//! Who is calling, and what they may do.

mod access;
mod admit;
mod caller;
mod principal;

pub use access::{Access, Filter};
pub use admit::{Admit, OwnerToken};
pub use caller::{Caller, CallerKind, Credential, MAX_TOKEN, OWNER_SUBJECT, OWNER_TENANT};
pub use principal::Principal;
