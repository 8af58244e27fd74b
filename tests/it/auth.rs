//! Tokens, logins and the way upstream.

mod login_changes;
mod logins;
mod served_tokens;
pub(crate) mod tokens;
mod upstream;
mod verifier;
