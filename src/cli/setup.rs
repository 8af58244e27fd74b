//! From the settings to a server or a client: credentials, the way upstream, callers over HTTP, who calls.

pub(super) mod connection;
pub(super) mod credentials;
pub(super) mod http_auth;
pub(super) mod identity;
pub(super) mod upstream;
