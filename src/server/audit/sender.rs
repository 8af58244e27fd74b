//! Sends entries to the platform's audit service, by the server's own account, and judges what came of them.
//!
//! A platform that records batches is sent several entries at once, and drops by their ids those that it has already. To any
//! other an entry goes alone, with its id as `Idempotency-Key`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::entry::AuditEntry;
use crate::api::audit::{BatchEntry, Changes, Log, LogBatch};
use crate::api::{Entry, Operation, catalogue};
use crate::auth::Caller;
use crate::client::{CallOptions, Client};
use crate::error::{Error, Kind, Origin, Result};

/// The code of a tenant that the server has no account in; nothing but another configuration changes that.
const NO_ACCOUNT: &str = "FM-MCP-NO-ACCOUNT";

/// What came of entries that were sent together.
#[derive(Debug)]
pub(super) enum Outcome {
    Delivered,
    /// The platform will never take it, and why.
    Undeliverable(String),
    /// The platform failed on it, or did not answer; that may be the entry's fault.
    Failed(String, Option<Duration>),
    /// It may be taken later, which is not the entry's fault.
    Later(Option<Duration>),
}

/// Whether the platform records batches, which is found out once.
pub(super) async fn takes_batches(client: &Client) -> bool {
    client.extensions().learn().await;
    client.extensions().have(&LogBatch::SPEC)
}

/// Sends entries of a tenant together, within a time.
pub(super) async fn send_batch(client: &Client, tenant: &str, entries: &[AuditEntry], within: Duration) -> Outcome {
    let entry_of = |entry: &AuditEntry| Ok(BatchEntry { id: entry.id.clone(), entry: log_of(entry)? });
    let batch = entries.iter().map(entry_of).collect::<Result<_>>().map(|entries| LogBatch { entries });
    // What repeats it is the dispatcher, a tenant's entries apart from another's.
    let options = CallOptions { deadline: Some(within), is_paced: true, ..CallOptions::default() };
    call(client, tenant, batch, options).await
}

/// Sends an entry of a tenant alone, within a time.
pub(super) async fn send(client: &Client, tenant: &str, entry: &AuditEntry, within: Duration) -> Outcome {
    let options = CallOptions { idempotency_key: Some(entry.id.clone()), deadline: Some(within), is_paced: true, ..CallOptions::default() };
    call(client, tenant, log_of(entry), options).await
}

async fn call<O: Operation>(client: &Client, tenant: &str, request: Result<O>, options: CallOptions) -> Outcome {
    let home = client.upstream().home();
    let Some(tenant) = Some(tenant.into()).filter(|_| !tenant.is_empty()).or(home) else {
        return Outcome::Undeliverable(format!("{NO_ACCOUNT}: it is of no tenant, and neither is the server's account"));
    };
    let Ok((operation, arguments)) = request.and_then(|request| arguments_of(&request)) else {
        return Outcome::Undeliverable("FM-INTERNAL".to_owned());
    };
    match client.call(&Arc::new(Caller::service(tenant)), operation, arguments, options).await {
        Ok(_) => Outcome::Delivered,
        Err(error) => outcome_of(&error),
    }
}

/// An entry as the audit service takes it.
fn log_of(entry: &AuditEntry) -> Result<Log> {
    let Value::Object(mut after) = serde_json::to_value(entry).map_err(Error::internal)? else {
        return Err(Error::internal("an entry is not an object"));
    };
    for said_elsewhere in ["at", "action", "tenant", "subject", "resourceType", "resource"] {
        after.remove(said_elsewhere);
    }
    Ok(Log {
        actor: entry.subject.clone(),
        action: entry.action.name().to_owned(),
        resource_type: entry.resource_type.clone(),
        resource_id: entry.resource.clone(),
        changes: Some(Changes { before: None, after: Some(after) }),
        timestamp: Some(entry.at),
    })
}

fn arguments_of<O: Operation>(request: &O) -> Result<(&'static Entry, Map<String, Value>)> {
    let operation = catalogue().get(O::SPEC.name).ok_or_else(|| Error::internal("there is no audit service"))?;
    match serde_json::to_value(request).map_err(Error::internal)? {
        Value::Object(arguments) => Ok((operation, arguments)),
        _ => Err(Error::internal("a request is not an object")),
    }
}

fn outcome_of(error: &Error) -> Outcome {
    let after = error.when_to_retry();
    let why = || format!("{}: {}", error.code(), error.message());
    match error.kind() {
        // It was carried out; only its answer is gone.
        Kind::Conflict if error.code() == "FM-AGS-IDEMPOTENCY-ANSWER-LOST" => Outcome::Delivered,
        Kind::Timeout | Kind::BadAnswer => Outcome::Failed(why(), after),
        _ if error.code() == NO_ACCOUNT => Outcome::Undeliverable(why()),
        // What was found on this side is not a judgement of the platform, and the operator can put an account right.
        _ if error.origin() != Origin::Platform => Outcome::Later(after),
        Kind::Internal | Kind::Unavailable => Outcome::Failed(why(), after),
        Kind::Unauthenticated | Kind::Cancelled => Outcome::Later(after),
        _ if error.is_transient() => Outcome::Later(after),
        _ => Outcome::Undeliverable(why()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audit::entry::{Action, Transport};

    #[test]
    fn an_entry_becomes_a_request_that_the_platform_would_take() {
        let mut entry = AuditEntry::new(Action::Refused, None, Transport::Http, "endpoint", "/mcp");
        "FM-MCP-TOKEN-EXPIRED".clone_into(&mut entry.outcome);
        let (operation, arguments) = arguments_of(&log_of(&entry).unwrap()).unwrap();
        assert_eq!(arguments["actor"], "anonymous");
        assert_eq!(arguments["changes"]["after"]["outcome"], "FM-MCP-TOKEN-EXPIRED");
        assert_eq!(arguments["changes"]["after"]["id"], entry.id);
        let mut arguments = Value::Object(arguments);
        operation.check(&mut arguments, crate::api::arguments::Reading::Strict).unwrap();
    }

    #[test]
    fn a_refusal_is_final_where_the_platform_made_it_and_no_time_mends_it() {
        let outcome = |kind, origin, code: &'static str| outcome_of(&Error::new(kind, code, "x").of_origin(origin));
        for kind in [Kind::RateLimited, Kind::Unauthenticated] {
            assert!(matches!(outcome(kind, Origin::Platform, "X"), Outcome::Later(_)), "{kind:?}");
        }
        for kind in [Kind::Unavailable, Kind::Timeout, Kind::Internal, Kind::BadAnswer] {
            assert!(matches!(outcome(kind, Origin::Platform, "X"), Outcome::Failed(..)), "{kind:?}");
        }
        for kind in [Kind::Forbidden, Kind::NotFound, Kind::Invalid, Kind::Malformed, Kind::Conflict] {
            assert!(matches!(outcome(kind, Origin::Platform, "X"), Outcome::Undeliverable(_)), "{kind:?}");
            assert!(matches!(outcome(kind, Origin::Here, "X"), Outcome::Later(_)), "{kind:?}");
        }
        for kind in [Kind::Unavailable, Kind::Internal] {
            assert!(matches!(outcome(kind, Origin::Here, "X"), Outcome::Later(_)), "the platform did not hear of it: {kind:?}");
        }
        assert!(matches!(outcome(Kind::Timeout, Origin::Here, "FM-MCP-TIMEOUT"), Outcome::Failed(..)));
        assert!(matches!(outcome(Kind::Forbidden, Origin::Here, NO_ACCOUNT), Outcome::Undeliverable(_)));
        assert!(matches!(outcome(Kind::Conflict, Origin::Platform, "FM-AGS-IDEMPOTENCY-ANSWER-LOST"), Outcome::Delivered));
    }
}
