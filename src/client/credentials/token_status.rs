//! What the platform knows of callers' tokens: the keys that sign them, and whether one was revoked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::exchange::{OTHER_TENANT, REFUSED_TOKEN};
use crate::api::auth::Validate;
use crate::api::{Operation as _, catalogue};
use crate::auth::{Caller, Confirm, KeySource, fetch_keys};
use crate::client::{self, CallOptions, Client, Connector};
use crate::error::{Error, Kind, Origin, Result};

/// Where a platform publishes the keys that sign its tokens.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// Longest that the platform is waited for; a call stands behind it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The keys that a platform publishes where it is now.
pub struct PlatformKeys {
    reach: Connector,
}

impl PlatformKeys {
    /// The keys of the platform at an origin.
    #[must_use]
    pub fn new(origin: Arc<dyn client::Origin>) -> Self {
        Self { reach: Connector::new(origin) }
    }
}

impl KeySource for PlatformKeys {
    fn fetch(&self) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async {
            let located = self.reach.locate().await?;
            fetch_keys(&self.reach.client(&located)?, &format!("{}{JWKS_PATH}", located.base)).await
        })
    }
}

/// Asks the platform whether it still takes a caller's token, as that caller.
pub struct TokenStatus(Client);

impl TokenStatus {
    /// Asks by a client.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self(client)
    }

    async fn ask(&self, caller: &Arc<Caller>) -> Result<bool> {
        let entry = catalogue().get(Validate::SPEC.name).ok_or_else(|| Error::internal("validation is in no service"))?;
        // Who asks it remembers an outage, and asks again after a pause.
        let options = CallOptions { deadline: Some(REQUEST_TIMEOUT), is_paced: true, ..CallOptions::default() };
        let asked = async {
            let fresh = self.0.upstream().renew(caller).await?;
            self.0.call_by(caller, entry, Map::new(), options, fresh).await
        };
        match asked.await {
            Ok(reply) => Ok(is_good(&reply.body, caller)),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Confirm for TokenStatus {
    fn confirm<'a>(&'a self, caller: &'a Arc<Caller>) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.ask(caller))
    }
}

/// Whether the platform, or the endpoint that exchanges tokens, rejected the token.
fn is_refusal(error: &Error) -> bool {
    match error.kind() {
        Kind::Unauthenticated => true,
        Kind::Forbidden => error.origin() == Origin::Platform || [REFUSED_TOKEN, OTHER_TENANT].contains(&error.code()),
        _ => false,
    }
}

/// Whether an answer says that the token is good, in the caller's tenant. Subjects may have another name at the platform.
fn is_good(answer: &Value, caller: &Caller) -> bool {
    let said = |name: &str| answer.pointer(&format!("/claims/{name}")).and_then(Value::as_str);
    answer.get("valid") == Some(&Value::Bool(true)) && said("tenantId").is_none_or(|tenant| tenant == caller.tenant.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::Credential;

    #[test]
    fn an_answer_counts_for_the_callers_tenant_alone() {
        let owner = Caller::owner(Credential::Owner);
        let (sub, tenant) = (owner.subject.as_str(), owner.tenant.as_str());
        for (answer, good) in [
            (json!({ "valid": true }), true),
            (json!({ "valid": true, "claims": { "sub": sub, "tenantId": tenant } }), true),
            (json!({ "valid": true, "claims": { "sub": "another name", "tenantId": tenant } }), true),
            (json!({ "valid": true, "claims": { "sub": sub, "tenantId": "another" } }), false),
            (json!({ "valid": false }), false),
            (json!({ "valid": "true" }), false),
            (json!({}), false),
        ] {
            assert_eq!(is_good(&answer, &owner), good, "{answer}");
        }
    }
}
