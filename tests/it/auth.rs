//! Tokens, logins and the way upstream.

mod login_changes;
mod logins;
mod served_tokens;
mod tokens;
mod upstream;
mod verifier;
