//! By which token a call goes on to the platform: the caller's own, one that it is exchanged for, or the server's.

use std::sync::Arc;

use secrecy::SecretString;

use super::service_accounts::ServiceAccounts;
use crate::api::{Effect, Spec};
use crate::auth::{Caller, Credential};
use crate::client::origin::Located;
use crate::error::{Error, Kind, Result};

pub use super::exchange::{Exchange, TokenEndpoint};

/// What happens to the token of a caller who brought one.
#[derive(Default)]
pub enum Mode {
    /// It is passed on.
    #[default]
    Propagate,
    /// It is exchanged for one that the platform takes (RFC 8693).
    Exchange(Exchange),
    /// The server's own account calls, on behalf of the caller.
    Service {
        /// Whether the platform honours X-On-Behalf-Of.
        on_behalf_of: bool,
    },
}

/// The way that calls go on. Callers who brought no token are not touched by the mode.
#[derive(Default)]
pub struct Upstream {
    mode: Mode,
    accounts: Option<Arc<dyn ServiceAccounts>>,
}

/// What a call carries to prove itself.
pub(crate) struct UpstreamCredential {
    pub(crate) token: SecretString,
    pub(crate) on_behalf_of: Option<String>,
}

impl Upstream {
    /// Whether the server has an account of its own.
    pub(crate) const fn has_account(&self) -> bool {
        self.accounts.is_some()
    }

    /// Calls in a mode; the accounts are the server's own.
    #[must_use]
    pub fn new(mode: Mode, accounts: Option<Arc<dyn ServiceAccounts>>) -> Self {
        Self { mode, accounts }
    }

    /// The tenant of the server's own account, where it has one.
    #[must_use]
    pub fn home(&self) -> Option<crate::api::ids::TenantId> {
        self.accounts.as_ref().and_then(|accounts| accounts.home())
    }

    /// Whether the server's own account may follow the events of a tenant for all its callers.
    pub(crate) fn follows_events(&self, tenant: &crate::api::ids::TenantId) -> bool {
        self.accounts.as_ref().is_some_and(|accounts| accounts.follows_events(tenant))
    }

    /// Refuses what must not reach the platform as the server's own: a person's decision, unless the platform honours
    /// on whose behalf it is, the calls of callers whose permissions are not known, since the platform cannot judge them,
    /// and what the platform would do to or by the account: its login, its rights, rights that it hands on, and routes whose
    /// permission nobody knows.
    ///
    /// # Errors
    /// `FM-MCP-DECIDE-AS-SERVICE`, `FM-MCP-AS-SERVICE` or `FM-MCP-FORBIDDEN`.
    pub fn check(&self, caller: &Caller, spec: &Spec) -> Result<()> {
        let (Mode::Service { on_behalf_of }, Credential::Bearer(_)) = (&self.mode, &caller.credential) else { return Ok(()) };
        if caller.permissions.is_none() && !spec.public {
            return Err(Error::new(
                Kind::Forbidden,
                "FM-MCP-FORBIDDEN",
                format!("it is unknown whether {} may use {}: the token names no permissions", caller.subject, spec.name),
            )
            .hint("Use a token that names its permissions."));
        }
        let hands_on = spec.effect == Effect::Grant && !caller.permissions.as_ref().is_some_and(|held| held.covers("*"));
        if hands_on || spec.names_route || (spec.permission.is_none() && !spec.public) {
            return Err(Error::new(
                Kind::Forbidden,
                "FM-MCP-AS-SERVICE",
                format!("{} would be done with the rights of this server's own account, not with the caller's", spec.name),
            )
            .hint("Do it in FlowMaster, as yourself."));
        }
        if *on_behalf_of || spec.effect != Effect::Decide {
            return Ok(());
        }
        Err(Error::new(
            Kind::Forbidden,
            "FM-MCP-DECIDE-AS-SERVICE",
            format!("{} speaks for a person, but this server calls the platform by its own account", spec.name),
        )
        .hint("Decide it in FlowMaster. The operator sets upstream.on_behalf_of where the platform honours X-On-Behalf-Of."))
    }

    /// By which token a caller's call goes on; one that was exchanged just now is not exchanged again.
    pub(crate) async fn prove(&self, caller: &Caller, located: &Located, fresh: Option<SecretString>) -> Result<UpstreamCredential> {
        let own = |token| Ok(UpstreamCredential { token, on_behalf_of: None });
        match (&caller.credential, &self.mode) {
            (Credential::Owner, _) => own(located.owner_token.clone().ok_or_else(without_token)?),
            (Credential::Verified, _) => Err(without_token()),
            (Credential::Service, _) => own(self.account(caller).await?),
            (Credential::Bearer(token), Mode::Propagate) => own(token.clone()),
            (Credential::Bearer(token), Mode::Exchange(exchange)) => match fresh {
                Some(fresh) => own(fresh),
                None => own(exchange.of(caller, token).await?),
            },
            (Credential::Bearer(_), Mode::Service { .. }) => {
                Ok(UpstreamCredential { token: self.account(caller).await?, on_behalf_of: Some(caller.subject.clone()) })
            }
        }
    }

    /// Whether callers' tokens are exchanged.
    pub(crate) const fn exchanges(&self) -> bool {
        matches!(self.mode, Mode::Exchange(_))
    }

    /// Whether a call would go on by a token that was exchanged before.
    pub(crate) async fn remembers(&self, caller: &Caller) -> bool {
        match (&caller.credential, &self.mode) {
            (Credential::Bearer(token), Mode::Exchange(exchange)) => exchange.remembers(token).await,
            _ => false,
        }
    }

    /// Exchanges a caller's token again, where tokens are exchanged: what it was exchanged for outlives its revocation.
    pub(crate) async fn renew(&self, caller: &Caller) -> Result<Option<SecretString>> {
        match (&caller.credential, &self.mode) {
            (Credential::Bearer(token), Mode::Exchange(exchange)) => exchange.renew(caller, token).await.map(Some),
            _ => Ok(None),
        }
    }

    /// The platform refused the token that a call proved itself with: what is remembered of it is forgotten.
    pub(crate) async fn refused(&self, caller: &Caller, refused: &SecretString) {
        match (&caller.credential, &self.mode) {
            (Credential::Bearer(token), Mode::Exchange(exchange)) => exchange.forget(token, refused).await,
            (Credential::Bearer(_), Mode::Service { .. }) | (Credential::Service, _) => {
                if let Some(accounts) = &self.accounts {
                    accounts.refused(&caller.tenant);
                }
            }
            _ => {}
        }
    }

    async fn account(&self, caller: &Caller) -> Result<SecretString> {
        match &self.accounts {
            Some(accounts) => accounts.token(&caller.tenant).await,
            None => Err(Error::new(Kind::Unauthenticated, "FM-MCP-NO-ACCOUNT", "this server has no account of its own at the platform")
                .hint("The operator sets FLOWMASTER_SERVICE_TOKEN, or [service.tokens] in the configuration file.")),
        }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mode = match self.mode {
            Mode::Propagate => "propagate",
            Mode::Exchange(_) => "exchange",
            Mode::Service { .. } => "service",
        };
        f.debug_struct("Upstream").field("mode", &mode).finish_non_exhaustive()
    }
}

fn without_token() -> Error {
    Error::new(Kind::Unauthenticated, "FM-MCP-NO-CREDENTIAL", "there is no token to call the platform with")
        .hint("Set FLOWMASTER_TOKEN to an access token.")
}
