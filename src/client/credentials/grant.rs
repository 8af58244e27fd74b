//! What a login gives: the pair of tokens, whose it is, and when it is to be renewed.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::api::Timestamp;
use crate::api::auth::{Tokens, User};
use crate::auth::{Caller, Credential};
use crate::error::Result;

/// How long before its end a token is renewed, in seconds.
const RENEW_AHEAD: f64 = 60.0;
/// The longest life of a token that is believed, in seconds.
const MAX_LIFETIME: u64 = 366 * 24 * 3600;

/// A pair of tokens as it is kept in memory and in a login's file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Where it was given, for people who look into the file.
    #[serde(default)]
    pub platform: String,
    /// The name that was signed in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The tenant that was signed in to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Who signed in, as the platform told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    #[serde(serialize_with = "exposed")]
    access_token: SecretString,
    #[serde(default, serialize_with = "exposed_if_any", skip_serializing_if = "Option::is_none")]
    refresh_token: Option<SecretString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renew_at: Option<Timestamp>,
}

impl Grant {
    /// The pair that a login gave.
    #[must_use]
    pub fn of_login(tokens: Tokens, platform: &str, username: &str, tenant: &str, asked_at: Timestamp) -> Self {
        let empty = Self {
            platform: platform.to_owned(),
            username: Some(username.to_owned()),
            tenant: Some(tenant.to_owned()),
            user: None,
            access_token: SecretString::default(),
            refresh_token: None,
            expires_at: None,
            renew_at: None,
        };
        empty.followed_by(tokens, asked_at)
    }

    /// The pair that the operator set, of which the token alone says how long it is good.
    ///
    /// # Errors
    /// A token that is none.
    pub fn of_settings(token: &SecretString, refresh_token: Option<&SecretString>, tenant: Option<&str>) -> Result<Self> {
        let caller = Caller::of_unverified_token(token.clone(), tenant)?;
        Ok(Self {
            platform: String::new(),
            username: None,
            tenant: tenant.map(str::to_owned),
            user: None,
            access_token: token.clone(),
            refresh_token: refresh_token.cloned(),
            expires_at: caller.expires,
            renew_at: caller.expires.filter(|_| refresh_token.is_some()).map(|end| end.plus_seconds(-RENEW_AHEAD)),
        })
    }

    /// The next pair of the same login. Its end is reckoned by this machine's clock, from before it was asked for: the
    /// platform's clock may be another.
    #[must_use]
    pub(crate) fn followed_by(&self, tokens: Tokens, asked_at: Timestamp) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a year of seconds fits a float")]
        let life = tokens.expires_in.min(MAX_LIFETIME) as f64;
        Self {
            access_token: tokens.access_token.into(),
            // A platform that does not rotate may leave it out.
            refresh_token: if tokens.refresh_token.expose().is_empty() {
                self.refresh_token.clone()
            } else {
                Some(tokens.refresh_token.into())
            },
            expires_at: Some(asked_at.plus_seconds(life)),
            renew_at: Some(asked_at.plus_seconds(life - RENEW_AHEAD.min(life / 2.0))),
            user: Some(tokens.user),
            ..self.clone()
        }
    }

    /// Whom the pair makes the caller.
    ///
    /// # Errors
    /// A token that cannot be one, or of another tenant than the one asserted or signed in to.
    pub fn caller(&self, asserted_tenant: Option<&str>) -> Result<Caller> {
        let tenant = asserted_tenant.or(self.tenant.as_deref());
        let mut caller = Caller::of_unverified_token(self.access_token.clone(), tenant)?;
        if let (true, Some(user)) = (caller.is_nameless(), &self.user) {
            // A token that is not a JWT says nothing; the login's answer does.
            caller.subject = user.id.to_string();
            caller.roles.clone_from(&user.roles);
            caller.permissions = Some(user.permissions.clone().into());
        }
        caller.expires = self.expires_at.or(caller.expires);
        Ok(caller)
    }

    /// Whether it is time for the next pair.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }

    /// Whether a caller's token is the one of this pair.
    pub(crate) fn is_of(&self, caller: &Caller) -> bool {
        matches!(&caller.credential, Credential::Bearer(token) if token.expose_secret() == self.access_token.expose_secret())
    }

    /// The token that gives the next pair, once.
    pub(crate) const fn refresh_token(&self) -> Option<&SecretString> {
        self.refresh_token.as_ref()
    }

    /// When the access token ends.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("user", &self.user).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

#[expect(clippy::ref_option, reason = "serde hands a field as it is")]
fn exposed_if_any<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => exposed(secret, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(access: &str, refresh: &str, expires_in: u64) -> Tokens {
        let user = User { id: "user-1".into(), email: "a@b.c".to_owned(), roles: vec!["clerk".to_owned()], permissions: vec![] };
        Tokens { access_token: access.into(), refresh_token: refresh.into(), expires_in, user }
    }

    #[test]
    fn a_pair_is_renewed_a_minute_before_its_end_or_halfway() {
        let now = Timestamp::from_millis(1_000_000_000);
        let hour = Grant::of_login(tokens("opaque", "r1", 3600), "p", "a@b.c", "t", now);
        assert!(!hour.is_due(now.plus_seconds(3539.0)) && hour.is_due(now.plus_seconds(3540.0)));
        let short = Grant::of_login(tokens("opaque", "r1", 10), "p", "a@b.c", "t", now);
        assert!(!short.is_due(now.plus_seconds(4.9)) && short.is_due(now.plus_seconds(5.0)));
        let endless = Grant::of_login(tokens("opaque", "r1", u64::MAX), "p", "a@b.c", "t", now);
        assert!(!endless.is_due(now.plus_seconds(1e6)));
        let next = hour.followed_by(tokens("next", "", 3600), now);
        assert_eq!(next.refresh_token().unwrap().expose_secret(), "r1");
    }

    #[test]
    fn a_pair_survives_its_file_and_shows_nothing_in_a_log() {
        let now = Timestamp::from_millis(1_000_000_000);
        let grant = Grant::of_login(tokens("topsecret-a", "topsecret-r", 3600), "p", "a@b.c", "t", now);
        assert!(!format!("{grant:?}").contains("topsecret"));
        let read: Grant = serde_json::from_str(&serde_json::to_string(&grant).unwrap()).unwrap();
        let caller = read.caller(None).unwrap();
        assert_eq!((caller.subject.as_str(), caller.tenant.as_str(), &caller.roles[..]), ("user-1", "t", &["clerk".to_owned()][..]));
        assert_eq!(caller.expires, Some(now.plus_seconds(3600.0)));
        assert!(read.is_of(&caller) && read.refresh_token().is_some());
    }
}
