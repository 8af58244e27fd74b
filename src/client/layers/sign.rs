//! Finds where the platform is now, unless an instance was picked, and says there who calls: token, tenant, service.
//!
//! It stands innermost, so that every attempt has a fresh address and a fresh token, and a token goes to no place
//! but the one it was found for.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderValue, IF_MATCH};
use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret as _, SecretString};

use crate::auth::Caller;
use crate::client::call::{Call, Reply};
use crate::client::credentials::upstream::{Upstream, UpstreamCredential};
use crate::client::layer::{Layer, Next};
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
            // A person's decision never goes out as the server's own, by whatever way it came to the client.
            self.upstream.check(&call.caller, &call.entry.spec)?;
            let located = match call.located.take() {
                Some(picked) => picked,
                None => self.origin.locate().await.map_err(Error::unsent)?,
            };
            let mut sent = None;
            if !call.entry.spec.public {
                // A token endpoint that fails is not asked again by every attempt.
                let proof =
                    self.upstream.prove(&call.caller, &located, call.fresh.take()).await.map_err(|error| error.unsent().conclusive())?;
                call.headers.extend(identity(&call.caller, &proof)?);
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

/// The headers that say who calls.
pub(in crate::client) fn identity(caller: &Caller, proof: &UpstreamCredential) -> Result<HeaderMap> {
    let tenant = HeaderValue::from_str(caller.tenant.as_str()).map_err(Error::internal)?;
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, bearer(&proof.token)?), (TENANT, tenant)]);
    if let Some(subject) = &proof.on_behalf_of {
        headers.insert(ON_BEHALF_OF, HeaderValue::from_str(subject).map_err(|_| unspeakable())?);
    }
    Ok(headers)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::Fixed;
    use crate::client::call::CallOptions;
    use crate::client::layers::scripted::{Scripted, call, list, user};

    fn sign() -> Sign {
        Sign { origin: Arc::new(Fixed::new("http://127.0.0.1:9/api").unwrap()), upstream: Arc::default() }
    }

    #[tokio::test]
    async fn a_call_carries_its_callers_token_tenant_and_conditions() {
        let end = Scripted::default();
        let options =
            CallOptions { if_match: Some("\"3\"".to_owned()), idempotency_key: Some("key-1".to_owned()), ..CallOptions::default() };
        end.run(sign(), call(&user("anna", &[]), "tasks_list", &json!({}), options)).await.unwrap();
        let sent = &end.arrived()[0];
        let header = |name: &str| sent.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        assert_eq!(header("authorization"), "Bearer token-of-anna");
        assert!(sent.headers[AUTHORIZATION].is_sensitive(), "the token prints itself");
        assert_eq!((header("x-tenant-id"), header("x-service-name")), ("tenant-1".to_owned(), "flowmaster-mcp".to_owned()));
        assert_eq!((header("if-match"), header("idempotency-key")), ("\"3\"".to_owned(), "key-1".to_owned()));
        assert!(sent.located.as_ref().is_some_and(|located| &*located.base == "http://127.0.0.1:9/api"));
    }

    #[tokio::test]
    async fn a_public_operation_carries_no_token_and_conditions_only_where_asked() {
        let end = Scripted::default();
        let login = json!({ "username": "a@b.c", "password": "x", "tenantId": "t" });
        end.run(sign(), call(&user("anna", &[]), "auth_login", &login, CallOptions::default())).await.unwrap();
        end.run(sign(), list(&user("anna", &[]))).await.unwrap();
        let arrived = end.arrived();
        assert!(arrived[0].headers.get(AUTHORIZATION).is_none() && arrived[0].headers.get(TENANT).is_none());
        assert!(arrived[1].headers.get(IF_MATCH).is_none() && arrived[1].headers.get(IDEMPOTENCY_KEY).is_none());
    }
}
