//! A call that its caller waits for, and the queueing of one that nobody waits for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::calls::{self, Call, Completed, Ready};
use super::failure::Failure;
use super::request::Asked;
use super::store;
use crate::api::Timestamp;
use crate::api::integrations::{Execute, IntegrationStatus, Outcome};
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::platform::Platform;
use crate::platform::database::Scope;
use crate::platform::http::context::Cx;

/// How many calls a tenant's callers may wait for at once.
const AT_ONCE: usize = 16;

/// The calls that are waited for, by tenant.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<HashMap<String, usize>>);

/// A call's place among those; it is free again when this is dropped.
struct Place {
    platform: Platform,
    tenant: String,
}

impl Place {
    fn take(platform: &Platform, tenant: &str) -> Result<Self> {
        let mut waiting = platform.hub().waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = waiting.entry(tenant.to_owned()).or_default();
        if *of_tenant >= AT_ONCE {
            return Err(Error::new(Kind::RateLimited, "FM-IHS-BUSY", format!("{AT_ONCE} calls of the tenant are under way already"))
                .hint("Wait until one has ended, or queue the call with async: true."));
        }
        *of_tenant += 1;
        Ok(Self { platform: platform.clone(), tenant: tenant.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.platform.hub().waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_tenant) = waiting.get_mut(&self.tenant) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                waiting.remove(&self.tenant);
            }
        }
    }
}

pub(super) async fn execute(cx: Cx, request: Execute) -> Result<Outcome> {
    let Execute { id, method, path, query, body, queued } = request;
    let asked = Asked { method, path, query, body };
    let is_queued = queued == Some(true);
    let place = if is_queued { None } else { Some(Place::take(&cx.platform, cx.caller.tenant.as_str())?) };
    // A caller that repeats its call by its own key has the system see one key too.
    let key = cx.mark.as_ref().map(|mark| hex(&cx.platform.keys().tag(format!("integration\0{}", mark.name()).as_bytes())));
    let platform = cx.platform.clone();
    let (ready, call) = cx
        .write(move |tx| {
            let ready = Ready::of(tx, &platform, tx.tenant(), id.as_str(), &asked)?;
            let call_id = tx.mint("call");
            let key = key.unwrap_or_else(|| call_id.clone());
            let call = Call { id: call_id, integration: id.0, node: None, asked, key, attempts: 0 };
            if is_queued {
                calls::enqueue(tx, &platform, &call, &ready.record)?;
            } else {
                if let Some(until) = store::pass(tx, &platform, &ready.record)? {
                    return Err(breaker_open(&call.integration, until, tx.now()).into_error());
                }
                calls::open(tx, &platform, &call, &ready.record)?;
            }
            Ok((ready, call))
        })
        .await?;
    let Some(place) = place else {
        cx.platform.hub().queued.notify_one();
        let status = Some(ready.record.status);
        let nothing = serde_json::Map::new();
        return Ok(Outcome {
            integration_id: call.integration.into(),
            status,
            last_sync_at: ready.record.last_sync_at,
            transformed_data: nothing,
            status_code: None,
            attempts: None,
            call_id: Some(call.id),
        });
    };
    // The call goes on and is logged even if its caller goes away.
    let (answer, answered) = oneshot::channel();
    let (platform, scope) = (cx.platform.clone(), Scope { mark: None, ..cx.scope() });
    cx.platform.spawn(async move {
        let _ = answer.send(run(&platform, scope, &ready, call).await);
        drop(place);
    });
    let stopping = || Error::new(Kind::Unavailable, "FM-PLATFORM-STOPPING", "the platform is shutting down").hint("Try again in a moment.");
    answered.await.map_err(|_| stopping())?.ok_or_else(stopping)?
}

/// The failure of a call that the breaker does not let through.
pub(super) fn breaker_open(integration: &str, until: Timestamp, now: Timestamp) -> Failure {
    let wait = std::time::Duration::try_from_secs_f64(until.seconds_since(now)).unwrap_or_default();
    let message = format!("integration {integration} failed too often in a row, and is not called for now");
    Failure { kind: Kind::Unavailable, is_transient: true, pause: Some(wait), ..Failure::refused("FM-IHS-BREAKER-OPEN", message) }
}

/// Sends a call until it succeeds or must not be repeated, and keeps its end; nothing when the platform stops.
async fn run(platform: &Platform, scope: Scope, ready: &Ready, mut call: Call) -> Option<Result<Outcome>> {
    let policy = platform.integrations();
    let (tenant, begun) = (scope.tenant.clone(), Instant::now());
    let sent = loop {
        let sent = tokio::select! {
            biased;
            () = platform.stopping().cancelled() => return None,
            sent = ready.send(platform, tenant.as_str(), &call.key) => sent,
        };
        call.attempts += 1;
        let Err(failure) = &sent else { break sent };
        let repeats = failure.is_transient && (!failure.sent || ready.is_idempotent());
        // What takes as long as a system may take is not begun again.
        let pause = failure.pause.unwrap_or_else(|| policy.delay(call.attempts));
        if !repeats || call.attempts >= policy.attempts || begun.elapsed() + pause >= policy.timeout {
            break sent;
        }
        tokio::select! {
            () = platform.stopping().cancelled() => return None,
            () = tokio::time::sleep(pause) => {}
        }
    };
    Some(keep(platform, scope, call, sent).await)
}

async fn keep(platform: &Platform, scope: Scope, call: Call, sent: Result<Completed, Failure>) -> Result<Outcome> {
    let ended = sent.as_ref().map(|completed| completed.status_code).map_err(Clone::clone);
    let (writer, id, attempts) = (platform.clone(), call.integration.clone(), call.attempts);
    let record = platform.database().write(scope, move |tx| {
        calls::end(tx, &writer, &call, &ended)?;
        store::find(tx, tx.tenant(), &call.integration)
    });
    let (kept, sent) = (record.await, sent.map_err(Failure::into_error)?);
    let record = kept?;
    Ok(Outcome {
        integration_id: id.into(),
        status: Some(IntegrationStatus::Connected),
        last_sync_at: record.last_sync_at,
        transformed_data: sent.data,
        status_code: Some(sent.status_code),
        attempts: Some(attempts),
        call_id: None,
    })
}
