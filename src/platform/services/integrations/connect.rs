//! The test of a connection: one request to the integration's address, which tells whether the system answers and accepts
//! the sign-in. It goes past the breaker, and closes it where it succeeds.

use std::time::Instant;

use serde_json::json;

use super::credentials;
use super::failure::Failure;
use super::request::Prepared;
use super::send;
use super::sign_in;
use super::store::{self, Ended};
use crate::api::audit::Changes;
use crate::api::integrations::{Connect, Connection};
use crate::error::{Error, Result};
use crate::platform::http::context::Cx;
use crate::platform::outbound;

pub(super) async fn connect(cx: Cx, request: Connect) -> Result<Connection> {
    let (platform, tenant, id) = (cx.platform.clone(), cx.tenant(), request.id.0);
    let (reader, found, of) = (platform.clone(), id.clone(), tenant.clone());
    let (record, secrets) = cx
        .read(move |connection| {
            let record = store::find(connection, of.as_str(), &found)?;
            sign_in::require(&record, &credentials::set_names(connection, of.as_str(), &found)?)?;
            Ok((record, credentials::open(connection, &reader, of.as_str(), &found)?))
        })
        .await?;
    let url = outbound::parse(&record.settings.base_url).map_err(Error::internal)?;
    let call = Prepared { method: reqwest::Method::GET, url, body: None };
    // A token that is remembered would say nothing of the credentials.
    platform.hub().tokens.forget(tenant.as_str(), &id);
    let begun = Instant::now();
    let answered = send::once(&platform, tenant.as_str(), &record, &secrets, &call, &cx.request_id).await;
    let duration = begun.elapsed().as_secs_f64();
    let (status_code, failure) = match answered {
        Ok(answered) => (Some(answered.status_code), None),
        Err(failure) if is_sign_of_life(&failure) => (failure.status_code, None),
        Err(failure) => (failure.status_code, Some(failure)),
    };
    let ended = failure.as_ref().map_or(Ended::Well, |failure| failure.ended);
    let error = failure.map(|failure| format!("{}: {}", failure.code, failure.message));
    let after = json!({ "statusCode": status_code, "succeeded": error.is_none() });
    let record = cx
        .write(move |tx| {
            store::note(tx, &platform, &id, ended, false)?;
            tx.audit("integration.tested", "integration", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
            store::find(tx, tx.tenant(), &id)
        })
        .await?;
    Ok(Connection {
        integration_id: record.id.into(),
        status: Some(record.status),
        last_sync_at: record.last_sync_at,
        status_code,
        duration: Some(duration),
        error,
    })
}

/// Many systems have nothing at their address itself, or nothing to read: the sign-in was accepted all the same.
fn is_sign_of_life(failure: &Failure) -> bool {
    matches!(failure.status_code, Some(200..=299 | 400 | 404 | 405 | 406 | 410 | 415 | 422 | 429))
}
