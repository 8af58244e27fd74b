//! Who this process speaks for, until when, and what that caller may do: for `whoami` and `doctor`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::connection::Connection;
use super::credentials::Credentials;
use crate::api::auth;
use crate::api::{Permissions, Timestamp, catalogue};
use crate::auth::{Caller, Filter};
use crate::cli::terminal::plain;
use crate::error::{Error, Kind, Result};

/// The caller as the platform knows it, or as its token has it where the platform cannot be asked.
pub(crate) struct Identity {
    pub(crate) caller: Arc<Caller>,
    /// The name that was signed in with, where this side knows it.
    username: Option<String>,
    /// By which credential.
    pub(crate) credential: &'static str,
    /// Whether the credential is renewed before it ends.
    renewed: bool,
    /// How many tools the caller is offered.
    tools: usize,
    /// Whether they are chosen by the permissions.
    filter: Filter,
    /// Why the platform did not say so itself.
    pub(crate) unconfirmed: Option<Error>,
}

impl Identity {
    /// Asks the platform who calls.
    ///
    /// # Errors
    /// There is no caller any more, or the platform does not know it.
    pub(crate) async fn find(connection: &Connection) -> Result<Self> {
        let credentials = connection.credentials()?;
        let told = connection.caller().await?;
        // What the platform says counts for more than the token: rights may have changed since.
        let (claims, unconfirmed) = match connection.client.send(&told, &auth::Validate {}).await {
            Ok(validity) if validity.valid => (validity.claims, None),
            Ok(_) => {
                return Err(Error::new(Kind::Unauthenticated, "FM-MCP-LOGIN-ENDED", "the platform says that the token is not valid")
                    .hint("Sign in again with `flowmaster-mcp login`, or set FLOWMASTER_TOKEN again."));
            }
            Err(error) if matches!(error.kind(), Kind::Unauthenticated | Kind::Forbidden) => return Err(error),
            Err(error) => (None, Some(error)),
        };
        // A call may have renewed the login.
        let mut caller = connection.caller().await.map_or_else(|_| Caller::clone(&told), |caller| Caller::clone(&caller));
        if let Some(claims) = claims {
            caller.subject = claims.sub;
            caller.tenant = claims.tenant_id;
            caller.roles = claims.roles;
            caller.permissions = Some(claims.permissions.into());
            caller.expires = caller.expires.or_else(|| claims.exp.map(|end| Timestamp::from_millis(end.saturating_mul(1000))));
        }
        connection.client.extensions().learn().await;
        Ok(Self {
            username: credentials.username(),
            credential: credentials.describe(),
            renewed: credentials.renews(),
            tools: connection.app()?.offers(&caller),
            filter: connection.client.access().filter(),
            caller: Arc::new(caller),
            unconfirmed,
        })
    }

    /// Who it is.
    pub(crate) fn who(&self) -> String {
        let name = self.username.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
        let roles = if self.caller.roles.is_empty() { "no roles".to_owned() } else { self.caller.roles.join(", ") };
        plain(&format!("{name}{} of {} ({roles})", self.caller.subject, self.caller.tenant))
    }

    /// Until when.
    pub(crate) fn until(&self) -> String {
        match (self.caller.expires, self.renewed) {
            (None, _) => "does not end".to_owned(),
            (Some(end), false) => format!("until {end}"),
            (Some(end), true) => format!("until {end}, renewed before that"),
        }
    }

    /// What it may do.
    pub(crate) fn may(&self) -> String {
        let held = match self.permissions() {
            None => "permissions that the token does not name".to_owned(),
            Some(held) if held.is_empty() => "no permissions".to_owned(),
            Some(held) if held == ["*"] => "everything".to_owned(),
            Some(held) => held.join(", "),
        };
        let judge = if self.filter == Filter::Off { ", of which the platform refuses what is not permitted" } else { "" };
        plain(&format!("{held}; {} of {} tools{judge}", self.tools, catalogue().tools().count()))
    }

    /// All of it, for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "subject": self.caller.subject,
            "username": self.username,
            "tenant": self.caller.tenant,
            "roles": self.caller.roles,
            "permissions": self.permissions(),
            "until": self.caller.expires,
            "renewed": self.renewed,
            "credential": self.credential,
            "tools": self.tools,
            "toolsInAll": catalogue().tools().count(),
            "confirmed": self.unconfirmed.is_none(),
        })
    }

    fn permissions(&self) -> Option<Vec<&str>> {
        self.caller.permissions.as_ref().map(|held: &Permissions| held.iter().collect())
    }
}

impl Credentials {
    /// The name that is or was signed in with.
    fn username(&self) -> Option<String> {
        match self {
            Self::Owner(_) => None,
            Self::Login(login) => login.username(),
        }
    }

    /// Whether the credential is renewed before it ends.
    fn renews(&self) -> bool {
        match self {
            Self::Owner(_) => false,
            Self::Login(login) => login.renews(),
        }
    }
}
