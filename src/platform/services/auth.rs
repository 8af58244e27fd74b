//! Authentication & Authorization Service: users, logins, roles, and who is behind a token.

use rusqlite::Connection;

use crate::api::Permissions;
use crate::api::auth::{Claims, ListPermissions, UserPermissions, Validate, Validity};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;
use crate::platform::http::routes::Routes;
use crate::platform::identity::{roles::held, users as stored};

mod roles;
mod service_tokens;
mod sessions;
mod users;

pub(crate) use users::erase as erase_user;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(sessions::login)
        .on(sessions::logout)
        .on(sessions::refresh)
        .on(validate)
        .on(list_permissions)
        .on(roles::create)
        .on(roles::assign)
        .on(service_tokens::create)
        .on(roles::list_roles)
        .on(users::create)
        .on(users::list)
        .on(users::get)
        .on(users::assign_roles)
        .on(users::set_password)
}

async fn validate(cx: Cx, _: Validate) -> Result<Validity> {
    let caller = &cx.caller;
    Ok(Validity {
        valid: true,
        claims: Some(Claims {
            sub: caller.subject.clone(),
            tenant_id: caller.tenant.clone(),
            roles: caller.roles.clone(),
            permissions: caller.permissions.iter().flat_map(Permissions::iter).map(str::to_owned).collect(),
            iat: cx.session.as_ref().map(|session| session.issued_at),
            exp: caller.expires.map(|at| at.millis() / 1000),
        }),
    })
}

async fn list_permissions(cx: Cx, request: ListPermissions) -> Result<UserPermissions> {
    let own = request.user_id.as_ref().is_none_or(|user| user.as_str() == cx.caller.subject);
    if own {
        return Ok(UserPermissions {
            user_id: cx.caller.subject.as_str().into(),
            roles: cx.caller.roles.clone(),
            permissions: cx.caller.permissions.iter().flat_map(Permissions::iter).map(str::to_owned).collect(),
        });
    }
    if !cx.caller.permissions.as_ref().is_some_and(|held| held.allow(crate::api::Permission::ROLE_GRANT)) {
        return Err(Error::new(Kind::Forbidden, "FM-AAS-FORBIDDEN", "other users' permissions take the permission role:grant")
            .hint("Leave `userId` out for your own."));
    }
    let (tenant, user) = (cx.tenant(), request.user_id.unwrap_or_else(|| "".into()));
    cx.read(move |connection| {
        let found = stored::find(connection, tenant.as_str(), user.as_str())?.ok_or_else(|| no_user(user.as_str()))?;
        let permissions = granted(connection, tenant.as_str(), &found)?;
        Ok(UserPermissions { user_id: user, roles: found.roles, permissions: permissions.into() })
    })
    .await
}

/// All that a user may do: what was granted directly and by roles, those with a condition included.
fn granted(connection: &Connection, tenant: &str, user: &stored::Row) -> Result<Permissions> {
    let mut permissions = user.permissions.clone();
    for role in held(connection, tenant, &user.roles)? {
        permissions.extend(role.permissions);
    }
    Ok(permissions.into())
}

fn no_user(id: &str) -> Error {
    Error::new(Kind::NotFound, "FM-AAS-NO-USER", format!("there is no user {}", crate::api::arguments::quote(id)))
        .hint("users_list finds the users and shows their ids.")
}
