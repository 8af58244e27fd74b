//! Tokens of services, given by the owner of the platform alone.

use serde_json::json;

use super::roles;
use crate::api::audit::Changes;
use crate::api::auth::{CreateServiceToken, ServiceToken};
use crate::auth::CallerKind;
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;
use crate::platform::identity::tokens::{self, Subject, Use};

/// The longest life of a service's token, in seconds: a year.
const MAX_LIFETIME: u32 = 366 * 24 * 3600;

pub(super) async fn create(cx: Cx, request: CreateServiceToken) -> Result<ServiceToken> {
    if cx.caller.kind != CallerKind::Owner {
        return Err(Error::new(Kind::Forbidden, "FM-AAS-OWNER-ONLY", "service tokens are given by the owner of the platform alone")
            .hint("Use the owner's token, which `flowmaster-mcp token` prints."));
    }
    let permissions = roles::checked(request.permissions)?;
    let lifetime = request.expires_in.unwrap_or(24 * 3600).clamp(60, MAX_LIFETIME);
    let mut scope = cx.scope();
    scope.tenant = request.tenant_id.unwrap_or_else(|| cx.tenant());
    let platform = cx.platform.clone();
    let name = request.name;
    cx.platform
        .database()
        .write(scope, move |tx| {
            roles::must_exist(tx, tx.tenant(), &permissions)?;
            let id = tx.mint("stok");
            let expires_at = tx.now().plus_seconds(f64::from(lifetime));
            tx.prepare_cached(
                "INSERT INTO service_tokens (id, tenant_id, name, permissions, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                &id,
                tx.tenant(),
                &name,
                serde_json::to_string(&permissions).map_err(Error::internal)?,
                tx.now().millis(),
                expires_at.millis(),
            ))?;
            let after = json!({ "name": name, "permissions": permissions });
            tx.audit("service_token.created", "service_token", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
            let subject = Subject {
                id: format!("service-{name}"),
                tenant: tx.tenant().to_owned(),
                roles: Vec::new(),
                permissions,
                session: None,
                token_id: id.clone(),
                kind: Use::Service,
            };
            let token = tokens::issue(&platform, subject, tx.now(), lifetime)?;
            Ok(ServiceToken { token_id: id, token: token.into(), expires_at })
        })
        .await
}
