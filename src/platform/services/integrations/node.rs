//! The work of integration nodes: one attempt of a call, and what its end means for the node.

use serde::Deserialize;

use super::calls::{self, Call, OfNode, Ready};
use super::execute::breaker_open;
use super::failure::Failure;
use super::request::Asked;
use super::store;
use crate::error::{Kind, Result};
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};
use crate::platform::engine::runtime::work::{End, Work};
use crate::platform::engine::runtime::workers::Done;

/// What a node asks for.
#[derive(Deserialize)]
struct NodeCall {
    id: String,
    #[serde(flatten)]
    asked: Asked,
}

/// Makes the call of a node once.
pub(super) async fn perform(platform: Platform, work: Work) -> Done {
    let asked = match serde_json::from_value::<NodeCall>(work.request.clone()) {
        Ok(asked) => asked,
        Err(error) => return Done::new(End::Failed { code: "FM-IHS-REQUEST".to_owned(), message: error.to_string() }),
    };
    let call = Call {
        id: work.name.id.clone(),
        integration: asked.id,
        node: Some(OfNode { execution: work.execution.clone(), id: work.node.clone(), actor: work.actor.clone() }),
        asked: asked.asked,
        key: work.name.id.clone(),
        attempts: work.attempts.saturating_add(1),
    };
    let scope = Scope { correlation_id: Some(work.execution), ..Scope::system(work.name.tenant.clone().into()) };
    let (writer, begun) = (platform.clone(), call.clone());
    let ready = platform.database().write(scope, move |tx| begin(tx, &writer, &begun)).await;
    let sent = match ready {
        Ok(Ok(ready)) => ready.send(&platform, &work.name.tenant, &call.key).await,
        Ok(Err(failure)) => Err(failure),
        // The database failed, not the call.
        Err(_) => return Done::new(End::Later(platform.now().plus_seconds(1.0))),
    };
    let policy = platform.integrations();
    if let Err(failure) = &sent
        && failure.is_transient
        && call.attempts < policy.queued_attempts
    {
        let pause = failure.pause.unwrap_or_default().max(policy.queued_delay(call.attempts));
        let at = platform.now().plus_seconds(pause.as_secs_f64());
        let (ended, integration) = (failure.ended, call.integration);
        return Done::new(End::Later(at)).noting(move |tx| store::note(tx, &platform, &integration, ended, false));
    }
    let ended = sent.as_ref().map(|completed| completed.status_code).map_err(Clone::clone);
    let end = match sent {
        Ok(completed) => End::Answered(completed.data.into()),
        Err(Failure { code, message, .. }) => End::Failed { code: code.to_owned(), message },
    };
    Done::new(end).noting(move |tx| log(tx, &platform, &call, &ended))
}

/// Makes the call ready; the failure is the node's.
fn begin(tx: &mut Tx<'_>, platform: &Platform, call: &Call) -> Result<Result<Ready, Failure>> {
    match Ready::of(tx, platform, tx.tenant(), &call.integration, &call.asked) {
        Ok(ready) => Ok(match store::pass(tx, platform, &ready.record)? {
            None => Ok(ready),
            Some(until) => Err(breaker_open(&call.integration, until, tx.now())),
        }),
        Err(error) if error.kind() == Kind::Internal => Err(error),
        Err(error) => Ok(Err(Failure::of(&error))),
    }
}

/// Logs the call's end; one of an integration that does not exist has no log.
fn log(tx: &mut Tx<'_>, platform: &Platform, call: &Call, ended: &Result<u16, Failure>) -> Result<()> {
    let Ok(record) = store::find(tx, tx.tenant(), &call.integration) else { return Ok(()) };
    calls::open(tx, platform, call, &record)?;
    calls::end(tx, platform, call, ended)
}
