//! The server's own account at the platform: what entries of the audit log and calls on behalf of others are sent with.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use crate::api::ids::TenantId;
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};

/// Knows the server's own account in each tenant.
pub trait ServiceAccounts: Send + Sync {
    /// The account's token in a tenant.
    fn token<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<SecretString>>;

    /// The platform refused the token that was given last.
    fn refused(&self, _tenant: &TenantId) {}

    /// The tenant that the account itself belongs to; entries of unknown callers go there.
    fn home(&self) -> Option<TenantId>;

    /// Whether the account of a tenant is that tenant's for sure, and may follow its events for all its callers.
    fn follows_events(&self, _tenant: &TenantId) -> bool {
        false
    }
}

/// An account whose tokens the operator gave.
#[derive(Debug)]
pub struct Configured {
    one: Option<(SecretString, Option<TenantId>)>,
    by_tenant: BTreeMap<String, SecretString>,
}

impl Configured {
    /// One token for all tenants that it does not contradict, and tokens of single tenants; `None` where there are neither.
    ///
    /// # Errors
    /// A token of one tenant that was given for another, or that cannot go into a header.
    pub fn new(token: Option<SecretString>, tokens: BTreeMap<String, SecretString>) -> Result<Option<Self>> {
        for (tenant, token) in &tokens {
            Caller::of_unverified_token(token.clone(), Some(tenant)).map_err(|_| {
                Error::configuration(
                    Kind::Invalid,
                    "FM-CONFIG-SERVICE-TOKEN",
                    format!("the token in service.tokens for {tenant} is not one of that tenant"),
                )
                .hint("Give each tenant a service token of its own, with that tenant in its claims.")
            })?;
        }
        let one = match token {
            Some(token) => {
                let about = Caller::of_unverified_token(token.clone(), None).map_err(|_| {
                    Error::configuration(Kind::Invalid, "FM-CONFIG-SERVICE-TOKEN", "service.token is not a token")
                        .hint("Set FLOWMASTER_SERVICE_TOKEN to a service token as the platform gives it.")
                })?;
                drop(about);
                let tenant = Caller::tenant_claimed_by(&token);
                Some((token, tenant))
            }
            None => None,
        };
        Ok((one.is_some() || !tokens.is_empty()).then_some(Self { one, by_tenant: tokens }))
    }

    fn find(&self, tenant: &TenantId) -> Result<SecretString> {
        if let Some(token) = self.by_tenant.get(tenant.as_str()) {
            return Ok(token.clone());
        }
        match &self.one {
            Some((token, claimed)) if claimed.as_ref().is_none_or(|claimed| claimed == tenant) => Ok(token.clone()),
            _ => Err(Error::new(Kind::Forbidden, "FM-MCP-NO-ACCOUNT", format!("this server has no account in tenant {tenant}"))
                .hint("The operator adds a service token of that tenant to [service.tokens].")),
        }
    }
}

impl ServiceAccounts for Configured {
    fn token<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<SecretString>> {
        Box::pin(std::future::ready(self.find(tenant)))
    }

    fn home(&self) -> Option<TenantId> {
        self.one.as_ref().and_then(|(_, claimed)| claimed.clone())
    }

    fn follows_events(&self, tenant: &TenantId) -> bool {
        self.by_tenant.contains_key(tenant.as_str()) || self.home().as_ref() == Some(tenant)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn token(claims: &str) -> SecretString {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into()
    }

    #[test]
    fn a_token_serves_its_own_tenant_and_no_other() {
        let one = token(r#"{"tenantId":"tenant-1"}"#);
        let two = token(r#"{"tenantId":"tenant-2"}"#);
        let accounts = Configured::new(Some(one.clone()), BTreeMap::from([("tenant-2".to_owned(), two.clone())])).unwrap().unwrap();
        assert_eq!(accounts.find(&"tenant-1".into()).unwrap().expose_secret(), one.expose_secret());
        assert_eq!(accounts.find(&"tenant-2".into()).unwrap().expose_secret(), two.expose_secret());
        assert_eq!(accounts.find(&"tenant-3".into()).unwrap_err().code(), "FM-MCP-NO-ACCOUNT");
        assert_eq!(accounts.home(), Some("tenant-1".into()));

        let anywhere = Configured::new(Some("opaque".into()), BTreeMap::new()).unwrap().unwrap();
        assert_eq!(anywhere.find(&"tenant-3".into()).unwrap().expose_secret(), "opaque");
        assert_eq!(anywhere.home(), None);
        assert!(Configured::new(None, BTreeMap::new()).unwrap().is_none());
    }

    #[test]
    fn a_token_given_for_another_tenant_is_refused_without_being_shown() {
        let foreign = BTreeMap::from([("tenant-2".to_owned(), token(r#"{"tenantId":"tenant-1"}"#))]);
        let error = Configured::new(None, foreign).unwrap_err();
        assert_eq!(error.code(), "FM-CONFIG-SERVICE-TOKEN");
        assert!(!format!("{error:?}").contains("e30."));
        assert_eq!(Configured::new(Some("two words".into()), BTreeMap::new()).unwrap_err().code(), "FM-CONFIG-SERVICE-TOKEN");
    }
}
