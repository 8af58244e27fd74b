//! Finds where the platform is now, and says there who calls: token, tenant, service.
//!
//! It stands innermost, so that every attempt has a fresh address and a fresh token, and a token goes to no place
//! but the one it was found for.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::HeaderName;
use http::header::{AUTHORIZATION, HeaderValue, IF_MATCH};
use secrecy::{ExposeSecret as _, SecretString};

use crate::client::credentials::upstream::Upstream;
use crate::client::layer::{Call, Layer, Next, Reply};
use crate::client::origin::Origin;
use crate::error::{Error, Kind, Result};

const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
const ON_BEHALF_OF: HeaderName = HeaderName::from_static("x-on-behalf-of");
const SERVICE: HeaderName = HeaderName::from_static("x-service-name");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// See the module.
pub(in crate::client) struct Sign {
    pub(in crate::client) origin: Arc<dyn Origin>,
    pub(in crate::client) upstream: Arc<Upstream>,
}

impl Layer for Sign {
    fn call<'a>(&'a self, mut call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            // Whoever calls the client, a person's decision never goes out as the server's own.
            self.upstream.check(&call.caller, &call.entry.spec)?;
            let located = self.origin.locate().await?;
            let mut sent = None;
            if !call.entry.spec.public {
                let proof = self.upstream.prove(&call.caller, &located, call.fresh.take()).await?;
                call.headers.insert(AUTHORIZATION, bearer(&proof.token)?);
                let tenant = call.caller.tenant.to_string();
                call.header(TENANT, &tenant)?;
                if let Some(subject) = proof.on_behalf_of {
                    call.headers.insert(ON_BEHALF_OF, HeaderValue::from_str(&subject).map_err(|_| unspeakable())?);
                }
                sent = Some(proof.token);
            }
            call.header(SERVICE, "flowmaster-mcp")?;
            if let Some(etag) = call.options.if_match.take() {
                call.header(IF_MATCH, &etag)?;
            }
            if let Some(key) = call.options.idempotency_key.take() {
                call.header(IDEMPOTENCY_KEY, &key)?;
            }
            call.located = Some(located);
            let caller = Arc::clone(&call.caller);
            let answer = next.run(call).await;
            if let (Some(token), Err(error)) = (&sent, &answer)
                && error.kind() == Kind::Unauthenticated
            {
                self.upstream.refused(&caller, token).await;
            }
            answer
        })
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(Error::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

fn unspeakable() -> Error {
    Error::new(Kind::Forbidden, "FM-MCP-ON-BEHALF-OF", "the caller's name cannot go into X-On-Behalf-Of")
        .hint("The operator gives users ids of printable ASCII characters, or lets callers' own tokens go on.")
}
