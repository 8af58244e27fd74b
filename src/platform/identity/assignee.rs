//! Whom a task is for: one user, or whoever holds a role.
//!
//! A task names either by a text. What it is, is decided when it is written, and stays: a user's id is a user's alone, and
//! no role has a name of that form. So nobody gets at somebody's tasks by a role that is called like a user.

use rusqlite::Connection;

use super::directory::is_own_id;
use crate::auth::{Caller, OWNER_SUBJECT};
use crate::error::Result;

/// How the subject of a service's token begins.
const SERVICE: &str = "service-";

/// Whom a task is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Assignee {
    /// The user or service of an id.
    User(String),
    /// Whoever holds a role; one of that name may be made later.
    Role(String),
}

impl Assignee {
    /// Decides what a text means in a tenant.
    pub(crate) fn of(connection: &Connection, tenant: &str, text: &str) -> Result<Self> {
        let mut roles = connection.prepare_cached("SELECT 1 FROM roles WHERE tenant_id = ?1 AND name = ?2")?;
        let user = is_subject(connection, tenant, text)? || text.starts_with(SERVICE) && !roles.exists((tenant, text))?;
        Ok(if user { Self::User(text.to_owned()) } else { Self::Role(text.to_owned()) })
    }

    /// What is stored of it beside its text, and where it comes back from.
    pub(crate) fn stored(kind: &str, text: String) -> Self {
        if kind == "user" { Self::User(text) } else { Self::Role(text) }
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::User(text) | Self::Role(text) => text,
        }
    }

    /// Which of the two it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Role(_) => "role",
        }
    }

    /// Whether a caller is meant.
    pub(crate) fn is(&self, caller: &Caller) -> bool {
        match self {
            Self::User(id) => caller.subject == *id,
            Self::Role(name) => caller.roles.contains(name),
        }
    }
}

/// Whether a text is the id of a user of the tenant, or has the form of one.
pub(crate) fn is_subject(connection: &Connection, tenant: &str, text: &str) -> Result<bool> {
    Ok(text == OWNER_SUBJECT
        || is_own_id(text)
        || connection.prepare_cached("SELECT 1 FROM users WHERE tenant_id = ?1 AND id = ?2")?.exists((tenant, text))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Credential;

    #[test]
    fn a_role_is_not_a_user_of_the_same_name() {
        let mut caller = Caller::owner(Credential::Verified);
        caller.subject = "user-1".to_owned();
        caller.roles = vec!["user-2".to_owned(), "clerk".to_owned()];
        assert!(Assignee::User("user-1".to_owned()).is(&caller) && Assignee::Role("clerk".to_owned()).is(&caller));
        assert!(!Assignee::User("user-2".to_owned()).is(&caller) && !Assignee::Role("user-1".to_owned()).is(&caller));
    }
}
