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
use crate::platform::http::context::{self, Answer, Cx};
use crate::platform::identity::conditions;
use crate::platform::identity::roles::ADMIN;

/// The longest name of a role, in characters.
const MAX_NAME: usize = 100;

pub(super) async fn create(cx: Cx, request: CreateRole) -> Result<Answer<Role>> {
    let permissions = checked(request.permissions.unwrap_or_default())?;
    check_held(&cx.caller.permissions.clone().unwrap_or_default(), &permissions)?;
    let name = request.name.trim().to_owned();
    if name == ADMIN || name.is_empty() {
        return Err(Error::new(Kind::Conflict, "FM-AAS-ROLE-RESERVED", format!("the role {} cannot be made", quote(&name)))
            .hint("`admin` is there already and may do everything; choose another name."));
    }
    let role = cx
        .write(move |tx| {
            if let Some(condition) = &request.condition {
                conditions::check(condition)?;
            }
            must_exist(tx, tx.tenant(), &permissions)?;
            let id = tx.mint("role");
            let added = tx
                .prepare_cached(
                    "INSERT INTO roles (id, tenant_id, name, description, permissions, condition, version, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7) ON CONFLICT (tenant_id, name) DO NOTHING",
                )?
                .execute((&id, tx.tenant(), &name, &request.description, list(&permissions)?, &request.condition, tx.now().millis()))?;
            if added == 0 {
                return Err(Error::new(Kind::Conflict, "FM-AAS-ROLE-EXISTS", format!("there is a role {}", quote(&name)))
                    .hint("Set its permissions by roles_assign_permissions, or choose another name."));
            }
            let after = described(&permissions, request.condition.as_deref());
            tx.audit("role.created", "role", &id, Some(Changes { before: None, after: Some(after) }))?;
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

pub(super) async fn list_roles(cx: Cx, request: ListRoles) -> Result<Page<Role>> {
    let (tenant, after) = (cx.tenant(), cx.cursor(&request.page)?);
    let most = i64::try_from(request.page.size() + 1).unwrap_or_default();
    let found = cx
        .read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, name, description, permissions, condition, created_at FROM roles
                 WHERE tenant_id = ?1 AND (?2 IS NULL OR name > ?2) AND (?3 IS NULL OR name = ?3) ORDER BY name LIMIT ?4",
            )?;
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
                .hint("Roles are made by roles_create, which answers their id."));
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

/// Rejects a role's name that looks like that of a role that there is. Any other name without a role is a group, which
/// tasks can be assigned to.
pub(super) fn must_not_be_slips(connection: &Connection, tenant: &str, names: &[String]) -> Result<()> {
    let mut statement = connection.prepare_cached("SELECT name FROM roles WHERE tenant_id = ?1 ORDER BY name LIMIT 1000")?;
    let mut roles: Vec<String> = statement.query_map([tenant], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    roles.push(ADMIN.to_owned());
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    for (index, name) in names.iter().enumerate() {
        let pointer = format!("/roles/{index}");
        if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            let detail = format!("must be 1 to {MAX_NAME} characters, no control characters among them");
            return Err(Error::new(Kind::Invalid, "FM-AAS-ROLE-NAME", format!("{} cannot name a role", quote(name)))
                .field(pointer, "format", detail));
        }
        if roles.contains(&name.as_str()) {
            continue;
        }
        let meant = near(name, roles.iter().copied());
        if !meant.is_empty() {
            return Err(Error::new(Kind::Invalid, "FM-AAS-ROLE-UNKNOWN", format!("there is no role {}", quote(name)))
                .field(pointer, "unknown", format!("did you mean {}?", meant.join(" or ")))
                .hint("Name the role as it is written. If another one is meant, create it first with roles_create."));
        }
    }
    Ok(())
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
