//! Who is calling, and what they may do.

mod caller;

pub use caller::{Caller, CallerKind, Credential, MAX_TOKEN, OWNER_SUBJECT, OWNER_TENANT};
