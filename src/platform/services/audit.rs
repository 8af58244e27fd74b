//! Audit & Compliance Service: the trail, reports, requests to delete personal data, retention.

use crate::api::audit::{AuditEntry, Log};
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::context::{Answer, Cx};
use crate::platform::routes::Routes;

pub(crate) fn routes() -> Routes {
    Routes::new().on(log)
}

pub(crate) fn spawn(_platform: &Platform) {}

async fn log(cx: Cx, request: Log) -> Result<Answer<AuditEntry>> {
    let entry = cx
        .write(move |tx| {
            let at = request.timestamp.unwrap_or(tx.now());
            tx.audit_as(&request.actor, &request.action, &request.resource_type, &request.resource_id, request.changes, at)
        })
        .await?;
    Ok(entry.into())
}
