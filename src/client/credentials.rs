//! Credentials towards the platform: logins, token exchange, service accounts, and whether a token still counts.

pub(crate) mod exchange;
pub(crate) mod grant;
pub mod login;
pub(crate) mod service_accounts;
pub(crate) mod store;
pub(crate) mod token_status;
pub(crate) mod upstream;
