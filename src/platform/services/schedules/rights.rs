//! Whether the person or service that a schedule runs for may still start executions.

use rusqlite::Connection;

use crate::api::executions::Start;
use crate::api::{Operation as _, Permission, Permissions, Timestamp};
use crate::auth::{Caller, OWNER_SUBJECT, OWNER_TENANT};
use crate::error::{Error, Kind, Result};
use crate::platform::identity::conditions::Facts;
use crate::platform::identity::{roles, users};

/// The right that the executions of a schedule need.
const NEEDED: Permission = Permission::EXECUTION_START;

/// Refuses a caller that could not start the execution itself: a schedule gives no rights.
pub(super) fn check_caller(caller: &Caller) -> Result<()> {
    if caller.permissions.as_ref().is_some_and(|held| held.allow(NEEDED)) { Ok(()) } else { Err(forbidden(&caller.subject)) }
}

/// Refuses a person or service that does not hold the right any more; needs the stack of a database thread.
pub(super) fn check(connection: &Connection, tenant: &str, subject: &str, now: Timestamp) -> Result<()> {
    let is_owner = (tenant, subject) == (OWNER_TENANT, OWNER_SUBJECT);
    if is_owner || of_user(connection, tenant, subject, now)? || of_service(connection, tenant, subject, now)? {
        return Ok(());
    }
    Err(forbidden(subject))
}

fn of_user(connection: &Connection, tenant: &str, subject: &str, now: Timestamp) -> Result<bool> {
    let Some(user) = users::find(connection, tenant, subject)? else { return Ok(false) };
    let (_, permissions) = roles::granted(connection, tenant, &user, &Facts::new(&Start::SPEC, &[], now))?;
    Ok(permissions.allow(NEEDED))
}

/// A service holds what one of its living tokens says.
fn of_service(connection: &Connection, tenant: &str, subject: &str, now: Timestamp) -> Result<bool> {
    let Some(name) = subject.strip_prefix("service-") else { return Ok(false) };
    let mut tokens = connection.prepare_cached(
        "SELECT permissions FROM service_tokens WHERE tenant_id = ?1 AND name = ?2 AND revoked_at IS NULL AND expires_at > ?3",
    )?;
    let mut rows = tokens.query((tenant, name, now.millis()))?;
    while let Some(row) = rows.next()? {
        let held: Permissions = serde_json::from_str(&row.get::<_, String>(0)?).map_err(Error::internal)?;
        if held.allow(NEEDED) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn forbidden(subject: &str) -> Error {
    Error::new(Kind::Forbidden, "FM-SS-START-FORBIDDEN", format!("{subject} does not hold {NEEDED}, which a schedule's executions need"))
        .hint("Give that right back, or let somebody who holds it change the schedule: it runs for whoever changed it last.")
}
