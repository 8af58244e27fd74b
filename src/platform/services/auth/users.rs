//! Users of a tenant: how they are made, found and made unreadable.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::roles;
use crate::api::audit::Changes;
use crate::api::auth::User;
use crate::api::ids::TenantId;
use crate::api::{Effect, Operation, Permission, Permissions, Secret, Spec};
use crate::auth::CallerKind;
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::http::context::Cx;
use crate::platform::identity::roles::held;
use crate::platform::identity::users::{find, normal};

/// The shortest password that is taken.
const SHORTEST: usize = 12;

/// Makes a user; beyond the contract, which has none.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateUser {
    /// The user's name, an e-mail address.
    #[schemars(length(min = 1, max = 254))]
    pub(crate) username: String,
    /// The password, 12 characters or more.
    #[schemars(length(min = 12, max = 1024))]
    pub(crate) password: Secret,
    /// The tenant; the caller's own if absent. Another takes the owner of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<TenantId>,
    /// The names of the roles held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) roles: Option<Vec<String>>,
    /// Permissions granted directly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<Vec<String>>,
}

impl Operation for CreateUser {
    type Output = User;
    const SPEC: Spec = Spec::post("users_create", "/users", Effect::Grant)
        .titled("Create a user")
        .requires(Permission::USER_CREATE)
        .internal()
        .answers(201);
}

pub(super) async fn create(cx: Cx, request: CreateUser) -> Result<User> {
    let tenant = request.tenant_id.unwrap_or_else(|| cx.tenant());
    if tenant != cx.caller.tenant && cx.caller.kind != CallerKind::Owner {
        return Err(Error::new(
            Kind::Forbidden,
            "FM-AAS-TENANT-MISMATCH",
            "users of another tenant are made by the owner of the platform alone",
        )
        .hint("Leave `tenantId` out."));
    }
    if request.password.expose().chars().count() < SHORTEST {
        return Err(Error::new(Kind::Invalid, "FM-AAS-PASSWORD", format!("a password has at least {SHORTEST} characters")).field(
            "/password",
            "length",
            "is too short",
        ));
    }
    let username = normal(&request.username);
    if username.is_empty() || username.chars().any(char::is_control) {
        return Err(Error::new(Kind::Invalid, "FM-AAS-USERNAME", "the user's name is empty or holds control characters").field(
            "/username",
            "format",
            "is not a name",
        ));
    }
    let permissions = roles::checked(request.permissions.unwrap_or_default())?;
    let mut names = request.roles.unwrap_or_default();
    names.sort_unstable();
    names.dedup();
    let password_hash = cx.platform.guard().hash(request.password.expose().to_owned()).await?;
    let mut scope = cx.scope();
    scope.tenant = tenant;
    let own = cx.caller.permissions.clone().unwrap_or_default();
    cx.platform
        .database()
        .write(scope, move |tx| {
            check_grant(tx, &own, &permissions, &names)?;
            let id = tx.mint("user");
            let lists =
                (serde_json::to_string(&permissions).map_err(Error::internal)?, serde_json::to_string(&names).map_err(Error::internal)?);
            let added = tx
                .prepare_cached(
                    "INSERT INTO users (id, tenant_id, username, password_hash, permissions, roles, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (tenant_id, username) DO NOTHING",
                )?
                .execute((&id, tx.tenant(), &username, &password_hash, lists.0, lists.1, tx.now().millis()))?;
            if added == 0 {
                return Err(Error::new(Kind::Conflict, "FM-AAS-USER-EXISTS", "there is a user of this name in the tenant")
                    .hint("Choose another name, or sign in as that user."));
            }
            let after = json!({ "username": username, "roles": names, "permissions": permissions });
            tx.audit("user.created", "user", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
            let user = find(tx, tx.tenant(), &id)?.ok_or_else(|| super::no_user(&id))?;
            let permissions = super::granted(tx, tx.tenant(), &user)?;
            Ok(User { id: id.into(), email: username, roles: names, permissions: permissions.into() })
        })
        .await
}

/// Rejects roles with permissions that the caller does not hold.
fn check_grant(connection: &Tx<'_>, own: &Permissions, permissions: &[String], names: &[String]) -> Result<()> {
    let mut given = permissions.to_vec();
    for role in held(connection, connection.tenant(), names)? {
        given.extend(role.permissions);
    }
    roles::check_held(own, &given)
}

/// Makes a user's account unreadable: the name, the password and the logins are gone, the id remains.
pub(crate) fn erase(tx: &mut Tx<'_>, subject: &str) -> Result<u64> {
    let ids: Vec<String> = tx
        .prepare_cached("SELECT id FROM users WHERE tenant_id = ?1 AND status = 'active' AND (id = ?2 OR username = ?3)")?
        .query_map((tx.tenant(), subject, normal(subject)), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in &ids {
        tx.prepare_cached(
            "UPDATE users SET username = 'erased:' || id, password_hash = '', permissions = '[]', roles = '[]', status = 'erased' WHERE id = ?1",
        )?
        .execute([id])?;
        tx.prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?.execute([id])?;
    }
    Ok(ids.len() as u64)
}
