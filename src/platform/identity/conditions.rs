//! Conditions of roles: CEL over `user`, `resource` and `env`, within limits. What does not hold or fails gives nothing.

use chrono::{Datelike as _, Timelike as _};
use serde_json::{Map, Value};

use super::users;
use crate::api::{Spec, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::engine::expressions::budget::Budget;
use crate::platform::engine::expressions::conditions::Expression;

/// The names that a condition can begin with.
const ROOTS: [&str; 3] = ["user", "resource", "env"];

/// What a condition can see besides the user.
#[derive(Debug)]
pub(crate) struct Facts {
    resource: Map<String, Value>,
    env: Map<String, Value>,
}

impl Facts {
    /// Of a call: the operation, the ids in its path, and the time.
    pub(crate) fn new(spec: &Spec, path: &[(String, String)], now: Timestamp) -> Self {
        let (kind, action) = spec.permission.and_then(|permission| permission.name().split_once(':')).unwrap_or_default();
        let mut resource = Map::from_iter([
            ("type".to_owned(), kind.into()),
            ("action".to_owned(), action.into()),
            ("operation".to_owned(), spec.name.into()),
        ]);
        resource.extend(path.iter().filter(|(name, _)| name != "type").map(|(name, value)| (name.clone(), value.as_str().into())));
        let utc = now.utc();
        let env = Map::from_iter([
            ("time".to_owned(), now.to_string().into()),
            ("seconds".to_owned(), (now.millis() / 1000).into()),
            ("hour".to_owned(), utc.hour().into()),
            ("weekday".to_owned(), utc.weekday().number_from_monday().into()),
        ]);
        Self { resource, env }
    }
}

/// Refuses a condition that does not compile or goes beyond the limits; needs the stack of a database thread.
pub(crate) fn check(condition: &str) -> Result<()> {
    Expression::compile_over(condition, &ROOTS).map(drop).map_err(|fault| {
        Error::new(Kind::Invalid, "FM-AAS-CONDITION", "the condition of the role cannot be used")
            .field("/condition", fault.code, fault.message)
            .hint("Write CEL over user, resource and env, such as: env.hour >= 8 && resource.type == 'task'.")
    })
}

/// Whether a condition holds; needs the stack of a database thread.
pub(crate) fn holds(condition: &str, user: &users::Row, facts: &Facts, budget: &Budget) -> bool {
    // A user may hold many roles: a condition that is not going to be evaluated is not parsed either.
    if !budget.affords(condition.len()) {
        tracing::debug!(condition, "a role does not count, for the conditions of the user's roles take too many steps");
        return false;
    }
    let user = Map::from_iter([
        ("id".to_owned(), user.id.as_str().into()),
        ("username".to_owned(), user.username.as_str().into()),
        ("roles".to_owned(), user.roles.clone().into()),
    ]);
    let held = Expression::compile_over(condition, &ROOTS)
        .and_then(|expression| expression.evaluate_over(&[("user", &user), ("resource", &facts.resource), ("env", &facts.env)], budget));
    match held {
        Ok(value) => value == true,
        Err(fault) => {
            tracing::debug!(code = fault.code, fault.message, condition, "a role does not count, for its condition failed");
            false
        }
    }
}
