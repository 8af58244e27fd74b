//! Whether the person or service that a schedule runs for may still start executions.

use rusqlite::Connection;

use crate::api::executions::Start;
use crate::api::{Operation, Permission, Permissions, Timestamp};
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
    if may::<Start>(connection, tenant, subject, now)? { Ok(()) } else { Err(forbidden(subject)) }
}

/// Whether a person or service holds the right to an operation now; needs the stack of a database thread.
pub(crate) fn may<O: Operation>(connection: &Connection, tenant: &str, subject: &str, now: Timestamp) -> Result<bool> {
    let Some(needed) = O::SPEC.permission else { return Ok(true) };
    let is_owner = (tenant, subject) == (OWNER_TENANT, OWNER_SUBJECT);
    Ok(is_owner || of_user::<O>(connection, tenant, subject, needed, now)? || of_service(connection, tenant, subject, needed, now)?)
}

fn of_user<O: Operation>(connection: &Connection, tenant: &str, subject: &str, needed: Permission, now: Timestamp) -> Result<bool> {
    let Some(user) = users::find(connection, tenant, subject)? else { return Ok(false) };
    let (_, permissions) = roles::granted(connection, tenant, &user, &Facts::new(&O::SPEC, &[], now))?;
    Ok(permissions.allow(needed))
}

/// A service holds what one of its living tokens says.
fn of_service(connection: &Connection, tenant: &str, subject: &str, needed: Permission, now: Timestamp) -> Result<bool> {
    let Some(name) = subject.strip_prefix("service-") else { return Ok(false) };
    let mut tokens = connection.prepare_cached(
        "SELECT permissions FROM service_tokens WHERE tenant_id = ?1 AND name = ?2 AND revoked_at IS NULL AND expires_at > ?3",
    )?;
    let mut rows = tokens.query((tenant, name, now.millis()))?;
    while let Some(row) = rows.next()? {
        let held: Permissions = serde_json::from_str(&row.get::<_, String>(0)?).map_err(Error::internal)?;
        if held.allow(needed) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn forbidden(subject: &str) -> Error {
    Error::new(Kind::Forbidden, "FM-SS-START-FORBIDDEN", format!("{subject} does not hold {NEEDED}, which a schedule's executions need"))
        .hint("Give that right back, or let somebody who holds it change the schedule: it runs for whoever changed it last.")
}
