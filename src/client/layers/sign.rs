//! Finds where the platform is now, and says there who calls: token, tenant, service.
//!
//! It stands innermost, so that every attempt has a fresh address and a fresh token, and a token goes to no place
//! but the one it was found for.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::HeaderName;
use http::header::{AUTHORIZATION, HeaderValue, IF_MATCH};
use secrecy::{ExposeSecret as _, SecretString};

use crate::auth::Credential;
use crate::client::layer::{Call, Layer, Next, Reply};
use crate::client::origin::Origin;
use crate::error::{Error, Kind, Result};

const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
const SERVICE: HeaderName = HeaderName::from_static("x-service-name");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// See the module.
pub(in crate::client) struct Sign(pub(in crate::client) Arc<dyn Origin>);

impl Layer for Sign {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            let located = self.0.locate().await?;
            if !call.entry.spec.public {
                let token = match &call.caller.credential {
                    Credential::Bearer(token) => bearer(token)?,
                    Credential::Owner => bearer(located.owner_token.as_ref().ok_or_else(nobody)?)?,
                    Credential::Verified => return Err(nobody()),
                };
                call.headers.insert(AUTHORIZATION, token);
                let tenant = call.caller.tenant.to_string();
                call.header(TENANT, &tenant)?;
            }
            call.header(SERVICE, "flowmaster-mcp")?;
            if let Some(etag) = call.options.if_match.take() {
                call.header(IF_MATCH, &etag)?;
            }
            if let Some(key) = call.options.idempotency_key.take() {
                call.header(IDEMPOTENCY_KEY, &key)?;
            }
            call.located = Some(located);
            next.run(call).await
        })
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(Error::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

fn nobody() -> Error {
    Error::new(Kind::Unauthenticated, "FM-MCP-NO-CREDENTIAL", "there is no token to call the platform with")
        .hint("Set FLOWMASTER_TOKEN to an access token.")
}
