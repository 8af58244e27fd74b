//! The server's own account on the embedded platform: the owner gives it a token in each tenant, when it is first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use crate::api::Permission;
use crate::api::ids::TenantId;
use crate::auth::OWNER_TENANT;
use crate::client::{Accounts, Origin};
use crate::error::{Error, Kind, Result};

/// How long a token is good, in seconds, and how long it is used.
const LIFETIME: u32 = 24 * 3600;
const USED: Duration = Duration::from_hours(12);
/// How many tenants' tokens are kept.
const TENANTS: usize = 10_000;
/// How long the platform may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module. The account may add to the audit trail, and nothing else.
pub(super) struct Given {
    origin: Arc<dyn Origin>,
    http: std::sync::OnceLock<reqwest::Client>,
    tokens: Mutex<HashMap<TenantId, (SecretString, Instant)>>,
}

#[derive(Deserialize)]
struct Answer {
    token: SecretString,
}

impl Given {
    pub(super) fn new(origin: Arc<dyn Origin>) -> Self {
        Self { origin, http: std::sync::OnceLock::new(), tokens: Mutex::default() }
    }

    fn held(&self, tenant: &TenantId) -> Option<SecretString> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(tenant).filter(|(_, until)| *until > Instant::now()).map(|(token, _)| token.clone())
    }

    async fn ask(&self, tenant: &TenantId) -> Result<SecretString> {
        let located = self.origin.locate().await?;
        let owner = located.owner_token.as_ref().ok_or_else(|| Error::internal("the embedded platform has no owner"))?;
        let http = if let Some(http) = self.http.get() {
            http
        } else {
            let http = reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(PATIENCE)
                .build()
                .map_err(Error::internal)?;
            self.http.get_or_init(|| http)
        };
        let request = json!({
            "name": "flowmaster-mcp", "tenantId": tenant, "permissions": [Permission::AUDIT_LOG.name()], "expiresIn": LIFETIME,
        });
        let failed = |error: reqwest::Error| {
            Error::new(Kind::Unavailable, "FM-MCP-ACCOUNT", "the embedded platform gives this server no account")
                .caused_by(error.without_url())
        };
        let answer = http
            .post(format!("{}/service-tokens", located.base))
            .bearer_auth(owner.expose_secret())
            .json(&request)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?;
        let Answer { token } = answer.json().await.map_err(failed)?;
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TENANTS {
            tokens.clear();
        }
        tokens.insert(tenant.clone(), (token.clone(), Instant::now() + USED));
        Ok(token)
    }
}

impl Accounts for Given {
    fn token<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<SecretString>> {
        Box::pin(async move {
            match self.held(tenant) {
                Some(token) => Ok(token),
                None => self.ask(tenant).await,
            }
        })
    }

    fn refused(&self, tenant: &TenantId) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    fn home(&self) -> Option<TenantId> {
        Some(OWNER_TENANT.into())
    }
}
