//! Conditions of roles: CEL over `user`, `resource` and `env`, within limits. What does not hold or fails gives nothing.

use chrono::{Datelike as _, Timelike as _};
use serde_json::{Map, Value, json};

use super::users;
use crate::api::{Spec, Timestamp};
use crate::error::{Error, Kind, Result};

/// Longest condition, in bytes.
const MAX_LENGTH: usize = 2048;
/// Deepest nesting of brackets: the parser's stack is what it is.
const MAX_DEPTH: usize = 16;
/// What goes through lists has no limit of its own, and a role has no need of it.
const COMPREHENSIONS: [&str; 5] = ["all", "exists", "exists_one", "map", "filter"];

/// What a condition can see besides the user.
#[derive(Debug)]
pub(super) struct Facts {
    resource: Value,
    env: Value,
}

impl Facts {
    /// Of a call: the operation, the ids in its path, and the time.
    pub(super) fn new(spec: &Spec, path: &[(String, String)], now: Timestamp) -> Self {
        let (kind, action) = spec.permission.and_then(|permission| permission.name().split_once(':')).unwrap_or_default();
        let mut resource = Map::from_iter([
            ("type".to_owned(), kind.into()),
            ("action".to_owned(), action.into()),
            ("operation".to_owned(), spec.name.into()),
        ]);
        resource.extend(path.iter().filter(|(name, _)| name != "type").map(|(name, value)| (name.clone(), value.as_str().into())));
        let utc = now.utc();
        let env = json!({
            "time": now.to_string(), "seconds": now.millis() / 1000,
            "hour": utc.hour(), "weekday": utc.weekday().number_from_monday(),
        });
        Self { resource: Value::Object(resource), env }
    }
}

/// Refuses a condition that does not compile or goes beyond the limits; needs the stack of a database thread.
pub(super) fn check(condition: &str) -> Result<()> {
    compile(condition).map(drop).map_err(|fault| {
        Error::new(Kind::Invalid, "FM-AAS-CONDITION", format!("the condition cannot be used: {fault}"))
            .field("/condition", "condition", fault)
            .hint("Write CEL over user, resource and env, such as: env.hour >= 8 && user.tenantId == 'tenant-1'.")
    })
}

/// Whether a condition holds; needs the stack of a database thread.
pub(super) fn holds(condition: &str, user: &users::Row, facts: &Facts) -> bool {
    let held = compile(condition).and_then(|program| {
        let mut context = cel::Context::default();
        let user = json!({ "id": user.id, "username": user.username, "roles": user.roles });
        for (name, value) in [("user", &user), ("resource", &facts.resource), ("env", &facts.env)] {
            context.add_variable(name, value).map_err(|error| error.to_string())?;
        }
        program.execute(&context).map_err(|error| error.to_string())
    });
    match held {
        Ok(value) => value == cel::Value::Bool(true),
        Err(error) => {
            tracing::debug!(error, condition, "a role's condition could not be evaluated, so the role does not count");
            false
        }
    }
}

fn compile(condition: &str) -> Result<cel::Program, String> {
    if condition.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    let mut depth = 0_usize;
    for byte in condition.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!("brackets are nested more than {MAX_DEPTH} deep"));
        }
    }
    let words = condition.split(|c: char| !c.is_alphanumeric() && c != '_');
    if let Some(word) = words.into_iter().find(|word| COMPREHENSIONS.contains(word)) {
        return Err(format!("`{word}` is not allowed here"));
    }
    let program = cel::Program::compile(condition).map_err(|error| error.to_string())?;
    let references = program.references();
    match references.variables().into_iter().find(|name| !["user", "resource", "env"].contains(name)) {
        Some(unknown) => Err(format!("`{unknown}` is not known; there are user, resource and env")),
        None => Ok(program),
    }
}
