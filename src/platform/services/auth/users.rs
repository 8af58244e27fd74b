//! Users of a tenant: how they are made, listed, given roles and passwords, and made unreadable.

use std::collections::BTreeSet;

use rusqlite::params;
use serde_json::{Map, Value, json};

use super::{granted, no_user, roles, sessions};
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::auth::{AssignRoles, CreateUser, GetUser, ListUsers, SetPassword, User};
use crate::api::ids::{TenantId, UserId};
use crate::api::{Done, Page, Permissions};
use crate::auth::CallerKind;
use crate::error::{Error, Kind, Result};
use crate::platform::database::{Scope, Tx};
use crate::platform::http::context::Cx;
use crate::platform::identity::roles::held;
use crate::platform::identity::users::{self as stored, Row, normal};
use crate::platform::keys::Keys;

/// The shortest password that is taken, in characters.
const SHORTEST: usize = 12;

pub(super) async fn create(cx: Cx, request: CreateUser) -> Result<User> {
    let scope = scope_of(&cx, request.tenant_id)?;
    let password = request.password.expose().to_owned();
    check_password(&password)?;
    let username = normal(&request.username);
    if username.is_empty() || username.chars().any(char::is_control) {
        return Err(Error::new(Kind::Invalid, "FM-AAS-USERNAME", "the user's name is empty or holds control characters").field(
            "/username",
            "format",
            "is not a name",
        ));
    }
    if Keys::is_like_pseudonym(&username) {
        return Err(Error::new(Kind::Invalid, "FM-AAS-USERNAME", "a user cannot be called as erased people are")
            .field("/username", "reserved", "must not be `erased` or begin with `erased-`")
            .hint("Choose another name, such as the person's e-mail address."));
    }
    let permissions = roles::checked(request.permissions.unwrap_or_default())?;
    let names = sorted(request.roles.unwrap_or_default());
    let password_hash = cx.platform.guard().hash(password).await?;
    let own = cx.caller.permissions.clone().unwrap_or_default();
    let is_owner = cx.caller.kind == CallerKind::Owner;
    cx.platform
        .database()
        .write(scope, move |tx| {
            roles::must_exist(tx, tx.tenant(), &permissions)?;
            must_be_roles(tx, is_owner, &names)?;
            check_grant(tx, &own, &permissions, &names)?;
            let id = tx.mint("user");
            let added = tx
                .prepare_cached(
                    "INSERT INTO users (id, tenant_id, username, password_hash, permissions, roles, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (tenant_id, username) DO NOTHING",
                )?
                .execute((
                    &id,
                    tx.tenant(),
                    &username,
                    &password_hash,
                    stored_list(&permissions)?,
                    stored_list(&names)?,
                    tx.now().millis(),
                ))?;
            if added == 0 {
                return Err(Error::new(Kind::Conflict, "FM-AAS-USER-EXISTS", "there is a user of this name in the tenant")
                    .hint("Choose another name, or sign in as that user."));
            }
            let after = json!({ "username": username, "roles": names, "permissions": permissions });
            tx.audit("user.created", "user", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
            view(tx, find(tx, &id)?)
        })
        .await
}

pub(super) async fn list(cx: Cx, request: ListUsers) -> Result<Page<User>> {
    let tenant = scope_of(&cx, request.tenant_id)?.tenant;
    // Names hold no control characters, so none lies between a name and it with one more.
    let next_to = |name: String| format!("{name}\u{1}");
    let exact = request.username.as_deref().map(normal);
    let begins = request.starts_with.as_deref().map(normal).unwrap_or_default();
    let last = exact.clone().map_or_else(|| format!("{begins}\u{10ffff}"), next_to);
    let after = cx.cursor(&request.page)?.map(next_to).unwrap_or_default();
    let first = after.max(exact.unwrap_or_default()).max(begins);
    let most = i64::try_from(request.page.size() + 1).unwrap_or_default();
    let found = cx
        .read(move |connection| {
            let ids: Vec<String> = connection
                .prepare_cached(
                    "SELECT id FROM users WHERE tenant_id = ?1 AND status = 'active' AND username >= ?2 AND username < ?3
                     ORDER BY username LIMIT ?4",
                )?
                .query_map(params![tenant.as_str(), first, last, most], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let rows = ids.iter().map(|id| stored::find(connection, tenant.as_str(), id));
            rows.filter_map(Result::transpose)
                .map(|row| {
                    let row = row?;
                    let permissions = granted(connection, tenant.as_str(), &row)?;
                    Ok(User { id: row.id.into(), email: row.username, roles: row.roles, permissions: permissions.into() })
                })
                .collect::<Result<Vec<_>>>()
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |user| user.email.clone()))
}

pub(super) async fn get(cx: Cx, request: GetUser) -> Result<User> {
    let tenant = cx.tenant();
    cx.read(move |connection| {
        let id = request.id.as_str();
        let row = stored::find(connection, tenant.as_str(), id)?.ok_or_else(|| no_user(id))?;
        let permissions = granted(connection, tenant.as_str(), &row)?;
        Ok(User { id: row.id.into(), email: row.username, roles: row.roles, permissions: permissions.into() })
    })
    .await
}

pub(super) async fn assign_roles(cx: Cx, request: AssignRoles) -> Result<User> {
    let scope = scope_of(&cx, request.tenant_id)?;
    let (id, names) = (request.id, sorted(request.roles));
    let is_owner = cx.caller.kind == CallerKind::Owner;
    let own = cx.caller.permissions.clone().unwrap_or_default();
    cx.platform
        .database()
        .write(scope, move |tx| {
            let before = find(tx, id.as_str())?;
            must_be_roles(tx, is_owner, &names)?;
            check_grant(tx, &own, &[], &names)?;
            tx.prepare_cached("UPDATE users SET roles = ?3 WHERE tenant_id = ?1 AND id = ?2")?.execute((
                tx.tenant(),
                id.as_str(),
                stored_list(&names)?,
            ))?;
            let changes = Changes { before: Some(roles_as_field(&before.roles)), after: Some(roles_as_field(&names)) };
            tx.audit("user.roles_assigned", "user", id.as_str(), Some(changes))?;
            view(tx, find(tx, id.as_str())?)
        })
        .await
}

/// Sets a password. It takes all that the user may do: whoever sets it can sign in as the user.
pub(super) async fn set_password(cx: Cx, request: SetPassword) -> Result<Done> {
    let scope = scope_of(&cx, request.tenant_id)?;
    let id: UserId = request.id;
    let password = request.password.expose().to_owned();
    check_password(&password)?;
    let password_hash = cx.platform.guard().hash(password).await?;
    let own = cx.caller.permissions.clone().unwrap_or_default();
    cx.platform
        .database()
        .write(scope, move |tx| {
            let user = find(tx, id.as_str())?;
            let may: Vec<String> = granted(tx, tx.tenant(), &user)?.into();
            roles::check_held(&own, &may)?;
            tx.prepare_cached("UPDATE users SET password_hash = ?3, failures = 0, locked_until = NULL WHERE tenant_id = ?1 AND id = ?2")?
                .execute((tx.tenant(), id.as_str(), &password_hash))?;
            sessions::revoke_all(tx, id.as_str())?;
            tx.audit("user.password_set", "user", id.as_str(), None)?;
            Ok(Done::default())
        })
        .await
}

/// Who writes and in which tenant: another one than the caller's is the owner's alone.
fn scope_of(cx: &Cx, tenant: Option<TenantId>) -> Result<Scope> {
    let mut scope = cx.scope();
    if let Some(tenant) = tenant {
        if tenant != cx.caller.tenant && cx.caller.kind != CallerKind::Owner {
            return Err(Error::new(
                Kind::Forbidden,
                "FM-AAS-TENANT-MISMATCH",
                "users of another tenant are managed by the owner of the platform alone",
            )
            .hint("Leave `tenantId` out."));
        }
        scope.tenant = tenant;
    }
    Ok(scope)
}

fn check_password(password: &str) -> Result<()> {
    if password.chars().count() >= SHORTEST {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-AAS-PASSWORD", format!("a password has at least {SHORTEST} characters")).field(
        "/password",
        "length",
        "is too short",
    ))
}

/// The active user of an id. A name in its place is told with the id that belongs to it.
fn find(tx: &Tx<'_>, id: &str) -> Result<Row> {
    if let Some(user) = stored::find(tx, tx.tenant(), id)? {
        return Ok(user);
    }
    match stored::find_by_name(tx, tx.tenant(), id)? {
        Some(user) => Err(no_user(id).hint(format!("{} is a name; the user's id is {}.", quote(&user.username), user.id))),
        None => Err(no_user(id)),
    }
}

fn view(tx: &Tx<'_>, user: Row) -> Result<User> {
    let permissions = granted(tx, tx.tenant(), &user)?;
    Ok(User { id: user.id.into(), email: user.username, roles: user.roles, permissions: permissions.into() })
}

fn sorted(names: Vec<String>) -> Vec<String> {
    names.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn stored_list(names: &[String]) -> Result<String> {
    serde_json::to_string(names).map_err(Error::internal)
}

fn roles_as_field(names: &[String]) -> Map<String, Value> {
    Map::from_iter([("roles".to_owned(), json!(names))])
}

/// Rejects roles that there are not. The platform's owner brings them along: a new tenant has none.
fn must_be_roles(tx: &mut Tx<'_>, is_owner: bool, names: &[String]) -> Result<()> {
    if is_owner {
        roles::bring(tx, names)?;
    }
    roles::must_be_roles(tx, tx.tenant(), names)
}

/// Rejects roles with permissions that the caller does not hold.
fn check_grant(connection: &Tx<'_>, own: &Permissions, permissions: &[String], names: &[String]) -> Result<()> {
    let mut given = permissions.to_vec();
    for role in held(connection, connection.tenant(), names)? {
        given.extend(role.permissions);
    }
    roles::check_held(own, &given)
}

/// Makes a user's account unreadable: the name, the password and the logins are gone, the id remains. The new name is random, so
/// that nobody can have it before.
pub(crate) fn erase(tx: &mut Tx<'_>, subject: &str) -> Result<u64> {
    let ids: Vec<String> = tx
        .prepare_cached("SELECT id FROM users WHERE tenant_id = ?1 AND status = 'active' AND (id = ?2 OR username = ?3)")?
        .query_map((tx.tenant(), subject, normal(subject)), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in &ids {
        tx.prepare_cached(
            "UPDATE users SET username = 'erased:' || id || ':' || hex(randomblob(16)), password_hash = '', permissions = '[]', roles = '[]', status = 'erased' WHERE id = ?1",
        )?
        .execute([id])?;
        tx.prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?.execute([id])?;
    }
    Ok(ids.len() as u64)
}
