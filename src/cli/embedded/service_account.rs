//! The server's own account on the embedded platform: the owner gives it a token in each tenant, when it is first needed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::api::auth::CreateServiceToken;
use crate::api::ids::TenantId;
use crate::api::{Permission, Timestamp};
use crate::auth::{Caller, Credential, OWNER_TENANT};
use crate::client::{Client, Origin, ServiceAccounts};
use crate::error::{Error, Kind, Result};
use crate::io::private_files;

/// How long a token is good, in seconds, and how long it is used.
const TOKEN_LIFETIME: u32 = 24 * 3600;
const TOKEN_USE: Duration = Duration::from_hours(12);
/// How long a token is used that was kept, which may be near its own last use.
const STORED_TOKEN_USE: Duration = Duration::from_hours(6);
/// How many tenants' tokens are kept.
const MAX_TENANTS: usize = 10_000;
/// The largest file that can hold a token, in bytes.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// See the module. The account may add to the audit trail, and nothing else.
///
/// The token in the owner's own tenant is kept in the data folder, so that a host that starts the server many times a
/// day leaves one token behind and not many.
pub(crate) struct Given {
    kept: PathBuf,
    /// Calls as the owner, by no account.
    client: Client,
    tokens: Mutex<HashMap<TenantId, (SecretString, Instant)>>,
}

/// A token as it is kept, and until when it is used.
#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
    until: Timestamp,
}

impl Given {
    pub(crate) fn new(data_dir: &Path, origin: Arc<dyn Origin>) -> Self {
        Self { kept: data_dir.join("audit").join("account.json"), client: Client::builder(origin).build(), tokens: Mutex::default() }
    }

    fn held(&self, tenant: &TenantId) -> Option<SecretString> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(tenant).filter(|(_, until)| *until > Instant::now()).map(|(token, _)| token.clone())
    }

    async fn ask(&self, tenant: &TenantId) -> Result<SecretString> {
        let request = CreateServiceToken {
            name: "flowmaster-mcp".to_owned(),
            permissions: vec![Permission::AUDIT_LOG.name().to_owned()],
            tenant_id: Some(tenant.clone()),
            expires_in: Some(TOKEN_LIFETIME),
        };
        let owner = Arc::new(Caller::owner(Credential::Owner));
        let given = self.client.send(&owner, &request).await.map_err(|error| {
            Error::new(Kind::Unavailable, "FM-MCP-ACCOUNT", "the embedded platform gives this server no account").caused_by(error)
        })?;
        let token = SecretString::from(given.token);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_TENANTS {
            tokens.clear();
        }
        tokens.insert(tenant.clone(), (token.clone(), Instant::now() + TOKEN_USE));
        drop(tokens);
        if tenant.as_str() == OWNER_TENANT
            && let Err(error) = self.keep(&token)
        {
            // It does without: the next process asks for its own.
            tracing::debug!(%error, "the account's token is not kept");
        }
        Ok(token)
    }

    fn kept(&self) -> Option<SecretString> {
        let kept: Kept = serde_json::from_slice(&private_files::read(&self.kept, MAX_FILE_BYTES).ok()??).ok()?;
        (kept.until > Timestamp::now()).then(|| kept.token.into())
    }

    fn keep(&self, token: &SecretString) -> std::io::Result<()> {
        let kept = Kept { token: token.expose_secret().to_owned(), until: Timestamp::now().plus_seconds(TOKEN_USE.as_secs_f64()) };
        private_files::folder(self.kept.parent().unwrap_or(&self.kept))?;
        private_files::replace_soon(&self.kept, &serde_json::to_vec(&kept)?)
    }
}

impl ServiceAccounts for Given {
    fn token<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<SecretString>> {
        Box::pin(async move {
            if let Some(token) = self.held(tenant) {
                return Ok(token);
            }
            if tenant.as_str() == OWNER_TENANT
                && let Some(token) = self.kept()
            {
                let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.insert(tenant.clone(), (token.clone(), Instant::now() + STORED_TOKEN_USE));
                return Ok(token);
            }
            self.ask(tenant).await
        })
    }

    fn refused(&self, tenant: &TenantId) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        if tenant.as_str() == OWNER_TENANT {
            // Where there is none, none is used again.
            let _gone = fs::remove_file(&self.kept);
        }
    }

    fn home(&self) -> Option<TenantId> {
        Some(OWNER_TENANT.into())
    }
}
