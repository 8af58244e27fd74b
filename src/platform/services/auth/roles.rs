//! Roles: permissions under a name, with an optional condition.

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Map, Value, json};

use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::auth::{AssignPermissions, CreateRole, ListRoles, Role};
use crate::api::near::near;
use crate::api::permission as known;
use crate::api::{Page, Permissions, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::http::context::{self, Answer, Cx};
use crate::platform::identity::roles::ADMIN;
use crate::platform::identity::{assignee, conditions, users};
use crate::platform::keys::Keys;

/// The longest name of a role, in characters.
const MAX_NAME: usize = 100;
/// Most roles that an error names.
const MAX_NAMED: usize = 20;

pub(super) async fn create(cx: Cx, request: CreateRole) -> Result<Answer<Role>> {
    let permissions = checked(request.permissions.unwrap_or_default())?;
    check_held(&cx.caller.permissions.clone().unwrap_or_default(), &permissions)?;
    let name = request.name.trim().to_owned();
    check_name(&name, "/name")?;
    if name == ADMIN {
        return Err(Error::new(Kind::Conflict, "FM-AAS-ROLE-RESERVED", format!("the role {} cannot be made", quote(&name)))
            .hint("`admin` is there already and may do everything; choose another name."));
    }
    let role = cx
        .write(move |tx| {
            if let Some(condition) = &request.condition {
                conditions::check(condition)?;
            }
            must_be_nobody(tx, &name, "/name")?;
            must_exist(tx, tx.tenant(), &permissions)?;
            let id = insert(tx, &name, request.description.as_deref(), &permissions, request.condition.as_deref())?;
            Ok(Role {
                role_id: id.into(),
                name,
                description: request.description,
                permissions,
                condition: request.condition,
                created_at: tx.now(),
            })
        })
        .await?;
    Ok(Answer::from(role).etag(1))
}

/// Stores a new role, with its audit row.
fn insert(tx: &mut Tx<'_>, name: &str, description: Option<&str>, permissions: &[String], condition: Option<&str>) -> Result<String> {
    let id = tx.mint("role");
    let added = tx
        .prepare_cached(
            "INSERT INTO roles (id, tenant_id, name, description, permissions, condition, version, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7) ON CONFLICT (tenant_id, name) DO NOTHING",
        )?
        .execute((&id, tx.tenant(), name, description, list(permissions)?, condition, tx.now().millis()))?;
    if added == 0 {
        return Err(Error::new(Kind::Conflict, "FM-AAS-ROLE-EXISTS", format!("there is a role {}", quote(name)))
            .hint("Set its permissions by roles_assign_permissions, or choose another name."));
    }
    tx.audit("role.created", "role", &id, Some(Changes { before: None, after: Some(described(permissions, condition)) }))?;
    Ok(id)
}

pub(super) async fn list_roles(cx: Cx, request: ListRoles) -> Result<Page<Role>> {
    let (tenant, after) = (cx.tenant(), cx.cursor(&request.page)?);
    let most = i64::try_from(request.page.size() + 1).unwrap_or_default();
    let found = cx
        .read(move |connection| {
            let named = if request.name.is_some() { "name = ?3" } else { "?3 IS NULL" };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT id, name, description, permissions, condition, created_at FROM roles
                 WHERE tenant_id = ?1 AND name > coalesce(?2, '') AND {named} ORDER BY name LIMIT ?4"
            ))?;
            let rows = statement.query_map((tenant.as_str(), after, request.name, most), |row| {
                let role = Role {
                    role_id: row.get::<_, String>(0)?.into(),
                    name: row.get(1)?,
                    description: row.get(2)?,
                    permissions: Vec::new(),
                    condition: row.get(4)?,
                    created_at: Timestamp::from_millis(row.get(5)?),
                };
                Ok((role, row.get::<_, String>(3)?))
            })?;
            rows.map(|row| {
                let (role, permissions) = row?;
                Ok(Role { permissions: serde_json::from_str(&permissions).map_err(Error::internal)?, ..role })
            })
            .collect::<Result<Vec<_>>>()
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |role| role.name.clone()))
}

pub(super) async fn assign(cx: Cx, request: AssignPermissions) -> Result<Answer<Role>> {
    let permissions = checked(request.permissions)?;
    check_held(&cx.caller.permissions.clone().unwrap_or_default(), &permissions)?;
    let if_match = cx.if_match.clone();
    cx.write(move |tx| {
        if let Some(condition) = &request.condition {
            conditions::check(condition)?;
        }
        must_exist(tx, tx.tenant(), &permissions)?;
        let id = request.id.as_str();
        let found = tx
            .prepare_cached(
                "SELECT name, description, permissions, condition, version, created_at FROM roles WHERE tenant_id = ?1 AND id = ?2",
            )?
            .query_row((tx.tenant(), id), |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, Option<String>>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, Option<String>>(3)?,
                    row.get::<_, i64>(4)?,
                    row.get::<_, i64>(5)?,
                ))
            })
            .optional()?;
        let Some((name, description, before, old_condition, version, created_at)) = found else {
            return Err(Error::new(Kind::NotFound, "FM-AAS-NO-ROLE", format!("there is no role {}", quote(id)))
                .hint("roles_list shows the roles there are and their ids."));
        };
        context::matches(if_match.as_deref(), &version.to_string())?;
        let before: Vec<String> = serde_json::from_str(&before).map_err(Error::internal)?;
        // A condition that is not spoken of stays: leaving it out must not widen the role.
        let condition = request.condition.clone().or_else(|| old_condition.clone());
        tx.prepare_cached("UPDATE roles SET permissions = ?3, condition = ?4, version = version + 1 WHERE tenant_id = ?1 AND id = ?2")?
            .execute((tx.tenant(), id, list(&permissions)?, &condition))?;
        let changes = Changes {
            before: Some(described(&before, old_condition.as_deref())),
            after: Some(described(&permissions, condition.as_deref())),
        };
        tx.audit("role.permissions_assigned", "role", id, Some(changes))?;
        let role =
            Role { role_id: request.id.clone(), name, description, permissions, condition, created_at: Timestamp::from_millis(created_at) };
        Ok(Answer::from(role).etag(version + 1))
    })
    .await
}

/// Permissions sorted and each of the form `resource:action`, `resource:*` or `*`.
pub(super) fn checked(mut permissions: Vec<String>) -> Result<Vec<String>> {
    let is_name =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    for (index, permission) in permissions.iter().enumerate() {
        let good = permission == "*"
            || permission.len() <= 200
                && permission.split_once(':').is_some_and(|(resource, action)| is_name(resource) && (action == "*" || is_name(action)));
        if !good {
            return Err(Error::new(Kind::Invalid, "FM-AAS-PERMISSION", format!("{} is not a permission", quote(permission))).field(
                format!("/permissions/{index}"),
                "format",
                "must be `resource:action`, `resource:*` or `*`",
            ));
        }
    }
    permissions.sort_unstable();
    permissions.dedup();
    Ok(permissions)
}

/// Rejects a permission that looks like one of the platform's and is not: `task:aprove`, `tasks:view`.
///
/// A tenant may name permissions of its own, which its process nodes require; what a node requires is one.
pub(super) fn must_exist(connection: &Connection, tenant: &str, permissions: &[String]) -> Result<()> {
    for permission in permissions {
        let Some(meant) = known::slip(permission) else { continue };
        let required = connection
            .prepare_cached(
                "SELECT 1 FROM process_versions WHERE tenant_id = ?1 AND instr(definition, '\"requires\":' || json_quote(?2)) > 0 LIMIT 1",
            )?
            .exists((tenant, permission))?;
        if !required {
            return Err(Error::new(Kind::Invalid, "FM-AAS-PERMISSION-UNKNOWN", format!("there is no permission {}", quote(permission)))
                .field("/permissions", "unknown", format!("{} is not known", quote(permission)))
                .hint(format!("{meant} A permission of your own is known once a node of a process requires it.")));
        }
    }
    Ok(())
}

/// Whether roles that a user is to hold are there.
pub(super) fn must_be_roles(connection: &Connection, tenant: &str, names: &[String]) -> Result<()> {
    for (index, name) in names.iter().enumerate() {
        let pointer = format!("/roles/{index}");
        check_name(name, &pointer)?;
        if is_role(connection, tenant, name)? {
            continue;
        }
        let mut statement = connection.prepare_cached("SELECT name FROM roles WHERE tenant_id = ?1 ORDER BY name LIMIT 1000")?;
        let mut roles: Vec<String> = statement.query_map([tenant], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        roles.push(ADMIN.to_owned());
        let meant = near(name, roles.iter().map(String::as_str));
        let detail = if meant.is_empty() {
            format!("the roles are {}", roles.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", "))
        } else {
            format!("did you mean {}?", meant.join(" or "))
        };
        return Err(Error::new(Kind::Invalid, "FM-AAS-ROLE-UNKNOWN", format!("there is no role {}", quote(name)))
            .field(pointer, "unknown", detail)
            .hint("Name the role as it is written. If another one is meant, create it first with roles_create."));
    }
    Ok(())
}

/// Makes the roles that a user of the platform's owner brings along, without permissions: a new tenant has none yet. What
/// looks like a slip in the name of one that there is stays unmade.
pub(super) fn bring(tx: &mut Tx<'_>, names: &[String]) -> Result<()> {
    for (index, name) in names.iter().enumerate() {
        let pointer = format!("/roles/{index}");
        check_name(name, &pointer)?;
        if is_role(tx, tx.tenant(), name)? {
            continue;
        }
        must_be_nobody(tx, name, &pointer)?;
        let mut statement = tx.prepare_cached("SELECT name FROM roles WHERE tenant_id = ?1 ORDER BY name LIMIT 1000")?;
        let roles: Vec<String> = statement.query_map([tx.tenant()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        drop(statement);
        if near(name, roles.iter().map(String::as_str).chain([ADMIN])).is_empty() {
            insert(tx, name, None, &[], None)?;
        }
    }
    Ok(())
}

fn is_role(connection: &Connection, tenant: &str, name: &str) -> Result<bool> {
    Ok(name == ADMIN || connection.prepare_cached("SELECT 1 FROM roles WHERE tenant_id = ?1 AND name = ?2")?.exists((tenant, name))?)
}

fn check_name(name: &str, pointer: &str) -> Result<()> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let detail = format!("must be 1 to {MAX_NAME} characters, no control characters among them");
        return Err(
            Error::new(Kind::Invalid, "FM-AAS-ROLE-NAME", format!("{} cannot name a role", quote(name))).field(pointer, "format", detail)
        );
    }
    Ok(())
}

/// Rejects a new role that is called like a user, or like the pseudonym of an erased one: tasks name either.
fn must_be_nobody(connection: &Tx<'_>, name: &str, pointer: &str) -> Result<()> {
    let tenant = connection.tenant();
    if Keys::is_like_pseudonym(name) {
        return Err(Error::new(
            Kind::Invalid,
            "FM-AAS-ROLE-NAME",
            format!("{} cannot name a role: erased people are called so", quote(name)),
        )
        .field(pointer, "reserved", "must not be `erased` or begin with `erased-`")
        .hint("Choose a name that says what its holders do, such as approver."));
    }
    if !assignee::is_subject(connection, tenant, name)? && users::find_by_name(connection, tenant, name)?.is_none() {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-AAS-ROLE-NAME", format!("{} cannot name a role: a user is called so", quote(name)))
        .field(pointer, "ambiguous", "is a user's id or name, or looks like one")
        .hint("Choose a name that says what its holders do, such as approver."))
}

/// Rejects a grant of permissions that the caller does not hold.
pub(super) fn check_held(held: &Permissions, given: &[String]) -> Result<()> {
    match given.iter().find(|permission| !held.covers(permission)) {
        None => Ok(()),
        Some(permission) => {
            Err(Error::new(Kind::Forbidden, "FM-AAS-GRANT", format!("you cannot grant {permission}, which you do not hold"))
                .hint("Ask somebody who holds it."))
        }
    }
}

fn list(permissions: &[String]) -> Result<String> {
    serde_json::to_string(permissions).map_err(Error::internal)
}

fn described(permissions: &[String], condition: Option<&str>) -> Map<String, Value> {
    let mut fields = Map::from_iter([("permissions".to_owned(), json!(permissions))]);
    if let Some(condition) = condition {
        fields.insert("condition".to_owned(), condition.into());
    }
    fields
}
