//! Sends one row to the platform's audit service, by the server's own account, and judges what came of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use super::entry::{Action, Row};
use super::spool::undelivered_in;
use super::writer::append_only;
use crate::api::audit::{Changes, Log};
use crate::api::ids::TenantId;
use crate::api::{Entry, Operation as _, catalogue};
use crate::auth::{Caller, CallerKind, Credential};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Kind, Result};

/// How long a row may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The most that is kept of what the platform will not take, in bytes.
const UNDELIVERED: u64 = 64 * 1024 * 1024;

/// The code of a tenant that the server has no account in; nothing but another configuration changes that.
const NO_ACCOUNT: &str = "FM-MCP-NO-ACCOUNT";
/// How codes begin that no platform gives.
const OWN_CODES: [&str; 3] = ["FM-MCP-", "FM-PLATFORM-", "FM-INTERNAL"];

/// Sends rows one at a time.
#[derive(Clone)]
pub(super) struct Carrier {
    pub(super) client: Client,
    pub(super) data_dir: PathBuf,
    /// How many rows the platform took, of any tenant.
    pub(super) taken: Arc<AtomicU64>,
    /// Where rows are counted that nobody has any longer.
    pub(super) lost: Arc<AtomicU64>,
}

/// What came of a row.
pub(super) enum Fate {
    Delivered,
    /// The platform will never take it, and this is why.
    Undeliverable(String),
    /// The platform failed on it, or did not answer; that may be the row's fault.
    Failed(String, Option<Duration>),
    /// It may be taken later, which is not the row's fault.
    Later(Option<Duration>),
    /// The platform did not even hear of it.
    Unheard(Option<Duration>),
}

impl Carrier {
    /// Sends a row, which may take so long.
    pub(super) async fn send(&self, account: &Arc<Caller>, row: &Row, patience: Duration) -> Fate {
        let Ok((entry, arguments)) = request_of(row) else { return Fate::Undeliverable("FM-INTERNAL".to_owned()) };
        let options = CallOptions { idempotency_key: Some(row.id.clone()), deadline: Some(patience), ..CallOptions::default() };
        let fate = match self.client.call(account, entry, arguments, options).await {
            Ok(_) => Fate::Delivered,
            Err(error) => fate_of(&error),
        };
        if matches!(fate, Fate::Delivered) {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        fate
    }

    /// Keeps a row that the platform will not take, or counts it as lost.
    pub(super) async fn put_aside(&self, row: Row, reason: String) {
        let data_dir = self.data_dir.clone();
        // A row that stands for lost ones is not one more of them.
        let rows = row.count.filter(|_| row.action == Action::Lost).unwrap_or(1);
        let kept = tokio::task::spawn_blocking(move || set_aside(&data_dir, &row, &reason)).await.map_err(std::io::Error::other).flatten();
        if let Err(error) = kept {
            tracing::warn!(%error, "a row of the record that the platform does not take is lost");
            self.lost.fetch_add(rows, Ordering::Relaxed);
        }
    }
}

/// The server's own account.
pub(super) fn account_in(tenant: TenantId) -> Caller {
    Caller {
        tenant,
        subject: "flowmaster-mcp".to_owned(),
        roles: Vec::new(),
        permissions: None,
        kind: CallerKind::Service,
        expires: None,
        credential: Credential::Service,
    }
}

/// A row as the audit service takes it.
fn request_of(row: &Row) -> Result<(&'static Entry, Map<String, Value>)> {
    let entry = catalogue().get(Log::SPEC.name).ok_or_else(|| Error::internal("there is no audit service"))?;
    let Value::Object(mut after) = serde_json::to_value(row).map_err(Error::internal)? else {
        return Err(Error::internal("a row is no object"));
    };
    for said_elsewhere in ["at", "action", "tenant", "subject", "resourceType", "resource"] {
        after.remove(said_elsewhere);
    }
    let log = Log {
        actor: row.subject.clone(),
        action: row.action.name().to_owned(),
        resource_type: row.resource_type.clone(),
        resource_id: row.resource.clone(),
        changes: Some(Changes { before: None, after: Some(after) }),
        timestamp: Some(row.at),
    };
    match serde_json::to_value(log).map_err(Error::internal)? {
        Value::Object(arguments) => Ok((entry, arguments)),
        _ => Err(Error::internal("a request is no object")),
    }
}

fn fate_of(error: &Error) -> Fate {
    let (code, after) = (error.code(), error.when_to_retry());
    let is_own = code != NO_ACCOUNT && OWN_CODES.iter().any(|own| code.starts_with(own));
    let why = || format!("{code}: {}", error.message());
    match error.kind() {
        // It was carried out; only its answer is gone.
        Kind::Conflict if code == "FM-AGS-IDEMPOTENCY-ANSWER-LOST" => Fate::Delivered,
        _ if code == "FM-MCP-UNREACHABLE" || code.starts_with("FM-PLATFORM-") => Fate::Unheard(after),
        Kind::Timeout | Kind::BadAnswer => Fate::Failed(why(), after),
        Kind::Internal | Kind::Unavailable if !is_own => Fate::Failed(why(), after),
        // What was found on this side is no judgement of the platform, and the operator can put an account right.
        _ if is_own || error.is_transient() => Fate::Later(after),
        Kind::Unauthenticated | Kind::Cancelled => Fate::Later(None),
        _ => Fate::Undeliverable(why()),
    }
}

/// Keeps a row that the platform will not take, with the reason.
fn set_aside(data_dir: &Path, row: &Row, reason: &str) -> std::io::Result<()> {
    let path = undelivered_in(data_dir);
    let mut file = append_only(&path)?;
    if file.metadata()?.len() > UNDELIVERED {
        return Err(std::io::Error::other("too many rows were set aside already"));
    }
    tracing::debug!(reason, "the platform does not take a row of the record");
    let mut line = serde_json::to_vec(&serde_json::json!({ "reason": reason, "row": row }))?;
    line.push(b'\n');
    file.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audit::entry::Transport;

    #[test]
    fn a_row_becomes_an_entry_that_the_platform_would_take() {
        let mut row = Row::new(Action::Refused, None, Transport::Http, "endpoint", "/mcp");
        "FM-MCP-TOKEN-EXPIRED".clone_into(&mut row.outcome);
        let (entry, arguments) = request_of(&row).unwrap();
        assert_eq!(arguments["actor"], "anonymous");
        assert_eq!(arguments["changes"]["after"]["outcome"], "FM-MCP-TOKEN-EXPIRED");
        assert_eq!(arguments["changes"]["after"]["id"], row.id);
        let mut arguments = Value::Object(arguments);
        entry.check(&mut arguments, crate::api::arguments::Reading::Strict).unwrap();
    }

    #[test]
    fn what_may_pass_waits_and_what_cannot_is_set_aside() {
        let fate = |kind, code: &'static str| fate_of(&Error::new(kind, code, "x"));
        for kind in [Kind::RateLimited, Kind::Unauthenticated] {
            assert!(matches!(fate(kind, "X"), Fate::Later(_)), "{kind:?}");
        }
        for kind in [Kind::Unavailable, Kind::Timeout, Kind::Internal, Kind::BadAnswer] {
            assert!(matches!(fate(kind, "X"), Fate::Failed(..)), "{kind:?}");
        }
        for kind in [Kind::Forbidden, Kind::NotFound, Kind::Invalid, Kind::Malformed, Kind::Conflict] {
            assert!(matches!(fate(kind, "X"), Fate::Undeliverable(_)), "{kind:?}");
        }
        assert!(matches!(fate(Kind::Forbidden, "FM-MCP-NO-ACCOUNT"), Fate::Undeliverable(_)));
        assert!(matches!(fate(Kind::Internal, "FM-INTERNAL"), Fate::Later(_)), "no row is to blame for our own faults");
        assert!(matches!(fate(Kind::Timeout, "FM-MCP-TIMEOUT"), Fate::Failed(..)));
        for unheard in ["FM-PLATFORM-FOLDER-MODE", "FM-MCP-UNREACHABLE"] {
            assert!(matches!(fate(Kind::Unavailable, unheard), Fate::Unheard(_)), "the platform did not even hear of it");
        }
        assert!(matches!(fate(Kind::Conflict, "FM-AGS-IDEMPOTENCY-ANSWER-LOST"), Fate::Delivered));
    }
}
