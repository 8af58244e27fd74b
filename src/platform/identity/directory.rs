//! The people of a tenant as tasks name them: whether an assignee can be a user, a role or a service.
//!
//! Every token that this platform accepts is its own: a subject is a user, the owner or a service. But the contract's
//! examples name ids of other issuers (`manager-123`), and a role can be named before it exists. So an assignee is rejected
//! where it is nobody for certain: a person's name or address, the id of a user that there is not, or a word that is almost
//! the name of somebody.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::roles::ADMIN;
use super::users;
use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::near::near;
use crate::auth::{OWNER_SUBJECT, OWNER_TENANT};
use crate::error::Result;

/// Users and roles that a wrong name is compared with.
const MAX_COMPARED: i64 = 1000;
/// Users and roles that are named as what was meant.
const MAX_NAMED: usize = 3;

/// Returns what is wrong with an assignee, if it is neither a user nor a role of the tenant, nor did ever anything in it.
pub(crate) fn fault_of(connection: &Connection, tenant: &str, assignee: &str, pointer: &str) -> Result<Option<FieldError>> {
    if is_known(connection, tenant, assignee)? {
        return Ok(None);
    }
    let fault = |detail: String| Ok(Some(FieldError::new(pointer, "unknown", format!("{} is {detail}", quote(assignee)))));
    if let Some(user) = users::find_by_name(connection, tenant, assignee)? {
        return fault(format!("a user's name; the user's id is {}", user.id));
    }
    let people = people(connection, tenant)?;
    let form = Form::of(assignee);
    let meant: BTreeSet<String> = match form {
        Form::Id => BTreeSet::new(),
        Form::Word | Form::Person => {
            let names = people.iter().flat_map(|person| person.names(form));
            let alike = near(assignee, names);
            let local = |person: &&Person| person.local().is_some_and(|local| local.eq_ignore_ascii_case(assignee));
            let is_alike = |person: &&Person| local(person) || person.names(form).any(|name| alike.contains(&name));
            people.iter().filter(is_alike).map(Person::shown).collect()
        }
    };
    if !meant.is_empty() {
        let meant = meant.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(" or ");
        return fault(format!("neither a user's id nor a role; did you mean {meant}?"));
    }
    match form {
        Form::Word => Ok(None),
        Form::Id if !is_own_id(assignee) => Ok(None),
        Form::Id | Form::Person => {
            fault("neither a user's id nor a role; users_list finds the users, roles_list shows the roles".to_owned())
        }
    }
}

/// How an assignee is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As the contract writes an id: a word and a number, `manager-123`.
    Id,
    /// As a role is named: one word.
    Word,
    /// With spaces or an @: a name or an address.
    Person,
}

impl Form {
    fn of(assignee: &str) -> Self {
        let is_number = |text: &str| text.contains(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if assignee.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@') {
            Self::Person
        } else if assignee.split_once('-').is_some_and(|(_, number)| is_number(number)) {
            Self::Id
        } else {
            Self::Word
        }
    }
}

/// Whether an id has the form of those that this platform gives users.
pub(super) fn is_own_id(id: &str) -> bool {
    id.strip_prefix("user-").is_some_and(|number| uuid::Uuid::try_parse(number).is_ok())
}

/// Somebody whom a task can be assigned to.
struct Person {
    /// The user's id, or the role.
    assignee: String,
    /// A user's name.
    username: Option<String>,
}

impl Person {
    /// What a wrong name is compared with: the id or role, the address and, for a person's name, the part before the @.
    fn names(&self, form: Form) -> impl Iterator<Item = &str> {
        let local = self.local().filter(|_| form == Form::Person);
        [Some(self.assignee.as_str()), self.username.as_deref(), local].into_iter().flatten()
    }

    /// The id or role, an id with the name that belongs to it.
    fn shown(&self) -> String {
        self.username.as_ref().map_or_else(|| self.assignee.clone(), |username| format!("{} ({username})", self.assignee))
    }

    /// The part of the address before the @.
    fn local(&self) -> Option<&str> {
        self.username.as_deref()?.split_once('@').map(|(local, _)| local)
    }
}

fn people(connection: &Connection, tenant: &str) -> Result<Vec<Person>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, username FROM (SELECT id, username FROM users WHERE tenant_id = ?1 AND status = 'active' ORDER BY username LIMIT ?2)
         UNION ALL SELECT name, NULL FROM (SELECT name FROM roles WHERE tenant_id = ?1 ORDER BY name LIMIT ?2)
         UNION ALL SELECT DISTINCT held.value, NULL FROM users, json_each(users.roles) AS held WHERE tenant_id = ?1 AND status = 'active' LIMIT ?2",
    )?;
    let rows = statement.query_map(params![tenant, MAX_COMPARED], |row| Ok(Person { assignee: row.get(0)?, username: row.get(1)? }))?;
    let mut people: Vec<Person> = rows.collect::<rusqlite::Result<_>>()?;
    people.push(Person { assignee: ADMIN.to_owned(), username: None });
    Ok(people)
}

fn is_known(connection: &Connection, tenant: &str, assignee: &str) -> Result<bool> {
    if assignee == ADMIN || tenant == OWNER_TENANT && assignee == OWNER_SUBJECT {
        return Ok(true);
    }
    Ok(connection
        .prepare_cached(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM users WHERE tenant_id = ?1 AND id = ?2 AND status = 'active')
             OR EXISTS (SELECT 1 FROM roles WHERE tenant_id = ?1 AND name = ?2)
             OR EXISTS (SELECT 1 FROM users, json_each(users.roles) AS held WHERE tenant_id = ?1 AND status = 'active' AND held.value = ?2)
             OR EXISTS (SELECT 1 FROM audit_log WHERE tenant_id = ?1 AND actor = ?2 AND claimed IS NOT 1)",
        )?
        .exists((tenant, assignee))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignee_is_an_id_a_word_or_a_person() {
        for (assignee, form) in [
            ("manager-123", Form::Id),
            ("user-0198c9a0-0000-7000-8000-000000000000", Form::Id),
            ("manager", Form::Word),
            ("night-shift", Form::Word),
            ("user-owner", Form::Word),
            ("Bob Miller", Form::Person),
            ("bob@acme.example", Form::Person),
        ] {
            assert_eq!(Form::of(assignee), form, "{assignee}");
        }
        assert!(is_own_id("user-0198c9a0-0000-7000-8000-000000000000") && !is_own_id("user-456"));
    }
}
