//! Roles as they are stored: what the roles that a user holds give.

use rusqlite::{Connection, OptionalExtension as _};

use super::conditions::{self, Facts};
use super::users;
use crate::api::Permissions;
use crate::error::{Error, Result};
use crate::platform::engine::expressions::budget::Budget;

/// The role that may do everything, in every tenant.
pub(crate) const ADMIN: &str = "admin";

/// What a role that a user holds gives.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) permissions: Vec<String>,
    pub(crate) condition: Option<String>,
}

/// The roles of a user that count right now, and what they and the user's own permissions give; needs the stack of a
/// database thread.
pub(crate) fn granted(connection: &Connection, tenant: &str, user: &users::Row, facts: &Facts) -> Result<(Vec<String>, Permissions)> {
    let mut permissions = user.permissions.clone();
    let mut counted = Vec::new();
    let held = held(connection, tenant, &user.roles)?;
    let budget = Budget::of_request();
    for name in &user.roles {
        let role = held.iter().find(|role| role.name == *name);
        let counts =
            role.and_then(|role| role.condition.as_deref()).is_none_or(|condition| conditions::holds(condition, user, facts, &budget));
        if counts {
            counted.push(name.clone());
            permissions.extend(role.iter().flat_map(|role| role.permissions.iter().cloned()));
        }
    }
    Ok((counted, permissions.into()))
}

/// The roles of these names, as far as there are such; a name alone can be a group that tasks are assigned to.
pub(crate) fn held(connection: &Connection, tenant: &str, names: &[String]) -> Result<Vec<Held>> {
    let mut held = Vec::with_capacity(names.len());
    let mut find = connection.prepare_cached("SELECT permissions, condition FROM roles WHERE tenant_id = ?1 AND name = ?2")?;
    for name in names {
        let found: Option<(String, Option<String>)> = find.query_row((tenant, name), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if name == ADMIN {
            held.push(Held { name: name.clone(), permissions: vec!["*".to_owned()], condition: None });
        } else if let Some((permissions, condition)) = found {
            let permissions = serde_json::from_str(&permissions).map_err(Error::internal)?;
            held.push(Held { name: name.clone(), permissions, condition });
        }
    }
    Ok(held)
}
