//! A webhook subscription as it is kept: what is delivered, by which key, and for whom.
//!
//! It holds the token of the caller, by whose rights events are read and judged for as long as it lasts. So it lies where
//! logins lie, in a file of the server's own user alone, and it ends with the token.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::{Permissions, Timestamp};
use crate::auth::{Caller, CallerKind, Credential};

/// How long the key before the present one is good for, in seconds: what is on its way may be signed by it.
const GRACE: f64 = 300.0;

/// See the module.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subscription {
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
    /// Events before this are not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not_before: Option<Timestamp>,
    secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Before>,
    caller: KeptCaller,
}

/// The key before the present one.
#[derive(Serialize, Deserialize)]
struct Before {
    secret: String,
    until: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptCaller {
    tenant: String,
    subject: String,
    roles: Vec<String>,
    permissions: Option<Permissions>,
    kind: String,
    expires: Option<Timestamp>,
    /// None for the owner of the embedded platform.
    token: Option<String>,
}

impl Subscription {
    /// A subscription of a caller; `None` where the caller cannot be spoken for later.
    pub(super) fn new(name: &str, arguments: Map<String, Value>, secret: &str, caller: &Caller) -> Option<Self> {
        let token = match &caller.credential {
            Credential::Bearer(token) => Some(token.expose_secret().to_owned()),
            Credential::Owner => None,
            Credential::Service | Credential::Verified => return None,
        };
        let kept = KeptCaller {
            tenant: caller.tenant.to_string(),
            subject: caller.subject.clone(),
            roles: caller.roles.clone(),
            permissions: caller.permissions.clone(),
            kind: name_of(caller.kind).to_owned(),
            expires: caller.expires,
            token,
        };
        Some(Self { name: name.to_owned(), arguments, not_before: None, secret: secret.to_owned(), before: None, caller: kept })
    }

    /// Takes over the key of the same subscription as it was, for a while.
    pub(super) fn after(mut self, earlier: &str) -> Self {
        let Ok(earlier) = serde_json::from_str::<Self>(earlier) else { return self };
        self.before = if earlier.secret == self.secret {
            earlier.before
        } else {
            Some(Before { secret: earlier.secret, until: Timestamp::now().plus_seconds(GRACE) })
        };
        self.not_before = self.not_before.or(earlier.not_before);
        self
    }

    /// The keys by which a message is signed now.
    pub(super) fn secrets(&self, now: Timestamp) -> Vec<&str> {
        let before = self.before.as_ref().filter(|before| before.until > now).map(|before| before.secret.as_str());
        [Some(self.secret.as_str()), before].into_iter().flatten().collect()
    }

    /// For whom it is.
    pub(super) fn caller(&self) -> Arc<Caller> {
        let kept = &self.caller;
        Arc::new(Caller {
            tenant: kept.tenant.as_str().into(),
            subject: kept.subject.clone(),
            roles: kept.roles.clone(),
            permissions: kept.permissions.clone(),
            kind: kind_of(&kept.kind),
            expires: kept.expires,
            credential: kept.token.as_ref().map_or(Credential::Owner, |token| Credential::Bearer(token.clone().into())),
        })
    }

    /// The subscription as text.
    pub(super) fn text(&self) -> String {
        // Texts and numbers are always JSON.
        json!(self).to_string()
    }
}

const fn name_of(kind: CallerKind) -> &'static str {
    match kind {
        CallerKind::User => "user",
        CallerKind::Service => "service",
        CallerKind::Owner => "owner",
    }
}

fn kind_of(name: &str) -> CallerKind {
    match name {
        "owner" => CallerKind::Owner,
        "service" => CallerKind::Service,
        _ => CallerKind::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_comes_back_as_it_was_and_a_key_goes_with_its_time() {
        let token = Credential::Bearer("t.o.k".to_owned().into());
        let caller = Caller { expires: Some(Timestamp::from_millis(5)), ..Caller::owner(token) };
        let caller = Caller { kind: CallerKind::Service, ..caller };
        let first = Subscription::new("task.created", Map::new(), "whsec_one", &caller).unwrap();
        let back: Subscription = serde_json::from_str(&first.text()).unwrap();
        let again = back.caller();
        assert_eq!((&again.tenant, &again.subject, &again.roles), (&caller.tenant, &caller.subject, &caller.roles));
        assert_eq!((&again.permissions, again.kind, again.expires), (&caller.permissions, caller.kind, caller.expires));
        assert!(matches!(&again.credential, Credential::Bearer(token) if token.expose_secret() == "t.o.k"));
        let same = Subscription::new("task.created", Map::new(), "whsec_one", &caller).unwrap().after(&first.text());
        assert_eq!(same.secrets(Timestamp::now()), ["whsec_one"]);
        let other = Subscription::new("task.created", Map::new(), "whsec_two", &caller).unwrap().after(&first.text());
        assert_eq!(other.secrets(Timestamp::now()), ["whsec_two", "whsec_one"]);
        assert_eq!(other.secrets(Timestamp::now().plus_seconds(GRACE + 1.0)), ["whsec_two"]);
        assert!(Subscription::new("x", Map::new(), "", &Caller::owner(Credential::Verified)).is_none());
    }
}
